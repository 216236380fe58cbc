//! The settings of `[policy]`.

use crate::declare::{Declaration, Flag, Names, Optional, Setting, settings};
use crate::pattern::Pattern;
use crate::resolved::{
    AnnounceEncryption, Encryption, KeyBinding, Listing, Metadata, Multipart, PartSizes, Permission,
};
use crate::value::{BucketName, List, Period, StatePrefix, Whole};

settings! { POLICY:
    /// What a sealed object is bound to: it cannot be opened under another key (`key`), or neither
    /// in another bucket (`bucket-and-key`). With the latter, buckets cannot be copied or renamed
    /// around the proxy.
    POLICY_KEY_BINDING: Setting<KeyBinding> = "policy.key_binding", Flag::None, "key";

    /// Whether objects that were never sealed are served as they are. With `deny`, a backend cannot
    /// slip in content of its own.
    POLICY_PLAINTEXT_READS: Setting<Permission> = "policy.plaintext_reads", Flag::None, "allow";

    /// Whether objects in the format of the older proxies are opened.
    POLICY_LEGACY_READS: Setting<Permission> = "policy.legacy_reads", Flag::None, "allow";

    /// Where the sizes in listings come from. With `exact`, the objects of a page are looked up, at
    /// the cost of a request each. With `computed`, the stored length alone is used, for buckets
    /// that hold nothing but sealed objects.
    POLICY_LISTING: Setting<Listing> = "policy.listing", Flag::None, "exact";

    /// Look-ups made side by side for one listing.
    POLICY_LOOKUP_CONCURRENCY: Setting<Whole<1, 256>> = "policy.lookup_concurrency", Flag::None, "16";

    /// Multipart uploads: sealed like any object (`encrypt`), refused (`block`), or stored as they
    /// are (`forward-plaintext`), which exists for tests and is warned of at every start.
    POLICY_MULTIPART: Setting<Multipart> = "policy.multipart", Flag::None, "encrypt";

    /// Whether the backend takes parts of any size, as S3 does, or wants all but the last of a
    /// multipart upload to be equally long, as Cloudflare R2 does (`equal`, which is the default for its
    /// host names). Then parts that differ
    /// from the first one are kept aside until the upload completes, and moved by the backend.
    POLICY_PART_SIZES: Setting<PartSizes> = "policy.part_sizes", Flag::None, "any";

    /// Whether user metadata (`x-amz-meta-*`) is stored as it is, or sealed in the envelope. Sealed
    /// metadata takes more room: S3 leaves 2 KB for it and the envelope together. Reading follows
    /// the object, whatever the setting says.
    POLICY_METADATA: Setting<Metadata> = "policy.metadata", Flag::None, "plain";

    /// Whether answers to writes of sealed objects say `x-amz-server-side-encryption: aws:kms`, so
    /// that SDKs which would compare the `ETag` with an MD5 do not.
    POLICY_ANNOUNCE_ENCRYPTION: Setting<AnnounceEncryption> = "policy.announce_encryption", Flag::None, "on";

    /// The key prefix under which the proxy keeps the state of multipart uploads. Clients can
    /// neither see nor use it.
    POLICY_STATE_PREFIX: Setting<StatePrefix> = "policy.state_prefix", Flag::None, ".s3proxy/";

    /// A bucket for that state, where it shall not lie beside the data.
    POLICY_STATE_BUCKET: Optional<BucketName> = "policy.state_bucket",
        Flag::None, "none: the bucket of the upload";

    /// How often a serving proxy removes the state of uploads that ended around it (a lifecycle
    /// rule, a crash): from buckets that uploads went to since it started, and only what is older
    /// than a day. `0s` is never; `s3proxy sweep` does the same when it is asked to. A state bucket
    /// of its own is for buckets that the proxy's credential can list: uploads to any other would
    /// look as if they had ended.
    POLICY_SWEEP_INTERVAL: Setting<Period> = "policy.sweep_interval", Flag::None, "24h";
}

settings! { RULES:
    /// The buckets that the rule is for, as patterns.
    RULE_BUCKETS: Setting<List<Pattern>> = "rules[].buckets", Flag::None, "*";

    /// The beginnings of object keys that the rule is for, as patterns.
    RULE_PREFIXES: Setting<List<Pattern>> = "rules[].prefixes", Flag::None, "*";

    /// The key that seals: a label of `[[keys.local]]`, `encrypt_key`, or the name of a key as
    /// envelopes have it.
    RULE_KEY: Optional<String> = "rules[].key", Flag::None, "keys.active";

    /// Further keys that open sealed objects here, for the time of a rotation or migration: labels,
    /// `encrypt_key`, or names as envelopes have them. A key that a rule names, in `key` or here,
    /// opens only in the places of rules that name it, and `keys.active` where none is named.
    RULE_OPENS: Optional<List<String>> = "rules[].opens", Flag::None,
        "none where the rule has a key, else all keys that no rule names";

    /// What sealed objects are bound to.
    RULE_KEY_BINDING: Optional<KeyBinding> = "rules[].key_binding", Flag::None, "policy.key_binding";

    /// The weakest binding that opens here: `key`, until objects that were written before `key_binding` asked
    /// for more are rewrapped. Until then the backend can move these between buckets.
    RULE_OPENS_KEY_BINDING: Optional<KeyBinding> = "rules[].opens_key_binding", Flag::None, "the rule's key_binding";

    /// Whether new objects are sealed (`on`); sealed, and nothing served that is not, or is in an
    /// older proxy's format (`required`); or stored as they come (`off`).
    RULE_ENCRYPTION: Setting<Encryption> = "rules[].encryption", Flag::None, "on";

    /// Whether objects in the format of the older proxies are opened here.
    RULE_LEGACY_READS: Optional<Permission> = "rules[].legacy_reads", Flag::None,
        "policy.legacy_reads, and deny with encryption = required";

    /// Whether objects open here whose key an older proxy sealed with 32 zero bytes: with
    /// `keys.decryption_fallback` left at `deny`, here and nowhere else. Never where encryption is
    /// required.
    RULE_DECRYPTION_FALLBACK: Optional<Permission> = "rules[].decryption_fallback", Flag::None,
        "keys.decryption_fallback, and deny with encryption = required";
}
