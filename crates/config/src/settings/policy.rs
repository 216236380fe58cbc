//! The settings of `[policy]`.

use crate::declare::{Declaration, Flag, Names, Optional, Setting, settings};
use crate::pattern::Pattern;
use crate::resolved::{
    AnnounceEncryption, Encryption, KeyBinding, Listing, Metadata, Multipart, PartSizes, Permission,
};
use crate::value::{BucketName, List, Period, StatePrefix, Whole};

settings! { POLICY:
    /// What a sealed object is bound to. Bound to its key (`key`), it does not open under another
    /// key; bound to its bucket as well (`bucket-and-key`), it does not open in another bucket
    /// either. In the latter case buckets cannot be copied or renamed without the proxy.
    POLICY_KEY_BINDING: Setting<KeyBinding> = "policy.key_binding", Flag::None, "key";

    /// Whether objects that were never sealed are served unchanged. With `deny`, a backend cannot
    /// inject content of its own.
    POLICY_PLAINTEXT_READS: Setting<Permission> = "policy.plaintext_reads", Flag::None, "allow";

    /// Whether objects in the format of the older proxies are opened.
    POLICY_LEGACY_READS: Setting<Permission> = "policy.legacy_reads", Flag::None, "allow";

    /// The source of the object sizes in listings. With `exact`, the proxy looks up the objects of
    /// a page, at the cost of one request each. With `computed`, it computes sizes from stored
    /// lengths alone, for buckets with sealed objects only.
    POLICY_LISTING: Setting<Listing> = "policy.listing", Flag::None, "exact";

    /// Number of concurrent look-ups for one listing.
    POLICY_LOOKUP_CONCURRENCY: Setting<Whole<1, 256>> = "policy.lookup_concurrency", Flag::None, "16";

    /// How multipart uploads are handled: sealed like any object (`encrypt`), refused (`block`), or
    /// stored unencrypted (`forward-plaintext`). The last one exists for tests, and every start
    /// warns about it.
    POLICY_MULTIPART: Setting<Multipart> = "policy.multipart", Flag::None, "encrypt";

    /// Whether the backend accepts parts of any size, as S3 does (`any`), or requires all parts of
    /// a multipart upload but the last to have the same size, as Cloudflare R2 does (`equal`, the
    /// default for R2's host names). With `equal`, parts that differ from the first one are set
    /// aside until the upload completes, and then moved by the backend.
    POLICY_PART_SIZES: Setting<PartSizes> = "policy.part_sizes", Flag::None, "any";

    /// Whether user metadata (`x-amz-meta-*`) is stored in plain text, or sealed in the envelope.
    /// Sealed metadata takes more space: S3 allows 2 KB for it and the envelope together. Reads
    /// follow the object, regardless of this setting.
    POLICY_METADATA: Setting<Metadata> = "policy.metadata", Flag::None, "plain";

    /// Whether responses to writes of sealed objects carry `x-amz-server-side-encryption: aws:kms`,
    /// which keeps SDKs from comparing the `ETag` with an MD5.
    POLICY_ANNOUNCE_ENCRYPTION: Setting<AnnounceEncryption> = "policy.announce_encryption", Flag::None, "on";

    /// The key prefix for the state of multipart uploads. Clients can neither see nor use it.
    POLICY_STATE_PREFIX: Setting<StatePrefix> = "policy.state_prefix", Flag::None, ".s3proxy/";

    /// A separate bucket for the state of multipart uploads, away from the data.
    POLICY_STATE_BUCKET: Optional<BucketName> = "policy.state_bucket",
        Flag::None, "none: the bucket of the upload";

    /// How often a running proxy removes the state of uploads that ended without it (by a lifecycle
    /// rule or a crash): in buckets that received uploads since its start, and only if it is older
    /// than a day. `0s` disables this; `s3proxy sweep` does the same on demand. Use a separate
    /// state bucket only for buckets that the proxy's credential can list: uploads to any other
    /// bucket would look as if they had ended.
    POLICY_SWEEP_INTERVAL: Setting<Period> = "policy.sweep_interval", Flag::None, "24h";
}

settings! { RULES:
    /// The buckets that the rule applies to, as patterns.
    RULE_BUCKETS: Setting<List<Pattern>> = "rules[].buckets", Flag::None, "*";

    /// The prefixes of object keys that the rule applies to, as patterns.
    RULE_PREFIXES: Setting<List<Pattern>> = "rules[].prefixes", Flag::None, "*";

    /// The key that seals: the label of a key in `[[keys.local]]`, `encrypt_key`, or the name of a
    /// key as in envelopes.
    RULE_KEY: Optional<String> = "rules[].key", Flag::None, "keys.active";

    /// Further keys that open sealed objects here, during a rotation or migration: labels,
    /// `encrypt_key`, or names as in envelopes. A key that a rule names, in `key` or here, opens
    /// only under rules that name it; `keys.active` also opens where no rule names a key.
    RULE_OPENS: Optional<List<String>> = "rules[].opens", Flag::None,
        "none if the rule has a key, otherwise all keys that no rule names";

    /// The binding of sealed objects.
    RULE_KEY_BINDING: Optional<KeyBinding> = "rules[].key_binding", Flag::None, "policy.key_binding";

    /// The weakest binding that opens here: `key`, until objects from before a stricter
    /// `key_binding` are rewrapped. Until then the backend can move these objects between buckets.
    RULE_OPENS_KEY_BINDING: Optional<KeyBinding> = "rules[].opens_key_binding", Flag::None, "the rule's key_binding";

    /// Whether new objects are sealed (`on`), stored unencrypted (`off`), or sealed while unsealed
    /// objects and those in an older proxy's format are no longer served (`required`).
    RULE_ENCRYPTION: Setting<Encryption> = "rules[].encryption", Flag::None, "on";

    /// Whether objects in the format of the older proxies are opened here.
    RULE_LEGACY_READS: Optional<Permission> = "rules[].legacy_reads", Flag::None,
        "policy.legacy_reads, and deny with encryption = required";

    /// Whether to open objects here whose key an older proxy sealed with 32 zero bytes. With
    /// `keys.decryption_fallback` left at `deny`, they open under this rule and nowhere else. Never
    /// allowed if encryption is required.
    RULE_DECRYPTION_FALLBACK: Optional<Permission> = "rules[].decryption_fallback", Flag::None,
        "keys.decryption_fallback, and deny with encryption = required";
}
