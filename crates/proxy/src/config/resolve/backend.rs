//! The backend: addresses, certificates, credential.

use std::num::NonZeroU32;
use std::path::PathBuf;

use super::super::declare::{Declaration, Optional};
use super::super::problem::Notice;
use super::super::reader::{HERE, Reader};
use super::super::resolved::{
    Addressing, Authorities, Backend, ClientCertificate, Credential, Endpoint, Host, Retry, Scheme,
    ServerAddress,
};
use super::super::settings::{
    BACKEND_ACCESS_KEY_ID, BACKEND_ADDRESSING, BACKEND_BODY_TIMEOUT, BACKEND_CA_FILE,
    BACKEND_CLIENT_CERTIFICATE, BACKEND_CLIENT_KEY, BACKEND_CONNECT_TIMEOUT,
    BACKEND_CONNECTION_IDLE, BACKEND_CONNECTION_MAX_AGE, BACKEND_HOST, BACKEND_INSECURE,
    BACKEND_INTEGRITY, BACKEND_MAX_IDLE_CONNECTIONS, BACKEND_OPERATIONS, BACKEND_REGION,
    BACKEND_RESPONSE_TIMEOUT, BACKEND_RETRY_ATTEMPTS, BACKEND_RETRY_BASE_DELAY,
    BACKEND_RETRY_BUDGET, BACKEND_RETRY_MAX_DELAY, BACKEND_SECRET_ACCESS_KEY,
};
use super::super::value::{SubResourceChange, Switch, Value, Whole};

pub(super) fn backend(reader: &mut Reader) -> Backend {
    let (endpoint, addressing) = endpoint(reader);
    let Whole(idle) = reader.value(BACKEND_MAX_IDLE_CONNECTIONS);
    Backend {
        endpoint,
        region: reader.value(BACKEND_REGION).0,
        addressing,
        authorities: authorities(reader),
        client_certificate: client_certificate(reader),
        connect_timeout: reader.value(BACKEND_CONNECT_TIMEOUT).0,
        response_timeout: reader.value(BACKEND_RESPONSE_TIMEOUT).0,
        body_timeout: reader.value(BACKEND_BODY_TIMEOUT).0,
        connection_idle: reader.value(BACKEND_CONNECTION_IDLE).0,
        connection_max_age: reader.value(BACKEND_CONNECTION_MAX_AGE).0,
        max_idle_connections: usize::try_from(idle).expect("the declaration bounds it"),
        retry: retry(reader),
        integrity: reader.value(BACKEND_INTEGRITY),
        operations: reader
            .value(BACKEND_OPERATIONS)
            .0
            .into_iter()
            .map(|SubResourceChange(operation)| operation)
            .collect(),
        credential: credential(reader),
    }
}

fn endpoint(reader: &mut Reader) -> (Endpoint, Addressing) {
    let addressing = reader.value(BACKEND_ADDRESSING);
    let insecure = reader.value(BACKEND_INSECURE) == Switch::On;
    let Some(mut address) = reader.optional(BACKEND_HOST) else {
        if insecure && !reader.is_given(&BACKEND_HOST.declaration) {
            let message = "without backend.host, requests go to AWS by HTTPS; expected off, or a \
                           server in backend.host";
            reader.conflict(&BACKEND_INSECURE.declaration, HERE, message);
        }
        return (Endpoint::ByHostName, addressing);
    };
    if insecure {
        address = insecure_address(reader, address);
    }
    match (addressing, &address.host) {
        (Addressing::VirtualHost, Host::Address(_)) => {
            let message = "an IP address has no names below it; expected path, or a DNS name in \
                           backend.host";
            reader.conflict(&BACKEND_ADDRESSING.declaration, HERE, message);
        }
        (Addressing::VirtualHost, Host::Name(_)) | (Addressing::Path, _) => {}
    }
    (Endpoint::Fixed(address), addressing)
}

