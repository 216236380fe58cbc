//! TLS towards the backend, with the certificate that the proxy shows to it.
//!
//! No ALPN is offered: only HTTP/1.1 is spoken.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::error::BackendError;
use super::settings::Settings;
use crate::net::roots::{PemError, certificates, trusted_roots};

/// Builds the TLS configuration from the CA file and the client certificate, if any.
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
        .map_err(|error| PemError::new(&client.key, "a private key in PEM", &error))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| {
        BackendError::Settings(format!(
            "certificate {} does not match key {}: {error}",
            client.certificate.display(),
            client.key.display()
        ))
    })
}

impl From<PemError> for BackendError {
    fn from(error: PemError) -> Self {
        Self::Settings(error.to_string())
    }
}
