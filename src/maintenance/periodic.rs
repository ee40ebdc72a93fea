//! Tasks that run at an interval.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// A task that runs at once and then at each interval. If a run takes longer than the interval, the
/// next run is delayed.
pub struct PeriodicTask<F> {
    /// Name for the log.
    pub name: &'static str,
    pub interval: Duration,
    /// One run.
    pub run: F,
}

impl<F, R, E> PeriodicTask<F>
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    /// Runs the task until the future is dropped. A failed run is logged, and the task continues at
    /// the next interval.
    pub async fn run(mut self) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = (self.run)().await {
                tracing::warn!(task = self.name, %error, "periodic task failed, will retry");
            }
        }
    }
}
