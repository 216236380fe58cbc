//! Certificates from PEM files, and the roots that servers' certificates are checked against.
//!
//! A configured CA file replaces the system's roots, so that a public authority cannot impersonate
//! a private server. Without a CA file, the system's roots are trusted (`SSL_CERT_FILE` is
//! honoured), or Mozilla's, compiled in, if a minimal image has none. Certificate checks cannot be
//! turned off.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// A configured file that does not hold the expected certificates or key.
#[derive(Debug, thiserror::Error)]
#[error("{} must hold {expected}: {reason}", .file.display())]
pub struct PemError {
    file: PathBuf,
    expected: &'static str,
    reason: String,
}

impl PemError {
    pub(crate) fn new(file: &Path, expected: &'static str, reason: &dyn Display) -> Self {
        Self {
            file: file.to_owned(),
            expected,
            reason: reason.to_string(),
        }
    }
}

/// The roots in `ca_file` and no others; without a file, the system's roots.
pub(crate) fn trusted_roots(ca_file: Option<&Path>) -> Result<RootCertStore, PemError> {
    match ca_file {
        Some(file) => roots_from(file),
        None => Ok(system_roots()),
    }
}

/// At least one certificate from a PEM file.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let expected = "one or more certificates in PEM";
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| PemError::new(file, expected, &error))?;
    if found.is_empty() {
        return Err(PemError::new(file, expected, &"it has none"));
    }
    Ok(found)
}

fn roots_from(file: &Path) -> Result<RootCertStore, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| PemError::new(file, "CA certificates in PEM", &error))?;
    }
    Ok(roots)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    // One unusable certificate in the system's store does not spoil the others.
    let (added, _unusable) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}
