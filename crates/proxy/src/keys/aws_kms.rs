//! A key at AWS KMS, or at a service with its protocol.
//!
//! `GenerateDataKey` makes a new KEK and `Decrypt` opens an old one, both with the encryption
//! context `s3proxy = v1/kek`. `Decrypt` names the configured key, so that a ciphertext of any
//! other key is refused, even if the login may use that one.
//!
//! Rotation inside KMS keeps the key's id, and old ciphertexts still open. Moving an alias to
//! another key is not a rotation: ciphertexts of the old key are then refused. So prefer an ARN as
//! the name; the next key gets its own entry and becomes the active one.
//!
//! The login is AWS's default chain, renewed by the SDK before it expires. Absent: the SDK's
//! retries, since the Keyring retries, and a cipher of our own around KMS's.

pub(super) mod error;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{AppName, Region};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use aws_types::SdkConfig;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use s3proxy_envelope::kek::Kek;
use zeroize::Zeroizing;

use self::error::{KmsRequest, check_reachable, service_error};
use super::key_service::{KeyService, NewKek, ServiceError};
use crate::config::resolved::AwsKmsKey;
use crate::telemetry::metrics::ServiceKind;

// Frozen: ciphertexts in envelopes open only under these.
const NAME_PREFIX: &str = "aws-kms:";
const CONTEXT_NAME: &str = "s3proxy";
const CONTEXT_VALUE: &str = "v1/kek";

/// Why a key of AWS KMS cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AwsKmsError {
    #[error(
        "AWS KMS key {key}: unknown region; set `region`, use the key's ARN, or set AWS_REGION"
    )]
    NoRegion { key: String },
}

impl AwsKmsError {
    fn no_region(config: &AwsKmsKey) -> Self {
        Self::NoRegion {
            key: config.key.clone(),
        }
    }
}

/// One key at AWS KMS.
pub(crate) struct AwsKms {
    client: Client,
    key: String,
    region: String,
    name: String,
}

impl AwsKms {
    /// Builds the client without a request to KMS. The default chain looks up a region only if
    /// neither the setting nor the key contains one; `timeout` bounds that look-up, and later each
    /// request.
    pub(crate) async fn connect(
        config: &AwsKmsKey,
        timeout: Duration,
    ) -> Result<Self, AwsKmsError> {
        // The setting takes precedence over the region in the ARN.
        let told = config.region.as_deref().or_else(|| region_of(&config.key));
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(region) = told {
            loader = loader.region(Region::new(region.to_owned()));
        }
        // With a region given, loading does no I/O: only the look-up of a region can time out.
        match tokio::time::timeout(timeout, loader.load()).await {
            Ok(shared) => Self::over(&shared, config, timeout),
            Err(_) => Err(AwsKmsError::no_region(config)),
        }
    }

    fn over(
        shared: &SdkConfig,
        config: &AwsKmsKey,
        timeout: Duration,
    ) -> Result<Self, AwsKmsError> {
        let region = shared
            .region()
            .ok_or_else(|| AwsKmsError::no_region(config))?;
        let limits = TimeoutConfig::builder().operation_timeout(timeout).build();
        let mut settings = aws_sdk_kms::config::Builder::from(shared)
            .app_name(AppName::new("s3proxy").expect("letters and digits make a valid name"))
            // One layer of retries is enough: the `Caller` retries and knows the breaker.
            .retry_config(RetryConfig::disabled())
            .timeout_config(limits);
        if let Some(endpoint) = &config.endpoint {
            settings = settings.endpoint_url(endpoint.to_string());
        }
        Ok(Self {
            client: Client::from_conf(settings.build()),
            key: config.key.clone(),
            region: region.to_string(),
            name: format!("{NAME_PREFIX}{}", config.key),
        })
    }

    fn request(&self, operation: &'static str) -> KmsRequest<'_> {
        KmsRequest {
            operation,
            key: &self.key,
            region: &self.region,
        }
    }

    async fn generate(&self) -> Result<NewKek, ServiceError> {
        let request = self.request("GenerateDataKey");
        let response = self
            .client
            .generate_data_key()
            .key_id(&self.key)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context(CONTEXT_NAME, CONTEXT_VALUE)
            .send()
            .await
            .map_err(|error| service_error(&request, &error))?;
        let kek = kek(&request, response.plaintext)?;
        let ciphertext = response.ciphertext_blob.map(Blob::into_inner);
        let ciphertext = ciphertext.unwrap_or_default();
        if ciphertext.is_empty() {
            // Without a ciphertext nobody could open the KEK again: refuse it before anything is
            // wrapped under it.
            return Err(request.unusable("the response has no ciphertext"));
        }
        Ok(NewKek { kek, ciphertext })
    }

    async fn decrypt(&self, ciphertext: &[u8]) -> Result<Kek, ServiceError> {
        let request = self.request("Decrypt");
        let response = self
            .client
            .decrypt()
            .key_id(&self.key)
            .ciphertext_blob(Blob::new(ciphertext))
            .encryption_context(CONTEXT_NAME, CONTEXT_VALUE)
            .send()
            .await
            .map_err(|error| service_error(&request, &error))?;
        kek(&request, response.plaintext)
    }
}

impl KeyService for AwsKms {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ServiceKind {
        ServiceKind::AwsKms
    }

    fn create(&self) -> BoxFuture<'_, Result<NewKek, ServiceError>> {
        self.generate().boxed()
    }

    fn open<'a>(&'a self, ciphertext: &'a [u8]) -> BoxFuture<'a, Result<Kek, ServiceError>> {
        self.decrypt(ciphertext).boxed()
    }

    /// Sends `DescribeKey`. That needs its own permission, which the proxy does not need otherwise.
    /// So access denied proves that the service works, and so does any statement about the key.
    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        async move {
            let request = self.request("DescribeKey");
            match self.client.describe_key().key_id(&self.key).send().await {
                Ok(_) => Ok(()),
                Err(error) => check_reachable(&request, &error),
            }
        }
        .boxed()
    }
}

/// Takes the key from a response and wipes its buffer. The SDK's own copy of the response is not
/// wiped.
fn kek(request: &KmsRequest<'_>, plaintext: Option<Blob>) -> Result<Kek, ServiceError> {
    let bytes = Zeroizing::new(plaintext.map(Blob::into_inner).unwrap_or_default());
    Kek::from_bytes(&bytes).map_err(|error| request.unusable(&error.to_string()))
}

/// Returns the region of `arn:<partition>:kms:<region>:<account>:<key or alias>`.
fn region_of(key: &str) -> Option<&str> {
    let mut parts = key.strip_prefix("arn:")?.split(':');
    let region = parts.nth(2)?;
    (!region.is_empty()).then_some(region)
}
