use super::ledger::{OVERTAKEN_FOR, QUEUE};
use super::*;

const TOTAL: usize = 4 * 1024 * 1024;

fn budget() -> Arc<BodyBudget> {
    Arc::new(BodyBudget::new(TOTAL))
}

fn alice() -> MemoryHolder {
    MemoryHolder::authenticated("alice")
}

fn bob() -> MemoryHolder {
    MemoryHolder::authenticated("bob")
}

/// Returns once the request for a share is waiting.
async fn waiting(
    budget: &Arc<BodyBudget>,
    holder: MemoryHolder,
    bytes: usize,
) -> tokio::task::JoinHandle<Result<BodyShare, BudgetExhausted>> {
    let before = budget.ledger().waiting.len();
    let asking = Arc::clone(budget);
    let task = tokio::spawn(async move { asking.share(holder, bytes).await });
    while budget.ledger().waiting.len() == before {
        tokio::task::yield_now().await;
    }
    task
}

/// Requests a share of 16 KiB without waiting.
fn at_once(budget: &Arc<BodyBudget>, holder: MemoryHolder, stage: BodyStage) -> Option<BodyShare> {
    let claim = MemoryClaim {
        holder,
        units: 16,
        stage,
    };
    budget.at_once(&mut budget.ledger(), claim)
}

fn is_empty(budget: &BodyBudget) -> bool {
    let ledger = budget.ledger();
    ledger.free == budget.total_units
        && ledger.beginnings == 0
        && ledger.unauthenticated == 0
        && ledger.holders.is_empty()
        && ledger.waiting.is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_full_budget_refuses_after_its_wait_and_recovers() {
    let budget = budget();
    let share = budget.share(alice(), TOTAL).await.unwrap();
    assert!(budget.share(alice(), TOTAL).await.is_err());
    drop(share);
    assert!(budget.share(alice(), TOTAL).await.is_ok());
    assert!(is_empty(&budget));
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_are_ended_only_while_a_request_waits_for_a_share() {
    let budget = budget();
    let share = budget.share(alice(), TOTAL).await.unwrap();
    assert!(!budget.pressure().takes_one());
    let task = waiting(&budget, alice(), TOTAL).await;
    assert!(budget.pressure().takes_one());
    drop(share);
    assert!(task.await.unwrap().is_ok());
    assert!(!budget.pressure().takes_one());
}

#[tokio::test(start_paused = true)]
async fn one_client_leaves_memory_for_the_next() {
    let budget = budget();
    let mut shares = Vec::new();
    while let Some(share) = at_once(&budget, alice(), BodyStage::UnderWay) {
        shares.push(share);
    }
    // 7/8 of the total, less one share.
    assert!(shares.len() * 16 * UNIT_BYTES >= TOTAL / 8 * 7 - 16 * UNIT_BYTES);
    let started = Instant::now();
    let share = budget.share(bob(), STREAM_BYTES).await;
    assert!(share.is_ok() && started.elapsed() == Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_client_with_the_least_memory_is_served_first() {
    let budget = budget();
    let held = budget.share(alice(), TOTAL / 2).await.unwrap();
    let rest = budget
        .share(MemoryHolder::authenticated("carol"), TOTAL / 4)
        .await;
    let hers = waiting(&budget, alice(), TOTAL / 4).await;
    let his = waiting(&budget, bob(), TOTAL / 4 + 1).await;
    drop(rest);
    let share = his.await.unwrap();
    assert!(share.is_ok());
    assert!(!hers.is_finished(), "there is not enough for both");
    drop((held, share));
    assert!(hers.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn small_requests_overtake_a_large_one_that_waits() {
    let budget = budget();
    let held = budget.share(alice(), TOTAL / 2).await.unwrap();
    let large = waiting(&budget, alice(), TOTAL / 4 * 3).await;
    let started = Instant::now();
    for holder in [alice(), bob()] {
        assert!(budget.share(holder, STREAM_BYTES).await.is_ok());
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    drop(held);
    assert!(large.await.unwrap().is_ok());
    assert!(is_empty(&budget));
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_not_overtaken_by_its_own_client_forever() {
    let budget = budget();
    let held = budget.share(alice(), TOTAL / 2).await.unwrap();
    let large = waiting(&budget, alice(), TOTAL / 4 * 3).await;
    // From now on the requests of its own client wait for it.
    tokio::time::sleep(OVERTAKEN_FOR).await;
    let behind = waiting(&budget, alice(), STREAM_BYTES).await;
    assert!(
        budget.share(bob(), STREAM_BYTES).await.is_ok(),
        "others pass"
    );
    drop(held);
    let share = large.await.unwrap();
    assert!(share.is_ok());
    drop(share);
    assert!(behind.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn unauthenticated_requests_leave_a_quarter() {
    let budget = budget();
    let mut shares = Vec::new();
    for address in 0..1000 {
        let holder = MemoryHolder::unauthenticated(address);
        shares.extend(at_once(&budget, holder, BodyStage::UnderWay));
    }
    let free = budget.ledger().free;
    assert!((budget.total_units / 4..budget.total_units / 2).contains(&free));
    assert!(budget.share(alice(), TOTAL / 8).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn beginnings_of_bodies_leave_room_for_their_ends() {
    let budget = budget();
    let mut beginnings = Vec::new();
    while let Some(share) = at_once(&budget, alice(), BodyStage::Beginning) {
        beginnings.push(share);
    }
    assert_eq!(beginnings.len() * 16 * UNIT_BYTES, TOTAL / 4);
    assert!(budget.share(alice(), TOTAL / 2).await.is_ok());
    beginnings[0].mark_under_way();
    assert!(at_once(&budget, alice(), BodyStage::Beginning).is_some());
    beginnings.clear();
    assert!(is_empty(&budget));
}

#[tokio::test(start_paused = true)]
async fn one_client_cannot_fill_the_queue() {
    let budget = budget();
    let held = budget.share(alice(), TOTAL).await.unwrap();
    let mut tasks = Vec::new();
    // One holder may have as many places as are left: half of the queue.
    for _ in 0..QUEUE / 2 {
        tasks.push(waiting(&budget, alice(), TOTAL).await);
    }
    let one_more = budget.share(alice(), TOTAL).await;
    assert!(matches!(one_more, Err(BudgetExhausted::TooMany)));
    let other = waiting(&budget, bob(), TOTAL).await;
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    drop(held);
    assert!(other.await.unwrap().is_ok());
    assert!(is_empty(&budget));
}

#[tokio::test(start_paused = true)]
async fn a_share_of_a_cancelled_request_is_returned() {
    let budget = budget();
    let held = budget.share(alice(), TOTAL).await.unwrap();
    let task = waiting(&budget, bob(), TOTAL).await;
    // Case: the share is granted, but its request was cancelled before it took it.
    drop(held);
    task.abort();
    let _ = task.await;
    assert!(is_empty(&budget));
}
