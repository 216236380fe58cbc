//! Options of the commands that encrypt stored objects, and decrypt them again.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::objects::{ObjectArguments, WriteArguments};
use crate::commands::decrypt::{DecryptOptions, Destination, ExistingObjects};
use crate::commands::decrypt_one::DecryptOutput;
use crate::commands::migrate::{MigrateFilter, MigrateOptions};
use crate::commands::object_selection::ObjectTarget;
use crate::commands::recover::{self, RecoverOptions};
use crate::config::resolved::SecretText;
use crate::config::{self, LocalFiles, ScopedFlags, StoredObjects};

/// The arguments of `s3proxy migrate`.
#[derive(clap::Args)]
pub struct MigrateArguments {
    /// Objects to process.
    #[command(flatten)]
    pub objects: ObjectArguments,
    /// Migrate only these objects
    #[arg(long, value_name = "KIND", default_value = "all")]
    pub only: MigrateFilter,
    /// How objects are replaced.
    #[command(flatten)]
    pub write: WriteArguments,
    /// Print a line for every object
    #[arg(long, short, conflicts_with = "json")]
    pub verbose: bool,
    /// Settings of the command.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

impl MigrateArguments {
    /// Converts the arguments to the command's options.
    #[must_use]
    pub fn options(&self) -> MigrateOptions {
        MigrateOptions {
            only: self.only,
            write: self.write.options(),
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
pub struct DecryptArguments {
    /// Objects to process.
    #[command(flatten)]
    pub objects: ObjectArguments,
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
    /// Show the changes without making them
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
    /// Settings of the command.
    #[command(flatten)]
    pub settings: ScopedFlags<StoredObjects>,
}

/// Task of `s3proxy decrypt`.
pub enum DecryptTask {
    /// Decrypt one object to a file.
    One(ObjectTarget, DecryptOutput),
    /// Decrypt many objects into a bucket.
    Many(DecryptOptions),
}

impl DecryptArguments {
    /// Converts the arguments to the command's task; the error is for people.
    pub fn task(&self) -> Result<DecryptTask, String> {
        if let Some(path) = &self.output {
            return self.one(path);
        }
        let destination = match &self.to {
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
        if self.overlaps(&destination) {
            return Err(
                "--to is inside the source; choose another bucket or prefix, or --in-place"
                    .to_owned(),
            );
        }
        let write = WriteArguments {
            dry_run: self.dry_run,
            delete_old_versions: self.delete_old_versions,
            offline: self.offline,
        };
        Ok(DecryptTask::Many(DecryptOptions {
            destination,
            write: write.options(),
        }))
    }

    fn one(&self, path: &Path) -> Result<DecryptTask, String> {
        match self.objects.targets.as_slice() {
            [object] if !object.prefix.is_empty() => {
                let output = match path.to_str() {
                    Some("-") => DecryptOutput::Standard,
                    _ => DecryptOutput::File(path.to_owned()),
                };
                Ok(DecryptTask::One(object.clone(), output))
            }
            _ => Err("--output takes one object: BUCKET/KEY".to_owned()),
        }
    }

    /// Returns whether the destination is inside a source.
    fn overlaps(&self, destination: &Destination) -> bool {
        let Destination::Elsewhere { target, .. } = destination else {
            return false;
        };
        let contains_target = |source: &ObjectTarget| {
            // With a prefix in front, the target's keys differ from the source's; without one they
            // are equal, and every source in the bucket overlaps.
            let is_inside = target.prefix.starts_with(&source.prefix);
            source.bucket == target.bucket && (is_inside || target.prefix.is_empty())
        };
        self.objects.targets.iter().any(contains_target)
    }
}

/// The arguments of `s3proxy recover`.
#[derive(clap::Args)]
#[command(
    group = clap::ArgGroup::new("metadata_given").required(true),
    override_usage = "s3proxy recover --stored FILE --metadata FILE --key KEY --out FILE
       s3proxy recover --stored FILE --envelope VALUE --key KEY --out FILE"
)]
pub struct RecoverArguments {
    /// File with the object as the backend stores it
    #[arg(long, value_name = "FILE", alias = "body")]
    pub stored: PathBuf,
    /// Envelope in the object's metadata: s3p1.…, or 80 hex digits of an older proxy
    #[arg(long, value_name = "VALUE", group = "metadata_given")]
    pub envelope: Option<String>,
    /// KEK version in the metadata of an older proxy's object (`…-kek-ver`)
    #[arg(long, value_name = "VERSION", requires = "envelope")]
    pub kek_version: Option<String>,
    /// JSON file with the object's metadata, as `aws s3api head-object` prints it
    #[arg(long, value_name = "FILE", group = "metadata_given")]
    pub metadata: Option<PathBuf>,
    /// Key of the object
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// Bucket of the object, if the envelope is bound to it
    #[arg(
        long,
        value_name = "BUCKET",
        default_value = "",
        hide_default_value = true
    )]
    pub bucket: String,
    /// File with the KEK [default: the configured keys]
    #[arg(long, value_name = "FILE")]
    pub kek_file: Option<PathBuf>,
    /// File to write the decrypted object to
    #[arg(long, value_name = "FILE", alias = "output")]
    pub out: PathBuf,
    /// Settings of the command.
    #[command(flatten)]
    pub settings: ScopedFlags<LocalFiles>,
}

impl RecoverArguments {
    /// Converts the arguments to the command's options; the error is for people.
    pub fn options(&self) -> Result<RecoverOptions, String> {
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
        Ok(RecoverOptions {
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
