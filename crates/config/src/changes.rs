//! Differences between two configurations, by the names of settings.
//!
//! The texts from the sources are compared, so that every declared setting is covered
//! automatically. A text that means the same in other words (`64 KiB`, `65536`) counts as a change,
//! one that repeats the default does not. Only fingerprints of the texts are kept. Records of lists
//! are matched by their identifying fields, so that an order without meaning is ignored; rules,
//! whose order counts, are matched by number.
//!
//! The contents of files that a setting names and that are read at start belong to its text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::declare::Default;
use super::fingerprint::Fingerprint;
use super::gather::{Entry, Layer};
use super::settings;
use super::value::RawValue;

/// Contents of a configuration, for comparisons.
pub struct Snapshot {
    settings: BTreeMap<&'static str, Fingerprint>,
    /// Records by list and name; several records may have the same name.
    records: BTreeMap<&'static str, BTreeMap<String, BTreeSet<Fingerprint>>>,
}

/// Differences between two configurations.
#[derive(Debug, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Setting(&'static str),
    List {
        path: &'static str,
        added: Vec<String>,
        removed: Vec<String>,
        changed: Vec<String>,
    },
}

impl Snapshot {
    /// Takes a snapshot. `contents` are those of files that settings name, by the setting's path.
    pub(super) fn of(layer: &Layer, contents: &BTreeMap<String, Fingerprint>) -> Self {
        let settings = settings::all()
            // Settings of records are compared record by record.
            .filter(|declaration| !declaration.path.contains("[]"))
            .map(|declaration| {
                let path = declaration.path;
                // An explicit default equals an absent setting: writing it out is no change.
                let mut texts = match (layer.get(path), declaration.default) {
                    (Some(entry), _) => texts(&entry.given),
                    (None, Default::Text(default)) => vec![default.as_bytes()],
                    (None, Default::Absent(_) | Default::Required) => Vec::new(),
                };
                let content = contents.get(path).map(Fingerprint::as_bytes);
                texts.extend(content);
                (path, Fingerprint::of(texts))
            });
        Self {
            settings: settings.collect(),
            records: lists()
                .into_iter()
                .map(|list| (list, records(list, layer, contents)))
                .collect(),
        }
    }
}

impl Changes {
    pub fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let mut changes = Vec::new();
        for (path, fingerprint) in &new.settings {
            if old.settings.get(path) != Some(fingerprint) {
                changes.push(Change::Setting(path));
            }
        }
        let none = BTreeMap::new();
        for (path, records) in &new.records {
            let before = old.records.get(path).unwrap_or(&none);
            let names = |of: &BTreeMap<String, _>, but: &BTreeMap<String, _>| {
                let names = of.keys().filter(|name| !but.contains_key(*name));
                names.cloned().collect::<Vec<_>>()
            };
            let differing = records
                .iter()
                .filter(|(name, now)| before.get(*name).is_some_and(|then| then != *now));
            let change = Change::List {
                path,
                added: names(records, before),
                removed: names(before, records),
                changed: differing.map(|(name, _)| name.clone()).collect(),
            };
            if before != records {
                changes.push(change);
            }
        }
        changes.sort_by_key(Change::path);
        Self(changes)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anything of a section of the file has changed.
    pub fn touch(&self, section: &str) -> bool {
        debug_assert!(settings::SECTIONS.iter().any(|known| known.name == section));
        let paths = self.0.iter().map(Change::path);
        paths
            .into_iter()
            .any(|path| path.split('.').next() == Some(section))
    }

    /// Settings that have changed and cannot while the program runs.
    pub fn at_start_only(&self) -> Vec<&'static str> {
        let paths = self.0.iter().map(Change::path);
        let fixed = |path: &&str| {
            settings::AT_START_ONLY
                .iter()
                .any(|only| only.path == *path)
        };
        paths.filter(fixed).collect()
    }
}

