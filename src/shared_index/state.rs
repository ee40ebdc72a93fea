//! Whether Redis answers now. The main type is [`RedisState`].

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::connection::RedisConnection;
use super::error::SharedIndexError;

/// Connection while Redis answers, or the reason why it does not.
#[derive(Clone)]
enum Reachability {
    /// Not asked yet.
    Unknown,
    Answering(Arc<RedisConnection>),
    Away(SharedIndexError),
}

/// Circuit of the Redis server. After the first failure, no request is sent until the task in the
/// background has had an answer.
pub struct RedisState(watch::Sender<Reachability>);

impl RedisState {
    pub fn new() -> Self {
        Self(watch::Sender::new(Reachability::Unknown))
    }

    /// Returns the connection if Redis answers.
    pub fn connection(&self) -> Option<Arc<RedisConnection>> {
        match &*self.0.borrow() {
            Reachability::Answering(connection) => Some(Arc::clone(connection)),
            _ => None,
        }
    }

    /// Returns why Redis cannot be used.
    pub fn failure(&self) -> Option<SharedIndexError> {
        match &*self.0.borrow() {
            Reachability::Away(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Waits until a connection is not the current one.
    pub async fn wait_lost(&self, connection: &Arc<RedisConnection>) {
        let mut state = self.0.subscribe();
        // The sender is a field of `self`, so the channel cannot close during the call.
        let _ = state.wait_for(|state| !state.has(connection)).await;
    }

    /// Records that Redis answers on a connection.
    pub fn set_answering(&self, connection: Arc<RedisConnection>) {
        let former = self.0.send_replace(Reachability::Answering(connection));
        if !matches!(former, Reachability::Answering(_)) {
            tracing::info!("redis answers, using the shared index");
        }
    }

    /// Records the failure of a connection, or of the attempt to open one. The failure of a former
    /// connection changes nothing.
    pub fn set_away(&self, failed: Option<&Arc<RedisConnection>>, error: SharedIndexError) {
        let is_current = |state: &Reachability| match failed {
            Some(connection) => state.has(connection),
            None => !matches!(state, Reachability::Answering(_)),
        };
        self.0.send_if_modified(|state| {
            if !is_current(state) {
                return false;
            }
            // A later attempt is logged only if it shows a mistake of the configuration.
            let is_logged = match state {
                Reachability::Away(former) => is_other_mistake(former, &error),
                _ => true,
            };
            if is_logged {
                tracing::warn!(%error, "redis cannot be used, serving without the shared index");
            }
            *state = Reachability::Away(error);
            true
        });
    }
}

/// Whether a failure shows a mistake of the configuration that the former one did not show.
fn is_other_mistake(former: &SharedIndexError, error: &SharedIndexError) -> bool {
    let is_mistake = matches!(
        error,
        SharedIndexError::Login | SharedIndexError::Refused(_)
    );
    is_mistake && former != error
}

impl Reachability {
    fn has(&self, connection: &Arc<RedisConnection>) -> bool {
        matches!(self, Self::Answering(own) if Arc::ptr_eq(own, connection))
    }
}

impl fmt::Debug for RedisState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisState({:?})", self.failure())
    }
}
