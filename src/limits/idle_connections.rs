//! Connections that wait for a request and give way to new ones, so that silent connections keep no
//! client out.
//!
//! This file must not know sockets or bytes. The main type is [`IdleConnections`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::pool::{PoolClient, PoolPermit};
use crate::model::lock;

/// How long a connection waits for a request before it gives way to one of any client. A client
/// that means to send one sends it at once.
const MIN_WAIT: Duration = Duration::from_millis(250);

/// How long a connection waits before it gives way to one of the same client, or of a client with
/// far fewer connections. A client that always opens new connections would keep all of them below
/// [`MIN_WAIT`]. The first bytes of a request follow its handshake within this time.
const MIN_WAIT_OF_MANY: Duration = Duration::from_millis(20);

/// A client with this many times the connections of another one has far more.
const FAR_MORE: usize = 2;

/// Open connections by client, and those that wait for a request.
#[derive(Debug, Default)]
pub struct IdleConnections {
    registry: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    next_number: u64,
    clients: HashMap<PoolClient, ClientEntry>,
}

/// Connections of one client.
#[derive(Debug, Default)]
struct ClientEntry {
    /// Open connections that have their permits.
    count: usize,
    waiting: Arc<WaitingSlots>,
}

/// Connections of one client that wait for a request, the longest waiting first. Each request
/// changes them twice, so they have a lock of their own.
#[derive(Debug, Default)]
struct WaitingSlots {
    by_start: Mutex<BTreeMap<(Instant, u64), Arc<Slot>>>,
}

/// A connection as others see it.
#[derive(Debug)]
struct Slot {
    number: u64,
    siblings: Arc<WaitingSlots>,
    state: Mutex<SlotState>,
}

#[derive(Debug)]
struct SlotState {
    /// `None` once the connection has given way.
    permit: Option<PoolPermit>,
    /// When the current wait for a request began. Bytes of an unfinished head do not end it.
    waiting_since: Option<Instant>,
    /// Set while the connection reads and no byte is there. It is one of the waiting slots then.
    reader: Option<Waker>,
}

/// Connection that is registered until it is dropped.
#[derive(Debug)]
pub struct RegisteredConnection {
    connections: Arc<IdleConnections>,
    client: PoolClient,
    slot: Arc<Slot>,
}

impl IdleConnections {
    /// Registers a connection with its permit.
    pub fn register(
        self: &Arc<Self>,
        client: PoolClient,
        permit: PoolPermit,
    ) -> RegisteredConnection {
        RegisteredConnection {
            connections: Arc::clone(self),
            client,
            slot: lock(&self.registry).add(client, permit),
        }
    }

    /// Makes a connection of a client that has waited long give way to another one of the client.
    /// Returns its permit.
    pub fn take_from(&self, client: PoolClient) -> Option<PoolPermit> {
        lock(&self.registry).take_from(client, MIN_WAIT)
    }

    /// As [`Self::take_from`], with a connection whose request may still be on its way.
    pub fn take_recent_from(&self, client: PoolClient) -> Option<PoolPermit> {
        match client {
            PoolClient::Shared(_) => lock(&self.registry).take_from(client, MIN_WAIT_OF_MANY),
            // Many clients are behind its address.
            PoolClient::Exempt(_) | PoolClient::Own => None,
        }
    }

    /// Makes a connection of another client give way to one of `taker`: of the client with the most
    /// connections that has one to give.
    pub fn take_from_largest(&self, taker: PoolClient) -> Option<PoolPermit> {
        let mut registry = lock(&self.registry);
        let own_count = registry.count(taker);
        loop {
            let (client, min_wait) = registry.largest_with_idle(own_count)?;
            if let Some(permit) = registry.take_from(client, min_wait) {
                return Some(permit);
            }
            // A request has arrived meanwhile on the connection, which waits no longer.
        }
    }
}

impl Registry {
    fn add(&mut self, client: PoolClient, permit: PoolPermit) -> Arc<Slot> {
        let entry = self.clients.entry(client).or_default();
        entry.count += 1;
        self.next_number += 1;
        Arc::new(Slot {
            number: self.next_number,
            siblings: Arc::clone(&entry.waiting),
            state: Mutex::new(SlotState {
                permit: Some(permit),
                waiting_since: None,
                reader: None,
            }),
        })
    }

