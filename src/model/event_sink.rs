//! Channel through which the modules report events. The main type is [`EventSink`].

use std::sync::Arc;

use tokio::sync::broadcast;

use super::event::Event;
use super::event_counts::EventCounts;

/// Number of events that a slow subscriber may lag behind. Beyond it, the oldest are lost.
const EVENT_QUEUE_LENGTH: usize = 1024;

/// Broadcast channel for events. Sending never blocks and never fails.
///
/// Without a subscriber, an event is only counted.
#[derive(Debug, Clone)]
pub struct EventSink {
    queue: broadcast::Sender<Arc<Event>>,
    counts: Arc<EventCounts>,
}

impl EventSink {
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: broadcast::Sender::new(EVENT_QUEUE_LENGTH),
            counts: Arc::default(),
        }
    }

    /// Counts an event, and sends it to all subscribers.
    pub fn emit(&self, event: Event) {
        self.counts.record(&event);
        // An error means that there is no subscriber.
        drop(self.queue.send(Arc::new(event)));
    }

    /// Returns the counts of all events up to now.
    #[must_use]
    pub fn counts(&self) -> &Arc<EventCounts> {
        &self.counts
    }

    /// Returns a receiver of all later events.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.queue.subscribe()
    }
}

impl Default for EventSink {
    fn default() -> Self {
        Self::new()
    }
}
