//! Options of the commands on stored objects: selection, concurrency, and the form of the output.

use std::num::NonZeroUsize;

use crate::commands::Format;
use crate::commands::object_selection::{Extent, ObjectTarget, Selection, VersionScope};
use crate::commands::rewrap::{Check, Mode, Replaced, RewrapOptions, UpToDate, Writers};
use crate::config::{ScopedFlags, StoredObjects};

/// Which objects, and how.
#[derive(clap::Args)]
pub struct Objects {
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
    /// Applies to the first target. An interrupted run prints the option with the key to resume after.
    #[arg(long, value_name = "KEY")]
    pub start_after: Option<String>,
    /// Objects to process at a time
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    pub concurrency: NonZeroUsize,
    /// Print a JSON line for each object and the summary
    #[arg(long)]
    pub json: bool,
}

impl Objects {
    /// Converts the arguments to a selection.
    #[must_use]
    pub fn selection(&self) -> Selection {
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

    /// Returns the form of the output: `lines` without --json.
    #[must_use]
    pub fn format(&self, lines: Format) -> Format {
        if self.json { Format::Json } else { lines }
    }
}

/// The arguments of `s3proxy inspect`.
#[derive(clap::Args)]
pub struct Inspect {
    /// The objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Show only the summary and damaged objects
    #[arg(long)]
    pub summary: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

/// The arguments of `s3proxy verify`.
#[derive(clap::Args)]
pub struct Verify {
    /// The objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Check keys and metadata only, and read no content
    #[arg(long)]
    pub heads: bool,
    /// Print a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

/// The arguments of `s3proxy rewrap`.
#[derive(clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub struct Rewrap {
    /// The objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Show what would be re-wrapped, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Delete replaced versions (in versioned buckets)
    #[arg(long)]
    pub delete_old_versions: bool,
    /// Also re-wrap objects that use the right key
    ///
    /// For a key that was rotated inside the key service.
    #[arg(long)]
    pub again: bool,
    /// Proceed if the backend ignores conditional writes
    ///
    /// Stop everything else that writes to the buckets first: a concurrent write could be lost.
    #[arg(long)]
    pub offline: bool,
    /// Exit with 4 if another key is or may be needed
    #[arg(long)]
    pub check: bool,
    /// Ask this proxy for requests in flight; repeatable
    ///
    /// HOST:PORT is the proxy's admin address (listen.admin). A name that resolves to several addresses
    /// stands for all of them.
    #[arg(long = "replica", value_name = "HOST:PORT", requires = "check")]
    pub replicas: Vec<String>,
    /// Print a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

impl Rewrap {
    /// Converts the arguments to the command's options.
    #[must_use]
    pub fn asked(&self) -> RewrapOptions {
        RewrapOptions {
            mode: if self.dry_run {
                Mode::Show
            } else {
                Mode::Rewrap
            },
            replaced: if self.delete_old_versions {
                Replaced::AreDeleted
            } else {
                Replaced::Stay
            },
            up_to_date: if self.again {
                UpToDate::RewrapAgain
            } else {
                UpToDate::Skip
            },
            writers: if self.offline {
                Writers::Stopped
            } else {
                Writers::Possible
            },
            check: if self.check {
                Check::ByStatus
            } else {
                Check::No
            },
            replicas: self.replicas.clone(),
        }
    }
}

/// Returns the form of lines for people: every object if requested.
#[must_use]
pub fn lines(verbose: bool) -> Format {
    if verbose {
        Format::AllLines
    } else {
        Format::Lines
    }
}
