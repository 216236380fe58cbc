//! The proxy's own certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::telemetry::metrics;

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
}

/// An acceptor for the certificate chain and key in two PEM files.
pub(crate) fn acceptor(certificate: &Path, private_key: &Path) -> Result<TlsAcceptor, TlsError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| TlsError::File { path, error }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(at(certificate))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(at(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(certificate.to_owned()));
    }
    let expiry = chain.first().and_then(expiry);
    let key = PrivateKeyDer::from_pem_file(private_key).map_err(at(private_key))?;
    let pair = |error| TlsError::Pair {
        path: certificate.to_owned(),
        error,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if let Some(expiry) = expiry {
        metrics::certificate(expiry);
    }
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// When a certificate ends, where it can be read.
fn expiry(certificate: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.to_datetime())
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
        assert_eq!(expiry(certificate.der()), Some(expected));
        assert_eq!(expiry(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
