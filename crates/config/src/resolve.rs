//! Resolution of the gathered sources into a valid configuration, section by section.
//!
//! Conditions that concern several settings are checked here, next to the section they belong to.

mod backend;
mod clients;
mod keys;
mod rules;
mod services;
mod telemetry;

use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::notice::Notice;
use super::problem::Origin;
use super::provider;
use super::reader::{HERE, Reader};
use super::resolved::{
    Backend, Bound, Config, Encryption, Limits, Listen, Log, Multipart, PartSizes, Permission,
    Policy, StateBucket, SweepInterval, Tls, Watch,
};
use super::settings::{
    LIMITS_ANONYMOUS_REQUESTS_PER_SECOND, LIMITS_BODY_MEMORY, LIMITS_CLIENT_REQUESTS_IN_FLIGHT,
    LIMITS_CLIENT_REQUESTS_PER_SECOND, LIMITS_HELD_BODY, LIMITS_PUT_BODY,
    LIMITS_REQUESTS_IN_FLIGHT, LIMITS_REQUESTS_PER_SECOND, LIMITS_THROTTLE_WAIT, LISTEN_ADMIN,
    LISTEN_BODY_TIMEOUT, LISTEN_CERTIFICATES, LISTEN_DRAIN_DELAY, LISTEN_DRAIN_TIMEOUT,
    LISTEN_HEADER_TIMEOUT, LISTEN_HOSTS, LISTEN_IDLE_TIMEOUT, LISTEN_IP, LISTEN_MAX_CONNECTIONS,
    LISTEN_MAX_HEADER_BYTES, LISTEN_MIN_BODY_RATE, LISTEN_PORT, LISTEN_TLS, LISTEN_TRUSTED_PROXIES,
    LISTEN_VIRTUAL_HOST_DOMAINS, LOG_FORMAT, LOG_LEVEL, POLICY_ANNOUNCE_ENCRYPTION,
    POLICY_KEY_BINDING, POLICY_LEGACY_READS, POLICY_LISTING, POLICY_LOOKUP_CONCURRENCY,
    POLICY_METADATA, POLICY_MULTIPART, POLICY_PART_SIZES, POLICY_PLAINTEXT_READS,
    POLICY_STATE_BUCKET, POLICY_STATE_PREFIX, POLICY_SWEEP_INTERVAL, RELOAD_WATCH,
};
use super::value::{Switch, Whole};
use super::{Addresses, Transport};

/// Resolves the configuration; `None` if a problem was noted and nothing can replace the value.
pub(super) fn config(reader: &mut Reader) -> Option<Config> {
    let listen = listen(reader);
    let backend = backend::backend(reader);
    backend::refuse_own_address(reader, &backend, &listen);
    let clients = clients::clients(reader);
    let keys = keys::keys(reader);
    let policy = policy(reader, &backend);
    let rules = rules::rules(reader, keys.as_ref(), &policy);
    // Only now, since the rules decide which keys seal.
    if let Some(keys) = &keys {
        keys::judge_passphrases(reader, keys, &rules);
    }
    let plain = rules.iter().any(|rule| rule.encryption == Encryption::Off);
    if plain && policy.plaintext_reads == Permission::Deny {
        reader.findings.notices.push(Notice::StoredAndNotServed);
    }
    let limits = limits(reader);
    let log = Log {
        level: reader.value(LOG_LEVEL).0,
        format: reader.value(LOG_FORMAT),
    };
    let watch = match reader.value(RELOAD_WATCH) {
        Switch::On => Watch::Files,
        Switch::Off => Watch::Nothing,
    };
    let audit = telemetry::audit(reader);
    let traces = telemetry::traces(reader);
    Some(Config {
        watch,
        listen,
        backend,
        clients,
        keys: keys?,
        policy,
        rules,
        limits,
        log,
        audit,
        traces,
    })
}