/// The address over plain HTTP, unless it asks for HTTPS itself.
fn insecure_address(reader: &mut Reader, address: ServerAddress) -> ServerAddress {
    let text = reader.text(&BACKEND_HOST.declaration, HERE);
    let text = text.unwrap_or_default();
    if text.contains("://") {
        if address.scheme == Scheme::Https {
            let message = "backend.host says https://; expected off, or http:// in backend.host";
            reader.conflict(&BACKEND_INSECURE.declaration, HERE, message);
        }
        return address;
    }
    let address = format!("http://{text}").parse().unwrap_or(address);
    let backend = address.to_string();
    let notice = Notice::InsecureBackend { backend };
    reader.findings.notices.push(notice);
    address
}

fn authorities(reader: &mut Reader) -> Authorities {
    match readable_file(reader, BACKEND_CA_FILE) {
        None => Authorities::System,
        Some(path) => Authorities::File(path),
    }
}

fn client_certificate(reader: &mut Reader) -> ClientCertificate {
    let certificate = readable_file(reader, BACKEND_CLIENT_CERTIFICATE);
    let private_key = readable_file(reader, BACKEND_CLIENT_KEY);
    match both_or_neither(
        reader,
        (certificate, &BACKEND_CLIENT_CERTIFICATE.declaration),
        (private_key, &BACKEND_CLIENT_KEY.declaration),
    ) {
        None => ClientCertificate::Absent,
        Some((certificate, private_key)) => ClientCertificate::Files {
            certificate,
            private_key,
        },
    }
}

fn credential(reader: &mut Reader) -> Credential {
    let access_key_id = reader.optional(BACKEND_ACCESS_KEY_ID);
    let secret_access_key = reader.optional(BACKEND_SECRET_ACCESS_KEY);
    match both_or_neither(
        reader,
        (access_key_id, &BACKEND_ACCESS_KEY_ID.declaration),
        (secret_access_key, &BACKEND_SECRET_ACCESS_KEY.declaration),
    ) {
        None => Credential::DefaultChain,
        Some((access_key_id, secret_access_key)) => Credential::Static {
            access_key_id: access_key_id.0,
            secret_access_key,
        },
    }
}

fn retry(reader: &mut Reader) -> Retry {
    let Whole(attempts) = reader.value(BACKEND_RETRY_ATTEMPTS);
    let Whole(budget) = reader.value(BACKEND_RETRY_BUDGET);
    let base_delay = reader.value(BACKEND_RETRY_BASE_DELAY).0;
    let max_delay = reader.value(BACKEND_RETRY_MAX_DELAY).0;
    if base_delay > max_delay {
        let message = "it is longer than backend.retry_max_delay; expected at most that";
        reader.conflict(&BACKEND_RETRY_BASE_DELAY.declaration, HERE, message);
    }
    Retry {
        attempts: u32::try_from(attempts)
            .ok()
            .and_then(NonZeroU32::new)
            .expect("the declaration bounds it to 1 and above"),
        base_delay,
        max_delay,
        budget: u32::try_from(budget).expect("the declaration bounds it"),
    }
}

fn readable_file(reader: &mut Reader, setting: &Optional<PathBuf>) -> Option<PathBuf> {
    let path = reader.optional(setting)?;
    reader.require_file(&setting.declaration, &path);
    Some(path)
}

fn both_or_neither<A: Value, B: Value>(
    reader: &mut Reader,
    (first, first_setting): (Option<A>, &Declaration),
    (second, second_setting): (Option<B>, &Declaration),
) -> Option<(A, B)> {
    let missing = match (&first, &second) {
        (Some(_), None) => Some((second_setting, first_setting)),
        (None, Some(_)) => Some((first_setting, second_setting)),
        (Some(_), Some(_)) | (None, None) => None,
    };
    if let Some((missing, given)) = missing.filter(|(missing, _)| !reader.is_given(missing)) {
        let message = format!(
            "missing beside {}; set it by {}",
            given.path,
            missing.places()
        );
        reader.conflict(missing, HERE, message);
    }
    first.zip(second)
}
