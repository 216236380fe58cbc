//! Requests at once: each holds a place, or waits for one, first come, first served.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::QUEUE;

/// A number of places that can be changed while some are held.
pub(super) struct Places {
    free: Arc<Semaphore>,
    queue: Semaphore,
    count: Mutex<Count>,
}

struct Count {
    places: usize,
    /// Places that are held above the number: they are gone when they come back.
    surplus: usize,
}

/// A place, until it is dropped.
#[must_use]
pub(super) struct Held {
    places: Arc<Places>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(number: NonZeroU32) -> Self {
        let places = size(number);
        Self {
            free: Arc::new(Semaphore::new(places)),
            queue: Semaphore::new(QUEUE),
            count: Mutex::new(Count { places, surplus: 0 }),
        }
    }

    /// Changes the number. Who holds a place keeps it.
    pub(super) fn resize(&self, number: NonZeroU32) {
        let mut count = self.count();
        let wanted = size(number);
        if wanted >= count.places {
            let more = wanted - count.places;
            let kept = more.min(count.surplus);
            count.surplus -= kept;
            self.free.add_permits(more - kept);
        } else {
            let fewer = count.places - wanted;
            count.surplus += fewer - self.free.forget_permits(fewer);
        }
        count.places = wanted;
    }

    /// A place, as soon as one is free; none where that is behind `deadline`.
    pub(super) async fn place(self: &Arc<Self>, deadline: Instant) -> Option<Held> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = self.queue.try_acquire().ok()?;
                let free = Arc::clone(&self.free).acquire_owned();
                tokio::time::timeout_at(deadline, free).await.ok()?.ok()?
            }
        };
        Some(Held {
            places: Arc::clone(self),
            permit: Some(permit),
        })
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        // Nothing that can panic runs under the lock.
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut count = self.places.count();
        if let (1.., Some(permit)) = (count.surplus, self.permit.take()) {
            count.surplus -= 1;
            permit.forget();
        }
    }
}

fn size(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).expect("32 bits fit an address")
}
