//! A deadline that is set for each request and seldom passes.
//!
//! Registering and removing a timer takes a lock twice, so one timer stays registered for the whole
//! connection. If its deadline was cleared or moved, it wakes the task once for nothing. The main
//! type is [`Deadline`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that can be cleared and set again at little cost.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Option<Instant>,
    /// Registered for `at`, or for an earlier value of it.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Returns the deadline that passes after `limit`.
    pub fn after(limit: Duration) -> Self {
        Self {
            at: Some(Instant::now() + limit),
            timer: None,
        }
    }

    pub fn clear(&mut self) {
        self.at = None;
    }

    /// Sets the deadline to `limit` from now, unless it is set. Returns ready once it has passed.
    pub fn poll_within(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let at = *self.at.get_or_insert_with(|| Instant::now() + limit);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() < at {
            timer.as_mut().reset(at);
            return timer.as_mut().poll(cx);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_millis(60);

    async fn set(deadline: &mut Deadline, limit: Duration) {
        deadline.clear();
        let passed = poll_fn(|cx| Poll::Ready(deadline.poll_within(limit, cx).is_ready())).await;
        assert!(!passed, "the deadline has just been set");
    }

    #[tokio::test]
    async fn moved_deadline_does_not_pass_early() {
        let mut deadline = Deadline::default();
        set(&mut deadline, SHORT).await;
        let started = Instant::now();
        set(&mut deadline, LONG).await;
        poll_fn(|cx| deadline.poll_within(SHORT, cx)).await;
        assert!(started.elapsed() >= LONG);
    }

    #[tokio::test]
    async fn shortened_deadline_passes_in_time() {
        let mut deadline = Deadline::default();
        set(&mut deadline, Duration::from_hours(1)).await;
        set(&mut deadline, SHORT).await;
        poll_fn(|cx| deadline.poll_within(LONG, cx)).await;
    }

    #[tokio::test]
    async fn deadline_works_after_its_timer_fired() {
        let mut deadline = Deadline::after(Duration::ZERO);
        poll_fn(|cx| deadline.poll_within(LONG, cx)).await;
        let started = Instant::now();
        set(&mut deadline, SHORT).await;
        poll_fn(|cx| deadline.poll_within(LONG, cx)).await;
        assert!(started.elapsed() >= SHORT);
    }
}
