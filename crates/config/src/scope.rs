//! Settings that each kind of command reads, so that it offers their flags and no others.
//!
//! Environment and file are the same for all commands, and settings there that a command does not
//! read are fine: one configuration serves the proxy and its commands. A flag without effect is a
//! mistake, and is refused with the reason.

/// A command's treatment of a setting's flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// The command takes the flag.
    Shown,
    /// The command takes the flag, but its help does not mention it.
    Hidden,
    /// The command does not have the flag. The reason continues "the command …".
    Refused(&'static str),
}

/// A kind of command.
pub trait Scope: Send + Sync + 'static {
    /// Whether its help has a heading for each section of the settings.
    const HAS_SECTIONS: bool;

    /// Returns the command's treatment of the flag of the setting `path`.
    fn offer(path: &str) -> Offer;

    /// Returns the command's own default for a setting, in place of the declared one.
    #[must_use]
    fn preset(_path: &str) -> Option<&'static str> {
        None
    }
}

/// `serve` and `check-config`: all settings.
pub enum Serving {}

impl Scope for Serving {
    const HAS_SECTIONS: bool = true;

    fn offer(_path: &str) -> Offer {
        Offer::Shown
    }
}

/// `dev`: with its own backend and key.
pub enum Development {}

impl Scope for Development {
    const HAS_SECTIONS: bool = false;

    fn offer(path: &str) -> Offer {
        match path {
            "backend.host" | "backend.region" => {
                Offer::Refused("stores objects in its own folder; `s3proxy serve` has a backend")
            }
            "keys.kms" => Offer::Refused("keeps the key in its own folder"),
            "policy.multipart" | "listen.tls" | "listen.certificates" => Offer::Hidden,
            _ => Offer::Shown,
        }
    }

    fn preset(path: &str) -> Option<&'static str> {
        match path {
            "listen.ip" => Some("127.0.0.1"),
            "log.level" => Some("warn"),
            _ => None,
        }
    }
}

/// `health`: the addresses. It may be given the flags of `serve`, so it takes all of them.
pub enum Probe {}

impl Scope for Probe {
    const HAS_SECTIONS: bool = false;

    fn offer(path: &str) -> Offer {
        match path {
            "listen.ip" | "listen.port" | "listen.admin" | "listen.tls" => Offer::Shown,
            _ => Offer::Hidden,
        }
    }
}

/// Commands that read or write objects on the backend: `inspect`, `verify`, `rewrap`, `migrate` and
/// `decrypt`.
pub enum StoredObjects {}

impl Scope for StoredObjects {
    const HAS_SECTIONS: bool = false;

    fn offer(path: &str) -> Offer {
        match section(path) {
            Some(reason) => Offer::Refused(reason),
            None => Offer::Shown,
        }
    }

    fn preset(path: &str) -> Option<&'static str> {
        quiet(path)
    }
}

/// `sweep`: state of uploads on the backend, which needs no key.
pub enum UploadState {}

impl Scope for UploadState {
    const HAS_SECTIONS: bool = false;

    fn offer(path: &str) -> Offer {
        if path.starts_with("keys.") {
            return Offer::Refused("needs no key");
        }
        StoredObjects::offer(path)
    }
}

/// `recover`: files only, without a backend and without a key service.
pub enum LocalFiles {}

impl Scope for LocalFiles {
    const HAS_SECTIONS: bool = false;

    fn offer(path: &str) -> Offer {
        if path.starts_with("backend.") || path == "keys.kms" {
            return Offer::Refused("reads local files only and uses no network");
        }
        StoredObjects::offer(path)
    }

    fn preset(path: &str) -> Option<&'static str> {
        quiet(path)
    }
}

/// Returns why a command on stored objects does not read a setting.
fn section(path: &str) -> Option<&'static str> {
    if path == "policy.multipart" {
        return Some("takes no uploads");
    }
    match path.split_once('.').map(|(section, _)| section) {
        Some("listen" | "clients" | "audit" | "traces" | "reload") => Some("serves no clients"),
        Some(_) | None => None,
    }
}

/// Lowers the log level for commands that report their results themselves.
fn quiet(path: &str) -> Option<&'static str> {
    (path == "log.level").then_some("warn")
}
