//! The backend: addresses, certificates, credential.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::path::PathBuf;

use s3proxy_protocol::aws_endpoint::AwsEndpoint;

use super::super::declare::{Declaration, Optional};
use super::super::notice::Notice;
use super::super::problem::near;
use super::super::provider;
use super::super::reader::{HERE, Reader};
use super::super::resolved::{
    Addressing, Authorities, Backend, ClientCertificate, Credential, Endpoint, Feature, Host,
    Integrity, Listen, Retry, Scheme, ServerAddress,
};
use super::super::settings::{
    BACKEND_ACCESS_KEY_ID, BACKEND_ADDRESSING, BACKEND_BODY_TIMEOUT, BACKEND_CA_FILE,
    BACKEND_CLIENT_CERTIFICATE, BACKEND_CLIENT_KEY, BACKEND_CONNECT_TIMEOUT,
    BACKEND_CONNECTION_IDLE, BACKEND_CONNECTION_MAX_AGE, BACKEND_HOST, BACKEND_INSECURE,
    BACKEND_INTEGRITY, BACKEND_LACKS, BACKEND_MAX_IDLE_CONNECTIONS, BACKEND_OPERATIONS,
    BACKEND_REGION, BACKEND_RESPONSE_TIMEOUT, BACKEND_RETRY_ATTEMPTS, BACKEND_RETRY_BASE_DELAY,
    BACKEND_RETRY_BUDGET, BACKEND_RETRY_MAX_DELAY, BACKEND_SECRET_ACCESS_KEY,
};
use super::super::value::{BackendAddress, List, SubResourceChange, Switch, Value, Whole};

pub(super) fn backend(reader: &mut Reader) -> Backend {
    let (endpoint, addressing) = endpoint(reader);
    let region = reader.value(BACKEND_REGION).0;
    warn_of_unknown_region(reader, &endpoint, &region);
    let lacks = lacks(reader, &endpoint);
    let Whole(idle) = reader.value(BACKEND_MAX_IDLE_CONNECTIONS);
    Backend {
        endpoint,
        region,
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
        integrity: integrity(reader, &lacks),
        operations: reader
            .value(BACKEND_OPERATIONS)
            .0
            .into_iter()
            .map(|SubResourceChange(operation)| operation)
            .collect(),
        lacks,
        credential: credential(reader),
    }
}

/// The user's list, or that of a known provider.
fn lacks(reader: &mut Reader, endpoint: &Endpoint) -> Vec<Feature> {
    match reader.optional(BACKEND_LACKS) {
        Some(List(features)) => features,
        None => provider::of(endpoint).map_or_else(Vec::new, |provider| provider.lacks.to_vec()),
    }
}

fn integrity(reader: &mut Reader, lacks: &[Feature]) -> Integrity {
    let has_trailers = !lacks.contains(&Feature::TrailingChecksums);
    match reader.value(BACKEND_INTEGRITY) {
        Integrity::Auto if !has_trailers => Integrity::Unsigned,
        Integrity::Trailer if !has_trailers && reader.is_given(&BACKEND_LACKS.declaration) => {
            let message = "backend.lacks lists trailing-checksums; expected auto or unsigned";
            reader.conflict(&BACKEND_INTEGRITY.declaration, HERE, message);
            Integrity::Unsigned
        }
        chosen => chosen,
    }
}

fn endpoint(reader: &mut Reader) -> (Endpoint, Addressing) {
    let addressing = reader.value(BACKEND_ADDRESSING);
    let insecure = reader.value(BACKEND_INSECURE) == Switch::On;
    let mut address = match reader.optional(BACKEND_HOST) {
        Some(BackendAddress::Server(address)) => address,
        given => {
            if insecure && (given.is_some() || !reader.is_given(&BACKEND_HOST.declaration)) {
                let message = "without a server in backend.host, requests go to AWS over HTTPS; \
                               expected off, or a server in backend.host";
                reader.conflict(&BACKEND_INSECURE.declaration, HERE, message);
            }
            if given.is_none() && !reader.is_given(&BACKEND_HOST.declaration) {
                let variable = reader.findings.endpoint_variable;
                if let Some(name) = variable {
                    reader.findings.notice(Notice::EndpointVariable { name });
                }
                reader.findings.notice(Notice::NoBackend);
            }
            return (Endpoint::ByHostName, addressing);
        }
    };
    if insecure {
        address = insecure_address(reader, address);
    }
    match (addressing, &address.host) {
        (Addressing::VirtualHost, Host::Address(_)) => {
            let message = "an IP address has no subdomains; expected path, or a DNS name in \
                           backend.host";
            reader.conflict(&BACKEND_ADDRESSING.declaration, HERE, message);
        }
        (Addressing::VirtualHost, Host::Name(_)) | (Addressing::Path, _) => {}
    }
    (Endpoint::Fixed(address), addressing)
}

