//! Certificates for brokers and clients, made by the command `openssl`.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::installation::run;

/// A certificate authority in a directory: `ca.crt`, and for each name `NAME.crt`, `NAME.key` (PKCS 8).
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
}

impl Authority {
    /// Makes a new authority.
    pub fn create(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let authority = Self { directory: directory.to_owned() };
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "3650",
            "-subj",
            "/CN=Test CA",
            "-keyout",
            "ca.key",
            "-out",
            "ca.crt",
        ])?;
        Ok(authority)
    }

    /// Issues a certificate for an address, 127.0.0.1 and `localhost`, good for servers and clients.
    pub fn issue(&self, name: &str, address: Ipv4Addr) -> Result<()> {
        let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &key,
            "-out",
            &request,
        ])?;
        let names = format!("subjectAltName=IP:127.0.0.1,IP:{address},DNS:localhost\n");
        fs::write(self.directory.join("names.ext"), names)?;
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "3650",
            "-extfile",
            "names.ext",
            "-out",
            &certificate,
        ])
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    /// The certificate of a name.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.crt"))
    }

    /// The private key of a name.
    pub fn key(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.key"))
    }

    /// Key and certificate in one file, as Kafka's PEM key store wants them.
    pub fn keystore(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory.join(format!("{name}.pem"));
        let both = [fs::read(self.key(name))?, fs::read(self.certificate(name))?].concat();
        fs::write(&path, both)?;
        Ok(path)
    }

    fn openssl(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(&self.directory);
        let (output, success) = run(command, "").context("is openssl installed? apt-get install openssl")?;
        ensure!(success, "openssl {arguments:?} failed: {output}");
        Ok(())
    }
}
