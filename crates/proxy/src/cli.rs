//! The command line: commands and their settings.
//!
//! Without a command the program serves, as the older proxies did. Flags for settings come from the
//! declarations in [`crate::config`]; this file adds the commands, and [`guides`] the examples in
//! their help. Secrets are never arguments. The options of commands on stored objects are in
//! [`objects`] and [`migration`].

mod guide;
mod guides;
mod hints;
pub mod manual;
pub mod migration;
pub mod objects;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anstyle::AnsiColor;
use clap::builder::Styles;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::sweep::{Mode, Nameless, SweepOptions};
#[cfg(feature = "dev")]
use crate::config::Development;
use crate::config::{self, LocalFiles, Probe, ScopedFlags, Serving, StoredObjects, UploadState};
use crate::version;

/// Styles of help and error messages, on terminals with colours.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

#[derive(Parser)]
#[command(
    name = "s3proxy",
    version = version::FULL,
    about = "Encrypting S3 proxy: encrypts objects on upload, decrypts them on download",
    args_conflicts_with_subcommands = true,
    max_term_width = 100,
    styles = STYLES,
    after_help = guides::SERVE.brief(),
    after_long_help = guides::SERVE.full()
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: ScopedFlags<Serving>,
}

/// Command of the program.
#[derive(Subcommand)]
pub enum Command {
    /// Serve S3 clients; also the default without a command
    #[command(after_help = guides::SERVE.brief(), after_long_help = guides::SERVE.full())]
    Serve(ScopedFlags<Serving>),
    /// Try the proxy: serve S3 clients from a store inside the program
    #[cfg(feature = "dev")]
    #[command(after_help = guides::DEV.brief(), after_long_help = guides::DEV.full())]
    Dev(DevArguments),
    /// Check whether the running proxy is alive or ready
    #[command(after_help = guides::HEALTH.brief(), after_long_help = guides::HEALTH.full())]
    Health(HealthArguments),
    /// Print a new encryption key
    #[command(after_help = guides::KEYGEN.brief(), after_long_help = guides::KEYGEN.full())]
    Keygen,
    /// Show format, key and size of stored objects (needs no key)
    #[command(after_help = guides::INSPECT.brief(), after_long_help = guides::INSPECT.full())]
    Inspect(objects::InspectArguments),
    /// Decrypt stored objects and report those that fail
    #[command(after_help = guides::VERIFY.brief(), after_long_help = guides::VERIFY.full())]
    Verify(objects::VerifyArguments),
    /// Move objects to the current key without rewriting their data
    #[command(after_help = guides::REWRAP.brief(), after_long_help = guides::REWRAP.full())]
    Rewrap(objects::RewrapArguments),
    /// Encrypt plaintext objects, and re-encrypt those of older proxies
    #[command(after_help = guides::MIGRATE.brief(), after_long_help = guides::MIGRATE.full())]
    Migrate(migration::MigrateArguments),
    /// Turn encrypted objects back into plaintext
    #[command(after_help = guides::DECRYPT.brief(), after_long_help = guides::DECRYPT.full())]
    Decrypt(migration::DecryptArguments),
    /// Decrypt one stored object from local files
    #[command(after_help = guides::RECOVER.brief(), after_long_help = guides::RECOVER.full())]
    Recover(migration::RecoverArguments),
    /// Delete leftover state of multipart uploads that have ended
    #[command(after_help = guides::SWEEP.brief(), after_long_help = guides::SWEEP.full())]
    Sweep(SweepArguments),
    /// Check the configuration and report all mistakes at once
    #[command(
        after_help = guides::CHECK_CONFIG.brief(),
        after_long_help = guides::CHECK_CONFIG.full()
    )]
    CheckConfig(CheckConfigArguments),
    /// Print a completion script for a shell
    #[command(
        after_help = guides::COMPLETIONS.brief(),
        after_long_help = guides::COMPLETIONS.full()
    )]
    Completions(CompletionsArguments),
    /// Write the manual pages
    #[command(after_help = guides::MAN.brief(), after_long_help = guides::MAN.full())]
    Man(ManArguments),
}

