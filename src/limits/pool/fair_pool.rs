//! The pool itself: its accounts and its queue behind one lock. The main type is [`FairPool`].

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::client::{ClientShare, PoolClient};
use super::ledger::{Bound, Holders, Ledger};
use super::queue::{Ticket, WaitQueue};
use crate::model::lock;

/// Error returned when a pool has no permit for a client, or its queue no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no permit is free for the client")]
pub struct PoolExhausted;

/// Level of a pool at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLevel {
    pub size: usize,
    pub taken: usize,
    /// Requests in the queue.
    pub waiting: usize,
    /// Requests that got no permit since the pool was made.
    pub rejected: u64,
}

/// Pool of permits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FairPool {
    core: Arc<PoolCore>,
}

/// Right to use one unit of a pool, or as many as it was resized to. It counts until it is dropped.
///
/// It is on the heap, because permits are parts of many large futures.
#[derive(Debug)]
pub struct PoolPermit {
    held: Box<HeldUnits>,
}

/// Units of a pool that are in use.
#[derive(Debug)]
struct HeldUnits {
    core: Arc<PoolCore>,
    holders: Holders,
    units: usize,
}

#[derive(Debug)]
struct PoolCore {
    state: Mutex<PoolState>,
}

#[derive(Debug)]
struct PoolState {
    permits: Ledger,
    /// Places in the queue. They are divided like the permits of a pool that nothing waits for.
    places: Ledger,
    queue: WaitQueue<oneshot::Sender<PoolPermit>>,
    rejected: u64,
}

impl FairPool {
    /// Creates a pool of `size` permits, at least one. At most `max_waiting` requests wait for one.
    #[must_use]
    pub fn new(size: usize, max_waiting: usize, share: &ClientShare) -> Self {
        let state = PoolState {
            permits: Ledger::new(size.max(1), share.clone()),
            places: Ledger::new(max_waiting, share.clone()),
            queue: WaitQueue::new(),
            rejected: 0,
        };
        Self {
            core: Arc::new(PoolCore {
                state: Mutex::new(state),
            }),
        }
    }

    /// Takes a permit without waiting.
    ///
    /// # Errors
    /// [`PoolExhausted`] if none is free for the client.
    pub fn try_acquire(&self, client: PoolClient) -> Result<PoolPermit, PoolExhausted> {
        let holders = Holders::One(client);
        let mut state = lock(&self.core.state);
        if state.free_at_once(client) == 0 {
            // Requests of a pool with a queue wait there.
            state.rejected += u64::from(state.places.size() == 0);
            return Err(PoolExhausted);
        }
        state.permits.take(&holders, 1);
        drop(state);
        Ok(self.core.permit(holders, 1))
    }

    /// Takes a permit without waiting, or the permit that `take_over` returns.
    ///
    /// # Errors
    /// [`PoolExhausted`] if none is free for the client, and none is taken over.
    pub fn acquire_or_take_over(
        &self,
        client: PoolClient,
        take_over: impl FnOnce() -> Option<PoolPermit>,
    ) -> Result<PoolPermit, PoolExhausted> {
        let has_free = lock(&self.core.state).free_at_once(client) > 0;
        if !has_free && let Some(mut permit) = take_over() {
            permit.set_holders(Holders::One(client));
            return Ok(permit);
        }
        self.try_acquire(client)
    }

    /// Returns whether a client has less than its share of the permits.
    #[must_use]
    pub fn is_within_share(&self, client: PoolClient) -> bool {
        lock(&self.core.state)
            .permits
            .has_left(client, Bound::Share)
    }

    /// Waits in the client's turn for a permit to use `host`.
    ///
    /// # Errors
    /// [`PoolExhausted`] if the queue has no place for the client.
    pub async fn acquire(
        &self,
        client: PoolClient,
        host: &str,
    ) -> Result<PoolPermit, PoolExhausted> {
        if let Ok(permit) = self.try_acquire(client) {
            return Ok(permit);
        }
        let (waiting, woken) = self.enqueue(client, host)?;
        let permit = woken.await;
        drop(waiting);
        permit.map_err(|_| PoolExhausted)
    }

    /// Adds a request to the queue. Its permit arrives through the channel.
    fn enqueue(
        &self,
        client: PoolClient,
        host: &str,
    ) -> Result<(Waiting<'_>, oneshot::Receiver<PoolPermit>), PoolExhausted> {
        let (waker, woken) = oneshot::channel();
        let mut state = lock(&self.core.state);
        if state.places.free_at_once(client) == 0 {
            state.rejected += 1;
            return Err(PoolExhausted);
        }
        state.places.take(&Holders::One(client), 1);
        let ticket = state.queue.push(client, host, waker);
        // A permit may have returned since the client found none.
        let grants = state.grants();
        drop(state);
        self.core.deliver(grants);
        let waiting = Waiting {
            core: &self.core,
            client,
            ticket,
        };
        Ok((waiting, woken))
    }

