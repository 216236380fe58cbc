//! Runs the program with a mistake.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A generated key.
pub(crate) const KEY: &str = "s3pk1.dGhpcnR5LXR3byBieXRlcyBmb3IgYSB0ZXN0IGtleSE";

/// Placeholder for the folder of a row's files, in input and output.
pub(crate) const FOLDER: &str = "DIR";

/// Whether the program starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The program, or the command, refuses to start.
    Refused,
    /// The program starts with a warning.
    Warned,
    /// The program starts without a warning: this is not a mistake, as people expect.
    Fine,
}

/// A mistake in a configuration that is otherwise complete.
pub(crate) struct Mistake {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [&'static str],
    /// Variables in addition to `COMPLETE`, or in place of it; an empty value removes the variable.
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// Names and contents of files.
    pub(crate) files: &'static [(&'static str, &'static str)],
    pub(crate) answer: Answer,
}

impl Mistake {
    pub(crate) const fn new(name: &'static str, answer: Answer) -> Self {
        Self {
            name,
            arguments: &[],
            environment: &[],
            files: &[],
            answer,
        }
    }

    pub(crate) const fn set(
        mut self,
        environment: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.environment = environment;
        self
    }

    pub(crate) const fn typed(mut self, arguments: &'static [&'static str]) -> Self {
        self.arguments = arguments;
        self
    }

    pub(crate) const fn files(mut self, files: &'static [(&'static str, &'static str)]) -> Self {
        self.files = files;
        self
    }
}

/// A complete configuration.
const COMPLETE: &[(&str, &str)] = &[
    ("S3PROXY_HOST", "http://127.0.0.1:9"),
    ("S3PROXY_ENCRYPT_KEY", KEY),
    ("S3PROXY_LISTEN_TLS", "off"),
    ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "the-secret-of-the-backend"),
];

/// The output for each mistake of a table, after the checks that all outputs have to pass.
pub(crate) fn answers(rows: &[Mistake]) -> String {
    let mut answers = String::new();
    for row in rows {
        let folder = folder_of(row.files);
        let output = run(row, folder.path());
        let told = told(&output, folder.path());
        judge(row.name, row.answer, &output, &told);
        write!(answers, "## {}\n\n{}\n{told}\n", row.name, typed(row)).unwrap();
    }
    answers
}

/// A folder with these files, readable only by their owner.
pub(crate) fn folder_of(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::write(
            &path,
            content.replace(FOLDER, folder.path().to_str().unwrap()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// Fails if the outcome differs from the expected one, or if the output shows a secret or a raw
/// error.
pub(crate) fn judge(name: &str, expected: Answer, output: &Output, told: &str) {
    let answer = match (output.status.success(), told.contains("warning: ")) {
        (false, _) => Answer::Refused,
        (true, true) => Answer::Warned,
        (true, false) => Answer::Fine,
    };
    assert_eq!(answer, expected, "{name}:\n{told}");
    for secret in ["the-secret", "RNDtextOf", "dGhpcnR5LXR3byBieXRl", "hidden"] {
        assert!(!told.contains(secret), "{name} shows a secret:\n{told}");
    }
    for raw in ["ProviderError", "panicked", "source:", "Os {"] {
        assert!(
            !told.contains(raw),
            "{name} shows an error as Rust has it:\n{told}"
        );
    }
}

/// The program with an empty environment, except for the variables that a run needs.
pub(crate) fn program(folder: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_s3proxy"));
    program
        .env_clear()
        .env("HOME", folder)
        // A fixed width for the help.
        .env("COLUMNS", "100")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(folder)
        .stdin(Stdio::null());
    program
}

fn run(row: &Mistake, folder: &Path) -> Output {
    let here = |text: &str| text.replace(FOLDER, folder.to_str().unwrap());
    let mut program = program(folder);
    let environment = COMPLETE.iter().chain(row.environment);
    for (name, text) in environment {
        if text.is_empty() {
            program.env_remove(name);
        } else {
            program.env(name, here(text));
        }
    }
    if row
        .arguments
        .first()
        .is_none_or(|first| first.starts_with("--"))
    {
        program.arg("check-config");
    }
    program.args(row.arguments.iter().map(|argument| here(argument)));
    program.output().unwrap()
}

fn typed(row: &Mistake) -> String {
    let mut typed = String::new();
    for (name, text) in row.environment {
        if text.is_empty() {
            writeln!(typed, "    unset {name}").unwrap();
        } else {
            writeln!(typed, "    {name}={}", text.escape_debug()).unwrap();
        }
    }
    for (name, content) in row.files {
        for line in content.lines() {
            writeln!(typed, "    {name}: {}", line.escape_debug()).unwrap();
        }
    }
    let arguments = row.arguments.join(" ");
    let checks = row
        .arguments
        .first()
        .is_none_or(|first| first.starts_with("--"));
    let command = if checks { "check-config " } else { "" };
    writeln!(typed, "    $ s3proxy {command}{arguments}").unwrap();
    typed
}

/// The program's output and exit status.
pub(crate) fn told(output: &Output, folder: &Path) -> String {
    let mut told = String::new();
    for stream in [&output.stdout, &output.stderr] {
        told.push_str(&String::from_utf8_lossy(stream));
    }
    let status = output.status.code().unwrap_or(-1);
    writeln!(told, "(status {status})").unwrap();
    for line in told.clone().lines() {
        // The duration of a command differs in each run.
        if let Some((start, end)) = line.rsplit_once(" in ")
            && end.ends_with(" s")
        {
            told = told.replace(line, &format!("{start} in N s"));
        }
    }
    told.replace(folder.to_str().unwrap(), FOLDER)
}
