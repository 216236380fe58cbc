//! Warnings and notes about a valid configuration.

use std::fmt;
use std::num::NonZeroU32;

use s3proxy_protocol::quote::quoted;

use super::problem::suggestion;

/// A fact that is valid and that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    UnknownVariable {
        name: String,
        near: Vec<String>,
    },
    /// A setting or environment variable has a new name; the former one still counts.
    FormerName {
        name: String,
        today: String,
    },
    ReadableByOthers {
        file: String,
        mode: u32,
        /// Classes of users that should lose their permissions, in `chmod`'s letters.
        who: &'static str,
    },
    /// A key that may seal is a passphrase, which can be guessed.
    Passphrase {
        setting: String,
        characters: usize,
    },
    /// Every request goes to the AWS endpoint that its Host names, and nothing asked for that.
    NoBackend,
    /// AWS's own variable does not name the backend.
    EndpointVariable {
        name: &'static str,
    },
    /// AWS has no region with that name.
    UnknownRegion {
        region: String,
        near: Vec<String>,
    },
    AllowMultipart,
    NoAuthentication,
    SignatureV2 {
        client: String,
    },
    ZeroKeyAllowed,
    MultipartInPlaintext,
    /// A rule stores plaintext, which the policy does not serve.
    StoredAndNotServed,
    InsecureBackend {
        backend: String,
    },
    /// The collector's port is the usual one of the other protocol.
    CollectorPort {
        port: u16,
    },
    ThrottlingPerSecond {
        variable: String,
        number: NonZeroU32,
    },
}

impl Notice {
    /// Returns whether something may be wrong. If not, the notice only explains how a setting was
    /// read.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::ThrottlingPerSecond { .. })
    }

    /// Writes the notice to the log.
    pub fn log(&self) {
        if self.is_warning() {
            tracing::warn!("{self}");
        } else {
            tracing::info!("{self}");
        }
    }

    /// Returns the word in front of the notice, for people.
    #[must_use]
    pub fn heading(&self) -> &'static str {
        if self.is_warning() { "warning" } else { "note" }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVariable { name, near } => {
                write!(
                    f,
                    "the environment variable {name} is not a setting{}",
                    suggestion(near)
                )
            }
            Self::FormerName { name, today } => {
                write!(f, "{name} is now called {today}; the old name still works")
            }
            Self::ReadableByOthers { file, mode, who } => write!(
                f,
                "{file} contains a secret and is readable by other users of this machine (mode \
                 {mode:04o}); run: chmod {who}-rwx {file}"
            ),
            Self::Passphrase {
                setting,
                characters,
            } => write!(
                f,
                "{setting} is a passphrase of {characters} character{}, not a generated key: \
                 anyone who sees one stored object can try to guess it; use a key made by `s3proxy \
                 keygen`",
                if *characters == 1 { "" } else { "s" }
            ),
            Self::NoBackend => f.write_str(
                "no backend is configured: requests go to the AWS endpoint that their Host header \
                 names (DNS redirection); set S3PROXY_HOST (--backend, backend.host) to your S3 \
                 server, or to aws if this is intended",
            ),
            Self::EndpointVariable { name } => write!(
                f,
                "{name} is set, but does not select the backend; set S3PROXY_HOST (--backend, \
                 backend.host)"
            ),
            Self::UnknownRegion { region, near } => write!(
                f,
                "backend.region is {region}, which is not an AWS region known to this version{}",
                suggestion(near)
            ),
            Self::AllowMultipart => f.write_str(
                "--allow-multipart has no effect: multipart uploads are encrypted like all others",
            ),
            Self::NoAuthentication => f.write_str(
                "clients.auth is none: anyone who can reach this proxy can use its credential and \
                 its keys",
            ),
            Self::SignatureV2 { client } => write!(
                f,
                "clients.known[].signature_v2 is allow for the client {}: Signature Version 2 is \
                 weaker than Version 4, and covers neither bodies nor hosts; allow it only over \
                 TLS, for programs without support for Version 4",
                quoted(client)
            ),
            Self::ZeroKeyAllowed => f.write_str(
                "keys.decryption_fallback, or that of a rule, is allow: objects sealed with the \
                 all-zero key are opened; anyone who can read them at the backend can decrypt them",
            ),
            Self::MultipartInPlaintext => f.write_str(
                "policy.multipart is forward-plaintext: multipart uploads are stored UNENCRYPTED; \
                 set encrypt",
            ),
            Self::StoredAndNotServed => f.write_str(
                "a rule has encryption = \"off\" and policy.plaintext_reads is deny: objects \
                 stored under that rule cannot be read back; allow plaintext reads, and set \
                 encryption = \"required\" in rules for objects that must be sealed",
            ),
            Self::InsecureBackend { backend } => write!(
                f,
                "backend.insecure (S3PROXY_INSECURE) is on: requests to {backend} go over PLAIN \
                 HTTP, so anyone on the network path can read and change them; objects stay \
                 encrypted, but names, metadata and sizes are visible"
            ),
            Self::CollectorPort { port } => {
                let (named, other) = match port {
                    4317 => ("gRPC", "grpc"),
                    _ => ("HTTP", "http/protobuf"),
                };
                write!(
                    f,
                    "traces.endpoint has port {port}, where collectors accept OTLP over {named}, \
                     but traces.protocol is different; set traces.protocol = \"{other}\" \
                     (OTEL_EXPORTER_OTLP_PROTOCOL), or the other port"
                )
            }
            Self::ThrottlingPerSecond { variable, number } => write!(
                f,
                "{variable} is read as {number} requests per second (limits.requests_per_second); \
                 Intrinsec's proxy from 1.8 on reads it as requests in flight, which is \
                 limits.requests_in_flight (S3PROXY_LIMITS_REQUESTS_IN_FLIGHT) here"
            ),
        }
    }
}
