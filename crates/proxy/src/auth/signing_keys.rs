//! Cache of the keys that verify clients' signatures.
//!
//! A key is cached only after it verified a signature, and with the client whose secret it was
//! derived from: no other client can fill the cache or evict its keys.

use std::sync::{Mutex, PoisonError};

use s3proxy_protocol::sigv4::{CredentialScope, SecretAccessKey, SigningKey};

/// Keys cached per client. A client may use several regions, and two days overlap at midnight.
const MOST_KEYS: usize = 8;

/// Signing keys of one client. A cached key saves four of the five HMACs of a request.
#[derive(Default)]
pub(crate) struct SigningKeys {
    /// In order of use, the most recently used key last.
    kept: Mutex<Vec<KeptKey>>,
}

struct KeptKey {
    /// Day of the credential scope, as `YYYYMMDD`.
    date: String,
    region: String,
    key: SigningKey,
}

impl SigningKeys {
    /// Runs `verification` with the key for `scope`, and caches the key if the signature is good.
    pub(super) fn verify<T, E>(
        &self,
        secret: &SecretAccessKey,
        scope: &CredentialScope,
        verification: impl FnOnce(&SigningKey) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(key) = self.kept(scope) {
            return verification(&key);
        }
        let key = SigningKey::derive(secret, scope.date(), scope.region());
        let verified = verification(&key)?;
        // Only now: forged requests with many scopes must not evict good keys.
        self.keep(scope, key);
        Ok(verified)
    }

    /// Returns the cached key for `scope`. The lock covers comparisons of strings, never an HMAC.
    fn kept(&self, scope: &CredentialScope) -> Option<SigningKey> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let index = kept.iter().position(|kept| kept.is_for(scope))?;
        let used = kept.remove(index);
        let key = used.key.clone();
        kept.push(used);
        Some(key)
    }

    fn keep(&self, scope: &CredentialScope, key: SigningKey) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // A concurrent request may have cached the same key.
        if kept.iter().any(|kept| kept.is_for(scope)) {
            return;
        }
        if kept.len() >= MOST_KEYS {
            // The first key is the least recently used one.
            kept.remove(0);
        }
        kept.push(KeptKey {
            date: scope.date().to_owned(),
            region: scope.region().to_owned(),
            key,
        });
    }
}

impl KeptKey {
    fn is_for(&self, scope: &CredentialScope) -> bool {
        self.date == scope.date() && self.region == scope.region()
    }
}

#[cfg(test)]
mod tests {
    use s3proxy_protocol::sigv4::Credential;

    use super::*;

    fn scope(region: &str) -> CredentialScope {
        let text = format!("ID/20261130/{region}/s3/aws4_request");
        Credential::parse(&text).expect("a credential").scope
    }

    fn regions(keys: &SigningKeys) -> Vec<String> {
        let kept = keys.kept.lock().expect("nobody panicked");
        kept.iter().map(|kept| kept.region.clone()).collect()
    }

    #[test]
    fn a_key_is_kept_only_after_a_good_signature() {
        let secret = SecretAccessKey::new("secret".to_owned());
        let keys = SigningKeys::default();
        for number in 0..1000 {
            let scope = scope(&format!("r{number}"));
            let refused = keys.verify(&secret, &scope, |_| Err::<(), _>("wrong"));
            assert_eq!(refused, Err("wrong"));
        }
        assert!(regions(&keys).is_empty());
        for _ in 0..2 {
            let good = keys.verify(&secret, &scope("eu"), |_| Ok::<_, &str>(1));
            assert_eq!(good, Ok(1));
        }
        assert_eq!(regions(&keys), ["eu"]);
    }

    #[test]
    fn a_client_has_a_few_keys_and_loses_those_that_it_has_not_used_for_longest() {
        let secret = SecretAccessKey::new("secret".to_owned());
        let keys = SigningKeys::default();
        let sign = |region: &str| keys.verify(&secret, &scope(region), |_| Ok::<_, &str>(()));
        for number in 0..MOST_KEYS {
            sign(&format!("r{number}")).expect("a good signature");
        }
        sign("r0").expect("a good signature");
        sign("new").expect("a good signature");
        let kept = regions(&keys);
        assert_eq!(kept.len(), MOST_KEYS);
        assert!(kept.contains(&"r0".to_owned()) && !kept.contains(&"r1".to_owned()));
    }
}
