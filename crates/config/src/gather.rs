//! The three sources side by side, before validation.
//!
//! A [`Layer`] maps concrete paths (`clients.known[0].name`) to texts with their origin. Layers are
//! merged in this order: the subcommand's presets, the file, the environment, the flags. Only the
//! text that wins is validated later.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::declare::Declaration;
use super::files::Files;
use super::fingerprint::Fingerprint;
use super::flags::{AllowMultipart, SettingFlags};
use super::notice::Notice;
use super::problem::{Fault, Origin, Problem};
use super::value::RawValue;
use super::{environment, file, secret_file, settings};

/// A text with its origin.
pub(super) struct Entry {
    pub given: RawValue,
    pub origin: Origin,
}

pub(super) type Layer = BTreeMap<String, Entry>;

/// Results of reading the sources, besides the settings.
#[derive(Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    pub notices: Vec<Notice>,
    /// All files that were read.
    pub files: Files,
    /// Fingerprints of files that settings name, by the path of the setting.
    pub contents: BTreeMap<String, Fingerprint>,
    /// Whether the configuration file is missing, unreadable or not TOML.
    pub is_file_unusable: bool,
    /// AWS's own variable for an endpoint, if it is set: it names no backend.
    pub endpoint_variable: Option<&'static str>,
}

impl Findings {
    pub(super) fn problem(&mut self, key: impl Into<String>, origin: Option<Origin>, fault: Fault) {
        self.problems.push(Problem {
            key: key.into(),
            origin,
            fault,
        });
    }

    /// Adds a notice, unless it is there already.
    pub(super) fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// Warns if other users may read a file with a secret.
    pub(super) fn secret_file(&mut self, path: &Path) {
        if let Some(notice) = secret_file::exposure(path) {
            self.notice(notice);
        }
    }
}

/// All sources of settings: users and the subcommand.
#[derive(Clone)]
pub struct Sources {
    flags: SettingFlags,
    environment: BTreeMap<OsString, OsString>,
    presets: Vec<(&'static str, Zeroizing<String>)>,
    secret_files: Vec<PathBuf>,
}

impl Sources {
    /// Collects flags and environment; one of them may name the file.
    pub fn new(
        flags: impl Into<SettingFlags>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        Self {
            flags: flags.into(),
            environment: environment.into_iter().collect(),
            presets: Vec::new(),
            secret_files: Vec::new(),
        }
    }

    /// Gives a setting another default, as `s3proxy dev` does. `path` must be that of a setting.
    #[must_use]
    pub fn preset(mut self, path: &'static str, text: impl Into<String>) -> Self {
        self.presets.push((path, Zeroizing::new(text.into())));
        self
    }

    /// Registers a file from which the subcommand has read a secret.
    #[must_use]
    pub fn secret_file(mut self, path: PathBuf) -> Self {
        self.secret_files.push(path);
        self
    }

    /// Returns the configuration file that a flag or the environment names.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let flag = self.flags.file.clone();
        flag.or_else(|| environment::file(&self.environment))
    }

    /// Reads all sources and merges them.
    pub(super) fn gather(self, findings: &mut Findings) -> Layer {
        let file = self.file();
        // `append` overwrites, so later sources win.
        let mut merged = Layer::new();
        for (path, text) in self.presets {
            debug_assert!(declared(path).is_some(), "{path} is not a setting");
            merged.insert(
                path.to_owned(),
                entry(RawValue::Text(text), Origin::Command),
            );
        }
        for path in &self.secret_files {
            findings.secret_file(path);
        }
        if let Some(path) = file {
            merged.append(&mut file::layer(&path, findings));
        }
        merged.append(&mut environment::layer(&self.environment, findings));
        if self.flags.allow_multipart == AllowMultipart::Given {
            findings.notices.push(Notice::AllowMultipart);
        }
        merged.append(&mut self.flags.layer(findings));
        merged
    }
}

pub(super) fn entry(given: RawValue, origin: Origin) -> Entry {
    Entry { given, origin }
}

/// Returns the setting that is declared under `path`.
pub(super) fn declared(path: &str) -> Option<&'static Declaration> {
    settings::all().find(|declaration| declaration.path == path)
}

/// Reads a secret from a file of its own, without the line break that editors add.
pub(super) fn read_secret(
    path: &Path,
    findings: &mut Findings,
) -> Result<Zeroizing<String>, Fault> {
    let unreadable = |reason: String| Fault::Unreadable {
        path: path.display().to_string(),
        reason,
        expected: "a readable text file that contains only the secret",
    };
    let read = findings.files.read(path);
    let bytes = read.map_err(|e| unreadable(e.to_string()))?;
    findings.secret_file(path);
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("it is not UTF-8".into()))?;
    // Only one line break: any other character may belong to the secret.
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(Zeroizing::new(text.to_owned()))
}
