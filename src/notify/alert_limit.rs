//! Limit of alerts for each cause.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::incident::elapsed;
use crate::model::Cause;

/// Maximum number of alerts of one cause in [`ALERT_WINDOW`], over all hosts.
///
/// A client that requests a thousand unreachable hosts must not cause a thousand mails, or hide
/// alerts of other causes. Further alerts are delayed until the limit allows them.
pub const MAX_ALERTS: usize = 20;
pub const ALERT_WINDOW: Duration = Duration::from_hours(1);

/// Sliding window of recent alerts.
#[derive(Default)]
pub struct AlertLimit {
    /// Times of the alerts of each cause in the window, oldest first.
    recent: HashMap<Cause, VecDeque<SystemTime>>,
}

impl AlertLimit {
    /// Counts an alert, if the limit allows it now. Returns false if the alert must wait.
    pub fn try_acquire(&mut self, cause: Cause, now: SystemTime) -> bool {
        let recent = self.recent.entry(cause).or_default();
        while recent
            .front()
            .is_some_and(|oldest| elapsed(*oldest, now) >= ALERT_WINDOW)
        {
            recent.pop_front();
        }
        if recent.len() >= MAX_ALERTS {
            return false;
        }
        recent.push_back(now);
        true
    }
}
