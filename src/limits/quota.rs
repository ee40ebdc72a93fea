//! Bytes that each client receives in a day.
//!
//! A day of a client is 24 hours, and begins with its first transfer. It does not depend on the
//! clock of the machine. This file must not know what is transferred. The main type is
//! [`DailyUses`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::model::{ClientNet, lock};

/// Length of a client's day.
const DAY: Duration = Duration::from_hours(24);

/// Maximum number of clients whose bytes are counted, about 40 MiB. Further ones have no quota
/// until a day of others ends.
const MAX_CLIENTS: usize = 1 << 18;

/// Bytes of one client since the beginning of its day.
#[derive(Debug)]
pub struct DailyUse {
    began: Instant,
    bytes: AtomicU64,
}

impl DailyUse {
    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn has_ended(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= DAY
    }
}

/// Days of all clients.
#[derive(Debug, Default)]
pub struct DailyUses(Mutex<HashMap<ClientNet, Arc<DailyUse>>>);

impl DailyUses {
    /// Returns the day of a client that begins a transfer, a new one if its last day has ended.
    /// `None` if the bytes of too many clients are counted.
    pub fn of(&self, client: ClientNet, now: Instant) -> Option<Arc<DailyUse>> {
        let mut clients = lock(&self.0);
        if let Some(day) = clients.get(&client)
            && !day.has_ended(now)
        {
            return Some(Arc::clone(day));
        }
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&client) {
            return None;
        }
        let day = Arc::new(DailyUse {
            began: now,
            bytes: AtomicU64::new(0),
        });
        clients.insert(client, Arc::clone(&day));
        Some(day)
    }

    /// Counts bytes of a transfer that began on `day`, for the present day of the client.
    pub fn add(&self, client: ClientNet, day: &DailyUse, bytes: u64, now: Instant) {
        if !day.has_ended(now) {
            day.add(bytes);
        } else if let Some(today) = self.of(client, now) {
            today.add(bytes);
        }
    }

    /// Returns how long a client must wait that may receive `max_bytes` in a day. `None` if it may
    /// receive bytes now.
    pub fn wait(&self, client: ClientNet, max_bytes: u64, now: Instant) -> Option<Duration> {
        let clients = lock(&self.0);
        let day = clients.get(&client).filter(|day| !day.has_ended(now))?;
        let is_used_up = day.bytes.load(Ordering::Relaxed) >= max_bytes;
        is_used_up.then(|| DAY.saturating_sub(now.saturating_duration_since(day.began)))
    }

    /// Removes the clients whose day has ended.
    pub fn prune(&self, now: Instant) {
        let mut clients = lock(&self.0);
        clients.retain(|_, day| !day.has_ended(now));
        clients.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> ClientNet {
        ClientNet::from_address(address.parse().unwrap())
    }

    #[test]
    fn quota_returns_after_a_day() {
        let (uses, start) = (DailyUses::default(), Instant::now());
        let one = client("10.0.0.1");
        assert_eq!(uses.wait(one, 100, start), None);
        uses.of(one, start).unwrap().add(99);
        assert_eq!(uses.wait(one, 100, start), None);
        let later = start + Duration::from_hours(1);
        uses.of(one, later).unwrap().add(1);
        assert_eq!(uses.wait(one, 100, later), Some(Duration::from_hours(23)));
        assert_eq!(uses.wait(client("10.0.0.2"), 100, later), None);
        assert_eq!(uses.wait(one, 100, start + DAY), None);
        // A transfer of the day before counts for the new day.
        let yesterday = uses.of(one, start).unwrap();
        uses.add(one, &yesterday, 5, start + DAY);
        assert_eq!(uses.wait(one, 5, start + DAY), Some(DAY));
    }

    #[test]
    fn clients_are_bounded_and_pruned() {
        let (uses, start) = (DailyUses::default(), Instant::now());
        let number = |index: usize| {
            let bits = u32::try_from(index).unwrap();
            ClientNet::from_address(std::net::Ipv4Addr::from_bits(bits).into())
        };
        for index in 0..MAX_CLIENTS {
            assert!(uses.of(number(index), start).is_some());
        }
        assert!(uses.of(number(MAX_CLIENTS), start).is_none());
        assert!(uses.of(number(0), start).is_some());
        uses.prune(start + DAY);
        assert!(lock(&uses.0).is_empty());
    }
}
