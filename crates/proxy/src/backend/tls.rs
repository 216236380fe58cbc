//! The TLS client: the trusted roots, and the certificate shown to the backend.
//!
//! A configured CA file replaces the system's roots, so that a private backend cannot be
//! impersonated with the help of a public authority. Without one the system's roots are used
//! (`SSL_CERT_FILE` is honoured), or Mozilla's compiled-in ones if a minimal image has none. No
//! ALPN is offered: only HTTP/1.1 is spoken. Certificate checks cannot be turned off.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::error::BackendError;
use super::settings::Settings;

pub(super) fn client_config(settings: &Settings) -> Result<ClientConfig, BackendError> {
    let roots = trusted_roots(settings.ca_file.as_deref())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default protocol versions")
        .with_root_certificates(roots);
    let Some(client) = &settings.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(&client.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&client.key)
        .map_err(|error| unreadable(&client.key, "a private key in PEM", &error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        BackendError::Settings(format!(
            "certificate {} and key {} do not go together: {error}",
            client.certificate.display(),
            client.key.display()
        ))
    })
}

/// Loads the roots from this PEM file and no others; without a file the system's.
pub(crate) fn trusted_roots(ca_file: Option<&Path>) -> Result<RootCertStore, BackendError> {
    match ca_file {
        Some(file) => roots_from(file),
        None => Ok(system_roots()),
    }
}

fn roots_from(file: &Path) -> Result<RootCertStore, BackendError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| unreadable(file, "CA certificates in PEM", &error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let expected = "one or more certificates in PEM";
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(file, expected, &error))?;
    if found.is_empty() {
        return Err(unreadable(file, expected, &"there are none in it"));
    }
    Ok(found)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    // One broken certificate in the system's store must not disable the others.
    let (added, _unusable) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn unreadable(file: &Path, expected: &str, reason: &dyn std::fmt::Display) -> BackendError {
    BackendError::Settings(format!("{} must hold {expected}: {reason}", file.display()))
}
