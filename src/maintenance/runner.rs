//! Starts tasks, and stops them together.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::periodic::PeriodicTask;

/// Tasks that run until they are stopped together.
#[derive(Default)]
pub struct TaskRunner {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl TaskRunner {
    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(task).await });
    }

    /// Starts a periodic task.
    pub fn spawn_periodic<F, R, E>(&self, task: PeriodicTask<F>)
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        self.spawn(task.run());
    }

    /// Stops all tasks at their next await point, and waits until they have stopped.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
