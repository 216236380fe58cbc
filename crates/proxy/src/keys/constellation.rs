//! Constellation's key service: `kms.API/GetDataKey` over gRPC.
//!
//! The service encrypts nothing. It derives a key from a master secret and an id, always the same
//! for the same id. So a KEK is the derivation of a random id, and envelopes carry that id in place
//! of a ciphertext. Ids of any other form are never passed on: an attacker who can write envelopes
//! must not choose the derivation, since the cluster's disk keys come from the same service.
//!
//! There is no login, and the messages carry no key version: with another master secret all older
//! KEKs differ, and their data-encryption keys do not unwrap until the old secret is back. Only the
//! network policy around the service, or TLS on the way, protects it.
//!
//! The connection is opened with the first request and again after it broke. Absent: retries, since
//! the Keyring retries, and client certificates.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use s3proxy_envelope::kek::Kek;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::key_service::{KeyService, NewKek, ServiceError};
use crate::config::resolved::{Authorities, ConstellationKey, Scheme};
use crate::net::{PemError, trusted_roots, with_causes};
use crate::telemetry::metrics::ServiceKind;

// Frozen: the name that envelopes carry, the form of their ids, and the older format's id.
pub(super) const NAME: &str = "constellation:s3proxy-kek";
const ID_PREFIX: &str = "s3proxy-kek/v1/";
const ID_BYTES: usize = 16;
const LEGACY_ID: &str = "s3proxy-kek";
const KEK_BYTES: u32 = 32;

const GET_DATA_KEY: &str = "/kms.API/GetDataKey";
/// Method of the standard health protocol. A service without it returns `Unimplemented`.
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const NOT_SERVING: i32 = 2;
/// Longest response that is read, in bytes.
const MAX_RESPONSE_BYTES: usize = 4096;
/// Longest message of the service that is passed on, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

/// Why the key service cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConstellationError {
    #[error("key service {address}: {source}")]
    Authorities { address: String, source: PemError },
    #[error("key service {address}: {reason}")]
    Address { address: String, reason: String },
}

/// Client of Constellation's key service.
pub(crate) struct Constellation {
    channel: Channel,
    address: String,
    timeout: Duration,
}

impl Constellation {
    /// Builds the client without opening a connection. Must run inside the runtime, which drives
    /// the connection.
    pub(crate) fn connect(
        config: &ConstellationKey,
        timeout: Duration,
    ) -> Result<Self, ConstellationError> {
        let address = config.address.to_string();
        let refused = |error: tonic::transport::Error| ConstellationError::Address {
            address: config.address.to_string(),
            reason: with_causes(&error),
        };
        // Keep-alive detects a vanished peer before the request's own time limit is over: half of
        // it passes until a ping, a quarter until the ping counts as lost.
        let mut endpoint = Endpoint::from_shared(address.clone())
            .map_err(refused)?
            .connect_timeout(timeout)
            .http2_keep_alive_interval(timeout / 2)
            .keep_alive_timeout(timeout / 4);
        if config.address.scheme == Scheme::Https {
            let file = match &config.authorities {
                Authorities::System => None,
                Authorities::File(path) => Some(path.as_path()),
            };
            let roots = trusted_roots(file).map_err(|source| ConstellationError::Authorities {
                address: address.clone(),
                source,
            })?;
            let tls = ClientTlsConfig::new().trust_anchors(roots.roots);
            endpoint = endpoint.tls_config(tls).map_err(refused)?;
        }
        Ok(Self {
            channel: endpoint.connect_lazy(),
            address,
            timeout,
        })
    }

    /// Fetches the KEK of the objects that Constellation's own proxy stored. One request; the
    /// caller retries and caches.
    pub(crate) async fn legacy_kek(&self) -> Result<Zeroizing<[u8; 32]>, ServiceError> {
        let key = self.data_key(LEGACY_ID).await?;
        let bytes = <[u8; 32]>::try_from(&key[..]).map_err(|_| self.wrong_length(key.len()))?;
        Ok(Zeroizing::new(bytes))
    }

    async fn kek(&self, id: &str) -> Result<Kek, ServiceError> {
        let key = self.data_key(id).await?;
        Kek::from_bytes(&key).map_err(|_| self.wrong_length(key.len()))
    }

    async fn data_key(&self, id: &str) -> Result<Zeroizing<Vec<u8>>, ServiceError> {
        let request = GetDataKeyRequest {
            data_key_id: id.to_owned(),
            length: KEK_BYTES,
        };
        let mut response: GetDataKeyResponse = self.ask(GET_DATA_KEY, request).await?;
        Ok(Zeroizing::new(std::mem::take(&mut response.data_key)))
    }

    async fn ask<Q, A>(&self, method: &'static str, message: Q) -> Result<A, ServiceError>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        // Connecting is part of `ready`, so the time limit covers it, too.
        let asking = async {
            let mut client = tonic::client::Grpc::new(self.channel.clone())
                .max_decoding_message_size(MAX_RESPONSE_BYTES);
            client.ready().await.map_err(|error| {
                ServiceError::Unavailable(self.text(method, &with_causes(&error)))
            })?;
            let path = PathAndQuery::from_static(method);
            client
                .unary(Request::new(message), path, ProstCodec::<Q, A>::default())
                .await
                .map(tonic::Response::into_inner)
                .map_err(|status| self.status_error(method, &status))
        };
        tokio::time::timeout(self.timeout, asking)
            .await
            .map_err(|_| {
                let reason = format!("timed out after {:?}", self.timeout);
                ServiceError::Unavailable(self.text(method, &reason))
            })?
    }

