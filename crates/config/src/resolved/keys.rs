//! The resolved keys, local and at key services.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use super::{Authorities, DekTag, Permission, SecretText, ServerAddress};

/// Local keys, keys at key services, and the choice of the active one.
pub struct Keys {
    /// `keys.encrypt_key`: FORMAT.md, `s3pk1.` and base64url, or a passphrase.
    pub encrypt_key: Option<SecretText>,
    /// Keys that only open.
    pub decrypt_keys: Vec<SecretText>,
    /// Further local keys, which rules choose by their labels.
    pub labelled: Vec<LabelledKey>,
    pub services: Vec<Service>,
    pub active: ActiveKey,
    pub service_calls: ServiceCalls,
    pub dek_tag: DekTag,
    pub legacy_zero_key: Permission,
}

/// The key that seals if no rule chooses another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActiveKey {
    /// `keys.encrypt_key`.
    EncryptKey,
    /// The label of a local key, or the name of a key as in envelopes.
    Named(String),
}

pub struct LabelledKey {
    pub label: String,
    pub key: SecretText,
}

/// Use of the key services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceCalls {
    /// Time limit of one request.
    pub timeout: Duration,
    /// Number of objects that one KEK serves, per replica.
    pub kek_objects: NonZeroU32,
    /// Time for which one KEK serves new objects.
    pub kek_time: Duration,
    /// Time for which an opened KEK is cached. May be zero.
    pub cache_time: Duration,
    /// Most opened KEKs in the cache.
    pub cache_keks: NonZeroU32,
}

/// A key at a key service.
pub enum Service {
    Vault(VaultKey),
    AwsKms(AwsKmsKey),
    Pkcs11(Pkcs11Key),
    Constellation(ConstellationKey),
}

impl Service {
    /// Returns the name of the key in envelopes. Frozen: objects carry it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Vault(vault) => format!("vault:{}/{}", vault.mount, vault.key),
            Self::AwsKms(kms) => format!("aws-kms:{}", kms.key),
            Self::Pkcs11(hsm) => format!("pkcs11:{}/{}", hsm.token_label, hsm.key_label),
            Self::Constellation(_) => "constellation:s3proxy-kek".to_owned(),
        }
    }
}

/// A key of the Transit engine of HashiCorp Vault or OpenBao.
pub struct VaultKey {
    pub address: ServerAddress,
    pub authorities: Authorities,
    pub namespace: Option<String>,
    /// Path of the Transit engine, without slashes at its ends.
    pub mount: String,
    pub key: String,
    pub associated_data: AssociatedData,
    pub login: VaultLogin,
}

/// Whether a key service is given associated data when it encrypts and decrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssociatedData {
    On,
    Off,
}

/// Login at Vault. Mounts are paths without slashes at their ends.
pub enum VaultLogin {
    /// A token that is renewed as long as possible, never replaced.
    Token(SecretText),
    AppRole {
        mount: String,
        role_id: String,
        secret_id: SecretText,
    },
    Kubernetes {
        mount: String,
        role: String,
        /// File with the service account's token, which the kubelet replaces from time to time.
        token_file: PathBuf,
    },
}

/// A key of AWS KMS.
pub struct AwsKmsKey {
    /// ARN, alias ARN, alias or id, as configured: envelopes carry it.
    pub key: String,
    /// Region; if absent, that of the ARN, or else of the default chain.
    pub region: Option<String>,
    pub endpoint: Option<ServerAddress>,
}

/// A secret key in a PKCS#11 token.
pub struct Pkcs11Key {
    /// Path of the vendor's library.
    pub module: PathBuf,
    pub token_label: String,
    pub key_label: String,
    pub pin: SecretText,
}

/// Constellation's key service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstellationKey {
    /// Address; `https` means TLS.
    pub address: ServerAddress,
    pub authorities: Authorities,
}
