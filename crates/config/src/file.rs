//! Settings from the TOML file.
//!
//! Every field must be declared; an unknown one is a problem of its own, reported with its line and
//! similar names. Numbers and booleans are converted to text, so that a value is validated in one
//! place for all sources. A syntax error is reported only by line and reason: the parser's full
//! message would quote the line, which may contain a secret.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::declare::{Declaration, Sensitivity};
use super::gather::{Findings, Layer, declared, entry, read_secret};
use super::notice::Notice;
use super::problem::{Fault, Origin, near};
use super::settings::{self, former};
use super::value::RawValue;

/// Reads the settings from the file.
pub(super) fn layer(path: &Path, findings: &mut Findings) -> Layer {
    let name = path.display().to_string();
    let read = findings.files.read(path).map_err(|error| error.to_string());
    let text = read.and_then(|bytes| match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err("it is not UTF-8".to_owned()),
    });
    let text = match text {
        Ok(text) => text,
        Err(reason) => {
            let fault = Fault::Unreadable {
                path: name,
                reason,
                expected: "a readable TOML file",
            };
            findings.is_file_unusable = true;
            findings.problem("configuration file", None, fault);
            return Layer::new();
        }
    };
    let mut reading = FileReader {
        name,
        text: &text,
        layer: Layer::new(),
        findings,
        secrets: Secrets::None,
    };
    match DeTable::parse(&text) {
        Ok(root) => reading.table(root.get_ref(), "", ""),
        Err(error) => {
            let origin = reading.origin(error.span().map_or(0, |span| span.start));
            let reason = error.message().to_owned();
            let findings = &mut *reading.findings;
            findings.is_file_unusable = true;
            findings.problem("", Some(origin), Fault::Syntax { reason });
        }
    }
    let FileReader { layer, secrets, .. } = reading;
    if secrets == Secrets::Inside {
        findings.secret_file(path);
    }
    layer
}

#[derive(PartialEq, Eq)]
enum Secrets {
    None,
    Inside,
}

struct FileReader<'a> {
    name: String,
    text: &'a str,
    layer: Layer,
    findings: &'a mut Findings,
    secrets: Secrets,
}

impl FileReader<'_> {
    /// Reads a table. `pattern` is its declared path, with `[]`; `concrete` has the numbers
    /// instead. Both end with a dot, except for the root.
    fn table(&mut self, table: &DeTable<'_>, pattern: &str, concrete: &str) {
        for (key, value) in table {
            let pattern = format!("{pattern}{}", key.get_ref());
            let concrete = format!("{concrete}{}", key.get_ref());
            let origin = self.origin(key.span().start);
            if is_prefix(&format!("{pattern}.")) {
                match value.get_ref().as_table() {
                    Some(table) => {
                        self.table(table, &format!("{pattern}."), &format!("{concrete}."));
                    }
                    None => self.invalid(concrete, origin, "a table"),
                }
            } else if is_prefix(&format!("{pattern}[].")) {
                self.list_of_tables(value.get_ref(), &pattern, &concrete, origin);
            } else {
                self.field(value.get_ref(), &pattern, concrete, origin);
            }
        }
    }

    fn list_of_tables(
        &mut self,
        value: &DeValue<'_>,
        pattern: &str,
        concrete: &str,
        origin: Origin,
    ) {
        let Some(items) = value.as_array() else {
            let heading = pattern.replace("[]", "");
            let expected = format!("tables, each headed [[{heading}]] with two brackets");
            return self.invalid(concrete.to_owned(), origin, &expected);
        };
        for (index, item) in items.iter().enumerate() {
            let concrete = format!("{concrete}[{index}]");
            let line = self.origin(item.span().start);
            match item.get_ref().as_table() {
                Some(table) => {
                    // An empty table is a record, too: this entry makes it count.
                    let here = entry(RawValue::List(Vec::new()), line);
                    self.layer.insert(concrete.clone(), here);
                    self.table(table, &format!("{pattern}[]."), &format!("{concrete}."));
                }
                None => self.invalid(concrete, line, "a table"),
            }
        }
    }

    fn field(&mut self, value: &DeValue<'_>, pattern: &str, concrete: String, origin: Origin) {
        if let Some(today) = former::path(pattern) {
            let last = |path: &str| {
                path.rsplit_once('.')
                    .map_or(0, |(table, _)| table.len() + 1)
            };
            let renamed = format!("{}{}", &concrete[..last(&concrete)], &today[last(today)..]);
            self.findings.notice(Notice::FormerName {
                name: concrete,
                today: renamed.clone(),
            });
            return self.field(value, today, renamed, origin);
        }
        if let Some(declaration) = declared(pattern) {
            if declaration.sensitivity == Sensitivity::Secret {
                self.secrets = Secrets::Inside;
            }
            match given(value) {
                Some(given) => self.insert(declaration, concrete, given, origin),
                None => self.invalid(concrete, origin, &(declaration.expects)()),
            }
        } else if let Some((declaration, concrete)) = secret_behind_file(pattern, &concrete) {
            let findings = &mut *self.findings;
            match value
                .as_str()
                .map(|path| read_secret(Path::new(path), findings))
            {
                Some(Ok(text)) => self.insert(declaration, concrete, RawValue::Text(text), origin),
                Some(Err(fault)) => self.findings.problem(concrete, Some(origin), fault),
                None => self.invalid(concrete, origin, "the name of a file"),
            }
        } else {
            let fault = unknown(value, pattern);
            self.findings.problem(concrete, Some(origin), fault);
        }
    }

    fn insert(&mut self, declaration: &Declaration, path: String, given: RawValue, origin: Origin) {
        // In the other form, direct or as a file: TOML itself refuses repeated fields.
        if self.layer.contains_key(&path) {
            return self.findings.problem(path, Some(origin), Fault::GivenTwice);
        }
        debug_assert_eq!(
            declaration.section(),
            path.split(['.', '[']).next().unwrap_or_default()
        );
        self.layer.insert(path, entry(given, origin));
    }

    fn invalid(&mut self, key: String, origin: Origin, expected: &str) {
        let expected = expected.to_owned();
        let fault = Fault::Invalid {
            shown: None,
            reason: String::new(),
            expected,
        };
        self.findings.problem(key, Some(origin), fault);
    }

    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Origin::File {
            name: self.name.clone(),
            line,
        }
    }
}

