//! The proxy's own certificate: reading it, and TLS with it. `certificate` chooses the one that is
//! served.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Certificate, CertificateFiles};
use crate::config::Files;

/// Longest time before a certificate's expiry at which the warnings begin.
const SOON: Duration = Duration::days(14);

/// Why HTTPS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or unreadable.
    #[error(
        "{}: {}; put s3proxy.crt and s3proxy.key, or tls.crt and tls.key (PEM), into the folder \
         set by --cert, or serve plain HTTP with --no-tls",
        .path.display(), unreadable(error)
    )]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the parser or the system.
        error: rustls::pki_types::pem::Error,
    },
    /// The file contains no certificate.
    #[error("{}: contains no certificate; expected PEM, with the leaf first", .0.display())]
    Empty(PathBuf),
    /// The certificate's file contains the key.
    #[error(
        "{}: contains a private key instead of a certificate; are the two files swapped?",
        .0.display()
    )]
    Swapped(PathBuf),
    /// The file contains no private key.
    #[error("{}: contains no private key; expected PEM", .0.display())]
    NoKey(PathBuf),
    /// The private key has a passphrase.
    #[error(
        "{path}: the private key is encrypted; decrypt it with: openssl pkey -in {path} -out KEY",
        path = .0.display()
    )]
    EncryptedKey(PathBuf),
    /// The key belongs to another certificate.
    #[error(
        "{} and {} do not match: the private key belongs to another certificate",
        .path.display(), .key.display()
    )]
    Mismatch {
        /// File of the certificate.
        path: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
    /// Certificate and key use an algorithm that is not supported.
    #[error("{} and its key cannot be used: {error}", .path.display())]
    Pair {
        /// File of the certificate.
        path: PathBuf,
        /// Error of the TLS library.
        error: rustls::Error,
    },
    /// The certificate's validity cannot be read.
    #[error("{}: the certificate cannot be read: {reason}", .path.display())]
    Certificate {
        /// File of the certificate.
        path: PathBuf,
        /// Error of the parser.
        reason: String,
    },
}

fn unreadable(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        error => format!("not readable as PEM ({error})"),
    }
}

/// A certificate chain and its key, which belong together.
pub(crate) struct CertificatePair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    /// Files as they were read.
    pub(super) read: Files,
}

impl CertificatePair {
    /// Returns why clients refuse the certificate, or soon will.
    pub(super) fn concern(&self) -> Option<String> {
        concern(self.not_before, self.not_after, OffsetDateTime::now_utc())
    }
}

/// Reads the pair from two PEM files.
pub(crate) fn pair(files: &CertificateFiles) -> Result<CertificatePair, TlsError> {
    let CertificateFiles {
        certificate,
        private_key,
    } = files;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::File { path, error }
    };
    let mut read = Files::default();
    let mut text = |path: &Path| read.read(path).map_err(pem::Error::Io).map_err(at(path));
    let (text, key) = (text(certificate)?, text(private_key)?);
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(at(certificate))?;
    let Some(leaf) = chain.first() else {
        return Err(if PrivateKeyDer::from_pem_slice(&text).is_ok() {
            TlsError::Swapped(certificate.clone())
        } else {
            TlsError::Empty(certificate.clone())
        });
    };
    let (not_before, not_after) = validity(leaf).map_err(|reason| TlsError::Certificate {
        path: certificate.clone(),
        reason,
    })?;
    let key = match PrivateKeyDer::from_pem_slice(&key) {
        Ok(key) => key,
        Err(error) => return Err(no_key(private_key, &key, error)),
    };
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        let (path, key) = (certificate.clone(), private_key.clone());
        match error {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { path, key },
            error => TlsError::Pair { path, error },
        }
    })?;
    Ok(CertificatePair {
        key: Arc::new(key),
        not_before,
        not_after,
        read,
    })
}

/// Returns the beginning and the end of the certificate's validity.
fn validity(leaf: &CertificateDer<'_>) -> Result<(OffsetDateTime, OffsetDateTime), String> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    let validity = certificate.validity();
    Ok((
        validity.not_before.to_datetime(),
        validity.not_after.to_datetime(),
    ))
}

/// Returns the error about a file without a usable key, by its PEM labels.
fn no_key(path: &Path, text: &[u8], error: pem::Error) -> TlsError {
    let path = path.to_owned();
    let has = |label: &str| {
        let label = label.as_bytes();
        text.windows(label.len()).any(|window| window == label)
    };
    if has("ENCRYPTED PRIVATE KEY") || has("Proc-Type: 4,ENCRYPTED") {
        TlsError::EncryptedKey(path)
    } else if matches!(error, pem::Error::NoItemsFound) {
        TlsError::NoKey(path)
    } else {
        TlsError::File { path, error }
    }
}

fn concern(begin: OffsetDateTime, end: OffsetDateTime, now: OffsetDateTime) -> Option<String> {
    let left = end - now;
    if now < begin {
        let begin = rfc3339(begin);
        return Some(format!(
            "the certificate is not valid before {begin}: until then clients will refuse it; \
             check the clock of this machine"
        ));
    }
    if left.is_negative() {
        let end = rfc3339(end);
        return Some(format!(
            "the certificate expired at {end}: clients will refuse it; renew it"
        ));
    }
    // Relative to the validity: a certificate of a day is renewed within hours, one of a year
    // within weeks.
    let fifth: Duration = (end - begin) / 5;
    let late = fifth.min(SOON);
    (left < late).then(|| format!("the certificate expires at {}; renew it", rfc3339(end)))
}

pub(super) fn rfc3339(time: OffsetDateTime) -> String {
    let text = time.format(&Rfc3339);
    text.unwrap_or_else(|_| time.unix_timestamp().to_string())
}

/// Builds an acceptor that shows the current certificate.
pub(crate) fn acceptor(certificate: Arc<Certificate>) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default protocol versions")
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    // Only HTTP/1.1 is offered, so that no client negotiates HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_when_it_ends() {
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 17);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let expected = OffsetDateTime::from_unix_timestamp(1_936_742_400).unwrap();
        assert_eq!(validity(certificate.der()).unwrap().1, expected);
        assert!(validity(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }

    #[test]
    fn a_certificate_is_warned_of_before_its_time_after_it_and_near_its_end() {
        let day = time::Duration::DAY;
        let begin = OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap();
        for (valid, passed, expected) in [
            (
                365 * day,
                -day,
                Some("is not valid before 2030-03-17T17:46:40Z"),
            ),
            (365 * day, day, None),
            // Warnings begin 14 days before the end, or a fifth of a short validity.
            (365 * day, 350 * day, None),
            (
                365 * day,
                352 * day,
                Some("expires at 2031-03-17T17:46:40Z"),
            ),
            (
                365 * day,
                366 * day,
                Some("expired at 2031-03-17T17:46:40Z"),
            ),
            (day, day / 2, None),
            (day, day * 5 / 6, Some("expires at ")),
        ] {
            let told = concern(begin, begin + valid, begin + passed);
            match expected {
                None => assert_eq!(told, None),
                Some(part) => assert!(told.as_deref().unwrap().contains(part), "{told:?}"),
            }
        }
    }
}
