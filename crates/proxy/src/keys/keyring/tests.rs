//! Tests of the ring over a service that counts its calls and fails on demand.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use s3proxy_envelope::dek::Binding;
use s3proxy_envelope::header::{Flags, Layout};
use s3proxy_envelope::names::{BucketStr, KeyStr};
use zeroize::Zeroizing;

use super::super::key_service::NewKek;
use super::super::scope::{RuleName, Scope};
use super::*;
use crate::config::resolved::{ActiveKey, KeyBinding, Permission, SecretText, ServiceCalls};
use crate::telemetry::metrics::ServiceKind;

/// Fake service without encryption: the ciphertext is a number, under which the KEK is stored.
#[derive(Default)]
struct Counting {
    keks: Mutex<Vec<Zeroizing<String>>>,
    created: AtomicUsize,
    opened: AtomicUsize,
    fault: Mutex<Option<ServiceError>>,
    /// Whether calls never return.
    is_silent: AtomicBool,
}

impl Counting {
    fn asked(&self) -> (usize, usize) {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (read(&self.created), read(&self.opened))
    }

    fn fail(&self, fault: Option<ServiceError>) {
        *self.fault.lock().expect("no test panics here") = fault;
    }

    fn fall_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Relaxed);
    }

    async fn answers(&self) -> Result<(), ServiceError> {
        tokio::task::yield_now().await;
        if self.is_silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.fault()
    }

    fn fault(&self) -> Result<(), ServiceError> {
        match &*self.fault.lock().expect("no test panics here") {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

impl KeyService for Counting {
    fn name(&self) -> &'static str {
        "test:key"
    }

    fn kind(&self) -> ServiceKind {
        ServiceKind::Vault
    }

    fn create(&self) -> BoxFuture<'_, Result<NewKek, ServiceError>> {
        async {
            self.created.fetch_add(1, Ordering::Relaxed);
            self.answers().await?;
            let kek = Kek::generate();
            let mut keks = self.keks.lock().expect("no test panics here");
            let ciphertext = vec![u8::try_from(keks.len()).expect("a test makes few")];
            keks.push(kek.to_configured());
            Ok(NewKek { kek, ciphertext })
        }
        .boxed()
    }

    fn open<'a>(&'a self, ciphertext: &'a [u8]) -> BoxFuture<'a, Result<Kek, ServiceError>> {
        async {
            self.opened.fetch_add(1, Ordering::Relaxed);
            self.answers().await?;
            let keks = self.keks.lock().expect("no test panics here");
            let kek = keks.get(usize::from(ciphertext[0]));
            let kek = kek.ok_or_else(|| ServiceError::Ciphertext("unknown".to_owned()))?;
            Ok(Kek::from_configured(kek).expect("it was made here"))
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<(), ServiceError>> {
        self.answers().boxed()
    }
}

fn keys(kek_objects: u32, cache_time: Duration) -> Keys {
    Keys {
        encrypt_key: None,
        decrypt_keys: Vec::new(),
        labelled: Vec::new(),
        services: Vec::new(),
        active: ActiveKey::Named("test:key".to_owned()),
        service_calls: ServiceCalls {
            timeout: Duration::from_secs(5),
            kek_objects: NonZeroU32::new(kek_objects).expect("not zero"),
            kek_time: Duration::from_hours(1),
            cache_time,
            cache_keks: NonZeroU32::new(100).expect("not zero"),
        },
        dek_tag: "isec".parse().expect("a tag"),
        legacy_zero_key: Permission::Deny,
    }
}

fn ring_of(service: &Arc<Counting>, keys: &Keys) -> Keyring {
    let service = Arc::clone(service) as Arc<dyn KeyService>;
    Keyring::new(keys, vec![service]).expect("the keys are right")
}

/// A scope in which all configured keys open.
fn scope(ring: &Keyring) -> Scope {
    Scope {
        keys: ring.names().cloned().collect(),
        least_bind: KeyBinding::Key,
        legacy_reads: Permission::Deny,
        zero_key: Permission::Deny,
        rule: RuleName::Absent,
    }
}

async fn unwrap(ring: &Keyring, envelope: &Envelope) -> Result<Dek, KeyError> {
    let scope = scope(ring);
    ring.unwrap(scope.at("bucket", "key"), envelope).await
}

fn binding() -> Binding {
    Binding::new(
        Layout::Multipart,
        Flags::KEY_BOUND,
        BucketStr("bucket"),
        KeyStr("key"),
    )
}

async fn sealed(ring: &Keyring) -> Result<Envelope, KeyError> {
    let key = ring.sealing_key(ring.active()).await?;
    let wrapped = key.wrap(&Dek::generate(), &binding());
    Ok(Envelope {
        layout: Layout::Multipart,
        key_name: wrapped.key_name,
        wrapped_dek: wrapped.dek,
        head: None,
        flags: Flags::KEY_BOUND,
        private: None,
        encrypted_kek: wrapped.encrypted_kek,
    })
}

mod outages;

const REMEMBERED: Duration = Duration::from_mins(10);

#[tokio::test]
async fn one_kek_serves_as_many_objects_as_the_setting_says() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(3, REMEMBERED));
    // Three KEKs: for 3, 3 and 1 objects.
    for _ in 0..7 {
        let envelope = sealed(&ring).await.expect("the service works");
        assert!(unwrap(&ring, &envelope).await.is_ok());
    }
    assert_eq!(
        service.asked(),
        (3, 0),
        "and what was made here is not asked for"
    );
}