/// Suggests known names for an unknown one, by spelling or by other programs' words.
fn unknown(value: &DeValue<'_>, pattern: &str) -> Fault {
    let tables = settings::SECTIONS.iter().map(|section| section.name);
    if value.as_table().is_some() && !pattern.contains('.') {
        let meant = TABLES.iter().find(|(words, _)| words.contains(&pattern));
        let near = match meant {
            Some((_, table)) => vec![format!("[{table}]")],
            None => near(pattern, tables)
                .into_iter()
                .map(|table| format!("[{table}]"))
                .collect(),
        };
        return Fault::UnknownTable { near };
    }
    let mut all = settings::all();
    let is_variable =
        |declaration: &&Declaration| declaration.variables().any(|name| name == pattern);
    let near = match all.find(is_variable) {
        Some(declaration) => vec![declaration.path.to_owned()],
        None => near(pattern, settings::all().map(|declaration| declaration.path)),
    };
    Fault::Unknown { near }
}

/// Other programs' words for the tables of this one.
const TABLES: &[(&[&str], &str)] = &[
    (
        &["server", "http", "https", "tls", "proxy", "frontend"],
        "listen",
    ),
    (&["s3", "upstream", "storage", "target", "aws"], "backend"),
    (&["auth", "users", "credentials", "user", "iam"], "clients"),
    (&["encryption", "crypto", "kms", "vault"], "keys"),
    (&["logging", "logs"], "log"),
    (&["tracing", "otel", "telemetry"], "traces"),
];

fn is_prefix(prefix: &str) -> bool {
    settings::all().any(|declaration| declaration.path.starts_with(prefix))
}

/// Returns the secret setting that a `…_file` field gives: `keys.encrypt_key_file` names the file
/// with `keys.encrypt_key`.
fn secret_behind_file(pattern: &str, concrete: &str) -> Option<(&'static Declaration, String)> {
    let declaration = declared(pattern.strip_suffix("_file")?)?;
    let concrete = concrete.strip_suffix("_file")?;
    (declaration.sensitivity == Sensitivity::Secret).then(|| (declaration, concrete.to_owned()))
}

fn given(value: &DeValue<'_>) -> Option<RawValue> {
    match value {
        DeValue::Array(items) => items
            .iter()
            .map(Spanned::get_ref)
            .map(text)
            .collect::<Option<_>>()
            .map(RawValue::List),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => text(value).map(RawValue::Text),
    }
}

fn text(value: &DeValue<'_>) -> Option<Zeroizing<String>> {
    let text = match value {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => return None,
    };
    Some(Zeroizing::new(text))
}
