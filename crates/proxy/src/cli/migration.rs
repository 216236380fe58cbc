//! What the commands are told that bring objects into the sealed form, and out of it again.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::objects::Objects;
use crate::commands::decrypt::{self, Existing, Place};
use crate::commands::decrypt_one::Output;
use crate::commands::migrate::{self, Only};
use crate::commands::recover;
use crate::commands::rewrap::{Replaced, Writers};
use crate::commands::selection::Target;
use crate::config::resolved::SecretText;
use crate::config::{self, SettingFlags};

/// The arguments of `s3proxy migrate`.
#[derive(clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub struct Migrate {
    /// The objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Migrate these only
    #[arg(long, value_name = "WHAT", default_value = "all")]
    pub only: Only,
    /// Show what would be migrated, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// In buckets with versions, delete the version that a migrated one has replaced
    #[arg(long)]
    pub delete_old_versions: bool,
    /// Go on where the backend ignores conditions: nothing else may write to the buckets meanwhile
    #[arg(long)]
    pub offline: bool,
    /// Show a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: SettingFlags,
}

impl Migrate {
    /// What it asks for.
    #[must_use]
    pub fn asked(&self) -> migrate::Asked {
        migrate::Asked {
            mode: if self.dry_run {
                migrate::Mode::Show
            } else {
                migrate::Mode::Migrate
            },
            only: self.only,
            replaced: replaced(self.delete_old_versions),
            writers: writers(self.offline),
        }
    }
}

/// The arguments of `s3proxy decrypt`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("place").required(true))]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub struct Decrypt {
    /// The objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Write one object, BUCKET/KEY, to this file; - is standard output
    #[arg(
        long,
        value_name = "FILE",
        group = "place",
        conflicts_with_all = ["json", "versions", "start_after", "dry_run"]
    )]
    pub output: Option<PathBuf>,
    /// With --output: this version of the object
    #[arg(long, value_name = "ID", requires = "output")]
    pub version_id: Option<String>,
    /// Store plaintext in place of the sealed objects
    #[arg(long, group = "place")]
    pub in_place: bool,
    /// Store plaintext in this bucket, under the same keys behind the prefix
    #[arg(long, value_name = "BUCKET[/PREFIX]", group = "place")]
    pub to: Option<Target>,
    /// With --to: write over objects that are there
    #[arg(long, requires = "to")]
    pub overwrite: bool,
    /// Show what would be decrypted, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --in-place in buckets with versions: delete the sealed version that was replaced
    #[arg(long, requires = "in_place")]
    pub delete_old_versions: bool,
    /// Go on where the backend ignores conditions: nothing else may write to the buckets meanwhile
    #[arg(long)]
    pub offline: bool,
    /// Show a line for every object
    #[arg(long, short, conflicts_with_all = ["json", "output"])]
    pub verbose: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// What `s3proxy decrypt` is asked to do.
pub enum Decryption {
    /// One object, to a file.
    One(Target, Output),
    /// Many, into a bucket.
    Many(decrypt::Asked),
}

impl Decrypt {
    /// What it asks for; the error is for people.
    pub fn asked(&self) -> Result<Decryption, String> {
        if let Some(path) = &self.output {
            return match self.objects.targets.as_slice() {
                [object] if !object.prefix.is_empty() => {
                    let output = match path.to_str() {
                        Some("-") => Output::Standard,
                        _ => Output::File(path.clone()),
                    };
                    Ok(Decryption::One(object.clone(), output))
                }
                _ => Err("--output takes one object: BUCKET/KEY".to_owned()),
            };
        }
        let place = match &self.to {
            None => Place::Same,
            Some(target) => Place::Elsewhere {
                target: target.clone(),
                existing: if self.overwrite {
                    Existing::WrittenOver
                } else {
                    Existing::Stay
                },
            },
        };
        if let Place::Elsewhere { target, .. } = &place {
            // Where a prefix stands before it, a key is another; without one it is the same.
            let overlaps = |source: &Target| {
                let is_inside = target.prefix.starts_with(&source.prefix);
                source.bucket == target.bucket && (is_inside || target.prefix.is_empty())
            };
            if self.objects.targets.iter().any(overlaps) {
                return Err(
                    "--to lies inside what is decrypted; choose another bucket or prefix, or \
                     --in-place"
                        .to_owned(),
                );
            }
        }
        Ok(Decryption::Many(decrypt::Asked {
            mode: if self.dry_run {
                decrypt::Mode::Show
            } else {
                decrypt::Mode::Decrypt
            },
            place,
            replaced: replaced(self.delete_old_versions),
            writers: writers(self.offline),
        }))
    }
}

