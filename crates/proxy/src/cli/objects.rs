//! What commands on stored objects are told: which objects, how many at a time, and for whom the
//! output is.

use std::num::NonZeroUsize;

use crate::commands::Format;
use crate::commands::selection::{Extent, Selection, Target, Versions};
use crate::config::SettingFlags;

/// Which objects, and how.
#[derive(clap::Args)]
pub struct Objects {
    /// A bucket, or the keys under a prefix in it; s3:// may stand before it
    #[arg(value_name = "BUCKET[/PREFIX]", required = true)]
    pub targets: Vec<Target>,
    /// Take each argument as one object: BUCKET/KEY
    #[arg(long)]
    pub key: bool,
    /// Include old versions
    #[arg(long)]
    pub versions: bool,
    /// Pass over the keys up to this one, in the first argument; what an interrupted command names
    #[arg(long, value_name = "KEY")]
    pub start_after: Option<String>,
    /// Objects at a time
    #[arg(long, value_name = "NUMBER", default_value = "16")]
    pub concurrency: NonZeroUsize,
    /// JSON: an object in a line for each stored object, and one for the summary
    #[arg(long)]
    pub json: bool,
}

impl Objects {
    /// The selection that it stands for.
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
                Versions::All
            } else {
                Versions::Current
            },
            start_after: self.start_after.clone(),
            concurrency: self.concurrency,
        }
    }

    /// Whom the output is for; `lines` where nobody asked for JSON.
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
    /// Show the summary only, and what is damaged
    #[arg(long)]
    pub summary: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// How the commands end.
macro_rules! exit_statuses {
    () => {
        "\
The exit status is 0 where all is well, 3 where something failed or was left, 1 where nothing was
begun, and 130 or 143 where SIGINT or SIGTERM came: then the last line says how to go on. Results are
on standard output, progress on standard error. docs/commands.md has the fields of --json."
    };
}

/// Examples of `s3proxy inspect`.
pub const INSPECT_EXAMPLES: &str = concat!(
    "\
Each object costs one HEAD request. What an envelope says is shown as it stands; `s3proxy verify`
tells whether it is true.

Examples:
  s3proxy inspect photos
  s3proxy inspect --versions --summary photos/2024/ backups
  s3proxy inspect --key photos/2024/cat.jpg
  s3proxy inspect --json photos | jq 'select(.all_zero_key)'

",
    exit_statuses!()
);
