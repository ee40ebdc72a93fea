//! Hysteresis: desired DNS state, by how long the instance has been ready or not.

use std::time::Duration;

use tokio::time::Instant;

/// Desired state of this node's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Published under the name.
    Present,
    /// Withdrawn from the name, if other addresses remain.
    Withdrawn,
}

/// Hysteresis between readiness, which may flap, and the desired state.
pub struct Steady {
    withdraw_after: Duration,
    restore_after: Duration,
    is_ready: bool,
    since: Instant,
    wish: Option<Wish>,
}

impl Steady {
    /// Starts without a desired state, until readiness has been stable for long enough.
    pub fn new(withdraw_after: Duration, restore_after: Duration, now: Instant) -> Self {
        Self { withdraw_after, restore_after, is_ready: true, since: now, wish: None }
    }

    pub fn hear(&mut self, is_ready: bool, now: Instant) {
        if is_ready != self.is_ready {
            self.is_ready = is_ready;
            self.since = now;
        }
    }

    /// Returns when the desired state will change, if readiness stays the same.
    pub fn due(&self) -> Option<Instant> {
        let (wish, after) = self.leaning();
        (self.wish != Some(wish)).then(|| self.since + after)
    }

    /// Applies the change that is due by `now`. Returns whether the desired state has changed.
    pub fn settle(&mut self, now: Instant) -> bool {
        let is_due = self.due().is_some_and(|due| due <= now);
        if is_due {
            self.wish = Some(self.leaning().0);
        }
        is_due
    }

    pub fn wish(&self) -> Option<Wish> {
        self.wish
    }

    fn leaning(&self) -> (Wish, Duration) {
        if self.is_ready { (Wish::Present, self.restore_after) } else { (Wish::Withdrawn, self.withdraw_after) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHDRAW_AFTER: Duration = Duration::from_secs(10);
    const RESTORE_AFTER: Duration = Duration::from_secs(30);

    /// Returns the desired state at `last` seconds, after the given readiness changes.
    fn wish(heard: &[(u64, bool)], last: u64) -> Option<Wish> {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut steady = Steady::new(WITHDRAW_AFTER, RESTORE_AFTER, start);
        for (seconds, is_ready) in heard {
            steady.settle(at(*seconds));
            steady.hear(*is_ready, at(*seconds));
        }
        steady.settle(at(last));
        steady.wish()
    }

    #[test]
    fn short_states_change_nothing_at_start() {
        assert_eq!(wish(&[], 29), None);
        assert_eq!(wish(&[], 30), Some(Wish::Present));
        assert_eq!(wish(&[(1, false)], 10), None);
        assert_eq!(wish(&[(1, false)], 11), Some(Wish::Withdrawn));
    }

    #[test]
    fn flapping_readiness_changes_nothing() {
        let flapping = [(40, false), (49, true), (50, false), (59, true)];
        assert_eq!(wish(&flapping, 59), Some(Wish::Present));
        let flapping = [(40, false), (60, true), (89, false), (90, true), (119, false)];
        assert_eq!(wish(&flapping, 128), Some(Wish::Withdrawn));
    }

    #[test]
    fn repeated_readiness_does_not_restart_timer() {
        assert_eq!(wish(&[(40, false), (45, false)], 50), Some(Wish::Withdrawn));
        assert_eq!(wish(&[(40, false), (60, true), (70, true)], 90), Some(Wish::Present));
    }

    #[test]
    fn no_change_is_due_in_desired_state() {
        let start = Instant::now();
        let mut steady = Steady::new(WITHDRAW_AFTER, RESTORE_AFTER, start);
        assert_eq!(steady.due(), Some(start + RESTORE_AFTER));
        assert!(steady.settle(start + RESTORE_AFTER));
        assert_eq!(steady.due(), None);
        assert!(!steady.settle(start + RESTORE_AFTER * 9));
    }
}