/// The arguments of `s3proxy recover`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("metadata_given").required(true))]
pub struct Recover {
    /// File with the object as the backend has it
    #[arg(long, value_name = "FILE", alias = "body")]
    pub stored: PathBuf,
    /// Value of its metadata header: s3p1.…, or 80 hexadecimal digits of an older proxy
    #[arg(long, value_name = "VALUE", group = "metadata_given")]
    pub envelope: Option<String>,
    /// JSON file with its metadata, such as what `aws s3api head-object` prints
    #[arg(long, value_name = "FILE", group = "metadata_given")]
    pub metadata: Option<PathBuf>,
    /// Its object key
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// Its bucket, where the envelope is bound to it
    #[arg(long, value_name = "BUCKET", default_value = "")]
    pub bucket: String,
    /// File with the encryption key: s3pk1.… or a passphrase [default: the keys of the configuration]
    #[arg(long, value_name = "FILE")]
    pub kek_file: Option<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE", alias = "output")]
    pub out: PathBuf,
    /// The settings.
    #[command(flatten)]
    pub settings: SettingFlags,
}

impl Recover {
    /// What it asks for; the error is for people.
    pub fn asked(&self) -> Result<recover::Asked, String> {
        let key_text = match &self.kek_file {
            None => None,
            Some(path) => Some(key_of(path)?),
        };
        let metadata = match (&self.envelope, &self.metadata) {
            (None, Some(path)) => recover::Metadata::File(path.clone()),
            (envelope, _) => recover::Metadata::Envelope(envelope.clone().unwrap_or_default()),
        };
        Ok(recover::Asked {
            stored: self.stored.clone(),
            metadata,
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            key_text,
            output: self.out.clone(),
        })
    }
}

/// The text of a file without the line break that editors add.
fn key_of(path: &Path) -> Result<SecretText, String> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if let Some(damage) = config::key_damage(text) {
        return Err(format!("{}: {damage}", path.display()));
    }
    let text = Zeroizing::new(text.to_owned());
    SecretText::new(text).map_err(|error| format!("{}: {error}", path.display()))
}

fn replaced(are_deleted: bool) -> Replaced {
    if are_deleted {
        Replaced::AreDeleted
    } else {
        Replaced::Stay
    }
}

fn writers(are_stopped: bool) -> Writers {
    if are_stopped {
        Writers::Stopped
    } else {
        Writers::Possible
    }
}

/// Examples of `s3proxy migrate`.
pub const MIGRATE_EXAMPLES: &str = "\
Plaintext and what older proxies wrote is read, sealed under new data keys, and stored in its place,
unless it was written over meanwhile. Clients may go on reading and writing through s3proxy. What is
in format v1 is passed over, so the command can be repeated. In buckets with versions the old version
stays, and can be read as before, unless --delete-old-versions is given. docs/migration.md has the
order of steps, and what the all-zero key means.

Examples:
  s3proxy inspect --summary photos
  s3proxy migrate --dry-run photos
  s3proxy migrate photos backups/2024/
  s3proxy migrate --only zero-key --delete-old-versions photos

The exit status is 0 where all is well, 3 where something failed or was left, 1 where nothing was
begun, and 130 or 143 where SIGINT or SIGTERM came: then the last line says how to go on. Results are
on standard output, progress on standard error. docs/commands.md has the fields of --json.";

/// Examples of `s3proxy decrypt`.
pub const DECRYPT_EXAMPLES: &str = "\
One object goes to a file, which gets its name when all of it is there; many go into a bucket as
plaintext, in place or elsewhere. Elsewhere, objects that are there already are left alone, so that
the command can be repeated.

Examples:
  s3proxy decrypt photos/2024/cat.jpg --output cat.jpg
  s3proxy decrypt backups/etc.tar --output - | tar t
  s3proxy decrypt photos --to photos-plain
  s3proxy decrypt photos/2024/ --in-place --dry-run

The exit status is 0 where all is well, 3 where something failed or was left, 1 where nothing was
begun, and 130 or 143 where SIGINT or SIGTERM came: then the last line says how to go on. Results are
on standard output, progress on standard error. docs/commands.md has the fields of --json.";

/// Examples of `s3proxy recover`.
pub const RECOVER_EXAMPLES: &str = "\
Opens one stored object from files, without network and without storage; keys are local ones. It
takes what recover/s3proxy_recover.py takes. Sealed user metadata is printed.

Examples:
  aws s3api get-object --bucket photos --key 2024/cat.jpg cat.stored > cat.json
  s3proxy recover --stored cat.stored --metadata cat.json --key 2024/cat.jpg --out cat.jpg
  s3proxy recover --stored cat.stored --envelope s3p1.… --key 2024/cat.jpg --kek-file kek.txt \\
      --out cat.jpg

The exit status is 0 where the file was written, 3 where something was refused, and 1 where the
configuration is wrong.";
