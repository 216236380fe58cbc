//! Public functions of the libraries that only tests call: the compiler cannot see them, since it
//! checks one crate at a time.
//!
//! The check counts words: a function counts as used if its name appears anywhere else outside
//! tests and `use` declarations. A dead function that shares its name with a live one escapes it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::sources::{SourceError, read, sources};
use crate::words::words;

#[derive(Debug, thiserror::Error)]
pub(crate) enum UnusedError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("public functions that nothing or only tests call:\n  {}", .0.join("\n  "))]
    Found(Vec<String>),
}

/// Crates whose public functions are checked.
const LIBRARIES: &[&str] = &["crates/config", "crates/envelope", "crates/protocol"];

/// Folders with code that may call them. Fuzz targets and examples are tests here.
const CALLERS: &[&str] = &[
    "crates/config/src",
    "crates/envelope/src",
    "crates/protocol/src",
    "crates/proxy/src",
    "bench",
    "xtask/src",
];

pub(crate) fn check(root: &Path) -> Result<(), UnusedError> {
    let mut code = Vec::new();
    for folder in CALLERS {
        for source in sources(&root.join(folder))? {
            code.push((source.clone(), words(&read(&source)?)));
        }
    }
    let unused = unused_functions(root, code);
    if unused.is_empty() {
        Ok(())
    } else {
        Err(UnusedError::Found(unused))
    }
}

fn unused_functions(root: &Path, code: Vec<(PathBuf, Vec<String>)>) -> Vec<String> {
    let test_files: Vec<PathBuf> = code
        .iter()
        .flat_map(|(source, words)| test_modules(source, words))
        .collect();
    let code: Vec<(PathBuf, Vec<String>)> = code
        .into_iter()
        .filter(|(source, _)| !test_files.iter().any(|test| source.starts_with(test)))
        .map(|(source, words)| (source, without_tests_and_imports(&words)))
        .collect();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for word in code.iter().flat_map(|(_, words)| words) {
        *uses.entry(word).or_default() += 1;
    }
    let mut unused = Vec::new();
    for (source, words) in &code {
        let file = source.strip_prefix(root).unwrap_or(source);
        if !LIBRARIES.iter().any(|library| file.starts_with(library)) {
            continue;
        }
        let names = public_functions(words).filter(|name| uses.get(*name) == Some(&1));
        unused.extend(names.map(|name| format!("{}: {name}", file.display())));
    }
    unused
}

/// Names of the functions that are declared `pub`, with or without `const`.
fn public_functions(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().enumerate().filter_map(|(at, word)| {
        if word != "fn" {
            return None;
        }
        let mut before = words[..at].iter().rev();
        let is_public = before
            .find(|word| *word != "const" && *word != "async")
            .is_some_and(|word| word == "pub");
        words.get(at + 1).filter(|_| is_public).map(String::as_str)
    })
}

/// Position after `#[cfg(test)] mod name`, and the name, for each test module.
fn test_module_headers(words: &[String]) -> Vec<(usize, &str)> {
    const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let length = ATTRIBUTE.len();
    (0..words.len().saturating_sub(length + 2))
        .filter(|at| words[*at..at + length] == ATTRIBUTE && words[at + length] == "mod")
        .map(|at| (at + length + 2, words[at + length + 1].as_str()))
        .collect()
}

/// Paths of test modules in files of their own: the file, and the folder beside it.
fn test_modules(source: &Path, words: &[String]) -> Vec<PathBuf> {
    let folder = source.parent().unwrap_or(Path::new(""));
    let stem = source.file_stem().unwrap_or_default();
    let inside = if ["mod", "lib", "main"].iter().any(|root| stem == *root) {
        folder.to_owned()
    } else {
        folder.join(stem)
    };
    test_module_headers(words)
        .into_iter()
        .filter(|(end, _)| words[*end] == ";")
        .flat_map(|(_, name)| [inside.join(format!("{name}.rs")), inside.join(name)])
        .collect()
}

fn without_tests_and_imports(words: &[String]) -> Vec<String> {
    let tests: BTreeSet<usize> = test_module_headers(words)
        .into_iter()
        .filter(|(end, _)| words[*end] == "{")
        .map(|(end, _)| end)
        .collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if tests.contains(&at) {
            at = block_end(words, at);
        } else if words[at] == "use" {
            at += words[at..].iter().take_while(|word| *word != ";").count();
        } else {
            kept.push(words[at].clone());
            at += 1;
        }
    }
    kept
}

/// Position after the block that begins at `start`.
fn block_end(words: &[String], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, word) in words.iter().enumerate().skip(start) {
        match word.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return at + 1,
            "}" => depth -= 1,
            _ => {}
        }
    }
    words.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_not_the_only_callers_of_a_public_function() {
        check(&crate::root()).unwrap();
    }

    fn unused(files: &[(&str, &str)]) -> Vec<String> {
        let code = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), words(text)));
        unused_functions(Path::new(""), code.collect())
    }

    #[test]
    fn a_function_that_only_tests_call_is_found() {
        let library = "pub fn live() {} pub const fn dead() {} pub(crate) fn inner() {}\n\
                       #[cfg(test)] mod tests { fn t() { dead(); if x { dead() } } }";
        let files = [
            ("crates/protocol/src/etag.rs", library),
            ("crates/protocol/src/lib.rs", "pub use etag::{dead, live};"),
            ("crates/proxy/src/plan.rs", "fn plan() { live() }"),
        ];
        assert_eq!(unused(&files), ["crates/protocol/src/etag.rs: dead"]);
    }

    #[test]
    fn test_modules_in_files_of_their_own_do_not_count() {
        let files = [
            (
                "crates/protocol/src/etag.rs",
                "pub fn dead() {} #[cfg(test)] mod tests;",
            ),
            ("crates/protocol/src/etag/tests.rs", "fn t() { dead() }"),
            (
                "crates/protocol/src/etag/tests/more.rs",
                "fn t() { dead() }",
            ),
        ];
        assert_eq!(unused(&files), ["crates/protocol/src/etag.rs: dead"]);
    }
}
