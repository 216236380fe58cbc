//! Checks and generated files of this repository: `cargo run -p xtask -- COMMAND`.
//!
//! - `docs` writes `docs/configuration.md` from the declarations of the settings; `docs --check`
//!   fails if the page is not up to date.
//! - `edges` fails if a module knows another one that it must not know.
//!
//! Both checks are also tests of this crate.

mod docs;
mod edges;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Docs(#[from] docs::DocsError),
    #[error(transparent)]
    Edges(#[from] edges::EdgesError),
    #[error("expected one of: docs, docs --check, edges")]
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

fn run(arguments: &[&str]) -> Result<(), Failure> {
    match arguments {
        ["docs"] => docs::write(&root())?,
        ["docs", "--check"] => docs::check(&root())?,
        ["edges"] => edges::check(&root())?,
        [..] => return Err(Failure::Usage),
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
