use std::num::NonZeroU32;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(number: u32) -> Bound {
    Bound::At(NonZeroU32::new(number).unwrap())
}

fn limits() -> Limits {
    Limits {
        requests_per_second: Bound::Off,
        client_requests_per_second: Bound::Off,
        anonymous_requests_per_second: Bound::Off,
        requests_in_flight: Bound::Off,
        client_requests_in_flight: Bound::Off,
        throttle_wait: Duration::ZERO,
        body_memory_bytes: 0,
        held_body_bytes: 0,
        put_body_bytes: None,
    }
}

fn throttle(limits: &Limits) -> Throttle {
    Throttle::new(limits, HashMap::new())
}

async fn refused(throttle: &Throttle, sender: ThrottledSender<'_>) -> Option<Limit> {
    throttle.admit(sender).await.err().map(|error| error.limit)
}

const APP: ThrottledSender<'_> = ThrottledSender::Client("app");
const OTHER: ThrottledSender<'_> = ThrottledSender::Client("other");

fn stranger(address: &str) -> ThrottledSender<'static> {
    ThrottledSender::Stranger(address.parse().unwrap())
}

#[tokio::test]
async fn without_limits_everything_is_admitted() {
    let throttle = throttle(&limits());
    let mut held = Vec::new();
    for _ in 0..5000 {
        held.push(throttle.admit(APP).await.unwrap());
        held.push(throttle.admit(stranger("192.0.2.1")).await.unwrap());
        throttle.turned_away().unwrap();
    }
}

#[tokio::test]
async fn a_client_above_its_rate_is_refused_and_another_is_not() {
    let throttle = throttle(&Limits {
        client_requests_per_second: at(2),
        ..limits()
    });
    for _ in 0..2 {
        assert_eq!(refused(&throttle, APP).await, None);
    }
    assert_eq!(refused(&throttle, APP).await, Some(Limit::ClientRate));
    assert_eq!(refused(&throttle, OTHER).await, None);
}

#[tokio::test]
async fn a_client_may_have_a_rate_of_its_own_or_none() {
    let limits = Limits {
        client_requests_per_second: at(1),
        ..limits()
    };
    let own = [("app".to_owned(), at(3)), ("other".to_owned(), Bound::Off)];
    let throttle = Throttle::new(&limits, own.into());
    for _ in 0..3 {
        assert_eq!(refused(&throttle, APP).await, None);
    }
    assert_eq!(refused(&throttle, APP).await, Some(Limit::ClientRate));
    for _ in 0..100 {
        assert_eq!(refused(&throttle, OTHER).await, None);
    }
}

#[tokio::test]
async fn strangers_are_distinguished_by_address_but_not_within_an_ipv6_network() {
    let throttle = throttle(&Limits {
        client_requests_per_second: at(1),
        ..limits()
    });
    assert_eq!(refused(&throttle, stranger("2001:db8::1")).await, None);
    let neighbour = refused(&throttle, stranger("2001:db8::ffff:2")).await;
    assert_eq!(neighbour, Some(Limit::ClientRate));
    // Some may share an entry by chance, but hardly all.
    let mut admitted = 0;
    for number in 0..20 {
        let other = stranger(&format!("192.0.2.{number}"));
        admitted += usize::from(refused(&throttle, other).await.is_none());
    }
    assert!(admitted > 10, "{admitted}");
}

#[tokio::test]
async fn refused_requests_take_no_turn_from_a_waiting_one() {
    let throttle = throttle(&Limits {
        requests_per_second: at(4),
        throttle_wait: 10 * SECOND,
        ..limits()
    });
    for _ in 0..4 {
        throttle.turned_away().unwrap();
    }
    assert!(throttle.turned_away().is_err(), "the rate counts them");
    let started = std::time::Instant::now();
    let flood = async {
        loop {
            assert!(throttle.turned_away().is_err());
            tokio::task::yield_now().await;
        }
    };
    let two = async {
        let (one, other) = tokio::join!(throttle.admit(APP), throttle.admit(APP));
        one.is_ok() && other.is_ok()
    };
    let admitted = tokio::select! {
        biased;
        admitted = two => admitted,
        () = flood => false,
    };
    assert!(admitted);
    let took = started.elapsed();
    assert!(took < 2 * SECOND, "two turns take half a second: {took:?}");
}

