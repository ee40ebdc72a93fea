//! Accounts of a pool: how many permits are taken, and the part of them that counts for each
//! client. This file knows no locks and no waiting. The main type is [`Ledger`].

use std::collections::HashMap;

use super::client::{ClientShare, PoolClient};

/// Maximum number of clients that one permit counts for. Further readers of a body count nothing.
pub const MAX_HOLDERS: usize = 16;

/// Parts of one permit. Up to [`MAX_HOLDERS`] clients divide a permit without a remainder. A pool
/// may have 2^44 permits before their parts exceed 64 bits.
const PERMIT_PARTS: u64 = 720_720;

/// Clients that one permit counts for, in equal parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holders {
    One(PoolClient),
    /// Between 2 and [`MAX_HOLDERS`] different clients.
    Many(Box<[PoolClient]>),
}

impl Holders {
    /// Returns the holders for different clients, or for `otherwise` if there is no client.
    pub fn new(clients: impl Iterator<Item = PoolClient>, otherwise: PoolClient) -> Self {
        let clients: Vec<_> = clients.take(MAX_HOLDERS).collect();
        match clients[..] {
            [] => Self::One(otherwise),
            [client] => Self::One(client),
            _ => Self::Many(clients.into()),
        }
    }

    /// Returns the clients.
    pub fn clients(&self) -> impl Iterator<Item = PoolClient> {
        self.parts().map(|(client, _)| client)
    }

    fn parts(&self) -> impl Iterator<Item = (PoolClient, u64)> {
        let (one, many): (_, &[PoolClient]) = match self {
            Self::One(client) => (Some(*client), &[]),
            Self::Many(clients) => (None, clients),
        };
        let part = PERMIT_PARTS / (many.len().max(1) as u64);
        let many = many.iter().map(move |client| (*client, part));
        one.map(|client| (client, PERMIT_PARTS))
            .into_iter()
            .chain(many)
    }
}

/// Bound that applies to the next permit of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Three quarters of the pool, because no other client waits.
    Alone,
    /// The share of one client, because others wait.
    Share,
}

/// Permits of a pool, and the clients that have them.
#[derive(Debug)]
pub struct Ledger {
    size: usize,
    share: ClientShare,
    taken: usize,
    used: HashMap<PoolClient, u64>,
}

impl Ledger {
    pub fn new(size: usize, share: ClientShare) -> Self {
        Self {
            size,
            share,
            taken: 0,
            used: HashMap::new(),
        }
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn taken(&self) -> usize {
        self.taken
    }

    /// Returns the parts of permits that count for a client.
    pub fn used_parts(&self, client: PoolClient) -> u64 {
        self.used.get(&client).copied().unwrap_or(0)
    }

    /// Whether a client may take another permit.
    pub fn may_take(&self, client: PoolClient, bound: Bound) -> bool {
        self.free_for(client, bound) > 0
    }

    /// Returns how many permits a client may take.
    pub fn free_for(&self, client: PoolClient, bound: Bound) -> usize {
        self.left_for(client, bound).min(self.size - self.taken)
    }

    /// Whether a client has less than it may have. No permit need be free.
    pub fn has_left(&self, client: PoolClient, bound: Bound) -> bool {
        self.left_for(client, bound) > 0
    }

    fn left_for(&self, client: PoolClient, bound: Bound) -> usize {
        let alone = self.most_for_one();
        let most = match bound {
            Bound::Share if client.has_share() => self.share.of(self.size).min(alone),
            Bound::Share | Bound::Alone => alone,
        };
        let used = self.used_parts(client).div_ceil(PERMIT_PARTS);
        let used = usize::try_from(used).unwrap_or(usize::MAX);
        most.saturating_sub(used)
    }

    /// Returns how many permits a client may take from a pool that nothing waits for. The last
    /// quarter is kept for clients within their share.
    pub fn free_at_once(&self, client: PoolClient) -> usize {
        let common = (self.size - self.size / 4).saturating_sub(self.taken);
        let alone = self.free_for(client, Bound::Alone).min(common);
        alone.max(self.free_for(client, Bound::Share))
    }

    /// Returns the most permits that one client may have.
    pub fn most_for_one(&self) -> usize {
        (self.size * 3 / 4).max(1)
    }

    /// Takes permits.
    pub fn take(&mut self, holders: &Holders, permits: usize) {
        self.taken += permits;
        self.charge(holders, permits);
    }

    /// Returns permits.
    pub fn give_back(&mut self, holders: &Holders, permits: usize) {
        self.taken -= permits;
        self.discharge(holders, permits);
    }

    /// Makes permits count for other clients.
    pub fn replace(&mut self, old: &Holders, new: &Holders, permits: usize) {
        self.discharge(old, permits);
        self.charge(new, permits);
    }

    fn charge(&mut self, holders: &Holders, permits: usize) {
        if permits == 0 {
            return;
        }
        for (client, parts) in holders.parts() {
            *self.used.entry(client).or_default() += parts * permits as u64;
        }
    }

    fn discharge(&mut self, holders: &Holders, permits: usize) {
        for (client, parts) in holders.parts() {
            let used = self.used_parts(client) - parts * permits as u64;
            if used == 0 {
                self.used.remove(&client);
            } else {
                self.used.insert(client, used);
            }
        }
        if self.taken == 0 {
            // An idle pool keeps no memory of many clients.
            self.used.shrink_to(MAX_HOLDERS);
        }
    }
}
