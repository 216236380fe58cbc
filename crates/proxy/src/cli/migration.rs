//! Options of the commands that encrypt stored objects, and decrypt them again.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::objects::Objects;
use crate::commands::decrypt::{self, Destination, ExistingObjects};
use crate::commands::decrypt_one::DecryptOutput;
use crate::commands::migrate::{self, MigrateFilter};
use crate::commands::object_selection::ObjectTarget;
use crate::commands::recover;
use crate::commands::rewrap::{Replaced, Writers};
use crate::config::resolved::SecretText;
use crate::config::{self, LocalFiles, ScopedFlags, StoredObjects};

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
    /// Migrate only these objects
    #[arg(long, value_name = "WHAT", default_value = "all")]
    pub only: MigrateFilter,
    /// Show what would be migrated, and change nothing
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
    /// Print a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

impl Migrate {
    /// Converts the arguments to the command's options.
    #[must_use]
    pub fn asked(&self) -> migrate::MigrateOptions {
        migrate::MigrateOptions {
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
#[command(
    group = clap::ArgGroup::new("place").required(true),
    override_usage = "s3proxy decrypt [OPTIONS] BUCKET/KEY --output FILE
       s3proxy decrypt [OPTIONS] BUCKET[/PREFIX]... --in-place
       s3proxy decrypt [OPTIONS] BUCKET[/PREFIX]... --to BUCKET[/PREFIX]"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch on the command line"
)]
pub struct Decrypt {
    /// The objects.
    #[command(flatten)]
    pub objects: Objects,
    /// Write one object to FILE (- is standard output)
    #[arg(
        long,
        value_name = "FILE",
        group = "place",
        conflicts_with_all = ["json", "versions", "start_after", "dry_run"]
    )]
    pub output: Option<PathBuf>,
    /// With --output: the version of the object
    #[arg(long, value_name = "ID", requires = "output")]
    pub version_id: Option<String>,
    /// Replace the encrypted objects with plaintext
    #[arg(long, group = "place")]
    pub in_place: bool,
    /// Store plaintext here, with PREFIX before each key
    #[arg(long, value_name = "BUCKET[/PREFIX]", group = "place")]
    pub to: Option<ObjectTarget>,
    /// With --to: overwrite objects that exist
    #[arg(long, requires = "to")]
    pub overwrite: bool,
    /// Show what would be decrypted, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With --in-place: delete replaced versions
    #[arg(long, requires = "in_place")]
    pub delete_old_versions: bool,
    /// Proceed if the backend ignores conditional writes
    ///
    /// Stop everything else that writes to the buckets first: a concurrent write could be lost.
    #[arg(long)]
    pub offline: bool,
    /// Print a line for every object
    #[arg(long, short, conflicts_with_all = ["json", "output"])]
    pub verbose: bool,
    /// The settings.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

/// Options of `s3proxy decrypt`.
pub enum Decryption {
    /// Decrypt one object to a file.
    One(ObjectTarget, DecryptOutput),
    /// Decrypt many objects into a bucket.
    Many(decrypt::DecryptOptions),
}

impl Decrypt {
    /// Converts the arguments to the command's options; the error is for people.
    pub fn asked(&self) -> Result<Decryption, String> {
        if let Some(path) = &self.output {
            return match self.objects.targets.as_slice() {
                [object] if !object.prefix.is_empty() => {
                    let output = match path.to_str() {
                        Some("-") => DecryptOutput::Standard,
                        _ => DecryptOutput::File(path.clone()),
                    };
                    Ok(Decryption::One(object.clone(), output))
                }
                _ => Err("--output takes one object: BUCKET/KEY".to_owned()),
            };
        }
        let place = match &self.to {
            None => Destination::InPlace,
            Some(target) => Destination::Elsewhere {
                target: target.clone(),
                existing: if self.overwrite {
                    ExistingObjects::Overwrite
                } else {
                    ExistingObjects::Keep
                },
            },
        };
        if let Destination::Elsewhere { target, .. } = &place {
            // With a prefix in front, the target's keys differ from the source's; without one they
            // are equal, and every source in the bucket overlaps.
            let overlaps = |source: &ObjectTarget| {
                let is_inside = target.prefix.starts_with(&source.prefix);
                source.bucket == target.bucket && (is_inside || target.prefix.is_empty())
            };
            if self.objects.targets.iter().any(overlaps) {
                return Err(
                    "--to is inside the source; choose another bucket or prefix, or --in-place"
                        .to_owned(),
                );
            }
        }
        Ok(Decryption::Many(decrypt::DecryptOptions {
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
#[command(
    group = clap::ArgGroup::new("metadata_given").required(true),
    override_usage = "s3proxy recover --stored FILE --metadata FILE --key KEY --out FILE
       s3proxy recover --stored FILE --envelope VALUE --key KEY --out FILE"
)]
pub struct Recover {
    /// File with the object as it is stored on the backend
    #[arg(long, value_name = "FILE", alias = "body")]
    pub stored: PathBuf,
    /// Value of its metadata header: s3p1.…, or an older proxy's 80 hex digits
    #[arg(long, value_name = "VALUE", group = "metadata_given")]
    pub envelope: Option<String>,
    /// Value of the metadata header `…-kek-ver` beside it, where an older proxy wrote one
    #[arg(long, value_name = "VERSION", requires = "envelope")]
    pub kek_version: Option<String>,
    /// JSON file with its metadata, as `aws s3api head-object` prints it
    #[arg(long, value_name = "FILE", group = "metadata_given")]
    pub metadata: Option<PathBuf>,
    /// Its object key
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// Its bucket, if the envelope is bound to it
    #[arg(
        long,
        value_name = "BUCKET",
        default_value = "",
        hide_default_value = true
    )]
    pub bucket: String,
    /// File with the key [default: the configured keys]
    #[arg(long, value_name = "FILE")]
    pub kek_file: Option<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE", alias = "output")]
    pub out: PathBuf,
    /// The settings.
    #[command(flatten)]
    pub settings: ScopedFlags<LocalFiles>,
}

impl Recover {
    /// Converts the arguments to the command's options; the error is for people.
    pub fn asked(&self) -> Result<recover::RecoverOptions, String> {
        let key_text = match &self.kek_file {
            None => None,
            Some(path) => Some(key_of(path)?),
        };
        let metadata = match (&self.envelope, &self.metadata) {
            (None, Some(path)) => recover::Metadata::File(path.clone()),
            (envelope, _) => recover::Metadata::Envelope {
                value: envelope.clone().unwrap_or_default(),
                kek_version: self.kek_version.clone(),
            },
        };
        Ok(recover::RecoverOptions {
            stored: self.stored.clone(),
            metadata,
            bucket: self.bucket.clone(),
            key: self.key.clone(),
            key_text,
            output: self.out.clone(),
        })
    }
}

/// Reads a key from a file, without the line break that editors add.
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
