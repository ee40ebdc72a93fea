//! Limit of alerts for each cause.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::incident::elapsed;
use crate::model::{Cause, ClientNet};

/// Maximum number of alerts of one cause in [`ALERT_WINDOW`], over all hosts.
///
/// A client that requests a thousand unreachable hosts must not cause a thousand mails, or hide
/// alerts of other causes. Further alerts are delayed until the limit allows them.
pub const MAX_ALERTS: usize = 20;

/// Maximum number of alerts of one cause in [`ALERT_WINDOW`] that one client causes. The others are
/// kept for clients that have caused fewer than [`SHARE_OF_CLIENT`].
const MAX_ALERTS_OF_CLIENT: usize = MAX_ALERTS * 3 / 4;

/// Alerts of one cause in [`ALERT_WINDOW`] that a client may cause after others have caused many.
/// Several clients that act together must not use up all alerts.
const SHARE_OF_CLIENT: usize = 1;

pub const ALERT_WINDOW: Duration = Duration::from_hours(1);

/// Alerts of one cause in the window, oldest first, with the clients that caused them.
type RecentAlerts = VecDeque<(SystemTime, Vec<ClientNet>)>;

/// Sliding window of recent alerts.
#[derive(Default)]
pub struct AlertLimit {
    recent: HashMap<Cause, RecentAlerts>,
}

impl AlertLimit {
    /// Counts an alert, if the limit allows it now. Returns false if the alert must wait.
    ///
    /// `clients` have caused the alert. It waits if each of them has caused as many as it may. It
    /// has none if Millpond itself has failed.
    pub fn try_acquire(&mut self, cause: Cause, clients: &[ClientNet], now: SystemTime) -> bool {
        let recent = self.in_window(cause, now);
        let most_of_client = if recent.len() < MAX_ALERTS_OF_CLIENT {
            MAX_ALERTS_OF_CLIENT
        } else {
            SHARE_OF_CLIENT
        };
        let must_wait = !clients.is_empty() && least_caused(recent, clients) >= most_of_client;
        if recent.len() >= MAX_ALERTS || must_wait {
            return false;
        }
        recent.push_back((now, clients.to_vec()));
        true
    }

    /// Returns how many recent alerts the client has caused that has caused the fewest. Alerts that
    /// wait are sent in this order.
    pub fn count_caused(&mut self, cause: Cause, clients: &[ClientNet], now: SystemTime) -> usize {
        least_caused(self.in_window(cause, now), clients)
    }

    fn in_window(&mut self, cause: Cause, now: SystemTime) -> &mut RecentAlerts {
        let recent = self.recent.entry(cause).or_default();
        while recent
            .front()
            .is_some_and(|(oldest, _)| elapsed(*oldest, now) >= ALERT_WINDOW)
        {
            recent.pop_front();
        }
        recent
    }
}

fn least_caused(recent: &RecentAlerts, clients: &[ClientNet]) -> usize {
    let count = |client: &ClientNet| {
        let own = recent.iter().filter(|(_, other)| other.contains(client));
        own.count()
    };
    clients.iter().map(count).min().unwrap_or(0)
}
