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
    /// The key that seals new objects, and opens objects: one made by `s3proxy keygen`, or a
    /// passphrase. Objects of the older proxies are opened with the key that they would derive from
    /// the same text. Not needed where a key service holds the key.
    KEYS_ENCRYPT_KEY: Optional<KeyText> = "keys.encrypt_key" | "S3PROXY_ENCRYPT_KEY",
        Flag::None, "none: a key service holds the key";

    /// Further keys, which open objects and never seal them: those used before. Texts in a list of the
    /// configuration file are taken as they are, with quotes and spaces that would be refused elsewhere.
    KEYS_DECRYPT_KEYS: Optional<KeyLines> = "keys.decrypt_keys", Flag::None, "none";

    /// Whether a passphrase of fewer than 8 characters may seal new objects. Such a passphrase is found
    /// by trying; anyone who sees one stored object can do that. Reading older objects takes any
    /// passphrase.
    KEYS_SHORT_PASSPHRASE: Setting<Permission> = "keys.short_passphrase", Flag::None, "deny";

    /// The key that seals where no rule says otherwise: `encrypt_key`, the label of a key in
    /// `[[keys.local]]`, or the name of a key at a service as envelopes have it, such as
    /// `vault:transit/s3proxy`. Has to be given where there is more than one that could be meant.
    KEYS_ACTIVE: Optional<String> = "keys.active", Flag::None,
        "the only one";

    /// The name of the metadata, without `x-amz-meta-`, in which an object's envelope is stored.
    /// Objects of Constellation's proxy have theirs in `constellation-dek`.
    KEYS_DEKTAG_NAME: Setting<MetadataName> = "keys.dektag_name" | "S3PROXY_DEKTAG_NAME",
        Flag::None, "isec";

    /// The name of the metadata, without `x-amz-meta-`, in which Intrinsec's proxy from 1.8.0 on
    /// records how it derived an object's key-encryption key. It is read, and never written.
    KEYS_DEKTAG_KEKVER: Optional<MetadataName> = "keys.dektag_kekver" | "S3PROXY_DEKTAG_KEKVER",
        Flag::None, "`keys.dektag_name` and `-kek-ver`";

    /// Whether objects of the older proxies may be opened whose key was sealed with 32 zero bytes,
    /// as their faulty versions did. Whoever can read such a bucket can decrypt those objects.
    KEYS_DECRYPTION_FALLBACK: Setting<Permission> = "keys.decryption_fallback" | "S3PROXY_DECRYPTION_FALLBACK", Flag::None, "deny";

    /// The address of Constellation's key service. In a Constellation cluster it is
    /// `key-service.kube-system:9000`. Without a scheme, or with `http://`, the connection is not
    /// encrypted, as that service has it; with `https://` it is.
    KEYS_KMS: Optional<KmsAddress> = "keys.kms" | "S3PROXY_KMS",
        Flag::Value { name: "kms", placeholder: "HOST:PORT" }, "none";

    /// Certificates (PEM) of the authorities that may have signed that service's.
    KEYS_KMS_CA: Optional<PathBuf> = "keys.kms_ca", Flag::None,
        "none: the system's authorities";

    /// How long one request to a key service may take.
    KEYS_SERVICE_TIMEOUT: Setting<Timeout> = "keys.service_timeout", Flag::None, "5s";

    /// How many objects one key-encryption key serves, where a key service encrypts them. With 1,
    /// every object has one of its own, and every write is a request to the service.
    KEYS_KEK_OBJECTS: Setting<Whole<1, 1_000_000_000>> = "keys.kek_objects", Flag::None, "10000";

    /// How long one such key-encryption key serves new objects.
    KEYS_KEK_TIME: Setting<Timeout> = "keys.kek_time", Flag::None, "1h";

    /// How long an opened key-encryption key is remembered: so long are objects readable after their
    /// key was disabled at the service. `0s` is not at all.
    KEYS_CACHE_TIME: Setting<Period> = "keys.cache_time", Flag::None,
        "10m";

    /// How many opened key-encryption keys are remembered at most.
    KEYS_CACHE_KEKS: Setting<Whole<1, 1_000_000>> = "keys.cache_keks", Flag::None, "10000";

    /// What rules and `keys.active` call the key.
    LOCAL_LABEL: Required<String> = "keys.local[].label", Flag::None;

    /// The key, or a passphrase.
    LOCAL_KEY: Required<KeyText> = "keys.local[].key", Flag::None;

    /// The address of HashiCorp Vault or `OpenBao`, HTTPS unless it says otherwise.
    VAULT_ADDRESS: Required<ServerAddress> = "keys.vault[].address", Flag::None;

    /// Certificates (PEM) of the authorities that may have signed its certificate.
    VAULT_CA: Optional<PathBuf> = "keys.vault[].ca", Flag::None,
        "none: the system's authorities";

    /// The namespace of login and key.
    VAULT_NAMESPACE: Optional<ServicePath> = "keys.vault[].namespace", Flag::None,
        "none: the root namespace";

    /// The path of the Transit engine.
    VAULT_MOUNT: Setting<ServicePath> = "keys.vault[].mount", Flag::None, "transit";

    /// The name of the Transit key.
    VAULT_KEY: Required<ServicePath> = "keys.vault[].key", Flag::None;

    /// Whether key-encryption keys are bound to this use by `associated_data`, so that nothing opens that
    /// another program had encrypted under the Transit key. Takes Vault 1.13 or OpenBao, and a key that no
    /// object is under yet: what was encrypted without it does not open with it.
    VAULT_ASSOCIATED_DATA: Setting<AssociatedData> = "keys.vault[].associated_data", Flag::None, "off";

    /// How the proxy logs in: with a token, as an `AppRole`, or with its Kubernetes service account.
    VAULT_AUTH: Setting<LoginMethod> = "keys.vault[].auth", Flag::None, "token";

    /// The path of the login method.
    VAULT_AUTH_MOUNT: Optional<ServicePath> = "keys.vault[].auth_mount", Flag::None,
        "`approle` or `kubernetes`";

    /// The token, for `token`. It is renewed as long as Vault allows.
    VAULT_TOKEN: Optional<IssuedSecret> = "keys.vault[].token", Flag::None, "none";

    /// The role's id, for `approle`.
    VAULT_ROLE_ID: Optional<String> = "keys.vault[].role_id", Flag::None, "none";

    /// The secret id, for `approle`.
    VAULT_SECRET_ID: Optional<IssuedSecret> = "keys.vault[].secret_id", Flag::None, "none";

    /// The role, for `kubernetes`.
    VAULT_ROLE: Optional<String> = "keys.vault[].role", Flag::None, "none";

    /// The file with the service account's token, for `kubernetes`. It is read at each login.
    VAULT_JWT_FILE: Setting<PathBuf> = "keys.vault[].jwt_file", Flag::None,
        "/var/run/secrets/kubernetes.io/serviceaccount/token";

    /// The key at AWS KMS: its ARN, an alias, or its id. Objects carry what stands here, so it should
    /// be something that stays.
    AWS_KMS_KEY: Required<String> = "keys.aws_kms[].key", Flag::None;

    /// The key's region.
    AWS_KMS_REGION: Optional<RegionName> = "keys.aws_kms[].region", Flag::None,
        "that of the ARN, or of AWS's default chain";

    /// Where AWS KMS is asked.
    AWS_KMS_ENDPOINT: Optional<ServerAddress> = "keys.aws_kms[].endpoint", Flag::None,
        "AWS's own";

    /// The PKCS#11 library of the hardware's vendor.
    PKCS11_MODULE: Required<PathBuf> = "keys.pkcs11[].module", Flag::None;

    /// The label of the token that holds the key.
    PKCS11_TOKEN: Required<String> = "keys.pkcs11[].token", Flag::None;

    /// The label of the key: an AES key of 256 bits that may encrypt and decrypt.
    PKCS11_KEY: Required<String> = "keys.pkcs11[].key", Flag::None;

    /// The user's PIN.
    PKCS11_PIN: Required<IssuedSecret> = "keys.pkcs11[].pin", Flag::None;
}
