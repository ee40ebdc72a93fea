//! Search for request loops through egress proxies.
//!
//! A shared request names only this node in `Via`, so a loop over several nodes can stay unnoticed.
//! Each node then waits for the response that another node waits for. An `OPTIONS` request is never
//! shared. It follows the same route, names each node on its way, and returns to this node if there
//! is a loop. The main type is [`LoopWatch`].

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// How long a request waits for its response before a loop is searched. Most origins answer
/// earlier, and then get no second request.
const PROBE_DELAY: Duration = Duration::from_millis(250);

/// Knows whether this node can be part of a loop: another proxy has sent it a request.
#[derive(Debug)]
pub struct LoopWatch {
    has_senders: watch::Sender<bool>,
}

impl LoopWatch {
    pub fn new() -> Self {
        Self {
            has_senders: watch::Sender::new(false),
        }
    }

    /// Notes a request that another proxy has sent.
    pub fn note_relayed(&self) {
        self.has_senders.send_if_modified(|has_senders| {
            let is_first = !*has_senders;
            *has_senders = true;
            is_first
        });
    }

    /// Sends `probe` once a request has waited, and returns when it finds a loop. Otherwise waits
    /// for ever.
    pub async fn find_loop(&self, probe: impl Future<Output = bool>) {
        sleep(PROBE_DELAY).await;
        let mut has_senders = self.has_senders.subscribe();
        let noted = has_senders.wait_for(|has_senders| *has_senders);
        let can_loop = noted.await.is_ok();
        if !(can_loop && probe.await) {
            std::future::pending::<()>().await;
        }
    }
}
