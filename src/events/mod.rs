//! The recent events of this process, for operators that follow them.
//!
//! A task copies events into a ring. Followers read the ring at their own pace, so that a slow one
//! slows no request and holds no memory. This module knows no HTTP. Its main type is [`EventLog`].

mod entry;
mod follower;
mod ring;

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use entry::{EventEntry, EventId};
pub use follower::{Follower, NextEvent};

use crate::model::{Event, EventSink, lock};
use ring::Ring;

/// Followers at the same time.
const MAX_FOLLOWERS: usize = 64;

/// Handle to the recent events. Cheap to clone.
#[derive(Clone)]
pub struct EventLog {
    shared: Arc<Shared>,
}

/// State that the task and all followers share.
struct Shared {
    ring: Mutex<Ring>,
    /// Number of the next event. Followers wait for its changes.
    next: watch::Sender<u64>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

/// The task that copies events into the ring.
pub struct EventRecorder {
    log: EventLog,
    task: JoinHandle<()>,
}

impl EventRecorder {
    /// Subscribes to `events` and starts the task.
    #[must_use]
    pub fn start(events: &EventSink) -> Self {
        let shared = Shared {
            ring: Mutex::new(Ring::new(rand::random())),
            next: watch::Sender::new(0),
            permits: Arc::new(Semaphore::new(MAX_FOLLOWERS)),
            stop: CancellationToken::new(),
        };
        let log = EventLog {
            shared: Arc::new(shared),
        };
        let task = tokio::spawn(log.clone().record(events.subscribe()));
        Self { log, task }
    }

    /// Returns a handle to the recent events.
    #[must_use]
    pub fn log(&self) -> EventLog {
        self.log.clone()
    }

    /// Ends all followers and the task.
    pub async fn stop(self) {
        self.log.shared.stop.cancel();
        // A failed task has nothing left to do.
        drop(self.task.await);
    }
}

impl EventLog {
    async fn record(self, mut events: Receiver<Arc<Event>>) {
        let stop = self.shared.stop.clone();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            let now = SystemTime::now();
            let next = {
                let mut ring = lock(&self.shared.ring);
                match event {
                    Ok(event) => ring.push(&event, now),
                    Err(RecvError::Lagged(count)) => ring.skip(count),
                    Err(RecvError::Closed) => return,
                }
                ring.next()
            };
            self.shared.next.send_replace(next);
        }
    }

    /// Follows the events behind `last`, or all that are in the ring. Returns `None` if there are
    /// too many followers.
    #[must_use]
    pub fn follow(&self, last: Option<EventId>) -> Option<Follower> {
        let permit = Arc::clone(&self.shared.permits).try_acquire_owned().ok()?;
        let next = lock(&self.shared.ring).position_behind(last);
        Some(Follower::new(Arc::clone(&self.shared), next, permit))
    }
}
