//! A socket, with TLS or without.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{ConnectionError, Reader, Source};
use crate::kafka::wire::cluster::Endpoint;

/// Why TLS cannot be set up. Never contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA's certificates cannot be read.
    #[error("the connection's CA has no certificate that can be read: {0}")]
    Ca(String),
    /// The system has no certificates.
    #[error("the system has no CA certificates; name the connection's CA in `tls.ca`")]
    NoCa,
    /// The client's certificate or key cannot be read.
    #[error("the connection's client {part} cannot be read: {found}")]
    Client {
        /// Which part.
        part: &'static str,
        /// Why.
        found: String,
    },
    /// Key and certificate do not fit, or are of a kind that is not known.
    #[error("the connection's client certificate cannot be used: {0}")]
    Unusable(rustls::Error),
    /// The broker's name cannot be checked.
    #[error("broker host `{host}` is no name that a certificate could be for: {source}")]
    Name {
        /// The host.
        host: String,
        /// Why.
        source: InvalidDnsNameError,
    },
}

/// How to encrypt. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(…)")
    }
}

impl Tls {
    /// From PEM: the CA that brokers' certificates must be from, else those of the system; and the client's certificate,
    /// with those between it and its CA, and key.
    pub fn new(ca: Option<&str>, client: Option<(&str, &str)>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_root_certificates(roots(ca)?);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
                let unreadable = |part, found: &dyn fmt::Display| TlsError::Client { part, found: found.to_string() };
                let chain = chain.map_err(|error| unreadable("certificate", &error))?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| unreadable("key", &error))?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Unusable)?
            }
        };
        Ok(Self(Arc::new(config)))
    }
}

fn roots(ca: Option<&str>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(TlsError::NoCa) } else { Ok(roots) };
    };
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        let certificate = certificate.map_err(|error| TlsError::Ca(error.to_string()))?;
        roots.add(certificate).map_err(|error| TlsError::Ca(error.to_string()))?;
    }
    if roots.is_empty() { Err(TlsError::Ca("there is none in it".to_owned())) } else { Ok(roots) }
}

/// A socket to a broker.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects within `wait`. With TLS, the first write or read makes the handshake.
    pub(super) fn connect(endpoint: &Endpoint, tls: Option<&Tls>, wait: Duration) -> Result<Self, ConnectionError> {
        let failed = |source| ConnectionError::Connect { host: endpoint.host.clone(), port: endpoint.port, source };
        let socket = connect(endpoint, wait).map_err(failed)?;
        // Requests are whole when they are written.
        socket.set_nodelay(true).map_err(failed)?;
        let Some(tls) = tls else { return Ok(Self::Plain(socket)) };
        let host = &endpoint.host;
        let name =
            ServerName::try_from(host.clone()).map_err(|source| TlsError::Name { host: host.clone(), source })?;
        let connection = ClientConnection::new(Arc::clone(&tls.0), name).map_err(TlsError::Unusable)?;
        // Bounds the handshake, which is made within the first write.
        socket.set_read_timeout(Some(wait)).map_err(failed)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

/// Tries the host's addresses one after another.
fn connect(endpoint: &Endpoint, wait: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + wait;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (endpoint.host.as_str(), endpoint.port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Source for Stream {
    fn read_spare(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(rustix::io::read(socket, spare_capacity(buffer))?),
            Self::Tls(stream) => Reader(stream).read_spare(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write_vectored(parts),
            Self::Tls(stream) => stream.write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
