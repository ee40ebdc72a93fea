//! Accounts of a pool: how many permits are taken, and the part of them that counts for each
//! client. This file knows no locks and no waiting. The main type is [`Ledger`].

use std::collections::HashMap;

use super::client::{ClientShare, PoolClient};

/// Maximum number of clients that one permit counts for. Further readers of a body count nothing.
pub const MAX_HOLDERS: usize = 16;

/// Parts of one permit. Up to [`MAX_HOLDERS`] clients divide a permit without a remainder.
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

    /// Returns the bound of a pool that nothing waits for: its last quarter is kept for clients
    /// within their share.
    pub fn bound(&self) -> Bound {
        if self.taken >= self.size - self.size / 4 {
            Bound::Share
        } else {
            Bound::Alone
        }
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
        let alone = (self.size * 3 / 4).max(1);
        let most = match bound {
            Bound::Share if client.has_share() => self.share.of(self.size).min(alone),
            Bound::Share | Bound::Alone => alone,
        };
        let used = self.used_parts(client).div_ceil(PERMIT_PARTS);
        let used = usize::try_from(used).unwrap_or(usize::MAX);
        most.saturating_sub(used).min(self.size - self.taken)
    }

    /// Takes a permit.
    pub fn take(&mut self, holders: &Holders) {
        self.taken += 1;
        self.charge(holders);
    }

    /// Returns a permit.
    pub fn give_back(&mut self, holders: &Holders) {
        self.taken -= 1;
        self.discharge(holders);
    }

    /// Makes a permit count for other clients.
    pub fn replace(&mut self, old: &Holders, new: &Holders) {
        self.discharge(old);
        self.charge(new);
    }

    fn charge(&mut self, holders: &Holders) {
        for (client, parts) in holders.parts() {
            *self.used.entry(client).or_default() += parts;
        }
    }

    fn discharge(&mut self, holders: &Holders) {
        for (client, parts) in holders.parts() {
            let used = self.used_parts(client) - parts;
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
