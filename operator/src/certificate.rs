//! The certificate of the reports' server: made once, kept in a Secret that all replicas share.
//!
//! Workers get its CA with their ConfigMap. The one who comes first makes it; a certificate for other names, or one that
//! is about to end, is made again.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

use crate::api::{ApiServer, Verb};

/// How long a certificate holds. Its Secret is as good as the CA, so that nothing is gained by short ones.
const YEARS: i32 = 10;
/// How long before its end it is made again.
const RENEW: SignedDuration = SignedDuration::from_hours(24 * 365);

/// A certificate with its CA and key, all in PEM.
#[derive(Clone)]
pub struct Certificate {
    /// The CA, for workers.
    pub ca: String,
    /// The server's certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate(…)")
    }
}

/// There is no certificate to be had.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server refused.
    #[error("the secret {name} with the certificate of the reports' server: {source}")]
    Secret {
        /// The Secret.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// It could not be made.
    #[error("the certificate of the reports' server cannot be made for {names}: {source}")]
    Unmakable {
        /// The names.
        names: String,
        /// Why.
        source: rcgen::Error,
    },
}

/// The certificate in the Secret, which is made if need be.
pub async fn certificate(
    server: &ApiServer,
    namespace: &str,
    name: &str,
    names: &[String],
) -> Result<Certificate, CertificateError> {
    let api = server.namespaced::<Secret>(namespace);
    let failed = |source| CertificateError::Secret { name: name.to_owned(), source: Box::new(source) };
    let found = server.ask::<Secret, _>(Verb::Get, api.get_opt(name)).await.map_err(failed)?;
    if let Some(certificate) = found.as_ref().and_then(|secret| read(secret, names, Timestamp::now())) {
        return Ok(certificate);
    }
    let made = make(names)?;
    let secret = secret(name, names, &made, found.as_ref());
    let parameters = PostParams::default();
    let written = match &found {
        None => server.ask::<Secret, _>(Verb::Create, api.create(&parameters, &secret)).await,
        Some(_) => server.ask::<Secret, _>(Verb::Update, api.replace(name, &parameters, &secret)).await,
    };
    match written {
        Ok(_) => Ok(made),
        // Another replica was quicker.
        Err(kube::Error::Api(status)) if status.code == 409 => {
            let theirs = server.ask::<Secret, _>(Verb::Get, api.get(name)).await.map_err(failed)?;
            Ok(read(&theirs, names, Timestamp::now()).unwrap_or(made))
        }
        Err(error) => Err(failed(error)),
    }
}

const NAMES: &str = "millstream.dev/names";
const UNTIL: &str = "millstream.dev/until";

fn read(secret: &Secret, names: &[String], now: Timestamp) -> Option<Certificate> {
    let annotations = secret.metadata.annotations.as_ref()?;
    let until: Timestamp = annotations.get(UNTIL)?.parse().ok()?;
    if *annotations.get(NAMES)? != names.join(",") || until < now + RENEW {
        return None;
    }
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    Some(Certificate { ca: text("ca.crt")?, certificate: text("tls.crt")?, key: text("tls.key")? })
}

fn secret(name: &str, names: &[String], made: &Certificate, found: Option<&Secret>) -> Secret {
    let until = Timestamp::now() + SignedDuration::from_hours(24 * 365 * i64::from(YEARS));
    let annotations = [(NAMES, names.join(",")), (UNTIL, until.to_string())];
    let data = [("ca.crt", &made.ca), ("tls.crt", &made.certificate), ("tls.key", &made.key)];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: found.and_then(|secret| secret.metadata.resource_version.clone()),
            annotations: Some(annotations.map(|(key, value)| (key.to_owned(), value)).into()),
            labels: Some([("app.kubernetes.io/name".to_owned(), "millstream".to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(BTreeMap::from(data.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes()))))),
        ..Secret::default()
    }
}

fn make(names: &[String]) -> Result<Certificate, CertificateError> {
    make_for(names).map_err(|source| CertificateError::Unmakable { names: names.join(", "), source })
}

fn make_for(names: &[String]) -> Result<Certificate, rcgen::Error> {
    let year = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).year();
    let (from, until) =
        (rcgen::date_time_ymd(i32::from(year) - 1, 1, 1), rcgen::date_time_ymd(i32::from(year) + YEARS + 1, 1, 1));
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority.distinguished_name.push(DnType::CommonName, "millstream-operator");
    (authority.not_before, authority.not_after) = (from, until);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut server = CertificateParams::new(names.to_vec())?;
    (server.not_before, server.not_after) = (from, until);
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?;
    Ok(Certificate { ca: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_certificate_is_read_back_until_its_names_change_or_its_end_is_near() {
        let names = vec!["millstream.system.svc".to_owned(), "127.0.0.1".to_owned()];
        let made = make(&names).unwrap();
        let secret = secret("tls", &names, &made, None);
        let now = Timestamp::now();
        assert_eq!(read(&secret, &names, now).unwrap().certificate, made.certificate);
        assert!(read(&secret, &names[..1], now).is_none());
        assert!(read(&secret, &names, now + SignedDuration::from_hours(24 * 365 * 9 + 48)).is_none());
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }
}
