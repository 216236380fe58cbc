//! The key up to which everything is done, while objects are processed concurrently.
//!
//! An interrupted command reports the greatest key after which it has to resume. A key is done when
//! all its versions are, and when no further version of it can come: a later key was handed out, or
//! the list has ended. Memory grows only with the number of objects in flight.

use std::collections::BTreeMap;

use super::object_selection::VersionScope;

/// Progress in one target. Keys are handed out in listing order.
#[derive(Debug)]
pub(super) struct ResumePoint {
    /// Keys with objects in flight, and the last one handed out, by ticket.
    open: BTreeMap<u64, OpenKey>,
    next_ticket: u64,
    /// Last key that was done, once no key is open.
    last_key: Option<String>,
    repeats: Repeats,
}

/// Whether a key may be handed out several times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeats {
    /// Repeated once for each version.
    Versions,
    /// Not repeated.
    None,
}

impl From<VersionScope> for Repeats {
    fn from(versions: VersionScope) -> Self {
        match versions {
            VersionScope::Current => Self::None,
            VersionScope::All => Self::Versions,
        }
    }
}

#[derive(Debug)]
struct OpenKey {
    key: String,
    /// Key that was handed out before.
    before: Option<String>,
    in_hand: usize,
}

/// Ticket of one object in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ObjectTicket(u64);

impl ResumePoint {
    /// Starts after `key`, if one is given.
    pub(super) fn after(key: Option<&str>, repeats: Repeats) -> Self {
        Self {
            open: BTreeMap::new(),
            next_ticket: 0,
            last_key: key.map(str::to_owned),
            repeats,
        }
    }

    /// Records that an object was handed out.
    pub(super) fn begin(&mut self, key: &str) -> ObjectTicket {
        if let Some(mut last) = self.open.last_entry() {
            if last.get().key == key {
                last.get_mut().in_hand += 1;
                return ObjectTicket(*last.key());
            }
            // The last key was kept open for further versions; another key means that none can
            // follow.
            let is_done = last.get().in_hand == 0;
            let before = last.get().key.clone();
            if is_done {
                last.remove();
            }
            return self.open(key, Some(before));
        }
        let before = self.last_key.take();
        self.open(key, before)
    }

    fn open(&mut self, key: &str, before: Option<String>) -> ObjectTicket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let open = OpenKey {
            key: key.to_owned(),
            before,
            in_hand: 1,
        };
        self.open.insert(ticket, open);
        ObjectTicket(ticket)
    }

    /// Records that an object is done.
    pub(super) fn end(&mut self, ticket: ObjectTicket) {
        let is_last = self.open.last_key_value().map(|(last, _)| *last) == Some(ticket.0);
        if let Some(open) = self.open.get_mut(&ticket.0) {
            open.in_hand -= 1;
            // The last key stays open, since another version of it may follow.
            if open.in_hand == 0 && !is_last {
                self.open.remove(&ticket.0);
            }
        }
    }

    /// Retickets the greatest key up to which everything is done; `None` before the first.
    pub(super) fn done_up_to(&self) -> Option<&str> {
        match self.open.first_key_value() {
            Some((_, last)) if last.in_hand == 0 && self.repeats == Repeats::None => {
                Some(&last.key)
            }
            Some((_, first)) => first.before.as_deref(),
            None => self.last_key.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_done_in_their_order_only() {
        let mut point = ResumePoint::after(Some("0"), Repeats::None);
        assert_eq!(point.done_up_to(), Some("0"));
        let tickets: Vec<ObjectTicket> = ["a", "b", "c", "d"].map(|key| point.begin(key)).into();
        point.end(tickets[1]);
        point.end(tickets[2]);
        assert_eq!(point.done_up_to(), Some("0"));
        point.end(tickets[0]);
        assert_eq!(point.done_up_to(), Some("c"));
        point.end(tickets[3]);
        assert_eq!(point.done_up_to(), Some("d"));
    }

    #[test]
    fn a_key_is_done_with_its_last_version_and_not_before() {
        let mut point = ResumePoint::after(None, Repeats::Versions);
        let first = point.begin("a");
        point.end(first);
        assert_eq!(point.done_up_to(), None);
        let second = point.begin("a");
        let other = point.begin("b");
        assert_eq!(point.done_up_to(), None);
        point.end(second);
        assert_eq!(point.done_up_to(), Some("a"));
        point.end(other);
        // Another version of the key may still follow.
        assert_eq!(point.done_up_to(), Some("a"));
        point.begin("c");
        assert_eq!(point.done_up_to(), Some("b"));
    }

    #[test]
    fn finished_keys_take_no_memory() {
        let mut point = ResumePoint::after(None, Repeats::Versions);
        let slow = point.begin("0");
        for number in 0..1000 {
            let ticket = point.begin(&format!("1{number:04}"));
            point.end(ticket);
        }
        assert!(point.open.len() <= 2);
        assert_eq!(point.done_up_to(), None);
        point.end(slow);
        assert_eq!(point.done_up_to(), Some("10998"));
    }
}
