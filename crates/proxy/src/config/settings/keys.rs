//! The settings of `[keys]`.

use crate::config::declare::{Declaration, Flag, Names, Optional, Required, Setting, settings};
use crate::config::dek_tag::DekTag;
use crate::config::resolved::Permission;
use crate::config::value::{KeyLines, KeyText, Unsupported};

settings! { KEYS:
    /// The key that seals new objects, and opens objects: one made by `s3proxy keygen`, or a
    /// passphrase. Objects of the older proxies are opened with the key that they would derive from
    /// the same text.
    KEYS_ENCRYPT_KEY: Required<KeyText> = "keys.encrypt_key", ["S3PROXY_ENCRYPT_KEY"],
        Flag::None;

    /// Further keys, which open objects and never seal them: those used before.
    KEYS_DECRYPT_KEYS: Optional<KeyLines> = "keys.decrypt_keys", ["S3PROXY_DECRYPT_KEYS"],
        Flag::None, "none";

    /// The name of the metadata, without `x-amz-meta-`, in which an object's envelope is stored.
    /// Objects of Constellation's proxy have theirs in `constellation-dek`.
    KEYS_DEKTAG_NAME: Setting<DekTag> = "keys.dektag_name", ["S3PROXY_DEKTAG_NAME"],
        Flag::None, "isec";

    /// Whether objects of the older proxies may be opened whose key was sealed with 32 zero bytes,
    /// as their faulty versions did. Whoever can read such a bucket can decrypt those objects.
    KEYS_DECRYPTION_FALLBACK: Setting<Permission> = "keys.decryption_fallback",
        ["S3PROXY_DECRYPTION_FALLBACK"], Flag::None, "deny";

    /// The address of Constellation's key service. Not in this version: it is refused.
    KEYS_KMS: Optional<Unsupported> = "keys.kms", ["S3PROXY_KMS"],
        Flag::Value { name: "kms", placeholder: "HOST:PORT" }, "none";
}
