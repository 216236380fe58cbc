//! Problems of a configuration, and warnings about it.
//!
//! All problems are collected and shown together, each with the setting's path, the origin of the
//! value, and the valid values. Values of secrets are never part of a message, nor is any text that
//! might contain a credential.

use std::fmt;
use std::num::NonZeroU32;

use s3proxy_protocol::quote::quoted;

use super::files::Files;
use super::gather::Findings;

/// Origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(String),
    Environment(String),
    File {
        name: String,
        line: usize,
    },
    /// Preset of the subcommand, below everything that users give.
    Command,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::File { name, line } => write!(f, "{name}, line {line}"),
            Self::Command => f.write_str("set by this command"),
        }
    }
}

/// Fault of one value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{} is not valid{}; expected {expected}", shown.as_deref().unwrap_or("the value"), because(reason))]
    Invalid {
        shown: Option<String>,
        reason: String,
        expected: String,
    },
    #[error("missing; set it by {places}")]
    Missing { places: String },
    #[error("unknown setting{}", suggestion(near))]
    Unknown { near: Vec<String> },
    #[error("unknown table{}", suggestion(near))]
    UnknownTable { near: Vec<String> },
    #[error("set both directly and via *_file; use one")]
    GivenTwice,
    #[error("cannot read {path}: {reason}; expected {expected}")]
    Unreadable {
        path: String,
        reason: String,
        expected: &'static str,
    },
    #[error("not valid TOML: {reason}")]
    Syntax { reason: String },
    #[error("{0}")]
    Conflict(String),
}

fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(" ({reason})")
    }
}

pub(super) fn suggestion(near: &[String]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!("; did you mean {}?", near.join(" or "))
    }
}

/// One problem with its location.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub(crate) key: String,
    pub(crate) origin: Option<Origin>,
    pub(crate) fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(origin) = &self.origin {
            let parted = if self.key.is_empty() { "" } else { " " };
            write!(f, "{parted}({origin})")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// All problems of a configuration.
#[expect(
    clippy::struct_field_names,
    reason = "problems and warnings are told apart by these names"
)]
pub struct Problems {
    /// The problems; never empty.
    pub(crate) problems: Vec<Problem>,
    /// They often explain a problem, such as a mistyped variable for a missing setting.
    pub notices: Vec<Notice>,
    /// What was read.
    pub files: Files,
}

impl Problems {
    pub(super) fn of(findings: Findings) -> Self {
        let Findings {
            problems,
            notices,
            files,
            ..
        } = findings;
        Self {
            problems,
            notices,
            files,
        }
    }
}

impl std::error::Error for Problems {}

impl fmt::Debug for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Problems {
    /// Formats all problems in one line, for logs.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        let problems = self.problems.iter().map(Problem::to_string);
        let warnings = self
            .notices
            .iter()
            .map(|notice| format!("{}: {notice}", notice.heading()));
        problems.chain(warnings).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has an error:")?,
            count => write!(f, "the configuration has {count} errors:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        for notice in &self.notices {
            write!(f, "\n  {}: {notice}", notice.heading())?;
        }
        Ok(())
    }
}

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

/// Returns the names closest to `name`, best first; none if nothing is close. The last part of a
/// path decides: people mistype that part, and misplace the rest.
pub(super) fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    const CLOSE: f64 = 0.7;
    const SHOWN: usize = 2;
    let similarity = strsim::normalized_damerau_levenshtein;
    let mut close: Vec<(f64, f64, &str)> = candidates
        .map(|candidate| {
            let (own, other) = (last_part(name), last_part(candidate));
            (
                similarity(own, other),
                similarity(name, candidate),
                candidate,
            )
        })
        .filter(|(last, _, _)| *last >= CLOSE)
        .collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
    close
        .into_iter()
        .take(SHOWN)
        .map(|(_, _, candidate)| candidate.to_owned())
        .collect()
}

fn last_part(name: &str) -> &str {
    let name = name.strip_prefix("S3PROXY_").unwrap_or(name);
    name.rsplit('.').next().unwrap_or(name)
}

/// Formats a value for a message: quoted, control characters escaped, truncated. `None` if an `@`
/// may separate a credential from a host.
pub(super) fn shown(text: &str) -> Option<String> {
    const LONGEST: usize = 60;
    if text.contains('@') {
        return None;
    }
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    Some(format!("{short:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_in_paths_and_in_last_parts() {
        let known = [
            "listen.port",
            "listen.idle_timeout",
            "backend.region",
            "clients.auth",
        ];
        let near = |name| near(name, known.into_iter());
        assert_eq!(near("listen.idle_timout"), ["listen.idle_timeout"]);
        assert_eq!(near("auth"), ["clients.auth"]);
        assert_eq!(near("listen.colour"), [""; 0]);
    }

    #[test]
    fn what_may_hold_a_credential_is_not_shown() {
        assert_eq!(shown("https://user:word@host"), None);
        assert_eq!(shown("a\u{1b}b").unwrap(), "\"a\\u{1b}b\"");
        assert_eq!(shown(&"x".repeat(100)).unwrap().chars().count(), 63);
    }
}
