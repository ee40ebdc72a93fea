//! Reading of events by one client. The main type is [`Follower`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch;
use tokio::time::timeout;

use super::Shared;
use super::entry::EventEntry;
use crate::model::lock;

/// Silence after which a follower learns that there is nothing new, so that the loss of a client
/// is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Answer to a follower.
#[derive(Debug)]
pub enum NextEvent {
    Event(Arc<EventEntry>),
    /// Number of events that were dropped before this follower read them.
    Lost(u64),
    /// There is nothing new.
    Nothing,
    /// The process is stopping.
    End,
}

/// Reads events in order. Dropping it gives its place to another client.
pub struct Follower {
    shared: Arc<Shared>,
    news: watch::Receiver<u64>,
    next: u64,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    pub(super) fn new(shared: Arc<Shared>, next: u64, permit: OwnedSemaphorePermit) -> Self {
        let news = shared.next.subscribe();
        Self {
            shared,
            news,
            next,
            _permit: permit,
        }
    }

    /// Returns the next event if it is in the ring already.
    pub fn try_next(&mut self) -> Option<NextEvent> {
        match lock(&self.shared.ring).get(self.next) {
            Ok(Some(entry)) => {
                self.next += 1;
                Some(NextEvent::Event(entry))
            }
            Ok(None) => None,
            Err(first) => {
                let lost = first - self.next;
                self.next = first;
                Some(NextEvent::Lost(lost))
            }
        }
    }

    /// Waits for the next event, for a bounded time.
    pub async fn next(&mut self) -> NextEvent {
        loop {
            self.news.mark_unchanged();
            if let Some(next) = self.try_next() {
                return next;
            }
            let stop = self.shared.stop.clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => return NextEvent::End,
                changed = timeout(HEARTBEAT, self.news.changed()) => match changed {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return NextEvent::End,
                    Err(_) => return NextEvent::Nothing,
                },
            }
        }
    }
}
