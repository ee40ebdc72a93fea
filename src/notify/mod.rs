//! Telling an operator: what went wrong, once an incident, by webhook and by mail.
//!
//! It listens to the events of the other rooms, groups them into incidents ([`book`]), and hands what is to be told to the
//! posts, each of which has a queue and a task of its own. Nothing here is waited for by a fetch: what does not fit into
//! a queue is dropped, and still listed. Its main type is [`Notifier`].

mod book;
mod config;
mod incident;
mod mail;
mod post;
mod webhook;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use incident::Incident;

use crate::model::{Event, EventSink};
use book::Book;
use incident::Note;
use post::Outbox;

/// How often it is looked for what has become due with time.
const TICK: Duration = Duration::from_secs(10);

/// How long the posts may take at the end of the process for what they still have to deliver.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The incidents of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Incidents {
    book: Arc<Mutex<Book>>,
}

impl Incidents {
    /// All that are open or remembered, the one that was seen last first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Incident> {
        self.book().newest_first()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // At worst an incident is counted once too little.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tasks that listen and tell.
pub struct Notifier {
    incidents: Incidents,
    stop: CancellationToken,
    listening: JoinHandle<()>,
    posting: Vec<JoinHandle<()>>,
}

impl Notifier {
    /// Listens to `events` from here on. `instance` is our name in what is told.
    ///
    /// # Errors
    /// A line that names the key that cannot be used.
    pub fn start(config: &Config, instance: &str, events: &EventSink) -> Result<Self, String> {
        let (outboxes, posting) = config.posts(instance)?.into_iter().map(Outbox::open).unzip();
        let incidents = Incidents::default();
        let stop = CancellationToken::new();
        let listener = Listener { incidents: incidents.clone(), outboxes };
        let listening = tokio::spawn(listener.listen(events.subscribe(), stop.clone()));
        Ok(Self { incidents, stop, listening, posting })
    }

    #[must_use]
    pub fn incidents(&self) -> Incidents {
        self.incidents.clone()
    }

    /// Hears what was said last, and lets the posts deliver for a moment.
    pub async fn stop(self) {
        self.stop.cancel();
        let Self { listening, mut posting, .. } = self;
        let delivered = timeout(STOP_GRACE, async {
            // A task that failed has nothing more to deliver.
            drop(listening.await);
            for post in &mut posting {
                drop(post.await);
            }
        });
        if delivered.await.is_err() {
            posting.iter().for_each(JoinHandle::abort);
            tracing::warn!("not all that was to be told could be delivered before the end");
        }
    }
}

/// Hears events, and puts what is to be told into the outboxes.
struct Listener {
    incidents: Incidents,
    outboxes: Vec<Outbox>,
}

impl Listener {
    async fn listen(self, mut events: Receiver<Arc<Event>>, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => self.hear(&event),
                    Err(RecvError::Lagged(lost)) => lagged(lost),
                    Err(RecvError::Closed) => return,
                },
                _ = ticks.tick() => {
                    let due = self.incidents.book().look_after(SystemTime::now());
                    self.tell(due);
                }
                () = stop.cancelled() => return self.hear_the_rest(events),
            }
        }
    }

    fn hear_the_rest(&self, mut events: Receiver<Arc<Event>>) {
        loop {
            match events.try_recv() {
                Ok(event) => self.hear(&event),
                Err(TryRecvError::Lagged(lost)) => lagged(lost),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn hear(&self, event: &Event) {
        let notes = self.incidents.book().hear(event, SystemTime::now());
        self.tell(notes);
    }

    fn tell(&self, notes: Vec<Note>) {
        for note in notes {
            let Note { occasion, incident } = &note;
            let summary = incident.summary();
            tracing::warn!(id = incident.id, occasion = occasion.as_str(), count = incident.count, summary, "incident");
            let note = Arc::new(note);
            for outbox in &self.outboxes {
                outbox.put(Arc::clone(&note));
            }
        }
    }
}

fn lagged(lost: u64) {
    tracing::warn!(lost, "more happened at once than could be heard; some of it is in no incident");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, Target};

    #[tokio::test]
    async fn what_was_lost_does_not_end_the_listening() {
        let events = EventSink::new();
        let receiver = events.subscribe();
        let target = Target::parse("https://a.example/x.tar.gz").unwrap();
        for _ in 0..3000 {
            let (target, detail) = (target.clone(), String::new());
            events.tell(Event::Trouble { target, cause: Cause::Silent, detail });
        }
        let incidents = Incidents::default();
        let listener = Listener { incidents: incidents.clone(), outboxes: Vec::new() };
        drop(events);
        listener.listen(receiver, CancellationToken::new()).await;
        let heard = incidents.newest_first()[0].count;
        assert!((1..3000).contains(&heard), "{heard} of 3000");
    }
}