    fn status_error(&self, method: &str, status: &Status) -> ServiceError {
        let mut said: String = status.message().chars().take(MAX_MESSAGE_CHARS).collect();
        // A transport error has its details in the chain of causes, not in the status message.
        if let Some(cause) = std::error::Error::source(status) {
            said = with_causes(cause);
        }
        let mut reason = format!("{:?}: {said}", status.code());
        match classify(status.code()) {
            StatusClass::Unavailable => ServiceError::Unavailable(self.text(method, &reason)),
            StatusClass::Throttled => ServiceError::Throttled(self.text(method, &reason)),
            StatusClass::Refused => ServiceError::Refused(self.text(method, &reason)),
            // Constellation's service never returns these: probably another gRPC server listens
            // there.
            StatusClass::Other => {
                reason.push_str("; is this Constellation's key service?");
                ServiceError::Key(self.text(method, &reason))
            }
        }
    }

    fn wrong_length(&self, found: usize) -> ServiceError {
        let reason = format!("it returned a key of {found} bytes instead of {KEK_BYTES}");
        ServiceError::Key(self.text(GET_DATA_KEY, &reason))
    }

    fn text(&self, method: &str, reason: &str) -> String {
        format!("{}{method}: {reason}", self.address)
    }
}

impl KeyService for Constellation {
    fn name(&self) -> &str {
        NAME
    }

    fn kind(&self) -> ServiceKind {
        ServiceKind::Constellation
    }

    fn create(&self) -> BoxFuture<'_, Result<NewKek, ServiceError>> {
        async move {
            let id = new_id();
            Ok(NewKek {
                kek: self.kek(&id).await?,
                ciphertext: id.into_bytes(),
            })
        }
        .boxed()
    }

    fn open<'a>(&'a self, ciphertext: &'a [u8]) -> BoxFuture<'a, Result<Kek, ServiceError>> {
        async move {
            let id = id_of(ciphertext).ok_or_else(|| {
                ServiceError::Ciphertext(format!(
                    "it is not the ID of a KEK ({ID_PREFIX} and {} hex digits); it was not sent \
                     to {}",
                    2 * ID_BYTES,
                    self.address
                ))
            })?;
            self.kek(id).await
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        async move {
            let response = self
                .ask::<_, HealthCheckResponse>(HEALTH, HealthCheckRequest {})
                .await;
            match response {
                Ok(health) if health.status == NOT_SERVING => Err(ServiceError::Unavailable(
                    self.text(HEALTH, "the service reports NOT_SERVING"),
                )),
                Err(error @ (ServiceError::Unavailable(_) | ServiceError::Throttled(_))) => {
                    Err(error)
                }
                // A service without the health protocol has answered, and so it is up.
                Ok(_)
                | Err(
                    ServiceError::Refused(_) | ServiceError::Key(_) | ServiceError::Ciphertext(_),
                ) => Ok(()),
            }
        }
        .boxed()
    }
}

enum StatusClass {
    Unavailable,
    Throttled,
    Refused,
    Other,
}

fn classify(code: Code) -> StatusClass {
    match code {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Cancelled
        | Code::Internal
        | Code::Unknown
        | Code::DataLoss => StatusClass::Unavailable,
        Code::ResourceExhausted => StatusClass::Throttled,
        Code::PermissionDenied | Code::Unauthenticated => StatusClass::Refused,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => StatusClass::Other,
    }
}

fn new_id() -> String {
    let mut bytes = [0; ID_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's generator works");
    format!("{ID_PREFIX}{:032x}", u128::from_be_bytes(bytes))
}

/// Returns the length of the key in a response message.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn key_length(message: &[u8]) -> Option<usize> {
    let response = <GetDataKeyResponse as prost::Message>::decode(message).ok()?;
    Some(response.data_key.len())
}

/// Returns the id, if it has the form that [`new_id`] produces.
pub(super) fn id_of(ciphertext: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(ciphertext).ok()?;
    let digits = text.strip_prefix(ID_PREFIX)?;
    // Exactly the form of `new_id`: any other id could select a key of another purpose.
    let all_hex = digits
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (digits.len() == 2 * ID_BYTES && all_hex).then_some(text)
}

#[derive(prost::Message)]
struct GetDataKeyRequest {
    #[prost(string, tag = "1")]
    data_key_id: String,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// Response with the key. Its `Debug` does not show the key, and the key is wiped on drop. The
/// transport's read buffers are not.
#[derive(prost::Message)]
#[prost(skip_debug)]
struct GetDataKeyResponse {
    #[prost(bytes = "vec", tag = "1")]
    data_key: Vec<u8>,
}

impl std::fmt::Debug for GetDataKeyResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetDataKeyResponse").finish_non_exhaustive()
    }
}

impl Drop for GetDataKeyResponse {
    fn drop(&mut self) {
        self.data_key.zeroize();
    }
}

impl ZeroizeOnDrop for GetDataKeyResponse {}

#[derive(prost::Message)]
struct HealthCheckRequest {}

#[derive(prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[cfg(test)]
mod tests;