/// Resolves the addresses; also returns the paths of the settings that they were read from.
pub(super) fn addresses(reader: &mut Reader) -> (Addresses, [&'static str; 4]) {
    let s3 = address(reader);
    let transport = match reader.value(LISTEN_TLS) {
        Switch::Off => Transport::Plain,
        Switch::On => Transport::Tls,
    };
    let addresses = Addresses {
        s3,
        transport,
        admin: reader.optional(LISTEN_ADMIN),
    };
    let read = [
        &LISTEN_IP.declaration,
        &LISTEN_PORT.declaration,
        &LISTEN_TLS.declaration,
        &LISTEN_ADMIN.declaration,
    ];
    (addresses, read.map(|declaration| declaration.path))
}

fn address(reader: &mut Reader) -> SocketAddr {
    let ip = reader.value(LISTEN_IP);
    let Whole(port) = reader.value(LISTEN_PORT);
    let port = u16::try_from(port).expect("the declaration bounds it");
    SocketAddr::new(ip, port)
}

fn listen(reader: &mut Reader) -> Listen {
    let address = address(reader);
    Listen {
        address,
        admin: admin(reader, address),
        tls: tls(reader),
        hosts: texts(reader.value(LISTEN_HOSTS).0, |name| name.0),
        virtual_host_domains: texts(reader.value(LISTEN_VIRTUAL_HOST_DOMAINS).0, |domain| {
            domain.0
        }),
        trusted_proxies: texts(reader.value(LISTEN_TRUSTED_PROXIES).0, |network| network.0),
        max_connections: non_zero_size(reader.value(LISTEN_MAX_CONNECTIONS)),
        max_header_bytes: reader.value(LISTEN_MAX_HEADER_BYTES).0,
        idle_timeout: reader.value(LISTEN_IDLE_TIMEOUT).0,
        header_timeout: reader.value(LISTEN_HEADER_TIMEOUT).0,
        body_timeout: reader.value(LISTEN_BODY_TIMEOUT).0,
        min_body_bytes: NonZeroUsize::new(reader.value(LISTEN_MIN_BODY_RATE).0),
        drain_delay: reader.value(LISTEN_DRAIN_DELAY).0,
        drain_timeout: reader.value(LISTEN_DRAIN_TIMEOUT).0,
    }
}

fn admin(reader: &mut Reader, address: SocketAddr) -> Option<SocketAddr> {
    let admin = reader.optional(LISTEN_ADMIN)?;
    // A listener on all addresses occupies its port on every one.
    let everywhere = admin.ip().is_unspecified() || address.ip().is_unspecified();
    if admin.port() != 0
        && admin.port() == address.port()
        && (everywhere || admin.ip() == address.ip())
    {
        let message = "the S3 listener uses it already; expected a port other than listen.port";
        reader.conflict(&LISTEN_ADMIN.declaration, HERE, message);
    }
    Some(admin)
}

fn tls(reader: &mut Reader) -> Tls {
    let folder = reader.value(LISTEN_CERTIFICATES);
    match reader.value(LISTEN_TLS) {
        Switch::Off => Tls::Off,
        Switch::On => {
            let (certificate, private_key) = pair(&folder);
            for path in [&certificate, &private_key] {
                // Opened only, for the error here: the contents are read when TLS is set up.
                if let Err(error) = std::fs::File::open(path) {
                    no_certificate(reader, &folder, path, &error);
                    // One message is enough: both files are in the same folder.
                    break;
                }
            }
            reader.findings.secret_file(&private_key);
            Tls::Files {
                certificate,
                private_key,
            }
        }
    }
}

/// Returns certificate and key, with the names of the older proxies, or those of a Kubernetes
/// secret.
fn pair(folder: &Path) -> (PathBuf, PathBuf) {
    let named = |name: &str| {
        let file = |extension: &str| folder.join(format!("{name}.{extension}"));
        (file("crt"), file("key"))
    };
    let (own, kubernetes) = (named("s3proxy"), named("tls"));
    if !own.0.exists() && !own.1.exists() && kubernetes.0.exists() {
        kubernetes
    } else {
        own
    }
}

fn no_certificate(reader: &mut Reader, folder: &Path, path: &Path, error: &io::Error) {
    let declaration = &LISTEN_CERTIFICATES.declaration;
    let expected = "s3proxy.crt and s3proxy.key, or tls.crt and tls.key (PEM), in the folder that \
                    --cert names (S3PROXY_CERT, listen.certificates); or plain HTTP with --no-tls \
                    (S3PROXY_LISTEN_TLS=off)";
    if folder.is_file() {
        let message = format!(
            "{} is a file; expected the folder that holds {}",
            folder.display(),
            "s3proxy.crt and s3proxy.key, or tls.crt and tls.key"
        );
        reader.conflict(declaration, HERE, message);
    } else {
        reader.unreadable_file(declaration, path, error, expected);
    }
}

fn policy(reader: &mut Reader, backend: &Backend) -> Policy {
    let multipart = reader.value(POLICY_MULTIPART);
    match multipart {
        Multipart::Encrypt | Multipart::Block => {}
        Multipart::ForwardPlaintext => {
            reader.findings.notices.push(Notice::MultipartInPlaintext);
        }
    }
    let metadata = reader.value(POLICY_METADATA);
    let state_bucket = reader.optional(POLICY_STATE_BUCKET);
    Policy {
        key_binding: reader.value(POLICY_KEY_BINDING),
        plaintext_reads: reader.value(POLICY_PLAINTEXT_READS),
        legacy_reads: reader.value(POLICY_LEGACY_READS),
        listing: reader.value(POLICY_LISTING),
        lookup_concurrency: non_zero_size(reader.value(POLICY_LOOKUP_CONCURRENCY)),
        multipart,
        part_sizes: part_sizes(reader, backend),
        metadata,
        announce_encryption: reader.value(POLICY_ANNOUNCE_ENCRYPTION),
        state_prefix: reader.value(POLICY_STATE_PREFIX).0,
        state_bucket: state_bucket.map_or(StateBucket::Same, |name| StateBucket::Named(name.0)),
        sweep_interval: match reader.value(POLICY_SWEEP_INTERVAL).0 {
            Duration::ZERO => SweepInterval::Never,
            interval => SweepInterval::Every(interval),
        },
    }
}

/// The user's choice, or the way of a known provider.
fn part_sizes(reader: &mut Reader, backend: &Backend) -> PartSizes {
    let chosen = reader.value(POLICY_PART_SIZES);
    match provider::of(&backend.endpoint) {
        Some(provider) if !reader.is_given(&POLICY_PART_SIZES.declaration) => provider.part_sizes,
        Some(_) | None => chosen,
    }
}

fn limits(reader: &mut Reader) -> Limits {
    let body_memory_bytes = reader.value(LIMITS_BODY_MEMORY).0;
    let held_body_bytes = reader.value(LIMITS_HELD_BODY).0;
    if held_body_bytes > body_memory_bytes {
        let message = "a held body must fit into limits.body_memory; expected at most that size";
        reader.conflict(&LIMITS_HELD_BODY.declaration, HERE, message);
    }
    let requests_per_second = bound(reader.value(LIMITS_REQUESTS_PER_SECOND));
    tell_of_throttling(reader, requests_per_second);
    Limits {
        requests_per_second,
        client_requests_per_second: bound(reader.value(LIMITS_CLIENT_REQUESTS_PER_SECOND)),
        anonymous_requests_per_second: bound(reader.value(LIMITS_ANONYMOUS_REQUESTS_PER_SECOND)),
        requests_in_flight: bound(reader.value(LIMITS_REQUESTS_IN_FLIGHT)),
        client_requests_in_flight: bound(reader.value(LIMITS_CLIENT_REQUESTS_IN_FLIGHT)),
        throttle_wait: reader.value(LIMITS_THROTTLE_WAIT).0,
        body_memory_bytes,
        held_body_bytes,
        put_body_bytes: NonZeroU64::new(reader.value(LIMITS_PUT_BODY).0 as u64),
    }
}

/// Notes how the variable was read: Intrinsec's proxy reads it as requests in flight since 1.8.
fn tell_of_throttling(reader: &mut Reader, requests_per_second: Bound) {
    let path = LIMITS_REQUESTS_PER_SECOND.declaration.path;
    if let (Bound::At(number), Some(Origin::Environment(variable))) =
        (requests_per_second, reader.origin(path))
    {
        let notice = Notice::ThrottlingPerSecond { variable, number };
        reader.findings.notices.push(notice);
    }
}

/// Converts a number to a bound; 0 means none.
fn bound<const MAX: u64>(Whole(number): Whole<0, MAX>) -> Bound {
    let number = u32::try_from(number).expect("the declaration bounds it");
    NonZeroU32::new(number).map_or(Bound::Off, Bound::At)
}

fn texts<T, U>(items: Vec<T>, inner: fn(T) -> U) -> Vec<U> {
    items.into_iter().map(inner).collect()
}

fn non_zero_size<const MAX: u64>(Whole(number): Whole<1, MAX>) -> NonZeroUsize {
    usize::try_from(number)
        .ok()
        .and_then(NonZeroUsize::new)
        .expect("the declaration bounds it to 1 and above")
}
