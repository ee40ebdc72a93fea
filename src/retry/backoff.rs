//! Delays between attempts. The main type is [`Backoff`].

use std::time::Duration;

/// Exponential backoff: each delay is twice the previous one, up to a maximum.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// If `first` is greater than `max`, every delay is `max`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        let first = first.min(max);
        Self {
            first,
            max,
            next: first,
        }
    }

    /// Returns the delay before the next attempt, and doubles the one after that.
    #[must_use]
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = delay.saturating_mul(2).min(self.max);
        delay
    }

    /// Starts again with the first delay.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_maximum() {
        let mut backoff = Backoff::new(SECOND, SECOND * 5);
        for seconds in [1, 2, 4, 5, 5] {
            assert_eq!(backoff.next_delay(), SECOND * seconds);
        }
        backoff.reset();
        assert_eq!(backoff.next_delay(), SECOND);
    }

    #[test]
    fn first_delay_is_at_most_the_maximum() {
        let mut backoff = Backoff::new(SECOND * 9, SECOND * 5);
        assert_eq!(backoff.next_delay(), SECOND * 5);
        backoff.reset();
        assert_eq!(backoff.next_delay(), SECOND * 5);
    }
}
