//! The link to a peer: a connection on which the peer answers pings. It shows within a moment
//! whether the process of the peer runs, however busy that process is.
//!
//! The main type is [`Link`]. The pings are in [`super::link_thread`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// Time without an answer after which a peer counts as silent.
pub const MAX_SILENCE: Duration = Duration::from_millis(300);

/// State of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The peer has no link, for example behind nginx. Polls and requests decide alone.
    Absent,
    /// The peer has answered the last ping, or its time for that is not over.
    Answering,
    /// The peer has not answered a ping for [`MAX_SILENCE`].
    Silent,
    /// The link is closed. The next poll decides.
    Lost,
}

/// Link to one peer.
#[derive(Debug)]
pub struct Link {
    state: watch::Sender<LinkState>,
    /// Number of requests that wait for a sign of the peer.
    waiting: watch::Sender<usize>,
    /// Wakes the poller.
    poller: Arc<Notify>,
}

impl Link {
    pub fn new(poller: Arc<Notify>) -> Self {
        Self {
            state: watch::Sender::new(LinkState::Absent),
            waiting: watch::Sender::new(0),
            poller,
        }
    }

    /// Whether the link is open.
    pub fn is_open(&self) -> bool {
        matches!(
            *self.state.borrow(),
            LinkState::Answering | LinkState::Silent
        )
    }

    /// Whether the peer answers pings.
    pub fn is_answering(&self) -> bool {
        *self.state.borrow() == LinkState::Answering
    }

    /// Whether requests may be sent to the peer, by what the link shows.
    pub fn is_usable(&self) -> bool {
        matches!(
            *self.state.borrow(),
            LinkState::Absent | LinkState::Answering
        )
    }

    /// Records a new state. If the link is lost, the peer is polled soon.
    pub fn set(&self, state: LinkState) {
        let set = |own: &mut LinkState| std::mem::replace(own, state) != state;
        if self.state.send_if_modified(set) && state == LinkState::Lost {
            self.poller.notify_one();
        }
    }

    /// Waits until a request waits for a sign of the peer.
    pub async fn wait_needed(&self) {
        let mut waiting = self.waiting.subscribe();
        let _ = waiting.wait_for(|count| *count > 0).await;
    }

    /// Waits until a ping has got no answer in time. Waits for ever without a link.
    pub async fn wait_silent(&self) {
        let mut state = self.state.subscribe();
        // The sender is a field of `self`, so the channel cannot close during the call.
        let _ = state.wait_for(|state| *state == LinkState::Silent).await;
    }

    /// Waits until the peer has given no sign for [`MAX_SILENCE`]. Pings are sent meanwhile. If
    /// there is no link, only an answer to the request itself would be a sign.
    pub async fn wait_no_sign(&self) {
        let _waiting = WaitingRequest::of(self);
        let mut state = self.state.subscribe();
        let deadline = Instant::now() + MAX_SILENCE;
        loop {
            let found = *state.borrow_and_update();
            let changed = state.changed();
            match found {
                LinkState::Silent => return,
                LinkState::Answering => {
                    let _ = changed.await;
                }
                LinkState::Absent | LinkState::Lost => {
                    if timeout_at(deadline, changed).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Request that waits for a sign of a peer. While there is one, pings follow each other.
struct WaitingRequest<'a>(&'a Link);

impl<'a> WaitingRequest<'a> {
    fn of(link: &'a Link) -> Self {
        link.waiting.send_modify(|count| *count += 1);
        Self(link)
    }
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|count| *count -= 1);
    }
}
