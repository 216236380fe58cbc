//! All settings, each declared once. `docs/configuration.md` is generated from this module.
//!
//! The environment variables and flags of the older proxies keep their names (`S3PROXY_HOST`,
//! `--no-tls` and so on); every setting also has the variable that follows from its path. A few
//! settings that people reach for on a command line have flags; `--set` reaches all the others that
//! are no secrets.
//!
//! Defaults are argued for where they are not obvious. Names are part of the program's interface: a
//! renamed setting is still read under its former name ([`former`]).

mod backend;
mod clients;
pub(crate) mod former;
mod keys;
mod listen;
mod policy;
mod telemetry;

pub(crate) use backend::*;
pub(crate) use clients::*;
pub(crate) use keys::*;
pub(crate) use listen::*;
pub(crate) use policy::*;
pub(crate) use telemetry::*;

use super::declare::Declaration;

/// A table of the file.
pub(crate) struct Section {
    pub name: &'static str,
    pub title: &'static str,
    pub introduction: &'static str,
}

pub(crate) const SECTIONS: &[Section] = &[
    Section {
        name: "listen",
        title: "Listening",
        introduction: "Listeners for clients, and their limits and timeouts.",
    },
    Section {
        name: "backend",
        title: "Backend",
        introduction: "The S3 server that stores the sealed objects.",
    },
    Section {
        name: "clients",
        title: "Clients",
        introduction: "Clients and their permissions. If no client is listed, the backend's own \
            static credential is the only client, so that an application keeps its keys. Each \
            client is a table `[[clients.known]]`, each of its grants a table \
            `[[clients.known.grants]]`. A client without grants may do everything, and a grant \
            without operations, buckets or prefixes does not restrict them.",
    },
    Section {
        name: "keys",
        title: "Keys",
        introduction: "Keys that seal and open objects. `s3proxy keygen` makes one. Objects cannot \
            be read without their keys: keep copies. Keys at key services are tables \
            `[[keys.vault]]`, `[[keys.aws_kms]]` and `[[keys.pkcs11]]`, one for each key; further \
            local keys, for rules, are tables `[[keys.local]]`. docs/keys.md helps to choose.",
    },
    Section {
        name: "policy",
        title: "Policy",
        introduction: "Which objects may be stored and read, and in which form.",
    },
    Section {
        name: "rules",
        title: "Rules",
        introduction: "Storage rules by bucket and prefix: each rule is a table `[[rules]]`, and \
            the first match applies. Without a match, objects are sealed under `keys.active`, \
            according to the policy.",
    },
    Section {
        name: "limits",
        title: "Limits",
        introduction: "The load that one replica accepts.",
    },
    Section {
        name: "log",
        title: "Log",
        introduction: "Log lines on standard error. They never contain keys, signatures, credentials \
            or object contents.",
    },
    Section {
        name: "audit",
        title: "Audit",
        introduction: "Who did what to which object: one line of JSON per request. docs/audit.md \
            describes the lines, and the behaviour if they cannot be written.",
    },
    Section {
        name: "traces",
        title: "Traces",
        introduction: "OpenTelemetry traces, which show where each request spends its time. \
            docs/traces.md describes their contents.",
    },
    Section {
        name: "reload",
        title: "Reload",
        introduction: "A running proxy reloads its configuration on SIGHUP, and when one of its \
            files changes: all of it, or nothing. docs/operations.md has the details. A reload that \
            would change a setting that takes effect at start is refused.",
    },
];

/// Settings that cannot change while the program runs: sockets, and sizes that are fixed at start.
/// A reload that would change one of them is refused.
pub(crate) const AT_START_ONLY: &[&Declaration] = &[
    &LISTEN_IP.declaration,
    &LISTEN_PORT.declaration,
    &LISTEN_TLS.declaration,
    &LISTEN_ADMIN.declaration,
    &LISTEN_MAX_CONNECTIONS.declaration,
    &LIMITS_BODY_MEMORY.declaration,
    &LOG_FORMAT.declaration,
    &AUDIT_OUTPUT.declaration,
    &AUDIT_OBJECT_KEYS.declaration,
    &AUDIT_ON_FAILURE.declaration,
    &TRACES_ENDPOINT.declaration,
    &TRACES_PROTOCOL.declaration,
    &TRACES_HEADERS.declaration,
    &TRACES_TIMEOUT.declaration,
    &TRACES_SAMPLE_RATIO.declaration,
    &TRACES_SERVICE_NAME.declaration,
];

/// Returns all settings, in the order of the sections.
pub(crate) fn all() -> impl Iterator<Item = &'static Declaration> {
    [
        LISTEN, BACKEND, CLIENTS, KEYS, POLICY, RULES, LIMITS, LOG, AUDIT, TRACES, RELOAD,
    ]
    .into_iter()
    .flatten()
    .copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::declare::{Flag, Sensitivity};
    use super::*;

    fn unique<'a>(names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            assert!(seen.insert(name), "{name} is declared twice");
        }
    }

    #[test]
    fn no_name_is_declared_twice() {
        unique(all().map(|declaration| declaration.path));
        let variables: Vec<_> = all().flat_map(Declaration::variables).collect();
        let former = former::VARIABLES.iter().map(|(name, _)| *name);
        unique(variables.iter().map(String::as_str).chain(former));
        unique(all().filter_map(|declaration| match declaration.flag {
            Flag::None => None,
            Flag::Value { name, .. } | Flag::Switch { name, .. } => Some(name),
        }));
    }

    #[test]
    fn settings_stand_with_their_section_and_sections_in_order() {
        let mut sections: Vec<_> = all().map(Declaration::section).collect();
        sections.dedup();
        let declared: Vec<_> = SECTIONS.iter().map(|section| section.name).collect();
        assert_eq!(sections, declared);
    }

    #[test]
    fn former_names_lead_to_settings_and_are_no_settings() {
        let paths: BTreeSet<_> = all().map(|declaration| declaration.path).collect();
        let former_paths = former::PATHS.iter().map(|(name, path)| (*name, *path));
        for (name, path) in former_paths.chain(former::VARIABLES.iter().copied()) {
            assert!(paths.contains(path), "{path}");
            assert!(!paths.contains(name), "{name}");
        }
    }

    #[test]
    fn secrets_have_no_flags() {
        for declaration in all() {
            if declaration.sensitivity == Sensitivity::Secret {
                assert!(declaration.flag == Flag::None, "{}", declaration.path);
            }
        }
    }

    #[test]
    fn no_name_could_be_mistaken_for_the_file_form_of_a_secret() {
        let paths: BTreeSet<_> = all()
            .map(|declaration| declaration.path.to_owned())
            .collect();
        for declaration in all() {
            if declaration.sensitivity == Sensitivity::Secret {
                assert!(!paths.contains(&format!("{}_file", declaration.path)));
            }
        }
    }

    #[test]
    fn documentation_is_in_full_sentences() {
        for declaration in all() {
            let text = declaration.documentation.trim();
            assert!(text.ends_with('.'), "{}", declaration.path);
            assert!(
                text.starts_with(|first: char| !first.is_lowercase()),
                "{}",
                declaration.path
            );
        }
    }
}
