//! Connections that wait for a request and give way to new ones, so that silent connections keep no
//! client out.
//!
//! This file must not know sockets or bytes. The main type is [`IdleConnections`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::pool::{PoolClient, PoolPermit};
use crate::model::lock;

/// How long a connection waits for a request before it gives way. A client that means to send one
/// sends it at once.
const MIN_WAIT: Duration = Duration::from_millis(250);

/// Bound on the connections of one client that are examined for a new one.
const MAX_EXAMINED: usize = 256;

/// Bound on the clients whose connections are examined for a new connection of another client.
const MAX_CLIENTS_TRIED: usize = 16;

/// Open connections by client, the longest waiting ones first as far as that is known.
#[derive(Debug, Default)]
pub struct IdleConnections {
    registry: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    next_place: u64,
    clients: HashMap<PoolClient, BTreeMap<u64, Arc<Slot>>>,
}

/// A connection as others see it.
#[derive(Debug)]
struct Slot {
    /// Place in the registry. It changes under the lock of the registry only.
    place: AtomicU64,
    state: Mutex<SlotState>,
}

#[derive(Debug)]
struct SlotState {
    /// `None` once the connection has given way.
    permit: Option<PoolPermit>,
    /// When the current wait for a request began. Bytes of an unfinished head do not end it.
    waiting_since: Option<Instant>,
    /// Set while the connection reads and no byte is there.
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
        let slot = Arc::new(Slot {
            place: AtomicU64::new(0),
            state: Mutex::new(SlotState {
                permit: Some(permit),
                waiting_since: None,
                reader: None,
            }),
        });
        lock(&self.registry).add(client, Arc::clone(&slot));
        RegisteredConnection {
            connections: Arc::clone(self),
            client,
            slot,
        }
    }

    /// Makes a connection of a client give way. Returns its permit.
    pub fn take_from(&self, client: PoolClient) -> Option<PoolPermit> {
        lock(&self.registry).take_from(client)
    }

    /// Makes a connection of one of the clients with the most connections give way.
    pub fn take_from_largest(&self) -> Option<PoolPermit> {
        let mut registry = lock(&self.registry);
        let mut clients = registry.largest().into_iter();
        clients.find_map(|client| registry.take_from(client))
    }
}

impl Registry {
    fn add(&mut self, client: PoolClient, slot: Arc<Slot>) {
        let place = self.next_place;
        self.next_place += 1;
        slot.place.store(place, Ordering::Relaxed);
        self.clients.entry(client).or_default().insert(place, slot);
    }

    fn remove(&mut self, client: PoolClient, slot: &Slot) {
        let Some(slots) = self.clients.get_mut(&client) else {
            return;
        };
        slots.remove(&slot.place.load(Ordering::Relaxed));
        if slots.is_empty() {
            self.clients.remove(&client);
        }
    }

    /// Returns the clients with the most connections, by falling number. The first ones may have
    /// requests on all of theirs.
    fn largest(&self) -> Vec<PoolClient> {
        let clients = self.clients.iter();
        let mut counts: Vec<_> = clients
            .map(|(client, slots)| (Reverse(slots.len()), *client))
            .collect();
        if counts.len() > MAX_CLIENTS_TRIED {
            counts.select_nth_unstable_by_key(MAX_CLIENTS_TRIED, |(count, _)| *count);
            counts.truncate(MAX_CLIENTS_TRIED);
        }
        counts.sort_unstable_by_key(|(count, _)| *count);
        counts.into_iter().map(|(_, client)| client).collect()
    }

    /// Takes the permit of the longest waiting of the first connections. Others that were examined
    /// go behind the rest, so that busy ones hide no silent ones.
    fn take_from(&mut self, client: PoolClient) -> Option<PoolPermit> {
        let slots = self.clients.get(&client)?.values();
        let examined: Vec<_> = slots.take(MAX_EXAMINED).cloned().collect();
        let waiting = examined.iter().filter_map(|slot| {
            let since = slot.waiting_since()?;
            Some((since, slot))
        });
        let longest = waiting.min_by_key(|(since, _)| *since);
        if let Some((_, slot)) = longest
            && let Some(permit) = slot.give_way()
        {
            self.remove(client, slot);
            return Some(permit);
        }
        for slot in examined {
            self.remove(client, &slot);
            self.add(client, slot);
        }
        None
    }
}

impl Slot {
    /// Returns since when the connection has waited, if it may give way.
    fn waiting_since(&self) -> Option<Instant> {
        let state = lock(&self.state);
        let is_reading = state.reader.is_some() && state.permit.is_some();
        let since = state.waiting_since.filter(|_| is_reading)?;
        (since.elapsed() >= MIN_WAIT).then_some(since)
    }

    /// Takes the permit, and wakes the reader, which closes the connection.
    fn give_way(&self) -> Option<PoolPermit> {
        let mut state = lock(&self.state);
        let reader = state.reader.take()?;
        let permit = state.permit.take();
        drop(state);
        reader.wake();
        permit
    }
}

impl RegisteredConnection {
    /// Records that the connection waits for the rest of a request head, or for its first byte.
    /// Returns whether it has given way. `reader` is woken when it does.
    pub fn wait_for_request(&self, reader: &Waker) -> bool {
        let mut state = lock(&self.slot.state);
        state.waiting_since.get_or_insert_with(Instant::now);
        match &mut state.reader {
            Some(registered) => registered.clone_from(reader),
            none => *none = Some(reader.clone()),
        }
        state.permit.is_none()
    }

    /// Records that bytes have arrived. Returns whether the connection has given way.
    pub fn receive(&self) -> bool {
        let mut state = lock(&self.slot.state);
        state.reader = None;
        state.permit.is_none()
    }

    /// Records that the next wait begins anew.
    pub fn end_request(&self) {
        lock(&self.slot.state).waiting_since = None;
    }
}

impl Drop for RegisteredConnection {
    fn drop(&mut self) {
        lock(&self.connections.registry).remove(self.client, &self.slot);
    }
}
