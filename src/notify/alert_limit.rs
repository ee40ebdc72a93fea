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

/// Maximum number of alerts of one cause in [`ALERT_WINDOW`] that one client causes.
const MAX_ALERTS_OF_CLIENT: usize = MAX_ALERTS * 3 / 4;

pub const ALERT_WINDOW: Duration = Duration::from_hours(1);

/// Sliding window of recent alerts.
#[derive(Default)]
pub struct AlertLimit {
    /// Alerts of each cause in the window, oldest first, with the client that caused them.
    recent: HashMap<Cause, VecDeque<(SystemTime, Option<ClientNet>)>>,
}

impl AlertLimit {
    /// Counts an alert, if the limit allows it now. Returns false if the alert must wait.
    pub fn try_acquire(
        &mut self,
        cause: Cause,
        client: Option<ClientNet>,
        now: SystemTime,
    ) -> bool {
        let recent = self.recent.entry(cause).or_default();
        while recent
            .front()
            .is_some_and(|(oldest, _)| elapsed(*oldest, now) >= ALERT_WINDOW)
        {
            recent.pop_front();
        }
        let is_own = |(_, other): &&(SystemTime, Option<ClientNet>)| *other == client;
        let is_above_share =
            client.is_some() && recent.iter().filter(is_own).count() >= MAX_ALERTS_OF_CLIENT;
        if recent.len() >= MAX_ALERTS || is_above_share {
            return false;
        }
        recent.push_back((now, client));
        true
    }
}
