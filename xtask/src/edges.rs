//! The edges between crates and modules: data flows one way, and no module knows anything upstream.
//!
//! Crates are checked by their manifests: `envelope` and `protocol` are pure and know neither each
//! other nor the program. The program's modules are checked by the paths in their sources: `keys`,
//! `backend` and `body` know nothing upstream. Only `main` knows `app`, which wires everything, and
//! `commands`, which builds the same parts for work without clients. The scan reads tokens, not
//! syntax: comments and literals are skipped, `crate::…` with its groups and `super::…` are
//! followed; a path built by a macro would escape it.

mod scan;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub(crate) enum EdgesError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Manifest {
        path: PathBuf,
        source: toml::de::Error,
    },
    #[error("edges that must not be:\n  {}", .0.join("\n  "))]
    Forbidden(Vec<String>),
}

/// A pure crate and the crates on which it must not depend. Development dependencies do not count.
const PURE_CRATES: &[(&str, &[&str])] = &[
    (
        "crates/envelope",
        &[
            "s3proxy",
            "s3proxy-protocol",
            "tokio",
            "hyper",
            "hyper-util",
            "http",
            "http-body",
            "time",
        ],
    ),
    (
        "crates/protocol",
        &[
            "s3proxy",
            "s3proxy-envelope",
            "tokio",
            "hyper",
            "hyper-util",
            "http-body",
        ],
    ),
];

const PROGRAM: &str = "crates/proxy/src";

/// Modules of the program that know nothing upstream, and the modules that are upstream.
const DOWNSTREAM: &[&str] = &["keys", "backend", "body"];
const UPSTREAM: &[&str] = &[
    "app", "auth", "cli", "commands", "execute", "listen", "plan", "respond", "service",
];

/// The module that wires everything, and the only modules that may know it.
const WIRING: &str = "app";
const ENTRANCES: &[&str] = &["main", "lib", "app", "commands"];

pub(crate) fn check(root: &Path) -> Result<(), EdgesError> {
    let mut forbidden = Vec::new();
    for (folder, excluded) in PURE_CRATES {
        for dependency in dependencies(&root.join(folder).join("Cargo.toml"))? {
            if excluded.contains(&dependency.as_str()) {
                forbidden.push(format!("{folder} depends on {dependency}"));
            }
        }
    }
    for source in sources(&root.join(PROGRAM))? {
        let text = read(&source)?;
        let module = top_module(&root.join(PROGRAM), &source);
        let known = scan::crate_modules(&text).chain(scan::super_modules(&text));
        for known in known.filter(|known| is_forbidden(&module, known)) {
            let file = source.strip_prefix(root).unwrap_or(&source);
            forbidden.push(format!("{} uses {known}", file.display()));
        }
    }
    if forbidden.is_empty() {
        Ok(())
    } else {
        Err(EdgesError::Forbidden(forbidden))
    }
}

fn is_forbidden(module: &str, known: &str) -> bool {
    let looks_upstream = DOWNSTREAM.contains(&module) && UPSTREAM.contains(&known);
    let wires = known == WIRING && !ENTRANCES.contains(&module);
    looks_upstream || wires
}

fn dependencies(manifest: &Path) -> Result<Vec<String>, EdgesError> {
    let table: toml::Table = read(manifest)?
        .parse()
        .map_err(|source| EdgesError::Manifest {
            path: manifest.to_owned(),
            source,
        })?;
    let listed = |name: &str| {
        let table = table.get(name).and_then(toml::Value::as_table);
        table
            .map(|table| table.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default()
    };
    Ok([listed("dependencies"), listed("build-dependencies")].concat())
}

/// The top-level module of the crate to which a file belongs.
fn top_module(folder: &Path, source: &Path) -> String {
    let relative = source.strip_prefix(folder).unwrap_or(source);
    let first = relative
        .components()
        .next()
        .map(|part| part.as_os_str().to_string_lossy());
    first
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .unwrap_or_default()
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, EdgesError> {
    let failed = |source| EdgesError::File {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.append(&mut sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, EdgesError> {
    fs::read_to_string(path).map_err(|source| EdgesError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_and_crates_know_only_what_they_may() {
        check(&crate::root()).unwrap();
    }

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let pure = "[dependencies]\nthiserror = \"2\"\n";
        let defaults = [
            ("crates/envelope/Cargo.toml", pure),
            ("crates/protocol/Cargo.toml", pure),
            ("crates/proxy/src/lib.rs", "mod app;\n"),
        ];
        for (path, text) in defaults.iter().chain(files) {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn forbidden(files: &[(&str, &str)]) -> Vec<String> {
        match check(repository(files).path()) {
            Ok(()) => Vec::new(),
            Err(EdgesError::Forbidden(edges)) => edges,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_pure_crate_that_depends_on_the_other_is_found() {
        let manifest = "[dependencies]\ns3proxy-protocol.workspace = true\ntokio = \"1\"\n";
        assert_eq!(
            forbidden(&[("crates/envelope/Cargo.toml", manifest)]),
            [
                "crates/envelope depends on s3proxy-protocol",
                "crates/envelope depends on tokio"
            ]
        );
    }

    #[test]
    fn a_module_that_looks_upstream_is_found_in_every_spelling() {
        for text in [
            "use crate::plan::Plan;",
            "use crate::{body, plan::{Plan}};",
            "fn f() { crate :: plan::go() }",
            "use super::plan;",
            "use super::super::{config, plan};",
        ] {
            let found = forbidden(&[("crates/proxy/src/backend/client.rs", text)]);
            assert_eq!(
                found,
                ["crates/proxy/src/backend/client.rs uses plan"],
                "{text}"
            );
        }
    }

    #[test]
    fn a_path_behind_quotes_in_literals_is_found() {
        let text = r##"
            const R: &str = r#"one " two"#;
            const Q: char = '"';
            const B: char = '\"';
            use crate::auth::A;
        "##;
        let found = forbidden(&[("crates/proxy/src/body.rs", text)]);
        assert_eq!(found, ["crates/proxy/src/body.rs uses auth"]);
    }

    #[test]
    fn only_the_entrances_know_what_wires() {
        assert_eq!(
            forbidden(&[(
                "crates/proxy/src/main.rs",
                "use s3proxy::app; crate::app::x"
            )]),
            [""; 0]
        );
        let found = forbidden(&[("crates/proxy/src/listen/mod.rs", "use crate::app::App;")]);
        assert_eq!(found, ["crates/proxy/src/listen/mod.rs uses app"]);
    }

    #[test]
    fn comments_texts_and_downstream_paths_are_no_edges() {
        let text = r##"
            //! See crate::plan.
            /* crate::plan */
            const T: &str = "crate::plan \" crate::plan";
            const R: &str = r#"one " crate::auth"#;
            use crate::config::plan;
            use crate::{config::{auth}, body};
            use self::plan::X;
        "##;
        assert_eq!(
            forbidden(&[("crates/proxy/src/keys/mod.rs", text)]),
            [""; 0]
        );
    }
}
