//! Options of the commands on stored objects: selection, concurrency, and the form of the output.

use std::num::NonZeroUsize;

use crate::commands::Format;
use crate::commands::object_selection::{Extent, ObjectTarget, Selection, VersionScope};
use crate::commands::rewrap::{RewrapOptions, UpToDate};
use crate::commands::verify::VerifyScope;
use crate::commands::write_options::{OldVersions, RunMode, WriteOptions, Writers};
use crate::config::{ScopedFlags, StoredObjects};

/// Selection of objects, and the form of the output.
#[derive(clap::Args)]
pub struct ObjectArguments {
    /// Bucket, or prefix in a bucket; may begin with s3://
    #[arg(value_name = "BUCKET[/PREFIX]", required = true)]
    pub targets: Vec<ObjectTarget>,
    /// Treat each argument as a single object: BUCKET/KEY
    #[arg(long)]
    pub key: bool,
    /// Include old versions
    #[arg(long)]
    pub versions: bool,
    /// Skip keys up to and including KEY
    ///
    /// Applies to the first target. An interrupted run prints the option to resume with.
    #[arg(long, value_name = "KEY")]
    pub start_after: Option<String>,
    /// Objects to process at a time
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    pub concurrency: NonZeroUsize,
    /// Print JSON Lines: one per object, then a summary
    #[arg(long)]
    pub json: bool,
}

impl ObjectArguments {
    /// Returns the selected objects, and the form of the output.
    #[must_use]
    pub fn scope(&self, verbose: bool) -> (Selection, Format) {
        let format = if self.json {
            Format::Json
        } else {
            lines(verbose)
        };
        (self.selection(), format)
    }

    fn selection(&self) -> Selection {
        Selection {
            targets: self.targets.clone(),
            extent: if self.key {
                Extent::Object
            } else {
                Extent::Prefix
            },
            versions: if self.versions {
                VersionScope::All
            } else {
                VersionScope::Current
            },
            start_after: self.start_after.clone(),
            concurrency: self.concurrency,
            modified_since: None,
        }
    }
}

/// Returns the form of lines for people: every object if requested.
fn lines(verbose: bool) -> Format {
    if verbose {
        Format::AllLines
    } else {
        Format::Lines
    }
}

/// The arguments of `s3proxy inspect`.
#[derive(clap::Args)]
pub struct InspectArguments {
    /// Objects to process.
    #[command(flatten)]
    pub objects: ObjectArguments,
    /// Print only the summary and damaged objects
    #[arg(long)]
    pub summary: bool,
    /// Settings of the command.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

/// The arguments of `s3proxy verify`.
#[derive(clap::Args)]
pub struct VerifyArguments {
    /// Objects to process.
    #[command(flatten)]
    pub objects: ObjectArguments,
    /// Check keys and metadata only, and read no content
    #[arg(long)]
    pub heads: bool,
    /// Print a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// Settings of the command.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

impl VerifyArguments {
    /// Returns the amount of data to read.
    #[must_use]
    pub fn depth(&self) -> VerifyScope {
        if self.heads {
            VerifyScope::Heads
        } else {
            VerifyScope::Bodies
        }
    }
}

/// The arguments of `s3proxy rewrap`.
#[derive(clap::Args)]
pub struct RewrapArguments {
    /// Objects to process.
    #[command(flatten)]
    pub objects: ObjectArguments,
    /// How objects are replaced.
    #[command(flatten)]
    pub write: WriteArguments,
    /// Also rewrap objects that already use the right key
    ///
    /// For example after that key was rotated inside the key service.
    #[arg(long)]
    pub again: bool,
    /// Exit with status 4 if another key may be needed
    #[arg(long)]
    pub check: bool,
    /// Ask this proxy for requests in flight; repeatable
    ///
    /// HOST:PORT is the proxy's admin address (listen.admin). If a name resolves to several
    /// addresses, each is asked.
    #[arg(long = "replica", value_name = "HOST:PORT", requires = "check")]
    pub replicas: Vec<String>,
    /// Print a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// Settings of the command.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

impl RewrapArguments {
    /// Converts the arguments to the command's options.
    #[must_use]
    pub fn options(&self) -> RewrapOptions {
        RewrapOptions {
            up_to_date: if self.again {
                UpToDate::RewrapAgain
            } else {
                UpToDate::Skip
            },
            write: self.write.options(),
            is_check: self.check,
            replicas: self.replicas.clone(),
        }
    }
}

/// Switches of the commands that replace objects in place.
#[derive(clap::Args, Clone, Copy)]
pub struct WriteArguments {
    /// Show the changes without making them
    #[arg(long)]
    pub dry_run: bool,
    /// Delete replaced versions (in versioned buckets)
    #[arg(long)]
    pub delete_old_versions: bool,
    /// Proceed if the backend ignores conditional writes
    ///
    /// Stop everything else that writes to the buckets first: a concurrent write could be lost.
    #[arg(long)]
    pub offline: bool,
}

impl WriteArguments {
    /// Converts the arguments to the command's options.
    #[must_use]
    pub fn options(self) -> WriteOptions {
        WriteOptions {
            mode: if self.dry_run {
                RunMode::DryRun
            } else {
                RunMode::Apply
            },
            old_versions: if self.delete_old_versions {
                OldVersions::Delete
            } else {
                OldVersions::Keep
            },
            writers: if self.offline {
                Writers::Stopped
            } else {
                Writers::Possible
            },
        }
    }
}