/// The arguments of `s3proxy check-config`.
#[derive(clap::Args)]
pub struct CheckConfigArguments {
    /// Also send requests to the backend and the key services
    #[arg(long)]
    pub online: bool,
    #[command(flatten)]
    pub settings: ScopedFlags<Serving>,
}

/// The arguments of `s3proxy health`.
#[derive(clap::Args)]
pub struct HealthArguments {
    /// Check that the proxy is ready for requests, not only alive
    #[arg(long)]
    pub ready: bool,
    #[command(flatten)]
    pub settings: ScopedFlags<Probe>,
}

/// The arguments of `s3proxy dev`.
#[cfg(feature = "dev")]
#[derive(clap::Args)]
pub struct DevArguments {
    /// Folder for objects, key and credential [default: s3proxy-dev]
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    #[command(flatten)]
    pub settings: ScopedFlags<Development>,
}

/// The arguments of `s3proxy sweep`.
#[derive(clap::Args)]
pub struct SweepArguments {
    /// Bucket to sweep; repeatable [default: all buckets]
    #[arg(long = "bucket", value_name = "BUCKET")]
    pub buckets: Vec<String>,
    /// Skip anything modified more recently than this
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = config::period)]
    pub older_than: Duration,
    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also delete unlisted state of earlier versions
    ///
    /// State of earlier versions does not name its upload, so the backend's list of uploads
    /// decides. Use this only if the backend's lists are complete.
    #[arg(long)]
    pub by_list: bool,
    #[command(flatten)]
    pub settings: ScopedFlags<UploadState>,
}

impl SweepArguments {
    /// Converts the arguments to the command's options.
    #[must_use]
    pub fn options(&self) -> SweepOptions {
        SweepOptions {
            buckets: self.buckets.clone(),
            older_than: self.older_than,
            mode: if self.dry_run {
                Mode::Show
            } else {
                Mode::Remove
            },
            nameless: if self.by_list {
                Nameless::ByList
            } else {
                Nameless::Stay
            },
        }
    }
}

/// The arguments of `s3proxy completions`.
#[derive(clap::Args)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// The arguments of `s3proxy man`.
#[derive(clap::Args)]
pub struct ManArguments {
    /// Folder for the pages; created if it does not exist
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

/// Parses the arguments, starting with the program's name. Help, version and mistakes end the
/// program here, as usual with clap.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Command {
    try_parse(arguments).unwrap_or_else(|error| error.exit())
}

/// Works as [`parse`], but returns clap's error instead of ending the program.
pub fn try_parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match CommandLine::try_parse_from(&arguments) {
        Ok(line) => Ok(line.chosen()),
        Err(error) => {
            Err(without_effect(&arguments, &error).unwrap_or_else(|| hints::explain(error)))
        }
    }
}

/// Returns an explanation if a command was given a flag of `serve` that it would ignore.
fn without_effect(arguments: &[OsString], error: &clap::Error) -> Option<clap::Error> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    // A flag before the command would be a conflict, so the command is the first argument.
    let name = arguments.get(1)?.to_str()?;
    let reason = match (error.kind(), name) {
        (ErrorKind::UnknownArgument, "inspect" | "verify" | "rewrap" | "migrate" | "decrypt") => {
            config::refusal::<StoredObjects>(flag)
        }
        (ErrorKind::UnknownArgument, "sweep") => config::refusal::<UploadState>(flag),
        (ErrorKind::UnknownArgument, "recover") => config::refusal::<LocalFiles>(flag),
        #[cfg(feature = "dev")]
        (ErrorKind::UnknownArgument, "dev") => config::refusal::<Development>(flag),
        _ => None,
    }?;
    let mut program = description();
    program.build();
    let message = format!("{flag} has no effect on `s3proxy {name}`: the command {reason}");
    let command = program.find_subcommand_mut(name)?;
    Some(command.error(ErrorKind::UnknownArgument, message))
}

/// Returns the description of the command line, for documentation and completions.
#[must_use]
pub fn description() -> clap::Command {
    CommandLine::command()
}

impl CommandLine {
    fn chosen(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.settings))
    }
}

#[cfg(test)]
mod tests;