#[tokio::test]
async fn many_at_once_make_one_request() {
    let service = Arc::new(Counting::default());
    let writer = ring_of(&service, &keys(1000, REMEMBERED));
    let envelopes = join_all((0..20).map(|_| sealed(&writer))).await;
    assert_eq!(service.asked(), (1, 0));
    let reader = ring_of(&service, &keys(1000, REMEMBERED));
    let scope = scope(&reader);
    let reads = envelopes.iter().map(|envelope| {
        let envelope = envelope.as_ref().expect("the service works");
        reader.unwrap(scope.at("bucket", "key"), envelope)
    });
    assert!(join_all(reads).await.iter().all(Result::is_ok));
    assert_eq!(service.asked(), (1, 1));
}

#[tokio::test]
async fn nothing_is_remembered_where_the_time_is_zero() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1, Duration::ZERO));
    let envelope = sealed(&ring).await.expect("the service works");
    for _ in 0..3 {
        assert!(unwrap(&ring, &envelope).await.is_ok());
    }
    assert_eq!(service.asked(), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn an_outage_fails_those_who_wait_together_and_ends_by_itself() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1000, REMEMBERED));
    service.fail(Some(ServiceError::Unavailable("away".to_owned())));
    let failed = join_all((0..20).map(|_| sealed(&ring))).await;
    assert!(failed.iter().all(|failed| matches!(
        failed,
        Err(KeyError::Service {
            error: ServiceError::Unavailable(_),
            ..
        })
    )));
    assert_eq!(service.asked(), (3, 0), "one for all, repeated twice");
    service.fail(None);
    assert!(sealed(&ring).await.is_ok());
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_not_asked_for_again_at_once() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1, Duration::ZERO));
    let envelope = sealed(&ring).await.expect("the service works");
    service.fail(Some(ServiceError::Key("disabled".to_owned())));
    let refused = unwrap(&ring, &envelope).await.err();
    assert!(matches!(
        refused,
        Some(KeyError::Service {
            error: ServiceError::Key(_),
            ..
        })
    ));
    assert_eq!(service.asked(), (1, 1));
}

#[tokio::test]
async fn names_and_ciphertexts_that_do_not_fit_are_never_passed_on() {
    let service = Arc::new(Counting::default());
    let mut keys = keys(1, Duration::ZERO);
    let local = SecretText::new(Zeroizing::new("passphrase".to_owned())).expect("not empty");
    keys.encrypt_key = Some(local);
    let ring = ring_of(&service, &keys);
    let envelope = sealed(&ring).await.expect("the service works");

    let mut without = envelope.clone();
    without.encrypted_kek = None;
    let mut elsewhere = envelope.clone();
    elsewhere.key_name = "test:another".to_owned();
    let mut under_local = envelope;
    ring.choose("test", "encrypt_key")
        .expect("it is there")
        .name()
        .clone_into(&mut under_local.key_name);
    // No ciphertext, an unknown name, and a ciphertext under a local key.
    for (envelope, missing) in [(without, false), (elsewhere, true), (under_local, false)] {
        let refused = unwrap(&ring, &envelope).await.err();
        match refused {
            Some(KeyError::Missing(_)) => assert!(missing),
            Some(KeyError::Misfit(_)) => assert!(!missing),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(service.asked(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn readiness_tells_of_an_outage_and_holds_back_what_never_worked() {
    let service = Arc::new(Counting::default());
    service.fail(Some(ServiceError::Unavailable("away".to_owned())));
    let ring = ring_of(&service, &keys(1000, REMEMBERED));
    assert!(matches!(ring.readiness().await, Readiness::NotReady(_)));
    service.fail(None);
    assert_eq!(ring.readiness().await, Readiness::Ready);
    service.fail(Some(ServiceError::Unavailable("away".to_owned())));
    let Readiness::Degraded(lines) = ring.readiness().await else {
        panic!("it has worked before");
    };
    assert!(lines[0].starts_with("test:key: "), "{lines:?}");
    // Three tries that failed, and one that succeeded.
    assert_eq!(service.created.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_has_worked_before_a_reload_takes_no_replica_out_after_it() {
    let service = Arc::new(Counting::default());
    let before = ring_of(&service, &keys(1000, REMEMBERED));
    assert_eq!(before.readiness().await, Readiness::Ready);
    service.fail(Some(ServiceError::Unavailable("away".to_owned())));
    let after = ring_of(&service, &keys(2000, REMEMBERED));
    assert!(matches!(after.readiness().await, Readiness::NotReady(_)));
    after.follow(&before);
    assert!(matches!(after.readiness().await, Readiness::Degraded(_)));
}

#[tokio::test]
async fn a_service_is_not_asked_for_what_its_place_does_not_open() {
    let service = Arc::new(Counting::default());
    let writer = ring_of(&service, &keys(1, REMEMBERED));
    let envelope = sealed(&writer).await.expect("the service works");
    let reader = ring_of(&service, &keys(1, REMEMBERED));
    let mut elsewhere = scope(&reader);
    elsewhere.keys.clear();
    let refused = reader
        .unwrap(elsewhere.at("bucket", "key"), &envelope)
        .await;
    assert!(matches!(refused, Err(KeyError::OtherPlace { .. })));
    assert_eq!(service.asked(), (1, 0));
}