impl Change {
    fn path(&self) -> &'static str {
        match self {
            Self::Setting(path) | Self::List { path, .. } => path,
        }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, change) in self.0.iter().enumerate() {
            let parted = if index == 0 { "" } else { "; " };
            write!(f, "{parted}{change}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())?;
        let Self::List {
            added,
            removed,
            changed,
            ..
        } = self
        else {
            return Ok(());
        };
        let mut mark = ": ";
        for (verb, names) in [("added", added), ("removed", removed), ("changed", changed)] {
            if !names.is_empty() {
                write!(f, "{mark}{verb} {}", names.join(" and "))?;
                mark = ", ";
            }
        }
        Ok(())
    }
}

/// Returns the lists of tables, by their path before the first brackets.
fn lists() -> BTreeSet<&'static str> {
    let paths = settings::all().map(|declaration| declaration.path);
    let lists = paths.filter_map(|path| path.split_once("[]"));
    lists.map(|(list, _)| list).collect()
}

/// Returns the records of a list, by name.
fn records(
    list: &str,
    layer: &Layer,
    contents: &BTreeMap<String, Fingerprint>,
) -> BTreeMap<String, BTreeSet<Fingerprint>> {
    let mut numbered: BTreeMap<usize, BTreeMap<&str, &Entry>> = BTreeMap::new();
    for (path, entry) in layer {
        if let Some((number, field)) = record_field(list, path) {
            numbered.entry(number).or_default().insert(field, entry);
        }
    }
    let mut records: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (number, fields) in numbered {
        let mut seen = Vec::new();
        for (field, entry) in &fields {
            // With the name of the field, so that a text that moves to another field is a change.
            seen.push(field.as_bytes());
            seen.extend(texts(&entry.given));
            let content = contents.get(&format!("{list}[{number}]{field}"));
            seen.extend(content.map(Fingerprint::as_bytes));
        }
        let name = record_name(list, number, &fields);
        records
            .entry(name)
            .or_default()
            .insert(Fingerprint::of(seen));
    }
    records
}

/// Returns the number of the record that a path belongs to, and the rest of the path.
fn record_field<'a>(list: &str, path: &'a str) -> Option<(usize, &'a str)> {
    let (number, field) = path
        .strip_prefix(list)?
        .strip_prefix('[')?
        .split_once(']')?;
    Some((number.parse().ok()?, field))
}

/// Returns the name that identifies a record to people; never a secret.
fn record_name(list: &str, number: usize, fields: &BTreeMap<&str, &Entry>) -> String {
    let field = |name: &str| match &fields.get(name)?.given {
        RawValue::Text(text) => Some(text.as_str()),
        RawValue::List(_) => None,
    };
    let name = match list {
        "clients.known" => field(".name")
            .or(field(".access_key_id"))
            .map(str::to_owned),
        "keys.local" => field(".label").map(str::to_owned),
        "keys.aws_kms" => field(".key").map(str::to_owned),
        "keys.vault" => {
            let mount = field(".mount").unwrap_or("transit");
            field(".key").map(|key| format!("{mount}/{key}"))
        }
        "keys.pkcs11" => field(".token")
            .zip(field(".key"))
            .map(|(token, key)| format!("{token}/{key}")),
        _ => None,
    };
    name.unwrap_or_else(|| format!("{list}[{number}]"))
}

