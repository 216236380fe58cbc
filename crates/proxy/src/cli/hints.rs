//! Hints for unknown flags and commands that other programs use for the same purpose.

use std::ffi::OsStr;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

const CONFIG_FILE: &str = "the configuration file is given with --config FILE";

/// Unknown flags, with the hint to show.
const FLAGS: &[(&[&str], &str)] = &[
    (
        &[
            "--host",
            "--endpoint",
            "--endpoint-url",
            "--upstream",
            "--url",
        ],
        "the S3 server is given with --backend ADDRESS (S3PROXY_HOST)",
    ),
    (
        &["--listen", "--bind", "--address", "--addr"],
        "the address to listen on is given with --ip ADDRESS and --port PORT",
    ),
    (
        &["--tls", "--https", "--ssl"],
        "HTTPS is the default; --cert DIR names the certificate's folder, --no-tls turns HTTPS off",
    ),
    (
        &["--http", "--insecure", "--plain"],
        "--no-tls serves plain HTTP; a backend without TLS is given as --backend http://HOST",
    ),
    (
        &[
            "--tls-cert",
            "--tls-key",
            "--cert-file",
            "--key-file",
            "--certificate",
        ],
        "--cert DIR names the folder that holds s3proxy.crt and s3proxy.key, or tls.crt and \
         tls.key",
    ),
    (
        &[
            "--secret",
            "--key",
            "--encrypt-key",
            "--encryption-key",
            "--passphrase",
            "--password",
            "--secret-key",
            "--access-key",
            "--secret-access-key",
        ],
        "secrets are not given on the command line, since other users could read them: set \
         S3PROXY_ENCRYPT_KEY_FILE, S3PROXY_BACKEND_ACCESS_KEY_ID and \
         S3PROXY_BACKEND_SECRET_ACCESS_KEY_FILE, or use the configuration file (--config FILE)",
    ),
    (
        &["--log-level", "--loglevel", "--verbose", "-v", "--debug"],
        "the log level is given with --level LEVEL",
    ),
    (
        &["--metrics", "--metrics-port", "--metrics-address"],
        "metrics and probes are served with --admin ADDRESS:PORT",
    ),
    (&["-p"], "the port is given with --port PORT"),
    (&["-c", "--config-file", "--conf"], CONFIG_FILE),
    (
        &["--bucket", "--prefix"],
        "objects are given as BUCKET, BUCKET/PREFIX or BUCKET/KEY",
    ),
];

/// Unknown commands, with the hint to show.
const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["server", "start", "run", "daemon", "up"],
        "to serve, use: s3proxy serve",
    ),
    (
        &["check", "validate", "config", "test", "configtest", "lint"],
        "to check the configuration, use: s3proxy check-config",
    ),
    (
        &["genkey", "generate-key", "key", "keys", "new-key", "init"],
        "to make a key, use: s3proxy keygen",
    ),
    (
        &["encrypt", "seal"],
        "to encrypt plaintext objects, use: s3proxy migrate",
    ),
    (
        &["rotate", "rekey", "re-encrypt", "reencrypt"],
        "to rotate keys, use: s3proxy rewrap",
    ),
    (
        &["restore", "rescue"],
        "to decrypt a stored object from local files, use: s3proxy recover",
    ),
    (
        &["clean", "cleanup", "gc", "prune"],
        "to delete leftover state of uploads, use: s3proxy sweep",
    ),
    (
        &["status", "ping", "ready", "healthcheck"],
        "to check a running proxy, use: s3proxy health",
    ),
    (&["version"], "to see the version, use: s3proxy --version"),
    (
        &["demo", "try", "playground"],
        "to try the proxy, use: s3proxy dev",
    ),
];

/// Replaces clap's guess, which is based on spelling alone, by a hint.
pub(super) fn explain(mut error: clap::Error) -> clap::Error {
    let kind = match error.kind() {
        ErrorKind::UnknownArgument => ContextKind::InvalidArg,
        ErrorKind::InvalidSubcommand => ContextKind::InvalidSubcommand,
        _ => return error,
    };
    let Some(ContextValue::String(typed)) = error.get(kind) else {
        return error;
    };
    // clap reports `--flag=value` as a whole.
    let typed = typed.split('=').next().unwrap_or_default();
    let mut known = FLAGS.iter().chain(COMMANDS);
    let hint = match known.find(|(names, _)| names.contains(&typed)) {
        Some((_, hint)) => *hint,
        None if Path::new(typed).extension() == Some(OsStr::new("toml")) => CONFIG_FILE,
        None => return error,
    };
    // Clap's own suggestions would contradict the hint.
    for guess in [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedCommand,
        ContextKind::Suggested,
        // The usage belongs to the guess.
        ContextKind::Usage,
    ] {
        error.remove(guess);
    }
    let hints = vec![hint.into()];
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(hints));
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::try_parse;

    fn message(arguments: &[&str]) -> String {
        let program = std::iter::once("s3proxy").chain(arguments.iter().copied());
        let Err(error) = try_parse(program.map(Into::into)) else {
            panic!("{arguments:?} is wrong");
        };
        error.to_string()
    }

    #[test]
    fn flags_and_commands_of_other_programs_get_a_hint() {
        for (arguments, expected) in [
            (&["--host", "x"][..], "--backend ADDRESS"),
            (
                &["--secret", "x"],
                "secrets are not given on the command line",
            ),
            (&["--secret=x"], "secrets are not given on the command line"),
            (&["--tls"], "HTTPS is the default"),
            (&["server"], "s3proxy serve"),
            (&["verify", "--bucket", "x"], "BUCKET/PREFIX"),
        ] {
            let text = message(arguments);
            assert!(text.contains(expected), "{text}");
            assert_eq!(text.matches("tip:").count(), 1, "{text}");
        }
    }

    #[test]
    fn each_name_has_one_hint() {
        let mut seen = std::collections::BTreeSet::new();
        let rows = FLAGS.iter().chain(COMMANDS);
        for name in rows.flat_map(|(names, _)| *names) {
            assert!(seen.insert(name), "{name}");
        }
    }

    #[test]
    fn a_typing_mistake_keeps_the_suggestion_by_spelling() {
        assert!(message(&["--porrt", "1"]).contains("'--port'"));
        assert!(message(&["verfy"]).contains("'verify'"));
    }
}
