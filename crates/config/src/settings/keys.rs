//! The settings of `[keys]`.

use std::path::PathBuf;

use crate::declare::{Declaration, Flag, Names, Optional, Required, Setting, settings};
use crate::dek_tag::MetadataName;
use crate::endpoint::ServerAddress;
use crate::resolved::{AssociatedData, Permission};
use crate::value::{
    IssuedSecret, KeyLines, KeyText, KmsAddress, LoginMethod, Period, RegionName, ServicePath,
    Timeout, Whole,
};

settings! { KEYS:
    /// The key that seals new objects and opens objects: a key made by `s3proxy keygen`, or a
    /// passphrase. Objects of the older proxies open with the key that those proxies would derive
    /// from the same text. Not needed if a key service holds the key.
    KEYS_ENCRYPT_KEY: Optional<KeyText> = "keys.encrypt_key" | "S3PROXY_ENCRYPT_KEY",
        Flag::None, "none: a key service holds the key";

    /// Former keys, which open objects and never seal them. Texts in a list of the configuration
    /// file are taken literally, including quotes and spaces that are refused elsewhere.
    KEYS_DECRYPT_KEYS: Optional<KeyLines> = "keys.decrypt_keys", Flag::None, "none";

    /// Whether a passphrase of fewer than 8 characters may seal new objects. Anyone who sees one
    /// stored object can find such a passphrase by brute force. Passphrases of any length can read
    /// older objects.
    KEYS_SHORT_PASSPHRASE: Setting<Permission> = "keys.short_passphrase", Flag::None, "deny";

    /// The key that seals unless a rule chooses another: `encrypt_key`, the label of a key in
    /// `[[keys.local]]`, or the name of a key at a service as in envelopes, such as
    /// `vault:transit/s3proxy`. Required if there is more than one candidate.
    KEYS_ACTIVE: Optional<String> = "keys.active", Flag::None,
        "the only candidate";

    /// The name of the metadata field, without `x-amz-meta-`, that holds an object's envelope.
    /// Objects of Constellation's proxy have it in `constellation-dek`.
    KEYS_DEKTAG_NAME: Setting<MetadataName> = "keys.dektag_name" | "S3PROXY_DEKTAG_NAME",
        Flag::None, "isec";

    /// The name of the metadata field, without `x-amz-meta-`, in which Intrinsec's proxy from 1.8.0
    /// on records how it derived an object's key-encryption key. It is read and never written.
    KEYS_DEKTAG_KEKVER: Optional<MetadataName> = "keys.dektag_kekver" | "S3PROXY_DEKTAG_KEKVER",
        Flag::None, "`keys.dektag_name` followed by `-kek-ver`";

    /// Whether to open objects of the older proxies whose key was sealed with 32 zero bytes, as
    /// faulty versions did. Anyone who can read such a bucket can decrypt those objects.
    KEYS_DECRYPTION_FALLBACK: Setting<Permission> = "keys.decryption_fallback" | "S3PROXY_DECRYPTION_FALLBACK", Flag::None, "deny";

    /// The address of Constellation's key service. In a Constellation cluster it is
    /// `key-service.kube-system:9000`. Without a scheme, or with `http://`, the connection is not
    /// encrypted, which is how that service works; with `https://` it is.
    KEYS_KMS: Optional<KmsAddress> = "keys.kms" | "S3PROXY_KMS",
        Flag::Value { name: "kms", placeholder: "HOST:PORT" }, "none";

    /// CA certificates (PEM) to trust for Constellation's key service, instead of the system's.
    KEYS_KMS_CA: Optional<PathBuf> = "keys.kms_ca", Flag::None,
        "none: the system's CA certificates";

    /// Timeout of one request to a key service.
    KEYS_SERVICE_TIMEOUT: Setting<Timeout> = "keys.service_timeout", Flag::None, "5s";

    /// Maximum number of objects under one key-encryption key, if a key service encrypts these
    /// keys. With 1, every object has a key-encryption key of its own, and every write is a request
    /// to the service.
    KEYS_KEK_OBJECTS: Setting<Whole<1, 1_000_000_000>> = "keys.kek_objects", Flag::None, "10000";

    /// How long one such key-encryption key is used for new objects.
    KEYS_KEK_TIME: Setting<Timeout> = "keys.kek_time", Flag::None, "1h";

    /// How long an opened key-encryption key is cached. Objects stay readable this long after the
    /// key is disabled at the service. `0s` disables the cache.
    KEYS_CACHE_TIME: Setting<Period> = "keys.cache_time", Flag::None,
        "10m";

    /// Maximum number of opened key-encryption keys in the cache.
    KEYS_CACHE_KEKS: Setting<Whole<1, 1_000_000>> = "keys.cache_keks", Flag::None, "10000";

    /// The label by which rules and `keys.active` refer to the key.
    LOCAL_LABEL: Required<String> = "keys.local[].label", Flag::None;

    /// The key, or a passphrase.
    LOCAL_KEY: Required<KeyText> = "keys.local[].key", Flag::None;

    /// The address of HashiCorp Vault or `OpenBao`; HTTPS is the default.
    VAULT_ADDRESS: Required<ServerAddress> = "keys.vault[].address", Flag::None;

    /// CA certificates (PEM) to trust for the server, instead of the system's.
    VAULT_CA: Optional<PathBuf> = "keys.vault[].ca", Flag::None,
        "none: the system's CA certificates";

    /// The namespace of the login and the key.
    VAULT_NAMESPACE: Optional<ServicePath> = "keys.vault[].namespace", Flag::None,
        "none: the root namespace";

    /// The path of the Transit engine.
    VAULT_MOUNT: Setting<ServicePath> = "keys.vault[].mount", Flag::None, "transit";

    /// The name of the Transit key.
    VAULT_KEY: Required<ServicePath> = "keys.vault[].key", Flag::None;

    /// Whether key-encryption keys are bound to this use by `associated_data`, so that ciphertexts
    /// of other programs under the same Transit key do not open. Requires Vault 1.13 or OpenBao,
    /// and a Transit key without objects so far: a ciphertext made without associated data does not
    /// open with it.
    VAULT_ASSOCIATED_DATA: Setting<AssociatedData> = "keys.vault[].associated_data", Flag::None, "off";

    /// The login method: a token, an `AppRole`, or the Kubernetes service account.
    VAULT_AUTH: Setting<LoginMethod> = "keys.vault[].auth", Flag::None, "token";

    /// The path of the login method.
    VAULT_AUTH_MOUNT: Optional<ServicePath> = "keys.vault[].auth_mount", Flag::None,
        "`approle` or `kubernetes`";

    /// The token, for `token`. It is renewed for as long as Vault allows.
    VAULT_TOKEN: Optional<IssuedSecret> = "keys.vault[].token", Flag::None, "none";

    /// The role ID, for `approle`.
    VAULT_ROLE_ID: Optional<String> = "keys.vault[].role_id", Flag::None, "none";

    /// The secret ID, for `approle`.
    VAULT_SECRET_ID: Optional<IssuedSecret> = "keys.vault[].secret_id", Flag::None, "none";

    /// The role, for `kubernetes`.
    VAULT_ROLE: Optional<String> = "keys.vault[].role", Flag::None, "none";

    /// The file that contains the service account's token, for `kubernetes`. It is read at each
    /// login.
    VAULT_JWT_FILE: Setting<PathBuf> = "keys.vault[].jwt_file", Flag::None,
        "/var/run/secrets/kubernetes.io/serviceaccount/token";

    /// The key at AWS KMS: its ARN, alias or ID. Envelopes of objects carry this text, so choose
    /// one that stays valid.
    AWS_KMS_KEY: Required<String> = "keys.aws_kms[].key", Flag::None;

    /// The region of the key.
    AWS_KMS_REGION: Optional<RegionName> = "keys.aws_kms[].region", Flag::None,
        "the region in the ARN, or that of AWS's default chain";

    /// The endpoint of AWS KMS.
    AWS_KMS_ENDPOINT: Optional<ServerAddress> = "keys.aws_kms[].endpoint", Flag::None,
        "AWS's own";

    /// The PKCS#11 library of the hardware vendor.
    PKCS11_MODULE: Required<PathBuf> = "keys.pkcs11[].module", Flag::None;

    /// The label of the token that holds the key.
    PKCS11_TOKEN: Required<String> = "keys.pkcs11[].token", Flag::None;

    /// The label of the key: a 256-bit AES key that may encrypt and decrypt.
    PKCS11_KEY: Required<String> = "keys.pkcs11[].key", Flag::None;

    /// The user PIN.
    PKCS11_PIN: Required<IssuedSecret> = "keys.pkcs11[].pin", Flag::None;
}
