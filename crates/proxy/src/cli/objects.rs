//! What commands on stored objects are told: which objects, how many at a time, and for whom the
//! output is.

use std::num::NonZeroUsize;

use crate::commands::Format;
use crate::commands::rewrap::{Again, Asked, Check, Mode, Replaced, Writers};
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
            modified_since: None,
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

/// The arguments of `s3proxy verify`.
#[derive(clap::Args)]
pub struct Verify {
    /// The objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Open envelopes and keys only, and read no bodies
    #[arg(long)]
    pub heads: bool,
    /// Show a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: SettingFlags,
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
    /// Show what would be rewrapped, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// In buckets with versions, delete the version that a rewrapped one has replaced
    #[arg(long)]
    pub delete_old_versions: bool,
    /// Rewrap what has the right key too, such as after a rotation inside a key service
    #[arg(long)]
    pub again: bool,
    /// Go on where the backend ignores conditions: nothing else may write to the buckets meanwhile
    #[arg(long)]
    pub offline: bool,
    /// End with status 4 where something still needs another key, or where that cannot be told
    #[arg(long)]
    pub check: bool,
    /// Ask a running proxy, at the address of its listen.admin, whether a request in flight may still
    /// seal under another key; once for each proxy, or a name that resolves to all of them
    #[arg(long = "replica", value_name = "HOST:PORT", requires = "check")]
    pub replicas: Vec<String>,
    /// Show a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: SettingFlags,
}

impl Rewrap {
    /// What it asks for.
    #[must_use]
    pub fn asked(&self) -> Asked {
        Asked {
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
            again: if self.again { Again::Yes } else { Again::No },
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

/// Lines for people: every object where that was asked for.
#[must_use]
pub fn lines(verbose: bool) -> Format {
    if verbose {
        Format::AllLines
    } else {
        Format::Lines
    }
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

/// Examples of `s3proxy verify`.
pub const VERIFY_EXAMPLES: &str = concat!(
    "\
Bodies are read whole, as clients would read them, and dropped; checksums that were stored with them
are compared. Plaintext objects are counted and not read.

Examples:
  s3proxy verify photos
  s3proxy verify --heads --versions photos backups
  s3proxy verify --key photos/2024/cat.jpg --verbose

",
    exit_statuses!()
);

/// Examples of `s3proxy rewrap`.
pub const REWRAP_EXAMPLES: &str = concat!(
    "\
The backend copies each object onto itself under new metadata, unless it was written over meanwhile.
Clients may go on reading and writing. What has the right key already is passed over, so the command
can be repeated. In buckets with versions each copy is a new version; old ones stay under the old key
unless --delete-old-versions is given, and are counted with --versions. Keys that something still
needs are named in the end, uploads in progress included: only then remove a key.

Examples:
  s3proxy rewrap --dry-run photos
  s3proxy rewrap photos backups
  s3proxy rewrap --versions --check --replica s3proxy-admin:9090 photos && echo the old key can go

With --check it looks twice, counts uploads before and after, and ends with status 4 where all is done
and something still needs another key, or may need one. Requests that began before the proxies took on
the new key may store an object late: --replica asks for them.
",
    exit_statuses!()
);
