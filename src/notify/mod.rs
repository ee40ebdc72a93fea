//! Telling an operator: what went wrong, once an incident.
//!
//! It listens to the events of the other rooms and groups them into incidents ([`book`]). Nothing here is waited for by a
//! fetch. Its main type is [`Notifier`].

mod book;
mod incident;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use incident::Incident;

use crate::model::{Event, EventSink};
use book::Book;
use incident::Note;

/// How often it is looked for what has become due with time.
const TICK: Duration = Duration::from_secs(10);

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
}

impl Notifier {
    /// Listens to `events` from here on.
    #[must_use]
    pub fn start(events: &EventSink) -> Self {
        let incidents = Incidents::default();
        let stop = CancellationToken::new();
        let listener = Listener { incidents: incidents.clone() };
        let listening = tokio::spawn(listener.listen(events.subscribe(), stop.clone()));
        Self { incidents, stop, listening }
    }

    #[must_use]
    pub fn incidents(&self) -> Incidents {
        self.incidents.clone()
    }

    /// Hears what was said last.
    pub async fn stop(self) {
        self.stop.cancel();
        // A task that failed has nothing more to say.
        drop(self.listening.await);
    }
}

/// Hears events, and tells the log.
struct Listener {
    incidents: Incidents,
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
                    Self::tell(due);
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
        Self::tell(notes);
    }

    fn tell(notes: Vec<Note>) {
        for note in notes {
            let Note { occasion, incident } = &note;
            let summary = incident.summary();
            tracing::warn!(id = incident.id, occasion = occasion.as_str(), count = incident.count, summary, "incident");
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
        let listener = Listener { incidents: incidents.clone() };
        drop(events);
        listener.listen(receiver, CancellationToken::new()).await;
        let heard = incidents.newest_first()[0].count;
        assert!((1..3000).contains(&heard), "{heard} of 3000");
    }
}
