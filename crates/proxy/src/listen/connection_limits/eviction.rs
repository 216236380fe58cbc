//! Choice of the connections that are ended when slots or memory run short.

use std::cmp::Reverse;
use std::net::IpAddr;

use tokio::time::Instant;

use super::super::connection_activity::EvictionClass;
use super::{BATCH, ConnectionSlots, GRACE, IDLE_FOR, MANY, SlotEntry, SlotTable};
use crate::telemetry::metrics::{self, Eviction};
use crate::throttle::network;

impl ConnectionSlots {
    /// Evicts connections whose places others need more, if there are any.
    pub(super) fn make_room(&self, table: &mut SlotTable, newcomer: IpAddr) {
        let now = Instant::now();
        let newcomer = network(newcomer);
        let many = (self.limit / MANY).max(1);
        let networks = table.count_unauthenticated(|_| 1);
        let mut strangers = Vec::new();
        let mut idle = Vec::new();
        for (id, entry) in &table.slots {
            match entry.activity.eviction_class() {
                EvictionClass::Unauthenticated {
                    network, opened, ..
                } => {
                    let count = networks.get(&network).copied().unwrap_or(1);
                    let at_once = count > 4 * many || (network == newcomer && count > many);
                    if at_once || now.duration_since(opened) >= GRACE {
                        strangers.push((Reverse(count.ilog2()), opened, *id));
                    }
                }
                EvictionClass::Idle { since } if now.duration_since(since) >= IDLE_FOR => {
                    let count = entry.client.and_then(|client| table.clients.get(&client));
                    let count = count.copied().unwrap_or(1).max(1);
                    idle.push((Reverse(count.ilog2()), since, *id));
                }
                EvictionClass::Idle { .. } | EvictionClass::Busy { .. } => {}
            }
        }
        // Unauthenticated connections go in batches, since they may be a flood; idle ones go one by
        // one.
        let (mut chosen, most) = if strangers.is_empty() {
            (idle, 1)
        } else {
            (strangers, (self.limit / BATCH).max(1))
        };
        chosen.sort_unstable();
        for (_, _, id) in chosen.into_iter().take(most) {
            self.evict(table, id, Eviction::Places);
        }
    }

    /// Ends connections until the memory of heads and forms is well within its limit.
    pub(super) fn relieve(&self) {
        // Nobody waits for the lock: its holder relieves the memory, or the next one to charge.
        let Ok(mut table) = self.table.try_lock() else {
            return;
        };
        // Somewhat below the limit, so that the next byte does not start another search.
        let enough = self.most_head_bytes() / 8 * 7;
        let networks = table.count_unauthenticated(|charged| charged);
        let heaviest = networks.iter().max_by_key(|(_, bytes)| **bytes);
        *self.heaviest() = heaviest.map(|(network, _)| *network);
        let mut holding = Vec::new();
        for (id, entry) in &table.slots {
            match entry.activity.eviction_class() {
                EvictionClass::Unauthenticated {
                    network,
                    opened,
                    charged: 1..,
                } => {
                    let bytes = networks.get(&network).copied().unwrap_or(1).max(1);
                    holding.push((false, Reverse(bytes.ilog2()), opened, *id));
                }
                EvictionClass::Busy {
                    opened,
                    charged: 1..,
                } => holding.push((true, Reverse(0), opened, *id)),
                EvictionClass::Unauthenticated { .. }
                | EvictionClass::Idle { .. }
                | EvictionClass::Busy { .. } => {}
            }
        }
        holding.sort_unstable();
        for (_, _, _, id) in holding {
            if self.staying_head_bytes() <= enough {
                break;
            }
            self.evict(&mut table, id, Eviction::HeadMemory);
        }
    }

    fn evict(&self, table: &mut SlotTable, id: u64, reason: Eviction) {
        // A connection without a task was just accepted; it cannot be aborted yet.
        let can_be_ended = |entry: &SlotEntry| entry.task.is_some();
        if !table.slots.get(&id).is_some_and(can_be_ended) {
            return;
        }
        if let Some(entry) = self.remove(table, id) {
            entry.activity.ends();
            if let Some(task) = entry.task {
                metrics::evicted(reason);
                task.abort();
            }
        }
    }
}
