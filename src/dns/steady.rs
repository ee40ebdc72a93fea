//! What is wished of DNS, by how long the instance has been ready or not.

use std::time::Duration;

use tokio::time::Instant;

/// Where this node's addresses should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// In the name.
    Present,
    /// In it no more, if others are.
    Withdrawn,
}

/// Turns readiness, which may come and go, into a wish, which lasts.
pub struct Steady {
    withdraw_after: Duration,
    restore_after: Duration,
    is_ready: bool,
    since: Instant,
    wish: Option<Wish>,
}

impl Steady {
    /// Nothing is wished before it has been the same for long enough, at the start too.
    pub fn new(withdraw_after: Duration, restore_after: Duration, now: Instant) -> Self {
        Self { withdraw_after, restore_after, is_ready: true, since: now, wish: None }
    }

    pub fn hear(&mut self, is_ready: bool, now: Instant) {
        if is_ready != self.is_ready {
            self.is_ready = is_ready;
            self.since = now;
        }
    }

    /// When another wish will be due, if nothing else is heard.
    pub fn due(&self) -> Option<Instant> {
        let (wish, after) = self.leaning();
        (self.wish != Some(wish)).then(|| self.since + after)
    }

    /// Makes the wish that is due by `now`. True if it is another one.
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

    /// What is wished once all of this was heard, each as many seconds after the start as it says, and `last` seconds are over.
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
    fn nothing_is_wished_in_a_hurry() {
        assert_eq!(wish(&[], 29), None);
        assert_eq!(wish(&[], 30), Some(Wish::Present));
        assert_eq!(wish(&[(1, false)], 10), None);
        assert_eq!(wish(&[(1, false)], 11), Some(Wish::Withdrawn));
    }

    #[test]
    fn what_comes_and_goes_changes_nothing() {
        let flapping = [(40, false), (49, true), (50, false), (59, true)];
        assert_eq!(wish(&flapping, 59), Some(Wish::Present));
        let flapping = [(40, false), (60, true), (89, false), (90, true), (119, false)];
        assert_eq!(wish(&flapping, 128), Some(Wish::Withdrawn));
    }

    #[test]
    fn hearing_the_same_again_does_not_begin_anew() {
        assert_eq!(wish(&[(40, false), (45, false)], 50), Some(Wish::Withdrawn));
        assert_eq!(wish(&[(40, false), (60, true), (70, true)], 90), Some(Wish::Present));
    }

    #[test]
    fn what_is_wished_already_is_not_due() {
        let start = Instant::now();
        let mut steady = Steady::new(WITHDRAW_AFTER, RESTORE_AFTER, start);
        assert_eq!(steady.due(), Some(start + RESTORE_AFTER));
        assert!(steady.settle(start + RESTORE_AFTER));
        assert_eq!(steady.due(), None);
        assert!(!steady.settle(start + RESTORE_AFTER * 9));
    }
}
