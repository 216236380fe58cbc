//! The command line: which command, with which settings.
//!
//! Without a command the program serves, as the older proxies did. Flags that give settings come
//! from the declarations in [`crate::config`]; this file adds the commands and their help.
//! Secrets are never arguments. What commands on stored objects are told is in [`objects`].

pub mod health;
mod hints;
pub mod migration;
pub mod objects;

use std::ffi::OsString;
use std::io::{self, Write};
#[cfg(feature = "dev")]
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::{self, SettingFlags};

#[derive(Parser)]
#[command(
    name = "s3proxy",
    version,
    about = "Encrypts what passes through it on its way to an S3 server, and decrypts it on its way back",
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    after_help = SERVE_EXAMPLES
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What the program is asked to do.
#[derive(Subcommand)]
pub enum Command {
    /// Serve S3 clients; this is also what happens without a command
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(SettingFlags),
    /// Serve from an S3 store inside the program, to try it out or to develop against it
    #[cfg(feature = "dev")]
    #[command(after_help = DEV_EXAMPLES)]
    Dev(Dev),
    /// Ask the proxy that runs with the same settings whether it is alive, or ready
    #[command(after_help = health::EXAMPLES)]
    Health(health::Health),
    /// Print a new key on standard output
    #[command(after_help = KEYGEN_EXAMPLES)]
    Keygen,
    /// Show what stored objects are: format, key, sizes; needs no key
    #[command(after_help = objects::INSPECT_EXAMPLES)]
    Inspect(objects::Inspect),
    /// Open stored objects and report what cannot be opened, and why
    #[command(after_help = objects::VERIFY_EXAMPLES)]
    Verify(objects::Verify),
    /// Put stored objects under the key that new ones get; bodies stay where they are
    #[command(after_help = objects::REWRAP_EXAMPLES)]
    Rewrap(objects::Rewrap),
    /// Seal what is stored as plaintext or in an older proxy's format
    #[command(after_help = migration::MIGRATE_EXAMPLES)]
    Migrate(migration::Migrate),
    /// Turn sealed objects into plaintext: one into a file, or many in a bucket
    #[command(after_help = migration::DECRYPT_EXAMPLES)]
    Decrypt(migration::Decrypt),
    /// Open one stored object from files alone
    #[command(after_help = migration::RECOVER_EXAMPLES)]
    Recover(migration::Recover),
    /// Remove the state that multipart uploads have left behind on the backend
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep(Sweep),
    /// Check the configuration and report everything that is wrong with it
    #[command(after_help = CHECK_CONFIG_EXAMPLES)]
    CheckConfig(CheckConfig),
}

/// The arguments of `s3proxy check-config`.
#[derive(clap::Args)]
pub struct CheckConfig {
    /// Ask the backend, with a signed request, and the key services too
    #[arg(long)]
    pub online: bool,
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// The arguments of `s3proxy dev`.
#[cfg(feature = "dev")]
#[derive(clap::Args)]
pub struct Dev {
    /// Folder for the objects, the key and the credential [default: s3proxy-dev]
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// The arguments of `s3proxy sweep`.
#[derive(clap::Args)]
pub struct Sweep {
    /// A bucket to sweep; can be given several times [default: every bucket that the credential can
    /// list]
    #[arg(long = "bucket", value_name = "BUCKET")]
    pub buckets: Vec<String>,
    /// Spare what was written more recently
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = config::period)]
    pub older_than: Duration,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Remove also states of earlier versions, which name no upload, where the backend's list of uploads
    /// does not show theirs: only for backends whose list is always complete
    #[arg(long)]
    pub by_list: bool,
    #[command(flatten)]
    pub settings: SettingFlags,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  S3PROXY_HOST=https://s3.example.com S3PROXY_ENCRYPT_KEY_FILE=/run/secrets/key s3proxy
  s3proxy --config /etc/s3proxy/config.toml --level debug
  s3proxy --no-tls --ip 127.0.0.1 --port 8080 --backend http://seaweedfs:8333

Everything else can be set in the environment or the configuration file: docs/configuration.md.";

#[cfg(feature = "dev")]
const DEV_EXAMPLES: &str = "\
Examples:
  s3proxy dev
  s3proxy dev ./objects --port 9000";

const KEYGEN_EXAMPLES: &str = "\
Examples:
  (umask 077; s3proxy keygen > s3proxy.key)
  S3PROXY_ENCRYPT_KEY_FILE=s3proxy.key s3proxy";

const SWEEP_EXAMPLES: &str = "\
While an upload is in progress, the proxy keeps its state beside the data, under policy.state_prefix.
It stays behind when the upload ends around the proxy, by a lifecycle rule or a crash. The backend is
asked for each upload, and only what it says has ended is removed. With policy.state_bucket the uploads
of all buckets are looked at, those that are named too.

Examples:
  s3proxy sweep --config /etc/s3proxy/config.toml --dry-run
  s3proxy sweep --config /etc/s3proxy/config.toml --bucket photos --bucket backups
  s3proxy sweep --bucket photos --older-than 0s

The exit status is 0 where nothing is left to do, 3 where a bucket could not be swept or something
not be removed, and 1 where nothing was begun.";

const CHECK_CONFIG_EXAMPLES: &str = "\
Certificates, keys and credentials are read and tried as `serve` does. Only the ports are not: a proxy
that is running may have them. With --online, the backend has to answer and to accept the credential,
and every key service has to do what it is needed for.

Examples:
  s3proxy check-config --config /etc/s3proxy/config.toml
  s3proxy check-config --online

The exit status is 0 where `serve` would start with the same flags, environment and file, otherwise 1.";

/// The command of these arguments, the program's name first. Help, version and mistakes end the
/// program here, as clap does it.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Command {
    match try_parse(arguments) {
        Ok(command) => command,
        Err(error) => error.exit(),
    }
}

