//! One periodic task: what it is called, how often it runs, and what it does.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// A task that runs at once and then at each interval. A run that takes longer delays the next.
pub struct PeriodicTask<F> {
    /// Name for the log.
    pub name: &'static str,
    pub interval: Duration,
    pub run: F,
}

impl<F, R, E> PeriodicTask<F>
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    /// Runs until it is dropped. A failed run is logged, and tried again at the next interval.
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
