//! The proxy's own certificate: reading it, and speaking TLS with it. Which one is shown at a time
//! is `certificate`'s to say.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::{Certificate, PairFiles};
use crate::config::Files;

/// Why HTTPS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or unreadable.
    #[error(
        "{}: {error}; put s3proxy.crt and s3proxy.key (PEM) into the folder that --cert names, or \
         serve plain HTTP with --no-tls",
        .path.display()
    )]
    File {
        /// Which one.
        path: PathBuf,
        /// What the parser or the system says.
        error: rustls::pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("{}: holds no certificate; PEM with the leaf first is expected", .0.display())]
    Empty(PathBuf),
    /// Certificate and key do not go together, or use an algorithm that is not supported.
    #[error("{} and its key cannot be used together: {error}", .path.display())]
    Pair {
        /// The certificate's file.
        path: PathBuf,
        /// What the TLS library says.
        error: rustls::Error,
    },
    /// The certificate says nothing of the time until which it is good.
    #[error("{}: the certificate cannot be read: {reason}", .path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
}

/// A certificate chain and its key, which go together.
pub(crate) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) not_after: OffsetDateTime,
    /// The files as they were read.
    pub(super) read: Files,
}

impl Pair {
    pub(super) fn has_expired(&self) -> bool {
        self.not_after < OffsetDateTime::now_utc()
    }
}

/// Reads the pair in two PEM files.
pub(crate) fn pair(files: &PairFiles) -> Result<Pair, TlsError> {
    let PairFiles {
        certificate,
        private_key,
    } = files;
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::File { path, error }
    };
    let mut read = Files::default();
    let mut text = |path: &Path| read.read(path).map_err(pem::Error::Io).map_err(at(path));
    let (chain, key) = (text(certificate)?, text(private_key)?);
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(at(certificate))?;
    let Some(leaf) = chain.first() else {
        return Err(TlsError::Empty(certificate.clone()));
    };
    let not_after = not_after(leaf).map_err(|reason| TlsError::Certificate {
        path: certificate.clone(),
        reason,
    })?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(at(private_key))?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| TlsError::Pair {
        path: certificate.clone(),
        error,
    })?;
    Ok(Pair {
        key: Arc::new(key),
        not_after,
        read,
    })
}

fn not_after(leaf: &CertificateDer<'_>) -> Result<OffsetDateTime, String> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
    Ok(certificate.validity().not_after.to_datetime())
}

/// An acceptor that shows the certificate of the time.
pub(crate) fn acceptor(certificate: Arc<Certificate>) -> TlsAcceptor {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default protocol versions")
        .with_no_client_auth()
        .with_cert_resolver(certificate);
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
        assert_eq!(not_after(certificate.der()), Ok(expected));
        assert!(not_after(&CertificateDer::from(vec![1, 2, 3])).is_err());
    }
}
