//! The clients that a fetch counts for: its present readers in equal parts, and the client that
//! began it while it has no reader. The main type is [`Readership`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use super::client::PoolClient;
use super::fair_pool::{FairPool, PoolExhausted, PoolPermit};
use super::ledger::{Holders, MAX_HOLDERS};
use crate::model::lock;

/// Readers of one body, and the permits that count for them.
#[derive(Debug)]
pub struct Readership {
    beginner: PoolClient,
    members: Mutex<Members>,
    /// Changes with each client that begins or ends to read.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Members {
    /// Present readers of each client.
    readers: HashMap<PoolClient, usize>,
    permits: Vec<Weak<Mutex<PoolPermit>>>,
}

/// Permit that counts for the present readers of a body.
#[derive(Debug)]
pub struct HeldPermit {
    permit: Arc<Mutex<PoolPermit>>,
}

/// Reader of a body. It is counted until it is dropped.
#[derive(Debug)]
pub struct Reading {
    readership: Arc<Readership>,
    client: PoolClient,
}

impl Readership {
    /// Returns the readership of a fetch that `beginner` has begun, without readers.
    #[must_use]
    pub fn new(beginner: PoolClient) -> Arc<Self> {
        Arc::new(Self {
            beginner,
            members: Mutex::default(),
            changes: watch::Sender::new(()),
        })
    }

    /// Counts a reader.
    pub fn join(self: &Arc<Self>, client: PoolClient) -> Reading {
        self.change(|readers| *readers.entry(client).or_default() += 1);
        Reading {
            readership: Arc::clone(self),
            client,
        }
    }

    /// Makes a permit count for the present readers, from now on.
    #[must_use]
    pub fn hold(&self, mut permit: PoolPermit) -> HeldPermit {
        let mut members = lock(&self.members);
        permit.set_holders(members.holders(self.beginner));
        let permit = Arc::new(Mutex::new(permit));
        members.permits.retain(|other| other.strong_count() > 0);
        members.permits.push(Arc::downgrade(&permit));
        HeldPermit { permit }
    }

    /// Returns a permit of no units, which can be resized.
    #[must_use]
    pub fn hold_none(&self, pool: &FairPool) -> HeldPermit {
        self.hold(pool.empty_permit(self.beginner))
    }

    /// Waits for a permit to use `host`, in the turn of the reader that uses the pool least.
    ///
    /// # Errors
    /// [`PoolExhausted`] if the queue has no place for the client.
    pub async fn acquire(&self, pool: &FairPool, host: &str) -> Result<HeldPermit, PoolExhausted> {
        let mut changes = self.changes.subscribe();
        loop {
            let client = self.next_in_turn(pool);
            let has_changed = async {
                // The sender is a field of `self`, so the channel cannot close during the call.
                while changes.changed().await.is_ok() && self.next_in_turn(pool) == client {}
            };
            tokio::select! {
                biased;
                permit = pool.acquire(client, host) => return Ok(self.hold(permit?)),
                () = has_changed => {}
            }
        }
    }

    /// Waits until the body has no reader.
    pub async fn wait_unread(&self) {
        let mut changes = self.changes.subscribe();
        // The sender is a field of `self`, so the channel cannot close during the call.
        while !self.is_unread() && changes.changed().await.is_ok() {}
    }

    /// Waits until the body has a reader.
    pub async fn wait_read(&self) {
        let mut changes = self.changes.subscribe();
        // As in `wait_unread`.
        while self.is_unread() && changes.changed().await.is_ok() {}
    }

    /// Returns the client that has begun the fetch.
    #[must_use]
    pub fn beginner(&self) -> PoolClient {
        self.beginner
    }

    /// Returns whether the body has no reader.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        lock(&self.members).readers.is_empty()
    }

    /// Returns the client as which the fetch waits for a permit.
    fn next_in_turn(&self, pool: &FairPool) -> PoolClient {
        let members = lock(&self.members);
        let readers = members.readers.keys().copied().take(MAX_HOLDERS);
        let least = readers.min_by_key(|client| pool.used_parts(*client));
        least.unwrap_or(self.beginner)
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<PoolClient, usize>)) {
        let mut members = lock(&self.members);
        let clients = members.readers.len();
        change(&mut members.readers);
        if members.readers.len() == clients {
            return;
        }
        let holders = members.holders(self.beginner);
        for permit in members.permits.iter().filter_map(Weak::upgrade) {
            lock(&permit).set_holders(holders.clone());
        }
        drop(members);
        self.changes.send_replace(());
    }
}

impl HeldPermit {
    /// Changes the number of units that the permit counts. More units are taken without waiting.
    ///
    /// # Errors
    /// [`PoolExhausted`] if there are too few for all readers. The permit stays as it is then.
    pub fn resize(&self, units: usize) -> Result<(), PoolExhausted> {
        lock(&self.permit).resize(units)
    }
}

impl Reading {
    /// Returns the client that reads.
    #[must_use]
    pub fn client(&self) -> PoolClient {
        self.client
    }
}

impl Members {
    fn holders(&self, beginner: PoolClient) -> Holders {
        Holders::new(self.readers.keys().copied(), beginner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let client = self.client;
        self.readership.change(|readers| {
            if let Some(count) = readers.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    readers.remove(&client);
                }
            }
        });
    }
}
