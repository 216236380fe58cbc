//! Services that are down, silent, overloaded or forged; and KEKs that are renewed in time.

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn away() -> ServiceError {
    ServiceError::Unavailable("away".to_owned())
}

fn unavailable<T>(result: &Result<T, KeyError>) -> bool {
    matches!(
        result,
        Err(KeyError::Service {
            error: ServiceError::Unavailable(_),
            ..
        })
    )
}

/// Lets tasks run that are ready.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn pass(time: Duration) {
    settle().await;
    tokio::time::advance(time).await;
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_kek_in_use_is_replaced_ahead_of_its_end_and_serves_through_an_outage() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1000, REMEMBERED));
    let first = sealed(&ring).await.expect("the service works");
    // Renewal is due at 75 to 80 % of the KEK's time.
    pass(HOUR * 81 / 100).await;
    assert_eq!(service.asked(), (2, 0), "renewed without a request");
    service.fail(Some(away()));
    pass(HOUR * 75 / 100).await;
    let second = sealed(&ring).await.expect("the KEK in use is a new one");
    assert_ne!(first.encrypted_kek, second.encrypted_kek);
}

#[tokio::test(start_paused = true)]
async fn a_kek_that_nobody_uses_is_left_to_end() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1000, REMEMBERED));
    assert_eq!(ring.readiness().await, Readiness::Ready);
    for _ in 0..10 {
        pass(HOUR).await;
    }
    assert_eq!(service.asked(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_kek_is_replaced_when_most_of_its_objects_are_there() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(10, REMEMBERED));
    // With a fifth of the objects left the next KEK is made.
    for _ in 0..8 {
        sealed(&ring).await.expect("the service works");
    }
    settle().await;
    assert_eq!(service.asked(), (2, 0));
    service.fail(Some(away()));
    for _ in 0..8 {
        sealed(&ring).await.expect("there is a KEK already");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_until_it_succeeds() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1000, REMEMBERED));
    sealed(&ring).await.expect("the service works");
    service.fail(Some(away()));
    pass(HOUR * 81 / 100).await;
    for _ in 0..30 {
        pass(Duration::from_secs(10)).await;
    }
    let during = service.created.load(Ordering::Relaxed);
    assert!((5..=60).contains(&during), "{during} calls in 5 minutes");
    service.fail(None);
    for _ in 0..6 {
        pass(Duration::from_secs(10)).await;
    }
    service.fail(Some(away()));
    pass(HOUR / 5).await;
    assert!(sealed(&ring).await.is_ok(), "renewed within the minute");
}

#[tokio::test(start_paused = true)]
async fn an_opened_kek_in_use_is_opened_again_ahead_of_its_end() {
    let service = Arc::new(Counting::default());
    let writer = ring_of(&service, &keys(1000, REMEMBERED));
    let envelope = sealed(&writer).await.expect("the service works");
    let reader = ring_of(&service, &keys(1000, REMEMBERED));
    for _ in 0..9 {
        assert!(unwrap(&reader, &envelope).await.is_ok());
        pass(REMEMBERED / 10).await;
    }
    assert_eq!(service.asked(), (1, 2));
    service.fail(Some(away()));
    pass(REMEMBERED / 2).await;
    assert!(unwrap(&reader, &envelope).await.is_ok());
    pass(REMEMBERED).await;
    assert!(unwrap(&reader, &envelope).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_service_is_left_alone_and_found_again() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1, Duration::ZERO));
    let envelope = sealed(&ring).await.expect("the service works");
    service.fall_silent(true);
    // Each timeout counts twice, so the third one opens the breaker.
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        assert!(unavailable(&sealed(&ring).await));
        assert_eq!(began.elapsed().as_secs(), 5, "one try, where it is silent");
    }
    let asked = service.asked();
    let began = tokio::time::Instant::now();
    for _ in 0..1000 {
        assert!(unavailable(&unwrap(&ring, &envelope).await));
    }
    assert!(began.elapsed().is_zero(), "nobody waits");
    assert_eq!(service.asked(), asked, "nobody asks");
    service.fall_silent(false);
    pass(Duration::from_secs(8)).await;
    assert!(sealed(&ring).await.is_ok());
    assert!(unwrap(&ring, &envelope).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_few_calls_however_many_ask() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1, Duration::ZERO));
    let mut envelopes = Vec::new();
    for _ in 0..60 {
        envelopes.push(sealed(&ring).await.expect("the service works"));
    }
    service.fail(Some(away()));
    for _ in 0..10 {
        let reads = envelopes.iter().map(|envelope| unwrap(&ring, envelope));
        assert!(join_all(reads).await.iter().all(unavailable));
    }
    let (_, opened) = service.asked();
    assert!(opened <= 64, "{opened} calls of 600 requests");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_overloaded_is_asked_once_a_request() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1, Duration::ZERO));
    service.fail(Some(ServiceError::Throttled("slower".to_owned())));
    assert!(sealed(&ring).await.is_err());
    assert_eq!(service.asked(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_ciphertext_is_asked_for_once_in_a_while() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1, REMEMBERED));
    let mut planted = sealed(&ring).await.expect("the service works");
    planted.encrypted_kek = Some(vec![99]);
    for _ in 0..100 {
        let refused = unwrap(&ring, &planted).await.err();
        assert!(matches!(
            refused,
            Some(KeyError::Service {
                error: ServiceError::Ciphertext(_),
                ..
            })
        ));
    }
    assert_eq!(service.asked(), (1, 1));
    // Longer than a refusal is cached.
    pass(Duration::from_secs(31)).await;
    assert!(unwrap(&ring, &planted).await.is_err());
    assert_eq!(service.asked(), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_for_the_others_when_its_first_client_leaves() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1000, REMEMBERED));
    service.fall_silent(true);
    for _ in 0..20 {
        let impatient = tokio::time::timeout(Duration::from_secs(1), sealed(&ring));
        assert!(!matches!(impatient.await, Ok(Ok(_))));
    }
    let (created, _) = service.asked();
    assert!(created <= 5, "{created} calls for 20 clients that left");
}

#[tokio::test(start_paused = true)]
async fn a_silent_service_does_not_keep_a_probe_of_the_replica_waiting() {
    let service = Arc::new(Counting::default());
    let ring = ring_of(&service, &keys(1, REMEMBERED));
    assert_eq!(ring.readiness().await, Readiness::Ready);
    sealed(&ring).await.expect("a KEK is there");
    service.fall_silent(true);
    let began = tokio::time::Instant::now();
    assert!(matches!(ring.readiness().await, Readiness::Degraded(_)));
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}
