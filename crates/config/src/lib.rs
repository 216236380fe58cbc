//! Configuration: a TOML file, environment variables and flags become one [`resolved::Config`].
//!
//! Flags come before the environment, the environment before the file. Every setting is declared
//! once, in `settings`; sources are gathered as text, the text that wins is judged by the type of
//! its setting, and all problems are reported together, before anything is started.
//!
//! Absent on purpose: a file at a default place (a configuration is named, so that nobody is
//! surprised by one), and AWS's own variables, which its default chain reads itself (`AWS_REGION`
//! excepted). When to load anew is decided elsewhere; what differs then, in [`changes`].

mod changes;
mod declare;
mod dek_tag;
mod endpoint;
mod environment;
mod file;
mod files;
mod fingerprint;
mod flags;
mod gather;
mod pattern;
mod problem;
mod provider;
mod reader;
pub mod reference;
mod resolve;
pub mod resolved;
mod scope;
mod secret;
mod secret_file;
mod settings;
mod value;

pub use changes::Changes;
pub use changes::Snapshot;
pub use files::{Files, Looked, Watched};
pub use flags::refusal;
pub use flags::{ScopedFlags, SettingFlags};
pub use gather::Sources;
pub use problem::{Notice, Problem, Problems};
pub use scope::{Development, LocalFiles, Probe, Scope, Serving, StoredObjects, UploadState};
pub use secret::EmptySecret;
pub use value::{damage as key_damage, period};

use std::net::SocketAddr;

use gather::Findings;
use reader::Reader;
use resolved::Config;

/// A valid configuration and what somebody should know of it.
pub struct Loaded {
    pub config: Config,
    pub notices: Vec<Notice>,
    /// For comparing it with another.
    pub snapshot: Snapshot,
    /// What it came from.
    pub files: Files,
}

/// Where a proxy with these settings is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub s3: SocketAddr,
    /// On the address of S3.
    pub transport: Transport,
    /// Always plain.
    pub admin: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

/// Where a proxy with these settings is reached, whatever is wrong with all others.
pub fn addresses(sources: Sources) -> Result<Addresses, Problems> {
    let mut findings = Findings::default();
    let layer = sources.gather(&mut findings);
    let mut reader = Reader::new(layer, findings);
    let (addresses, read) = resolve::addresses(&mut reader);
    let Findings {
        mut problems,
        files,
        ..
    } = reader.findings;
    problems.retain(|problem| read.contains(&problem.key.as_str()));
    if problems.is_empty() {
        return Ok(addresses);
    }
    Err(Problems {
        problems,
        notices: Vec::new(),
        files,
    })
}

/// Gathers all sources and judges them. Files named by settings are opened, sockets are not.
pub fn load(sources: Sources) -> Result<Loaded, Problems> {
    let mut findings = Findings::default();
    let layer = sources.gather(&mut findings);
    if findings.is_file_unusable {
        // What it says is not known, so nothing can be said of settings that are missing.
        return Err(Problems::of(findings));
    }
    let mut reader = Reader::new(layer, findings);
    let config = resolve::config(&mut reader);
    let Reader { layer, findings } = reader;
    let Findings {
        problems,
        notices,
        files,
        contents,
        is_file_unusable: _,
        endpoint_variable: _,
    } = findings;
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded {
            config,
            notices,
            snapshot: Snapshot::of(&layer, &contents),
            files,
        }),
        Some(_) | None => Err(Problems {
            problems,
            notices,
            files,
        }),
    }
}
