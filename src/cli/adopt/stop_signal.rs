//! Signals that end an adoption: the first one after the files that are being stored, the second
//! one at once.
//!
//! The main type is [`StopSignal`].

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::adopt::StopFlag;
use crate::cli::exit::FailureCode;

/// The signals that end the command.
pub struct StopSignal {
    requested: watch::Receiver<bool>,
}

impl StopSignal {
    /// Registers SIGINT, SIGTERM and SIGHUP, and sets `stop` at the first one.
    ///
    /// # Errors
    /// The system's error if a handler cannot be registered.
    pub fn register(stop: Arc<StopFlag>) -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let (sender, requested) = watch::channel(false);
        tokio::spawn(async move {
            next(&mut interrupt, &mut terminate, &mut hang_up).await;
            stop.set();
            sender.send_replace(true);
            next(&mut interrupt, &mut terminate, &mut hang_up).await;
            // The next process of the folder removes what is staged.
            std::process::exit(FailureCode::Failed as i32);
        });
        Ok(Self { requested })
    }

    /// Returns once a signal has come.
    pub async fn requested(&self) {
        let mut requested = self.requested.clone();
        // The sender lives until the process ends.
        drop(requested.wait_for(|requested| *requested).await);
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal, hang_up: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
}
