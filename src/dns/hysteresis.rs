//! Hysteresis between readiness and the desired DNS state.
//!
//! It reads no clock, so callers pass the time. The main type is [`Hysteresis`].

use std::time::Duration;

use tokio::time::Instant;

/// Desired state of this node's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DesiredState {
    /// Published under the name.
    Published,
    /// Withdrawn from the name, if other addresses remain.
    Withdrawn,
}

/// Desired state, which changes only after readiness has been stable for a while.
pub struct Hysteresis {
    withdraw_after: Duration,
    restore_after: Duration,
    is_ready: bool,
    since: Instant,
    desired: Option<DesiredState>,
}

impl Hysteresis {
    /// Starts without a desired state, until readiness has been stable for long enough.
    pub fn new(withdraw_after: Duration, restore_after: Duration, now: Instant) -> Self {
        Self {
            withdraw_after,
            restore_after,
            is_ready: true,
            since: now,
            desired: None,
        }
    }

    /// Records the readiness at `now`.
    pub fn observe(&mut self, is_ready: bool, now: Instant) {
        if is_ready != self.is_ready {
            self.is_ready = is_ready;
            self.since = now;
        }
    }

    /// Returns when the desired state will change, if readiness stays the same.
    pub fn next_change_at(&self) -> Option<Instant> {
        let (desired, after) = self.pending_state();
        (self.desired != Some(desired)).then(|| self.since + after)
    }

    /// Applies the change that is due by `now`. Returns whether the desired state has changed.
    pub fn advance(&mut self, now: Instant) -> bool {
        let is_due = self.next_change_at().is_some_and(|due| due <= now);
        if is_due {
            self.desired = Some(self.pending_state().0);
        }
        is_due
    }

    /// Returns the desired state, or `None` if readiness was never stable for long enough.
    pub fn desired(&self) -> Option<DesiredState> {
        self.desired
    }

    /// Returns the state that the current readiness leads to, and after which time.
    fn pending_state(&self) -> (DesiredState, Duration) {
        if self.is_ready {
            (DesiredState::Published, self.restore_after)
        } else {
            (DesiredState::Withdrawn, self.withdraw_after)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHDRAW_AFTER: Duration = Duration::from_secs(10);
    const RESTORE_AFTER: Duration = Duration::from_secs(30);

    /// Returns the desired state at `last` seconds, after the given readiness changes.
    fn desired(changes: &[(u64, bool)], last: u64) -> Option<DesiredState> {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut hysteresis = Hysteresis::new(WITHDRAW_AFTER, RESTORE_AFTER, start);
        for (seconds, is_ready) in changes {
            hysteresis.advance(at(*seconds));
            hysteresis.observe(*is_ready, at(*seconds));
        }
        hysteresis.advance(at(last));
        hysteresis.desired()
    }

    #[test]
    fn short_states_change_nothing_at_start() {
        assert_eq!(desired(&[], 29), None);
        assert_eq!(desired(&[], 30), Some(DesiredState::Published));
        assert_eq!(desired(&[(1, false)], 10), None);
        assert_eq!(desired(&[(1, false)], 11), Some(DesiredState::Withdrawn));
    }

    #[test]
    fn flapping_readiness_changes_nothing() {
        let flapping = [(40, false), (49, true), (50, false), (59, true)];
        assert_eq!(desired(&flapping, 59), Some(DesiredState::Published));
        let flapping = [
            (40, false),
            (60, true),
            (89, false),
            (90, true),
            (119, false),
        ];
        assert_eq!(desired(&flapping, 128), Some(DesiredState::Withdrawn));
    }

    #[test]
    fn repeated_readiness_does_not_restart_timer() {
        assert_eq!(
            desired(&[(40, false), (45, false)], 50),
            Some(DesiredState::Withdrawn)
        );
        assert_eq!(
            desired(&[(40, false), (60, true), (70, true)], 90),
            Some(DesiredState::Published)
        );
    }

    #[test]
    fn no_change_is_due_in_desired_state() {
        let start = Instant::now();
        let mut hysteresis = Hysteresis::new(WITHDRAW_AFTER, RESTORE_AFTER, start);
        assert_eq!(hysteresis.next_change_at(), Some(start + RESTORE_AFTER));
        assert!(hysteresis.advance(start + RESTORE_AFTER));
        assert_eq!(hysteresis.next_change_at(), None);
        assert!(!hysteresis.advance(start + RESTORE_AFTER * 9));
    }
}
