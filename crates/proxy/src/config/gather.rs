//! The three sources side by side: what each of them says, before anything is judged.
//!
//! A [`Layer`] maps concrete paths (`clients.known[0].name`) to texts with their origin. Layers are
//! laid over one another: the subcommand's own choices, the file, the environment, the flags. Only
//! the text that wins is judged later.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::declare::Declaration;
use super::files::Files;
use super::fingerprint::Fingerprint;
use super::flags::{AllowMultipart, SettingFlags};
use super::problem::{Fault, Notice, Origin, Problem};
use super::value::Given;
use super::{environment, file, settings};

/// A text and where it came from.
pub(super) struct Entry {
    pub given: Given,
    pub origin: Origin,
}

pub(super) type Layer = BTreeMap<String, Entry>;

/// What came up while the sources were read.
#[derive(Default)]
pub(super) struct Findings {
    pub problems: Vec<Problem>,
    pub notices: Vec<Notice>,
    /// All that were read.
    pub files: Files,
    /// What is in the files that settings name, by the path of the setting.
    pub contents: BTreeMap<String, Fingerprint>,
}

impl Findings {
    pub(super) fn problem(&mut self, key: impl Into<String>, origin: Option<Origin>, fault: Fault) {
        self.problems.push(Problem {
            key: key.into(),
            origin,
            fault,
        });
    }
}

/// Everything that users and the subcommand say.
#[derive(Clone)]
pub struct Sources {
    flags: SettingFlags,
    environment: BTreeMap<OsString, OsString>,
    presets: Vec<(&'static str, Zeroizing<String>)>,
}

impl Sources {
    /// Flags and environment; the file is named by one of them.
    pub fn new(
        flags: impl Into<SettingFlags>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        Self {
            flags: flags.into(),
            environment: environment.into_iter().collect(),
            presets: Vec::new(),
        }
    }

    /// Gives a setting another default, as `s3proxy dev` does. `path` must be that of a setting.
    #[must_use]
    pub fn preset(mut self, path: &'static str, text: impl Into<String>) -> Self {
        self.presets.push((path, Zeroizing::new(text.into())));
        self
    }

    /// The configuration file that a flag or the environment names.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let flag = self.flags.file.clone();
        flag.or_else(|| environment::file(&self.environment))
    }

    /// Reads all sources and lays them over one another.
    pub(super) fn gather(self, findings: &mut Findings) -> Layer {
        let file = self.file();
        let mut merged = Layer::new();
        for (path, text) in self.presets {
            debug_assert!(declared(path).is_some(), "{path} is not a setting");
            merged.insert(path.to_owned(), entry(Given::Text(text), Origin::Command));
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

pub(super) fn entry(given: Given, origin: Origin) -> Entry {
    Entry { given, origin }
}

/// The setting that is declared under `path`.
pub(super) fn declared(path: &str) -> Option<&'static Declaration> {
    settings::all().find(|declaration| declaration.path == path)
}

/// A secret from a file of its own, without the line end that editors add.
pub(super) fn read_secret(path: &Path, files: &mut Files) -> Result<Zeroizing<String>, Fault> {
    let unreadable = |reason: String| Fault::Unreadable {
        path: path.display().to_string(),
        reason,
        expected: "a readable text file that holds the secret and nothing else",
    };
    let bytes = files.read(path).map_err(|e| unreadable(e.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("it is not UTF-8".into()))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(Zeroizing::new(text.to_owned()))
}