/// Returns the address with plain HTTP, unless it names HTTPS itself.
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

/// Warns of a region that AWS does not have. Other servers may have their own regions.
fn warn_of_unknown_region(reader: &mut Reader, endpoint: &Endpoint, region: &str) {
    let is_aws = match endpoint {
        Endpoint::ByHostName => true,
        Endpoint::Fixed(address) => match &address.host {
            Host::Name(name) => AwsEndpoint::SUFFIXES.iter().any(|suffix| {
                name.strip_suffix(suffix)
                    .is_some_and(|rest| rest.ends_with('.'))
            }),
            Host::Address(_) => false,
        },
    };
    let mut regions: Vec<&str> = AwsEndpoint::all().map(|known| known.region()).collect();
    if is_aws && !regions.contains(&region) {
        regions.sort_unstable();
        regions.dedup();
        let near = near(region, regions.into_iter());
        let region = region.to_owned();
        reader
            .findings
            .notice(Notice::UnknownRegion { region, near });
    }
}

/// Refuses a backend address at which the proxy itself listens. A DNS name of this machine is
/// detected at run time, by the mark that requests carry (`backend::hop`).
pub(super) fn refuse_own_address(reader: &mut Reader, backend: &Backend, listen: &Listen) {
    let Endpoint::Fixed(address) = &backend.endpoint else {
        return;
    };
    let hosts = match &address.host {
        Host::Address(host) => vec![*host],
        Host::Name(name) if name == "localhost" => {
            vec![
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(Ipv6Addr::LOCALHOST),
            ]
        }
        Host::Name(_) => return,
    };
    let reaches = |own: &SocketAddr| {
        hosts.iter().any(|host| {
            // An IPv4-mapped address denotes the IPv4 address.
            let (host, own) = (host.to_canonical(), own.ip().to_canonical());
            let is_open =
                own.is_unspecified() && (host.is_unspecified() || is_of_this_machine(host));
            // Connecting to the unspecified address reaches this machine.
            host == own || is_open || (host.is_unspecified() && own.is_loopback())
        })
    };
    if !reader.is_given_by_user(&BACKEND_HOST.declaration) {
        return;
    }
    let own = std::iter::once(listen.address).chain(listen.admin);
    let mut same = own.filter(|own| own.port() == address.port);
    if let Some(listen) = same.find(reaches) {
        let message = format!(
            "{address} is an address of this proxy ({listen}), which would be its own backend; set \
             the address of the S3 server"
        );
        reader.conflict(&BACKEND_HOST.declaration, HERE, message);
    }
}

/// Returns whether an address belongs to this machine: only those can be bound.
fn is_of_this_machine(host: IpAddr) -> bool {
    // A UDP socket with any port sends nothing and collides with nothing.
    host.is_loopback() || UdpSocket::bind((host, 0)).is_ok()
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
    if let Some(path) = &private_key {
        reader.findings.secret_file(path);
    }
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
            secret_access_key: secret_access_key.0,
        },
    }
}

fn retry(reader: &mut Reader) -> Retry {
    let Whole(attempts) = reader.value(BACKEND_RETRY_ATTEMPTS);
    let Whole(budget) = reader.value(BACKEND_RETRY_BUDGET);
    let base_delay = reader.value(BACKEND_RETRY_BASE_DELAY).0;
    let max_delay = reader.value(BACKEND_RETRY_MAX_DELAY).0;
    if base_delay > max_delay {
        let message = "it is longer than backend.retry_max_delay; expected at most that delay";
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
    // If it was given and refused, that is reported already.
    if let Some((missing, given)) = missing.filter(|(missing, _)| !reader.is_given(missing)) {
        let message = format!(
            "missing, while {} is set; set it by {}",
            given.path,
            missing.places()
        );
        reader.conflict(missing, HERE, message);
    }
    first.zip(second)
}
