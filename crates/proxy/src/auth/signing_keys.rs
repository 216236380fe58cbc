//! Keys that signatures of clients are verified with, kept for as long as they are good.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use s3proxy_protocol::error::S3Error;
use s3proxy_protocol::sigv4::{CredentialScope, SignedRequest, SigningKey, Verified};
use time::OffsetDateTime;

use super::Client;

/// Signing keys derived for the current day, so that a request costs one HMAC and not five.
#[derive(Default)]
pub(crate) struct SigningKeys {
    /// By access key id and region.
    derived: Mutex<HashMap<(String, String), DerivedKey>>,
}

struct DerivedKey {
    /// `YYYYMMDD`.
    date: String,
    key: Arc<SigningKey>,
}

/// Derived keys that are kept; a client may name any region, so there must be a bound.
const MAX_DERIVED_KEYS: usize = 1024;

impl SigningKeys {
    pub(super) fn verify(
        &self,
        client: &Client,
        request: &SignedRequest,
        parts: &Parts,
        now: OffsetDateTime,
    ) -> Result<Verified, S3Error> {
        let key = self.key(client, request.scope());
        request
            .verify_with_key(
                &key,
                &parts.method,
                parts.uri.path(),
                parts.uri.query(),
                &parts.headers,
                now,
            )
            .map_err(|error| error.s3_error())
    }

    pub(super) fn key(&self, client: &Client, scope: &CredentialScope) -> Arc<SigningKey> {
        let name = (client.access_key_id.clone(), scope.region().to_owned());
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = derived.get(&name)
            && known.date == scope.date()
        {
            return Arc::clone(&known.key);
        }
        let key = Arc::new(SigningKey::derive(
            &client.secret,
            scope.date(),
            scope.region(),
        ));
        if derived.len() >= MAX_DERIVED_KEYS {
            derived.clear();
        }
        let date = scope.date().to_owned();
        let known = DerivedKey {
            date,
            key: Arc::clone(&key),
        };
        derived.insert(name, known);
        key
    }
}