    /// Returns a permit of no units, which can be resized.
    pub(super) fn empty_permit(&self, client: PoolClient) -> PoolPermit {
        self.core.permit(Holders::One(client), 0)
    }

    /// Returns the most permits that one client may have.
    #[must_use]
    pub fn most_for_one(&self) -> usize {
        lock(&self.core.state).permits.most_for_one()
    }

    /// Returns how many permits a client may still take, if no other client wants any.
    #[must_use]
    pub fn free_for(&self, client: PoolClient) -> usize {
        lock(&self.core.state)
            .permits
            .free_for(client, Bound::Alone)
    }

    /// Returns the number of permits that are in use.
    #[must_use]
    pub fn taken(&self) -> usize {
        lock(&self.core.state).permits.taken()
    }

    /// Returns the level of the pool.
    #[must_use]
    pub fn level(&self) -> PoolLevel {
        let state = lock(&self.core.state);
        PoolLevel {
            size: state.permits.size(),
            taken: state.permits.taken(),
            waiting: state.places.taken(),
            rejected: state.rejected,
        }
    }

    /// Returns the parts of permits that count for a client, for comparing clients.
    pub(super) fn used_parts(&self, client: PoolClient) -> u64 {
        lock(&self.core.state).permits.used_parts(client)
    }
}

/// Permit that was taken for a waiting request, and the request.
type Grant = (oneshot::Sender<PoolPermit>, Holders);

impl PoolState {
    fn free_at_once(&self, client: PoolClient) -> usize {
        if self.places.size() == 0 {
            self.permits.free_at_once(client)
        } else if self.queue.has_others_than(client) {
            self.permits.free_for(client, Bound::Share)
        } else {
            self.permits.free_for(client, Bound::Alone)
        }
    }

    /// Takes permits for waiting requests: for clients within their share first, then for others.
    fn grants(&mut self) -> Vec<Grant> {
        let mut grants = Vec::new();
        while let Some((client, waker)) = self.next_waiting() {
            let holders = Holders::One(client);
            self.permits.take(&holders, 1);
            self.places.give_back(&holders, 1);
            grants.push((waker, holders));
        }
        grants
    }

    fn next_waiting(&mut self) -> Option<(PoolClient, oneshot::Sender<PoolPermit>)> {
        let permits = &self.permits;
        let within_share = |client| permits.may_take(client, Bound::Share);
        let alone = |client| permits.may_take(client, Bound::Alone);
        self.queue
            .pop(within_share)
            .or_else(|| self.queue.pop(alone))
    }
}

impl PoolCore {
    fn permit(self: &Arc<Self>, holders: Holders, units: usize) -> PoolPermit {
        let held = Box::new(HeldUnits {
            core: Arc::clone(self),
            holders,
            units,
        });
        PoolPermit { held }
    }

    /// Hands out permits that were taken. The lock of the pool must be free, since the permit of a
    /// request that waits no longer returns to the pool.
    fn deliver(self: &Arc<Self>, grants: Vec<Grant>) {
        for (waker, holders) in grants {
            drop(waker.send(self.permit(holders, 1)));
        }
    }
}

impl PoolPermit {
    /// Makes the permit count for other clients, also if that is more than their share.
    pub(super) fn set_holders(&mut self, holders: Holders) {
        let held = &mut self.held;
        if held.holders == holders {
            return;
        }
        let mut state = lock(&held.core.state);
        state.permits.replace(&held.holders, &holders, held.units);
        let grants = state.grants();
        drop(state);
        held.holders = holders;
        held.core.deliver(grants);
    }

    /// Changes the number of units. More units are taken without waiting.
    ///
    /// # Errors
    /// [`PoolExhausted`] if there are too few for all clients that the permit counts for. It stays
    /// as it is then.
    pub(super) fn resize(&mut self, units: usize) -> Result<(), PoolExhausted> {
        let held = &mut self.held;
        let mut state = lock(&held.core.state);
        let growth = units.saturating_sub(held.units);
        let has_place = |client| state.free_at_once(client) >= growth;
        if growth > 0 && !held.holders.clients().any(has_place) {
            return Err(PoolExhausted);
        }
        state.permits.take(&held.holders, growth);
        let shrinkage = held.units.saturating_sub(units);
        state.permits.give_back(&held.holders, shrinkage);
        let grants = state.grants();
        drop(state);
        held.units = units;
        held.core.deliver(grants);
        Ok(())
    }
}

impl Drop for HeldUnits {
    fn drop(&mut self) {
        let mut state = lock(&self.core.state);
        state.permits.give_back(&self.holders, self.units);
        let grants = state.grants();
        drop(state);
        self.core.deliver(grants);
    }
}

/// Request in the queue. It leaves the queue when it is dropped.
struct Waiting<'a> {
    core: &'a PoolCore,
    client: PoolClient,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.core.state);
        if state.queue.remove(self.client, self.ticket) {
            state.places.give_back(&Holders::One(self.client), 1);
        }
    }
}
