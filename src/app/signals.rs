//! Signals: SIGTERM and SIGINT stop the service, SIGHUP reloads the configuration.
//!
//! The main type is [`Signals`].

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Action that a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalAction {
    Stop,
    Reload,
}

/// The signals that the service handles.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Registers the handlers.
    ///
    /// # Errors
    /// The system's error, if a handler cannot be registered.
    pub fn register() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.terminate.recv() => SignalAction::Stop,
            _ = self.interrupt.recv() => SignalAction::Stop,
            _ = self.hang_up.recv() => SignalAction::Reload,
        }
    }

    /// Waits for a signal to stop, and ignores all others.
    pub async fn next_stop(&mut self) {
        while let SignalAction::Reload = self.next().await {}
    }
}
