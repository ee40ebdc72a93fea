//! Incident tracking, and alerts by webhook and mail.
//!
//! A task receives the events of the other modules and groups them into incidents
//! ([`incident_tracker`]). It sends notifications through channels, each with its own queue and
//! task. A fetch never waits for this module: if a queue is full, the notification is dropped and
//! the incident stays listed. The main type is [`Notifier`].

mod alert_limit;
mod channel;
mod config;
mod delivery;
mod incident;
mod incident_tracker;
mod mail;
mod recovery_rule;
mod tracked_incident;
mod webhook;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use incident::{Incident, IncidentState, Severity};

use crate::dial::Dialer;
use crate::model::{ConfigError, Event};
use channel::ChannelQueue;
use incident::Notification;
use incident_tracker::IncidentTracker;

/// Interval of the check for delayed alerts and expired incidents.
const TICK: Duration = Duration::from_secs(10);

/// Time that channels have at shutdown to deliver queued notifications.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// Numbers of open incidents, by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenIncidents {
    pub alerts: usize,
    pub notices: usize,
}

/// Handle to the incidents of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Incidents {
    tracker: Arc<Mutex<IncidentTracker>>,
}

impl Incidents {
    /// Returns all incidents, open or closed, latest event first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Incident> {
        self.tracker().newest_first()
    }

    /// Returns the numbers of open incidents.
    #[must_use]
    pub fn count_open(&self) -> OpenIncidents {
        let mut counts = OpenIncidents::default();
        for incident in self.newest_first() {
            match (incident.state, incident.severity) {
                (IncidentState::Open, Severity::Alert) => counts.alerts += 1,
                (IncidentState::Open, Severity::Notice) => counts.notices += 1,
                (IncidentState::Recovered | IncidentState::Expired, _) => {}
            }
        }
        counts
    }

    fn tracker(&self) -> MutexGuard<'_, IncidentTracker> {
        // After a panic, an incident may miss one count at worst.
        self.tracker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tasks that track incidents and send notifications.
pub struct Notifier {
    incidents: Incidents,
    stop: CancellationToken,
    /// Task that receives events.
    listener: JoinHandle<()>,
    /// Delivery task of each channel.
    channels: Vec<JoinHandle<()>>,
}

impl Notifier {
    /// Starts the tasks, which handle `events`. Notifications contain the name `instance`. `dialer`
    /// looks up the names of the servers.
    ///
    /// # Errors
    /// [`ConfigError`] for the first invalid value.
    pub fn start(
        config: &Config,
        instance: &str,
        events: Receiver<Arc<Event>>,
        dialer: &Dialer,
    ) -> Result<Self, ConfigError> {
        let (queues, channels) = config
            .channels(instance, dialer)?
            .into_iter()
            .map(ChannelQueue::open)
            .unzip();
        let incidents = Incidents::default();
        let stop = CancellationToken::new();
        let listener = Listener {
            incidents: incidents.clone(),
            queues,
        };
        let listener = tokio::spawn(listener.listen(events, stop.clone()));
        Ok(Self {
            incidents,
            stop,
            listener,
            channels,
        })
    }

    /// Returns a handle to the incidents.
    #[must_use]
    pub fn incidents(&self) -> Incidents {
        self.incidents.clone()
    }

    /// Handles the remaining events, and waits up to [`STOP_GRACE`] for the channels to deliver.
    pub async fn stop(self) {
        self.stop.cancel();
        let Self {
            listener,
            mut channels,
            ..
        } = self;
        let delivered = timeout(STOP_GRACE, async {
            // A failed task has nothing left to deliver.
            drop(listener.await);
            for channel in &mut channels {
                drop(channel.await);
            }
        });
        if delivered.await.is_err() {
            channels.iter().for_each(JoinHandle::abort);
            tracing::warn!("shutdown: some notifications were not delivered");
        }
    }
}

/// Receiver of events, which queues notifications for the channels.
struct Listener {
    incidents: Incidents,
    queues: Vec<ChannelQueue>,
}

impl Listener {
    async fn listen(self, mut events: Receiver<Arc<Event>>, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => self.record(&event),
                    Err(RecvError::Lagged(lost)) => log_lost_events(lost),
                    Err(RecvError::Closed) => return,
                },
                _ = ticks.tick() => {
                    let due = self.incidents.tracker().tick(SystemTime::now());
                    self.send(due);
                }
                () = stop.cancelled() => return self.drain(events),
            }
        }
    }

    /// Handles the events that are already queued.
    fn drain(&self, mut events: Receiver<Arc<Event>>) {
        loop {
            match events.try_recv() {
                Ok(event) => self.record(&event),
                Err(TryRecvError::Lagged(lost)) => log_lost_events(lost),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn record(&self, event: &Event) {
        let notifications = self.incidents.tracker().record(event, SystemTime::now());
        self.send(notifications);
    }

    fn send(&self, notifications: Vec<Notification>) {
        for notification in notifications {
            let Notification {
                kind: event,
                incident,
            } = &notification;
            let summary = incident.summary();
            tracing::warn!(
                id = incident.id,
                event = event.as_str(),
                count = incident.count,
                summary,
                "incident"
            );
            let notification = Arc::new(notification);
            for queue in &self.queues {
                queue.put(Arc::clone(&notification));
            }
        }
    }
}

fn log_lost_events(lost: u64) {
    tracing::warn!(
        lost,
        "event queue overflowed, lost events are missing from incidents"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cause, EventSink, Target};

    #[tokio::test]
    async fn lost_events_do_not_stop_listener() {
        let events = EventSink::new();
        let receiver = events.subscribe();
        let target = Target::parse("https://a.example/x.tar.gz").unwrap();
        for _ in 0..3000 {
            let (target, detail) = (target.clone(), String::new());
            events.emit(Event::FetchFailed {
                target,
                cause: Cause::Unreachable,
                detail,
                client: None,
            });
        }
        let incidents = Incidents::default();
        let listener = Listener {
            incidents: incidents.clone(),
            queues: Vec::new(),
        };
        drop(events);
        listener.listen(receiver, CancellationToken::new()).await;
        let recorded = incidents.newest_first()[0].count;
        assert!((1..3000).contains(&recorded), "{recorded} of 3000");
    }
}