fn texts(given: &RawValue) -> Vec<&[u8]> {
    match given {
        RawValue::Text(text) => vec![text.as_bytes()],
        RawValue::List(items) => items.iter().map(|item| item.as_bytes()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::{SettingFlags, Sources};

    /// A folder that contains a configuration.
    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, text: &str) -> String {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        }

        fn snapshot(&self, text: &str, environment: &[(&str, &str)]) -> Snapshot {
            let file = self.file("s3proxy.toml", text);
            let usual = [
                ("S3PROXY_CONFIG", file.as_str()),
                ("S3PROXY_LISTEN_TLS", "off"),
                ("S3PROXY_ENCRYPT_KEY", "a passphrase"),
            ];
            let environment = usual.iter().chain(environment);
            let environment = environment.map(|(name, value)| ((*name).into(), (*value).into()));
            match crate::load(Sources::new(SettingFlags::default(), environment)) {
                Ok(loaded) => loaded.snapshot,
                Err(problems) => panic!("{problems}"),
            }
        }
    }

    fn changes(old: &str, new: &str) -> Changes {
        let place = Place::new();
        let old = place.snapshot(old, &[]);
        Changes::between(&old, &place.snapshot(new, &[]))
    }

    fn client(name: &str, secret: &str) -> String {
        format!(
            "[[clients.known]]\nname = {name:?}\naccess_key_id = \"ID{name}\"\n\
             secret_access_key = {secret:?}\n"
        )
    }

    #[test]
    fn equal_configurations_do_not_differ() {
        let text = ["policy.listing = \"exact\"\n", &client("app", "secret")].concat();
        assert!(changes(&text, &text).is_empty());
        assert!(
            changes("", "policy.listing = \"exact\"").is_empty(),
            "the default"
        );
        assert!(changes("# a", "# another comment").is_empty());
    }

    #[test]
    fn settings_are_named_and_values_are_not() {
        let changes = changes(
            "keys.decrypt_keys = [\"old secret\"]",
            "keys.decrypt_keys = [\"new secret\"]\nlimits.requests_per_second = 5",
        );
        assert_eq!(
            changes.to_string(),
            "keys.decrypt_keys; limits.requests_per_second"
        );
        assert!(changes.touch("keys") && changes.touch("limits"));
        assert!(!changes.touch("backend"));
    }

    #[test]
    fn records_are_told_apart_by_their_names_wherever_they_stand() {
        let old = ["gone", "kept", "changed", "went"].map(|name| client(name, "secret"));
        let grant = "[[clients.known.grants]]\noperations = [\"read\"]\n";
        let new = [
            client("changed", "secret") + grant,
            client("new", "secret"),
            client("kept", "secret"),
        ];
        let changes = changes(&old.concat(), &new.concat());
        assert_eq!(
            changes.to_string(),
            "clients.known: added new, removed gone and went, changed changed"
        );
    }

    #[test]
    fn another_secret_is_a_change_of_its_client() {
        let changes = changes(&client("app", "one"), &client("app", "two"));
        assert_eq!(changes.to_string(), "clients.known: changed app");
    }

    #[test]
    fn the_order_of_clients_means_nothing_and_that_of_rules_something() {
        let (a, b) = (client("a", "secret"), client("b", "secret"));
        assert!(changes(&[a.as_str(), &b].concat(), &[b.as_str(), &a].concat()).is_empty());
        let (off, on) = (
            "[[rules]]\nbuckets = [\"a*\"]\nencryption = \"off\"\n",
            "[[rules]]\nencryption = \"required\"\n",
        );
        let changes = changes(&[off, on].concat(), &[on, off].concat());
        assert_eq!(changes.to_string(), "rules: changed rules[0] and rules[1]");
    }

    #[test]
    fn contents_of_files_belong_to_the_setting_that_names_them() {
        let place = Place::new();
        let (secret, authorities) = (place.file("key", "one\n"), place.file("ca", "one"));
        let environment = &[("S3PROXY_KEYS_DECRYPT_KEYS_FILE", secret.as_str())];
        let text = format!("[backend]\nca_file = {authorities:?}\n");
        let old = place.snapshot(&text, environment);
        assert!(Changes::between(&old, &place.snapshot(&text, environment)).is_empty());
        // The settings still name the same files.
        place.file("key", "two\n");
        place.file("ca", "two");
        let changes = Changes::between(&old, &place.snapshot(&text, environment));
        assert_eq!(changes.to_string(), "backend.ca_file; keys.decrypt_keys");
    }

    #[test]
    fn what_cannot_change_at_run_time_is_known() {
        let changes = changes(
            "",
            "listen.port = 5\nlisten.idle_timeout = \"5s\"\nlog.format = \"text\"",
        );
        assert_eq!(changes.at_start_only(), ["listen.port", "log.format"]);
        // A renamed setting must not stay in the list under its old name.
        for only in settings::AT_START_ONLY {
            assert!(settings::all().any(|declared| declared.path == only.path));
        }
    }
}
