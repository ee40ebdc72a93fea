//! Whether the bucket is asked at all. One that fails is left alone for a while: nobody waits for
//! it then.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::BucketError;

/// The rest after the first failure. It doubles up to the longest.
const FIRST_COOLDOWN: Duration = Duration::from_secs(1);
const MAX_COOLDOWN: Duration = Duration::from_secs(30);

/// How one kind of request to the bucket has fared: what is read and what is written fail apart
/// from each other.
#[derive(Default)]
pub struct CircuitBreaker {
    trouble: Mutex<Option<Open>>,
}

struct Open {
    why: String,
    rest: Duration,
    /// When this rest began.
    since: Instant,
    until: Instant,
}

/// What an outcome has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Transition {
    Opened(String),
    Closed,
}

impl CircuitBreaker {
    /// Leave to ask. In trouble one request has it after each rest.
    ///
    /// # Errors
    /// [`BucketError::CircuitOpen`].
    pub fn try_acquire(&self, now: Instant) -> Result<(), BucketError> {
        let mut trouble = self.trouble();
        let Some(trouble) = trouble.as_mut() else {
            return Ok(());
        };
        if now < trouble.until {
            return Err(BucketError::CircuitOpen);
        }
        trouble.until = now + trouble.rest;
        Ok(())
    }

    /// Takes note of what a request came to.
    pub fn record<T>(&self, outcome: &Result<T, BucketError>, now: Instant) -> Option<Transition> {
        let mut trouble = self.trouble();
        match outcome {
            Err(error) if error.is_bucket_wide() => {
                let why = error.to_string();
                let is_news = trouble.is_none();
                let rest = match trouble.as_ref() {
                    None => FIRST_COOLDOWN,
                    // Requests that were on their way fail with the first: that is one failure.
                    Some(trouble) if now < trouble.since + trouble.rest => trouble.rest,
                    Some(trouble) => (trouble.rest * 2).min(MAX_COOLDOWN),
                };
                *trouble = Some(Open {
                    why: why.clone(),
                    rest,
                    since: now,
                    until: now + rest,
                });
                is_news.then_some(Transition::Opened(why))
            }
            // Not asked, or it never came to asking.
            Err(BucketError::CircuitOpen | BucketError::LocalReadFailed(_)) => None,
            Ok(_) | Err(_) => trouble.take().map(|_| Transition::Closed),
        }
    }

    /// What is wrong, if anything is.
    pub fn last_error(&self) -> Option<String> {
        self.trouble().as_ref().map(|trouble| trouble.why.clone())
    }

    /// How long it is left alone from now on.
    pub fn cooldown_remaining(&self, now: Instant) -> Duration {
        self.trouble().as_ref().map_or(Duration::ZERO, |trouble| {
            trouble.until.saturating_duration_since(now)
        })
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Open>> {
        // Each change is one assignment.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Result<(), BucketError> {
        Err(BucketError::Unavailable("503".to_owned()))
    }

    #[test]
    fn a_bucket_that_fails_is_asked_by_one_request_after_each_rest() {
        let health = CircuitBreaker::default();
        let now = Instant::now();
        assert!(matches!(
            health.record(&down(), now),
            Some(Transition::Opened(_))
        ));
        assert!(health.try_acquire(now).is_err());
        let later = now + FIRST_COOLDOWN;
        assert!(health.try_acquire(later).is_ok());
        assert!(health.try_acquire(later).is_err(), "one asks for all");
        assert_eq!(health.record(&down(), later), None, "it is told once");
        assert!(
            health.try_acquire(later + FIRST_COOLDOWN).is_err(),
            "the rest grows"
        );
        assert_eq!(health.record(&Ok(()), later), Some(Transition::Closed));
        assert!(health.try_acquire(later).is_ok());
    }

    #[test]
    fn what_is_not_there_says_nothing_against_the_bucket() {
        let health = CircuitBreaker::default();
        assert_eq!(
            health.record::<()>(&Err(BucketError::NotFound), Instant::now()),
            None
        );
        assert!(health.try_acquire(Instant::now()).is_ok());
    }
}
