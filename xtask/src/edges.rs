//! Edges between crates and between the program's modules, checked as a whole.
//!
//! Crates are checked by their manifests: `envelope`, `protocol` and `config` know nothing of the
//! program. The program's modules are checked by the paths in their sources against the floors in
//! [`floors`]: a module uses only the modules that its floor lists, all of them below it. A listed
//! edge that no source has any more is an error too, so that the list stays true.
//!
//! The scan reads words, not syntax: comments and literals are left out, `crate::…` with its groups
//! and `super::…` are followed; a path built by a macro would escape it.

mod floors;
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::sources::{SourceError, read, sources};

#[derive(Debug, thiserror::Error)]
pub(crate) enum EdgesError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{path}: {source}")]
    Manifest {
        path: PathBuf,
        source: toml::de::Error,
    },
    #[error("forbidden edges:\n  {}", .0.join("\n  "))]
    Forbidden(Vec<String>),
}

/// Using and used module, with the source that shows the use.
type Edges = BTreeMap<(String, String), String>;

/// Crates with the dependencies that they must not have. Development dependencies do not count.
const EXCLUDED_DEPENDENCIES: &[(&str, &[&str])] = &[
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
    (
        "crates/config",
        &[
            "s3proxy",
            "s3proxy-envelope",
            "hyper",
            "hyper-util",
            "http-body",
        ],
    ),
];

const PROGRAM: &str = "crates/proxy/src";

pub(crate) fn check(root: &Path) -> Result<(), EdgesError> {
    let mut forbidden = excluded_dependencies(root)?;
    forbidden.extend(floors::violations(&used_edges(&root.join(PROGRAM))?));
    if forbidden.is_empty() {
        Ok(())
    } else {
        Err(EdgesError::Forbidden(forbidden))
    }
}

fn excluded_dependencies(root: &Path) -> Result<Vec<String>, EdgesError> {
    let mut found = Vec::new();
    for (folder, excluded) in EXCLUDED_DEPENDENCIES {
        for dependency in dependencies(&root.join(folder).join("Cargo.toml"))? {
            if excluded.contains(&dependency.as_str()) {
                found.push(format!("{folder} depends on {dependency}"));
            }
        }
    }
    Ok(found)
}

/// Pairs of modules, the first of which uses the second, with the first source that shows it.
fn used_edges(program: &Path) -> Result<Edges, EdgesError> {
    let sources = sources(program)?;
    let modules: BTreeSet<String> = sources
        .iter()
        .map(|source| top_module(program, source))
        .collect();
    let mut edges = Edges::new();
    for source in &sources {
        let text = read(source)?;
        let module = top_module(program, source);
        let file = source.strip_prefix(program).unwrap_or(source);
        let by_super = scan::super_modules(&text, depth(file));
        for used in scan::crate_modules(&text).into_iter().chain(by_super) {
            if used != module && modules.contains(&used) {
                let file = file.display().to_string();
                edges.entry((module.clone(), used)).or_insert(file);
            }
        }
    }
    Ok(edges)
}

/// How many levels the module of a source is below the crate's root.
fn depth(file: &Path) -> usize {
    let names = file.components().count();
    let is_root = file
        .file_stem()
        .is_some_and(|name| ["mod", "lib", "main"].iter().any(|root| name == *root));
    names - usize::from(is_root)
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

#[cfg(test)]
mod tests {
    use std::fs;

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
            ("crates/config/Cargo.toml", pure),
            ("crates/proxy/src/lib.rs", "mod app;\n"),
        ];
        for (path, text) in defaults.iter().chain(files) {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_pure_crate_that_depends_on_the_other_is_found() {
        let manifest = "[dependencies]\ns3proxy-protocol.workspace = true\ntokio = \"1\"\n";
        let folder = repository(&[("crates/envelope/Cargo.toml", manifest)]);
        assert_eq!(
            excluded_dependencies(folder.path()).unwrap(),
            [
                "crates/envelope depends on s3proxy-protocol",
                "crates/envelope depends on tokio"
            ]
        );
    }

    /// The modules that `text`, at a path below the program's sources, uses among a few.
    fn used(path: &str, text: &str) -> Vec<String> {
        let folder = repository(&[
            ("crates/proxy/src/plan.rs", ""),
            ("crates/proxy/src/auth.rs", ""),
            ("crates/proxy/src/body/mod.rs", ""),
            (&format!("crates/proxy/src/{path}"), text),
        ]);
        let edges = used_edges(&folder.path().join(PROGRAM)).unwrap();
        edges.into_keys().map(|(_, used)| used).collect()
    }

    #[test]
    fn a_use_is_found_in_every_spelling() {
        for text in [
            "use crate::plan::Plan;",
            "use crate::{net, plan::{Plan}};",
            "fn f() { crate :: plan::go() }",
            "use super::super::plan;",
            "use super::super::{config, plan};",
        ] {
            assert_eq!(used("backend/client.rs", text), ["plan"], "{text}");
        }
        assert_eq!(used("backend/mod.rs", "use super::plan;"), ["plan"]);
    }

    #[test]
    fn a_path_between_quotes_in_literals_is_found() {
        let text = r##"
            const R: &str = r#"one " two"#;
            const Q: char = '"';
            const B: char = '\"';
            use crate::auth::A;
        "##;
        assert_eq!(used("respond.rs", text), ["auth"]);
    }

    #[test]
    fn comments_literals_and_inner_modules_are_no_edges() {
        let text = r##"
            //! See crate::plan.
            /* crate::plan */
            const T: &str = "crate::plan \" crate::plan";
            const R: &str = r#"one " crate::auth"#;
            use crate::config::plan;
            use crate::{config::{auth}};
            use self::plan::X;
            use super::body::Y;
        "##;
        assert_eq!(used("keys/ring.rs", text), [""; 0]);
    }
}
