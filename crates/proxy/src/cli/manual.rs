//! Completion scripts and manual pages, generated from the description of the command line.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::guide::Guide;
use super::{description, guides};
use crate::version;

/// Name of the program, in the names of all files.
const PROGRAM: &str = "s3proxy";

/// Writes the completion script of a shell.
pub fn completions(shell: Shell, output: &mut dyn Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut description(), PROGRAM, &mut script);
    output.write_all(&script)?;
    output.flush()
}

/// Writes `s3proxy.1` and a page for each command into a folder, which is created if necessary.
pub fn pages(folder: &Path) -> Result<Vec<PathBuf>, PageError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| PageError { path, error }
    };
    fs::create_dir_all(folder).map_err(at(folder))?;
    let mut written = Vec::new();
    for (name, page) in rendered() {
        let path = folder.join(name);
        fs::write(&path, page).map_err(at(&path))?;
        written.push(path);
    }
    Ok(written)
}

/// Error about a page that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct PageError {
    path: PathBuf,
    error: io::Error,
}

/// Returns the names of the files with their contents.
fn rendered() -> Vec<(String, Vec<u8>)> {
    // The generated `help` command needs no page.
    let mut program = description().disable_help_subcommand(true);
    program.build();
    let commands = program.get_subcommands().map(|command| {
        let page = format!("{PROGRAM}-{}", command.get_name());
        (format!("{page}.1"), page_of(command.clone(), &page))
    });
    let own = (format!("{PROGRAM}.1"), page_of(program.clone(), PROGRAM));
    std::iter::once(own).chain(commands).collect()
}

fn page_of(command: Command, title: &str) -> Vec<u8> {
    let guide = guide(command.get_name());
    let is_program = command.has_subcommands();
    let version = format!("{PROGRAM} {}", version::VERSION);
    let man = Man::new(command)
        .title(title)
        .source(version)
        .manual("s3proxy manual")
        // A build date would make the pages irreproducible.
        .date("");
    let mut page = Vec::new();
    let sections = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
    ];
    for section in sections {
        section(&man, &mut page).expect(WRITING);
    }
    paragraphs(guide.notes).to_writer(&mut page).expect(WRITING);
    man.render_options_section(&mut page).expect(WRITING);
    if is_program {
        man.render_subcommands_section(&mut page).expect(WRITING);
    }
    below(guide).to_writer(&mut page).expect(WRITING);
    page
}

const WRITING: &str = "writing to a Vec cannot fail";

fn guide(command: &str) -> &'static Guide {
    let found = guides::ALL.iter().find(|(name, _)| *name == command);
    found.map_or(&guides::SERVE, |(_, guide)| *guide)
}

fn paragraphs(texts: &[&str]) -> Roff {
    let mut roff = Roff::new();
    for text in texts {
        roff.control("PP", []);
        roff.text([roman(*text)]);
    }
    roff
}

fn below(guide: &Guide) -> Roff {
    let mut roff = Roff::new();
    if !guide.examples.is_empty() {
        roff.control("SH", ["EXAMPLES"]);
        for example in guide.examples {
            roff.control("PP", []);
            // Not filled, since the line breaks of examples matter.
            roff.control("nf", []);
            for line in example.lines() {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
        }
    }
    if !guide.statuses.is_empty() {
        roff.control("SH", ["EXIT STATUS"]);
        for (status, meaning) in guide.statuses {
            roff.control("TP", []);
            roff.text([bold(*status)]);
            roff.text([roman(*meaning)]);
        }
    }
    if !guide.closing.is_empty() {
        roff.control("SH", ["NOTES"]);
        for text in guide.closing {
            roff.control("PP", []);
            roff.text([roman(*text)]);
        }
    }
    roff
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_has_a_guide_and_a_page() {
        let names: BTreeSet<String> = rendered().into_iter().map(|(name, _)| name).collect();
        let guides = guides::ALL
            .iter()
            .map(|(name, _)| format!("s3proxy-{name}.1"));
        let expected = guides.chain(["s3proxy.1".to_owned()]).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_page_has_the_options_of_its_command_and_its_examples() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("man1");
        let written = pages(&folder).unwrap();
        assert!(written.contains(&folder.join("s3proxy.1")));
        let page = fs::read_to_string(folder.join("s3proxy-verify.1")).unwrap();
        assert!(page.contains("\n.SH OPTIONS\n"), "{page}");
        assert!(page.contains(r"\-\-heads"), "{page}");
        assert!(!page.contains(r"\-\-port"), "{page}");
        assert!(page.contains("\n.SH EXAMPLES\n"), "{page}");
        assert!(page.contains("\n.SH \"EXIT STATUS\"\n"), "{page}");
    }

    #[test]
    fn every_shell_has_a_script_with_the_commands_and_without_flags_that_they_refuse() {
        for shell in [
            Shell::Bash,
            Shell::Zsh,
            Shell::Fish,
            Shell::Elvish,
            Shell::PowerShell,
        ] {
            let mut script = Vec::new();
            completions(shell, &mut script).unwrap();
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("check-config"), "{shell}: {script}");
            assert!(script.contains("start-after"), "{shell}: {script}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = pages(file.path()).unwrap_err().to_string();
        assert!(
            error.starts_with(&file.path().display().to_string()),
            "{error}"
        );
    }
}
