use std::net::Ipv4Addr;

use tokio::task::JoinSet;

use super::*;

/// Connections that do nothing until they are ended.
struct OverflowConnections {
    slots: Arc<ConnectionSlots>,
    tasks: JoinSet<()>,
}

struct Connection {
    activity: Activity,
    handle: ConnectionHandle,
    task: AbortHandle,
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

impl OverflowConnections {
    fn new(limit: usize) -> Self {
        Self {
            slots: Arc::new(ConnectionSlots::new(limit)),
            tasks: JoinSet::new(),
        }
    }

    fn connect(&mut self, from: u8) -> Option<Connection> {
        let activity = Activity::new(address(from));
        let slot = self.slots.take(address(from), &activity)?;
        activity.set_slots(&self.slots);
        let (handle, id) = (slot.handle(), slot.id());
        let task = self.tasks.spawn(async move {
            let _seat = slot;
            std::future::pending::<()>().await;
        });
        ConnectionSlot::served_by(&self.slots, id, task.clone());
        Some(Connection {
            activity,
            handle,
            task,
        })
    }

    /// Waits for the connections that were told to end.
    async fn settle(&mut self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

impl Connection {
    /// Simulates an answered request of this client.
    fn authenticate(&self, client: &str) {
        let serving = self.activity.begin();
        let holder = MemoryHolder::authenticated(client);
        self.handle.admitted(Some(holder)).unwrap();
        drop(serving);
    }

    fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

#[tokio::test(start_paused = true)]
async fn while_there_is_room_everybody_stays() {
    let mut overflow = OverflowConnections::new(16);
    let all: Vec<Connection> = (0..16).filter_map(|_| overflow.connect(1)).collect();
    tokio::time::sleep(2 * GRACE).await;
    overflow.settle().await;
    assert_eq!(all.len(), 16);
    assert!(!all.iter().any(Connection::has_ended));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_those_that_never_authenticated_makes_room_first() {
    let mut overflow = OverflowConnections::new(4);
    let known = overflow.connect(1).unwrap();
    known.authenticate("alice");
    let strangers: Vec<Connection> = (2..5).filter_map(|from| overflow.connect(from)).collect();
    tokio::time::sleep(2 * IDLE_FOR).await;
    assert!(overflow.connect(9).is_some());
    overflow.settle().await;
    assert!(!known.has_ended(), "idle, but known");
    let ended: Vec<bool> = strangers.iter().map(Connection::has_ended).collect();
    assert_eq!(ended, [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_network_with_many_gives_up_its_own() {
    let mut overflow = OverflowConnections::new(16);
    let lonely = overflow.connect(1).unwrap();
    let many: Vec<Connection> = (0..15).filter_map(|_| overflow.connect(2)).collect();
    // Evicted at once: the network has more than its share.
    for _ in 0..40 {
        assert!(overflow.connect(2).is_some());
    }
    assert!(overflow.connect(3).is_some());
    overflow.settle().await;
    assert!(!lonely.has_ended(), "older than all of them");
    assert!(many.iter().all(Connection::has_ended));
}

#[tokio::test(start_paused = true)]
async fn a_few_new_connections_have_time_to_show_who_they_are() {
    let mut overflow = OverflowConnections::new(4);
    let new: Vec<Connection> = (1..5).filter_map(|from| overflow.connect(from)).collect();
    // Nobody has had time to authenticate, so nobody is evicted.
    assert!(overflow.connect(9).is_none());
    tokio::time::sleep(GRACE).await;
    assert!(overflow.connect(9).is_some());
    overflow.settle().await;
    assert_eq!(new.iter().filter(|one| one.has_ended()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn known_clients_lose_idle_connections_only_the_longest_idle_first() {
    let mut overflow = OverflowConnections::new(3);
    let serving = overflow.connect(1).unwrap();
    // A connection with a request in flight is not idle.
    let _answer = serving.activity.begin();
    let alice = MemoryHolder::authenticated("alice");
    serving.handle.admitted(Some(alice)).unwrap();
    let longest = overflow.connect(2).unwrap();
    longest.authenticate("bob");
    tokio::time::sleep(IDLE_FOR).await;
    let shorter = overflow.connect(3).unwrap();
    shorter.authenticate("carol");
    assert!(overflow.connect(4).is_some());
    overflow.settle().await;
    assert!(longest.has_ended());
    assert!(!shorter.has_ended() && !serving.has_ended());
}

#[tokio::test(start_paused = true)]
async fn one_client_leaves_places_to_others_that_wait() {
    let mut overflow = OverflowConnections::new(16);
    let alice = MemoryHolder::authenticated("alice");
    let mut busy = Vec::new();
    for _ in 0..16 {
        let one = overflow.connect(1).unwrap();
        let serving = one.activity.begin();
        assert!(one.handle.admitted(Some(alice)).is_ok(), "nobody waits");
        busy.push((one, serving));
    }
    // From now on places count as short.
    assert!(overflow.connect(2).is_none(), "all are being served");
    let refused = busy[0].0.handle.admitted(Some(alice));
    assert!(refused.is_err() && busy[0].0.activity.is_closing());
    busy.clear();
    overflow.tasks.shutdown().await;
    assert!(overflow.slots.table().clients.is_empty());
    assert!(overflow.slots.table().slots.is_empty());
}

#[tokio::test(start_paused = true)]
async fn heads_of_strangers_stay_within_their_memory() {
    let mut overflow = OverflowConnections::new(1000);
    let most = overflow.slots.most_head_bytes();
    let known = overflow.connect(1).unwrap();
    known.authenticate("alice");
    known.activity.read(16 * 1024).unwrap();
    let strangers: Vec<Connection> = (0..900).filter_map(|_| overflow.connect(2)).collect();
    for one in &strangers {
        one.activity.read(16 * 1024).unwrap();
        assert!(overflow.slots.staying_head_bytes() <= most);
        overflow.settle().await;
        assert!(overflow.slots.head_bytes.load(Ordering::Relaxed) <= most);
    }
    assert!(strangers[0].has_ended() && !strangers[899].has_ended());
    assert!(!known.has_ended());
    overflow.tasks.shutdown().await;
    // Every counted byte must be released with its connection.
    drop(strangers);
    assert_eq!(overflow.slots.head_bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn where_memory_is_not_freed_in_time_those_who_hold_most_read_no_further() {
    let mut overflow = OverflowConnections::new(4000);
    let most = overflow.slots.most_head_bytes();
    let held = |overflow: &OverflowConnections| overflow.slots.head_bytes.load(Ordering::Relaxed);
    let strangers: Vec<Connection> = (0..3900).filter_map(|_| overflow.connect(2)).collect();
    let mut refused = 0;
    // No task runs in between, so nothing is freed.
    for one in &strangers {
        if let Err(HeadMemoryExhausted) = one.activity.read(16 * 1024) {
            refused += 1;
            one.activity.discharge();
        }
        assert!(held(&overflow) <= TOO_MUCH_FOR_HEAVIEST * most);
    }
    assert!(refused > 1000, "{refused}");
    let other = overflow.connect(3).unwrap();
    other.activity.read(16 * 1024).unwrap();
    for _ in 0..20 {
        overflow.settle().await;
    }
    assert!(held(&overflow) <= most);
    let late = overflow.connect(2).unwrap();
    late.activity.read(16 * 1024).unwrap();
    assert!(!other.has_ended());
    overflow.tasks.shutdown().await;
    drop((strangers, other, late));
    assert_eq!(held(&overflow), 0);
    assert_eq!(overflow.slots.ending_bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_for_a_refused_request_is_not_counted() {
    let mut overflow = OverflowConnections::new(16);
    let one = overflow.connect(1).unwrap();
    one.activity.read(8 * 1024).unwrap();
    assert!(overflow.slots.head_bytes.load(Ordering::Relaxed) > 0);
    let serving = one.activity.begin();
    one.handle.refused();
    one.activity.read(1024 * 1024).unwrap();
    assert_eq!(overflow.slots.head_bytes.load(Ordering::Relaxed), 0);
    drop(serving);
}
