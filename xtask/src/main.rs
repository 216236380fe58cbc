//! Checks and generated files of this repository: `cargo run -p xtask -- COMMAND`.
//!
//! - `docs` writes `docs/configuration.md` and `docs/metrics.md` from the declarations; `docs --check`
//!   fails if it is out of date.
//! - `edges` fails on an edge between modules or crates that the architecture does not have.
//! - `unused` fails on public functions of the libraries that only tests call.
//!
//! The checks are also tests of this crate.

mod docs;
mod edges;
mod sources;
mod unused;
mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
enum XtaskError {
    #[error(transparent)]
    Docs(#[from] docs::DocsError),
    #[error(transparent)]
    Edges(#[from] edges::EdgesError),
    #[error(transparent)]
    Unused(#[from] unused::UnusedError),
    #[error("expected one of: docs, docs --check, edges, unused")]
    Usage,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), XtaskError> {
    match arguments {
        ["docs"] => docs::write(&root())?,
        ["docs", "--check"] => docs::check(&root())?,
        ["edges"] => edges::check(&root())?,
        ["unused"] => unused::check(&root())?,
        [..] => return Err(XtaskError::Usage),
    }
    Ok(())
}

/// The repository's root: the folder above this crate's.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the crate lies in a folder of the repository")
        .to_owned()
}
