//! Configuration: a TOML file, environment variables and flags become one [`resolved::Config`].
//!
//! Flags take precedence over the environment, and the environment over the file. Every setting is
//! declared once, in `settings`. Sources are gathered as text, the text that wins is validated by
//! the type of its setting, and all problems are reported together, before anything is started.
//!
//! Absent on purpose: a file at a default path (naming the file avoids surprises), and AWS's own
//! variables, which its default chain reads itself (except `AWS_REGION`). The time of a reload is
//! decided elsewhere; the differences are computed in [`changes`].

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
mod notice;
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
pub use files::{FileChange, FileWatcher, Files};
pub use flags::refusal;
pub use flags::{ScopedFlags, SettingFlags};
pub use gather::Sources;
pub use notice::Notice;
pub use problem::{Problem, Problems};
pub use scope::{Development, LocalFiles, Probe, Scope, Serving, StoredObjects, UploadState};
pub use secret::EmptySecret;
pub use value::{damage as key_damage, period};

use std::net::SocketAddr;

use gather::Findings;
use reader::Reader;
use resolved::Config;

/// A valid configuration, with notices for the operator.
pub struct LoadedConfig {
    pub config: Config,
    pub notices: Vec<Notice>,
    /// Snapshot for the comparison with another configuration.
    pub snapshot: Snapshot,
    /// Files that the configuration came from.
    pub files: Files,
}

/// Addresses of a proxy with these settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub s3: SocketAddr,
    /// Transport on the S3 address.
    pub transport: Transport,
    /// Admin address, always plain HTTP.
    pub admin: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

/// Returns the addresses of a proxy with these settings, whether or not other settings are valid.
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

/// Gathers and validates all sources. Files that settings name are opened, sockets are not.
pub fn load(sources: Sources) -> Result<LoadedConfig, Problems> {
    let mut findings = Findings::default();
    let layer = sources.gather(&mut findings);
    if findings.is_file_unusable {
        // The file's contents are unknown, so missing settings cannot be reported.
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
        Some(config) if problems.is_empty() => Ok(LoadedConfig {
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