#[tokio::test]
async fn a_request_that_cannot_get_its_turn_in_time_is_refused_at_once() {
    let throttle = throttle(&Limits {
        requests_per_second: at(1),
        throttle_wait: 2 * SECOND + SECOND / 2,
        ..limits()
    });
    assert_eq!(refused(&throttle, APP).await, None);
    let started = std::time::Instant::now();
    let (one, other, late) = tokio::join!(
        throttle.admit(APP),
        throttle.admit(APP),
        // Behind the first two in the queue.
        async {
            let late = throttle.admit(OTHER).await;
            (late, started.elapsed())
        },
    );
    assert!(one.is_ok() && other.is_ok());
    let (late, after) = late;
    assert_eq!(late.err().unwrap().retry_after, 2 * SECOND);
    assert!(after < SECOND, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn slots_are_granted_in_turn_and_returned() {
    let throttle = throttle(&Limits {
        requests_in_flight: at(2),
        throttle_wait: 2 * SECOND,
        ..limits()
    });
    let first = throttle.admit(APP).await.unwrap();
    let second = throttle.admit(APP).await.unwrap();
    assert_eq!(refused(&throttle, OTHER).await, Some(Limit::InFlight));
    let (third, ()) = tokio::join!(throttle.admit(OTHER), async { drop(first) });
    assert!(third.is_ok());
    drop((second, third));
    assert_eq!(refused(&throttle, OTHER).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_next_slot_goes_to_the_client_that_holds_the_fewest() {
    let throttle = throttle(&Limits {
        requests_in_flight: at(3),
        throttle_wait: 2 * SECOND,
        ..limits()
    });
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(throttle.admit(APP).await.unwrap());
    }
    let order = Mutex::new(Vec::new());
    let wait = |name| {
        let (throttle, order) = (&throttle, &order);
        async move {
            let admitted = throttle.admit(ThrottledSender::Client(name)).await.unwrap();
            order.lock().unwrap().push(name);
            admitted
        }
    };
    let give_back = async {
        for held in held {
            drop(held);
            tokio::task::yield_now().await;
        }
    };
    let waiting = async { tokio::join!(wait("app"), wait("app"), wait("other")) };
    let ((_first, _second, _third), ()) = tokio::join!(waiting, give_back);
    // The third came last and held nothing; both of the others hold one when it gets its slot.
    assert_eq!(*order.lock().unwrap(), ["other", "app", "app"]);
}

#[tokio::test(start_paused = true)]
async fn one_client_leaves_slots_to_others() {
    let throttle = throttle(&Limits {
        requests_in_flight: at(16),
        client_requests_in_flight: at(16),
        throttle_wait: SECOND,
        ..limits()
    });
    let mut held = Vec::new();
    for _ in 0..14 {
        held.push(throttle.admit(APP).await.unwrap());
    }
    assert_eq!(refused(&throttle, APP).await, Some(Limit::InFlight));
    for _ in 0..2 {
        held.push(throttle.admit(OTHER).await.unwrap());
    }
    assert_eq!(refused(&throttle, OTHER).await, Some(Limit::InFlight));
    drop(held.remove(0));
    held.push(throttle.admit(APP).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_fills_the_queue_keeps_nobody_out() {
    let throttle = Arc::new(throttle(&Limits {
        requests_in_flight: at(1),
        throttle_wait: 2 * SECOND,
        ..limits()
    }));
    let held = throttle.admit(APP).await.unwrap();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..QUEUE {
        let throttle = Arc::clone(&throttle);
        crowd.spawn(async move { throttle.admit(APP).await.map(drop) });
    }
    let slots = throttle.all.slots.as_ref().unwrap();
    while slots.waiting() < QUEUE {
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(&throttle, APP).await, Some(Limit::InFlight));
    let (other, ()) = tokio::join!(throttle.admit(OTHER), async {
        tokio::task::yield_now().await;
        drop(held);
    });
    drop(other.unwrap());
    let mut turned_away = 0;
    while let Some(ended) = crowd.join_next().await {
        turned_away += usize::from(ended.unwrap().is_err());
    }
    assert_eq!(turned_away, 1, "the latest gave way");
}

#[tokio::test]
async fn a_client_that_waits_for_its_own_slots_holds_no_shared_one() {
    let throttle = throttle(&Limits {
        requests_in_flight: at(2),
        client_requests_in_flight: at(1),
        ..limits()
    });
    let _first = throttle.admit(APP).await.unwrap();
    for _ in 0..5 {
        assert_eq!(refused(&throttle, APP).await, Some(Limit::ClientInFlight));
    }
    assert_eq!(refused(&throttle, OTHER).await, None);
}

#[tokio::test]
async fn a_reload_keeps_the_count_of_requests_in_flight() {
    let settings = |number| Limits {
        requests_in_flight: at(number),
        client_requests_in_flight: at(number),
        ..limits()
    };
    let old = throttle(&settings(3));
    let held = [
        old.admit(APP).await.unwrap(),
        old.admit(APP).await.unwrap(),
        old.admit(APP).await.unwrap(),
    ];
    let fewer = old.rebuilt(&settings(2), HashMap::new());
    let [one, other, last] = held;
    for given_back in [one, other] {
        assert_eq!(refused(&fewer, APP).await, Some(Limit::ClientInFlight));
        assert_eq!(refused(&fewer, OTHER).await, Some(Limit::InFlight));
        drop(given_back);
    }
    let _new = fewer.admit(APP).await.unwrap();
    assert_eq!(refused(&fewer, OTHER).await, Some(Limit::InFlight));

    let more = fewer.rebuilt(&settings(3), HashMap::new());
    let _newer = more.admit(APP).await.unwrap();
    assert_eq!(refused(&more, APP).await, Some(Limit::ClientInFlight));
    drop(last);
    assert_eq!(refused(&more, APP).await, None);
}

#[tokio::test]
async fn a_rate_that_stays_the_same_keeps_its_count() {
    let limits = Limits {
        requests_per_second: at(1),
        ..limits()
    };
    let old = throttle(&limits);
    assert_eq!(refused(&old, APP).await, None);
    let same = old.rebuilt(&limits, HashMap::new());
    assert_eq!(refused(&same, APP).await, Some(Limit::Rate));
    let wider = old.rebuilt(
        &Limits {
            requests_per_second: at(2),
            ..limits
        },
        HashMap::new(),
    );
    assert_eq!(refused(&wider, APP).await, None);
}