/// As [`parse`], with clap's answer instead of an end.
pub fn try_parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let parsed = CommandLine::try_parse_from(arguments).map_err(hints::explain);
    parsed.map(CommandLine::chosen)
}

/// The command line's description, for documentation and completions.
#[must_use]
pub fn description() -> clap::Command {
    CommandLine::command()
}

impl CommandLine {
    fn chosen(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.settings))
    }
}

/// Writes the key alone to `output`, so that it can be redirected, and what to do with it to
/// `notes`.
pub fn keygen(key: &str, output: &mut dyn Write, notes: &mut dyn Write) -> io::Result<()> {
    writeln!(output, "{key}")?;
    output.flush()?;
    writeln!(
        notes,
        "This key seals and opens every object. Keep a copy in a safe place: without it the objects \
         are lost.\nGive it to the proxy as S3PROXY_ENCRYPT_KEY, or the name of a file that holds it \
         as S3PROXY_ENCRYPT_KEY_FILE."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(arguments: &[&str]) -> Result<Command, clap::Error> {
        let program = std::iter::once("s3proxy");
        try_parse(program.chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn the_description_is_consistent() {
        description().debug_assert();
    }

    #[test]
    fn without_a_command_the_program_serves() {
        assert!(matches!(command(&[]), Ok(Command::Serve(_))));
        let as_the_older_proxies = ["--no-tls", "--level=-4", "--ip", "::", "--allow-multipart"];
        assert!(matches!(
            command(&as_the_older_proxies),
            Ok(Command::Serve(_))
        ));
        assert!(matches!(
            command(&["serve", "--no-tls=false"]),
            Ok(Command::Serve(_))
        ));
    }

    #[test]
    fn each_command_is_found() {
        assert!(matches!(command(&["keygen"]), Ok(Command::Keygen)));
        let health = command(&["health", "--ready", "--no-tls"]);
        assert!(matches!(health, Ok(Command::Health(health)) if health.ready));
        let check = command(&["check-config", "--config", "x.toml"]);
        assert!(matches!(check, Ok(Command::CheckConfig(_))));
    }

    #[cfg(feature = "dev")]
    #[test]
    fn dev_takes_a_folder_and_settings() {
        let Ok(Command::Dev(dev)) = command(&["dev", "objects", "--port", "9000"]) else {
            panic!("dev is due");
        };
        assert_eq!(dev.directory, Some(PathBuf::from("objects")));
    }

    #[test]
    fn a_sweep_spares_a_day_unless_another_age_is_asked_for() {
        let Ok(Command::Sweep(sweep)) = command(&["sweep"]) else {
            panic!("a sweep is due");
        };
        assert_eq!(sweep.older_than, Duration::from_hours(24));
        assert!(sweep.buckets.is_empty() && !sweep.dry_run);
        let arguments = [
            "sweep",
            "--bucket",
            "a",
            "--bucket",
            "b",
            "--older-than",
            "0s",
        ];
        let Ok(Command::Sweep(sweep)) = command(&arguments) else {
            panic!("a sweep is due");
        };
        assert_eq!(sweep.buckets, ["a", "b"]);
        assert_eq!(sweep.older_than, Duration::ZERO);
        for wrong in ["1", "1y", "-1s", "", "8d"] {
            assert!(
                command(&["sweep", "--older-than", wrong]).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn unknown_flags_and_words_are_refused() {
        assert!(command(&["--encrypt-key", "x"]).is_err());
        assert!(command(&["rewrap"]).is_err());
        assert!(command(&["keygen", "--no-tls"]).is_err());
        assert!(command(&["--no-tls=maybe"]).is_err());
    }

    #[test]
    fn keygen_writes_the_key_alone_to_the_output() {
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        keygen("s3pk1.example", &mut output, &mut notes).unwrap();
        assert_eq!(output, b"s3pk1.example\n");
        let notes = String::from_utf8(notes).unwrap();
        assert!(notes.contains("S3PROXY_ENCRYPT_KEY_FILE"));
        assert!(!notes.contains("s3pk1"));
    }
}
