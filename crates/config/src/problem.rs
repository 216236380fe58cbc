//! Problems of a configuration.
//!
//! All problems are collected and shown together, each with the setting's path, the origin of the
//! value, and the valid values. Values of secrets are never part of a message, nor is any text that
//! might contain a credential.

use std::fmt;

use super::files::Files;
use super::gather::Findings;
use super::notice::Notice;

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
    /// Notices, which often explain a problem: a mistyped variable and a missing setting.
    pub notices: Vec<Notice>,
    /// Files that were read, for watching them.
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
