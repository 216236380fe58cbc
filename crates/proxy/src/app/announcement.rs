//! The first line of the log: version, backend, and the settings that matter most to operators.

use std::path::Path;

use crate::config::resolved::{
    Authentication, Config, Encryption, Endpoint, KnownClients, Multipart, Permission, Tls,
};
use crate::version;

/// Logs the start. `file` is the configuration file, if there is one.
pub fn announce(config: &Config, file: Option<&Path>) {
    let configuration = file.map_or("environment and flags".to_owned(), |path| {
        format!("{}, environment and flags", path.display())
    });
    let region = match &config.backend.endpoint {
        Endpoint::Fixed(_) => Some(config.backend.region.as_str()),
        Endpoint::ByHostName => None,
    };
    let (authentication, clients) = authentication(&config.clients.authentication);
    let open = open_policies(config);
    tracing::info!(
        version = version::VERSION,
        commit = version::COMMIT,
        backend = backend(&config.backend.endpoint),
        region,
        tls = match config.listen.tls {
            Tls::Off => "off",
            Tls::Files { .. } => "on",
        },
        authentication,
        clients,
        rules = config.rules.len(),
        open = (!open.is_empty()).then(|| open.join(", ")),
        configuration,
        "starting s3proxy"
    );
}

fn backend(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Fixed(address) => address.to_string(),
        Endpoint::ByHostName => "AWS, by the Host header of each request".to_owned(),
    }
}

/// Returns the mode of authentication, and the number of listed clients.
fn authentication(authentication: &Authentication) -> (&'static str, Option<usize>) {
    match authentication {
        Authentication::None => ("none", None),
        Authentication::SigV4 {
            known: KnownClients::List(clients),
        } => ("listed clients", Some(clients.len())),
        Authentication::SigV4 { .. } => ("the backend's credential", None),
    }
}

/// Returns the settings that are less strict than they could be, as operators write them.
fn open_policies(config: &Config) -> Vec<String> {
    let mut open = Vec::new();
    let policy = &config.policy;
    let permissions = [
        ("policy.plaintext_reads", policy.plaintext_reads),
        ("policy.legacy_reads", policy.legacy_reads),
        ("keys.decryption_fallback", config.keys.legacy_zero_key),
    ];
    for (setting, permission) in permissions {
        if permission == Permission::Allow {
            open.push(format!("{setting}=allow"));
        }
    }
    if policy.multipart == Multipart::ForwardPlaintext {
        open.push("policy.multipart=forward-plaintext".to_owned());
    }
    let public = &config.clients.anonymous_read_buckets;
    if !public.is_empty() {
        open.push(format!("clients.anonymous_read_buckets={}", public.len()));
    }
    let unsealed = config.rules.iter();
    let unsealed = unsealed.filter(|rule| rule.encryption == Encryption::Off);
    match unsealed.count() {
        0 => {}
        rules => open.push(format!("rules that store plaintext={rules}")),
    }
    open
}
