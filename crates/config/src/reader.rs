//! Reader of settings, by their declarations, from the gathered sources.
//!
//! A refused value becomes a problem and is replaced by the setting's default, so that all others
//! are still validated; with one problem the whole result is discarded.

use std::path::Path;

use super::declare::{Declaration, Default, Optional, Required, Sensitivity, Setting};
use super::gather::{Findings, Layer};
use super::problem::{Fault, Origin, shown};
use super::value::{RawValue, Value};

pub(super) struct Reader {
    pub layer: Layer,
    pub findings: Findings,
}

/// The list record that a setting belongs to: the numbers for `[]` in its path.
pub(super) type Place<'a> = &'a [usize];

/// Place of settings that are in no list.
pub(super) const HERE: Place<'static> = &[];

impl Reader {
    pub(super) fn new(layer: Layer, findings: Findings) -> Self {
        Self { layer, findings }
    }

    pub(super) fn value<T: Value>(&mut self, setting: &Setting<T>) -> T {
        self.value_in(setting, HERE)
    }

    pub(super) fn value_in<T: Value>(&mut self, setting: &Setting<T>, place: Place<'_>) -> T {
        let declaration = &setting.declaration;
        let Default::Text(default) = declaration.default else {
            unreachable!("a Setting is made with a default only");
        };
        self.given(declaration, place).unwrap_or_else(|| {
            let default = RawValue::Text(default.to_owned().into());
            T::read(&default).expect("a test reads every default")
        })
    }

    pub(super) fn optional<T: Value>(&mut self, setting: &Optional<T>) -> Option<T> {
        self.optional_in(setting, HERE)
    }

    pub(super) fn optional_in<T: Value>(
        &mut self,
        setting: &Optional<T>,
        place: Place<'_>,
    ) -> Option<T> {
        self.given(&setting.declaration, place)
    }

    /// Reads a required setting; `None` if a problem was noted.
    pub(super) fn required_in<T: Value>(
        &mut self,
        setting: &Required<T>,
        place: Place<'_>,
    ) -> Option<T> {
        let declaration = &setting.declaration;
        let path = concrete(declaration.path, place);
        if !self.layer.contains_key(&path) && !self.is_faulty(&path) {
            self.missing(declaration, place);
            return None;
        }
        self.given(declaration, place)
    }

    /// Notes that a setting has to be given, unless its value was refused already.
    pub(super) fn missing(&mut self, declaration: &Declaration, place: Place<'_>) {
        let path = concrete(declaration.path, place);
        if self.is_faulty(&path) {
            return;
        }
        let fault = Fault::Missing {
            places: declaration.places(),
        };
        self.findings.problem(path, None, fault);
    }

    /// Returns the number of records in the list at `path`.
    pub(super) fn count(&self, path: &str, place: Place<'_>) -> usize {
        let path = concrete(path, place);
        let mut count = 0;
        // Records are numbered without gaps.
        while self.layer.contains_key(&format!("{path}[{count}]")) {
            count += 1;
        }
        count
    }

    /// Returns the text that a source gave, valid or not; for comparisons between records.
    pub(super) fn text(&self, declaration: &Declaration, place: Place<'_>) -> Option<String> {
        match &self.layer.get(&concrete(declaration.path, place))?.given {
            RawValue::Text(text) => Some(text.as_str().to_owned()),
            RawValue::List(_) => None,
        }
    }

    /// Notes a problem with a value that is well-formed but inconsistent.
    pub(super) fn conflict(
        &mut self,
        declaration: &Declaration,
        place: Place<'_>,
        message: impl Into<String>,
    ) {
        self.refuse(declaration, place, Fault::Conflict(message.into()));
    }

    pub(super) fn refuse(&mut self, declaration: &Declaration, place: Place<'_>, fault: Fault) {
        let path = concrete(declaration.path, place);
        let origin = self.origin(&path);
        self.findings.problem(path, origin, fault);
    }

    /// Reads the file, so that a wrong name shows before anything starts, and its contents count as
    /// part of the setting.
    pub(super) fn require_file(&mut self, declaration: &Declaration, path: &Path) {
        self.require_file_in(declaration, HERE, path);
    }

    pub(super) fn require_file_in(
        &mut self,
        declaration: &Declaration,
        place: Place<'_>,
        path: &Path,
    ) {
        match self.findings.files.read(path) {
            Ok(_) => {
                let content = self.findings.files.fingerprint(path);
                let path = concrete(declaration.path, place);
                self.findings
                    .contents
                    .extend(content.map(|content| (path, content)));
            }
            Err(error) => self.unreadable(declaration, place, path, &error),
        }
    }

    /// Notes that a file could not be read.
    pub(super) fn unreadable_file(
        &mut self,
        declaration: &Declaration,
        path: &Path,
        error: &std::io::Error,
        expected: &'static str,
    ) {
        let fault = Fault::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
            expected,
        };
        self.refuse(declaration, HERE, fault);
    }

    fn unreadable(
        &mut self,
        declaration: &Declaration,
        place: Place<'_>,
        path: &Path,
        error: &std::io::Error,
    ) {
        let fault = Fault::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
            expected: "a readable PEM file",
        };
        self.refuse(declaration, place, fault);
    }

    fn given<T: Value>(&mut self, declaration: &Declaration, place: Place<'_>) -> Option<T> {
        let path = concrete(declaration.path, place);
        let entry = self.layer.get(&path)?;
        match T::read(&entry.given) {
            Ok(value) => Some(value),
            Err(reason) => {
                let shown = match (&entry.given, declaration.sensitivity) {
                    (RawValue::Text(text), Sensitivity::Plain) => shown(text),
                    (RawValue::Text(_), Sensitivity::Masked | Sensitivity::Secret)
                    | (RawValue::List(_), _) => None,
                };
                let expected = (declaration.expects)();
                let origin = Some(entry.origin.clone());
                let fault = Fault::Invalid {
                    shown,
                    reason,
                    expected,
                };
                self.findings.problem(path, origin, fault);
                None
            }
        }
    }

    /// Returns whether a source gave the setting, valid or not.
    pub(super) fn is_given(&self, declaration: &Declaration) -> bool {
        self.layer.contains_key(declaration.path) || self.is_faulty(declaration.path)
    }

    /// Returns whether a user gave the setting, rather than the subcommand.
    pub(super) fn is_given_by_user(&self, declaration: &Declaration) -> bool {
        let entry = self.layer.get(declaration.path);
        entry.is_some_and(|entry| entry.origin != Origin::Command)
    }

    /// Returns the origin of a setting's value.
    pub(super) fn origin(&self, path: &str) -> Option<Origin> {
        self.layer.get(path).map(|entry| entry.origin.clone())
    }

    fn is_faulty(&self, path: &str) -> bool {
        self.findings
            .problems
            .iter()
            .any(|problem| problem.key == path)
    }
}

pub(super) fn concrete(path: &str, place: Place<'_>) -> String {
    place.iter().fold(path.to_owned(), |path, index| {
        path.replacen("[]", &format!("[{index}]"), 1)
    })
}