    /// Counts a connection no longer, because it has ended or given way.
    fn remove(&mut self, client: PoolClient) {
        let Some(entry) = self.clients.get_mut(&client) else {
            return;
        };
        entry.count -= 1;
        if entry.count == 0 {
            self.clients.remove(&client);
        }
    }

    fn count(&self, client: PoolClient) -> usize {
        self.clients.get(&client).map_or(0, |entry| entry.count)
    }

    /// Returns the client with the most connections of those that have one to give to a client with
    /// `own_count` connections, and how long a connection of it must have waited.
    fn largest_with_idle(&self, own_count: usize) -> Option<(PoolClient, Duration)> {
        let mut largest = None;
        let mut most = 0;
        for (client, entry) in &self.clients {
            let has_far_more = entry.count > FAR_MORE * own_count && entry.count > 1;
            let min_wait = if has_far_more {
                MIN_WAIT_OF_MANY
            } else {
                MIN_WAIT
            };
            if entry.count > most && entry.waiting.has_waited(min_wait) {
                most = entry.count;
                largest = Some((*client, min_wait));
            }
        }
        largest
    }

    /// Takes the permit of the longest waiting connection of a client.
    fn take_from(&mut self, client: PoolClient, min_wait: Duration) -> Option<PoolPermit> {
        let waiting = Arc::clone(&self.clients.get(&client)?.waiting);
        while let Some(slot) = waiting.pop(min_wait) {
            if let Some(permit) = slot.give_way() {
                self.remove(client);
                return Some(permit);
            }
        }
        None
    }
}

impl WaitingSlots {
    /// Whether a connection has waited for `min_wait`.
    fn has_waited(&self, min_wait: Duration) -> bool {
        let slots = lock(&self.by_start);
        let longest = slots.first_key_value();
        longest.is_some_and(|((since, _), _)| since.elapsed() >= min_wait)
    }

    /// Removes the longest waiting connection, if it has waited for `min_wait`.
    fn pop(&self, min_wait: Duration) -> Option<Arc<Slot>> {
        let mut slots = lock(&self.by_start);
        let longest = slots.first_entry()?;
        let (since, _) = longest.key();
        (since.elapsed() >= min_wait).then(|| longest.remove())
    }

    fn insert(&self, since: Instant, slot: &Arc<Slot>) {
        lock(&self.by_start).insert((since, slot.number), Arc::clone(slot));
    }

    fn remove(&self, since: Instant, slot: &Slot) {
        lock(&self.by_start).remove(&(since, slot.number));
    }
}

impl Slot {
    /// Takes the permit, and wakes the reader, which closes the connection. Returns `None` if bytes
    /// have arrived.
    fn give_way(&self) -> Option<PoolPermit> {
        let mut state = lock(&self.state);
        let reader = self.end_wait(&mut state)?;
        let permit = state.permit.take();
        drop(state);
        reader.wake();
        permit
    }

    /// Ends the wait for bytes. Returns the reader that waits.
    fn end_wait(&self, state: &mut SlotState) -> Option<Waker> {
        let reader = state.reader.take()?;
        if let Some(since) = state.waiting_since {
            self.siblings.remove(since, self);
        }
        Some(reader)
    }
}

impl RegisteredConnection {
    /// Records that the connection waits for the rest of a request head, or for its first byte.
    /// Returns whether it has given way. `reader` is woken when it does.
    pub fn wait_for_request(&self, reader: &Waker) -> bool {
        let mut state = lock(&self.slot.state);
        if state.permit.is_none() {
            return true;
        }
        let since = *state.waiting_since.get_or_insert_with(Instant::now);
        match &mut state.reader {
            Some(registered) => registered.clone_from(reader),
            none => {
                *none = Some(reader.clone());
                self.slot.siblings.insert(since, &self.slot);
            }
        }
        false
    }

    /// Records that bytes have arrived. Returns whether the connection has given way.
    pub fn receive(&self) -> bool {
        let mut state = lock(&self.slot.state);
        self.slot.end_wait(&mut state);
        state.permit.is_none()
    }

    /// Records that the next wait begins anew.
    pub fn end_request(&self) {
        let mut state = lock(&self.slot.state);
        self.slot.end_wait(&mut state);
        state.waiting_since = None;
    }
}

impl Drop for RegisteredConnection {
    fn drop(&mut self) {
        let mut state = lock(&self.slot.state);
        self.slot.end_wait(&mut state);
        let permit = state.permit.take();
        drop(state);
        if permit.is_some() {
            lock(&self.connections.registry).remove(self.client);
        }
    }
}
