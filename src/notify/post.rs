//! Notification channels (webhook, mail).
//!
//! Each has its own queue and task, so a failing channel does not block the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::incident::Note;
use super::mail::Mail;
use super::webhook::Webhook;

/// Queue length of one channel. If the queue is full, notifications are dropped for this channel.
/// Their incidents stay listed.
const QUEUE_LENGTH: usize = 64;

/// Maximum number of delivery attempts for one notification.
const ATTEMPTS: u32 = 4;

/// Wait before the second attempt. It doubles with each attempt.
const BACKOFF: Duration = Duration::from_secs(1);

/// Timeout of one attempt.
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub enum Post {
    Webhook(Webhook),
    Mail(Mail),
}

/// Error returned when a notification was not delivered.
#[derive(Debug)]
pub enum Undelivered {
    /// Transient: a retry may succeed.
    Passing(String),
    /// Permanent: retries are useless.
    Final(String),
}

impl Post {
    fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "mail",
        }
    }

    async fn send(&self, note: &Note) -> Result<(), Undelivered> {
        let sent = async {
            match self {
                Self::Webhook(webhook) => webhook.send(note).await,
                Self::Mail(mail) => mail.send(note).await,
            }
        };
        timeout(TIMEOUT, sent).await.unwrap_or_else(|_| Err(Undelivered::Passing("request timed out".to_owned())))
    }

    /// Delivers a notification, and retries transient errors.
    async fn deliver(&self, note: &Note) {
        let (by, id, occasion) = (self.name(), &note.incident.id, note.occasion.as_str());
        let mut wait = BACKOFF;
        for attempt in 1.. {
            match self.send(note).await {
                Ok(()) => {
                    tracing::info!(by, id, occasion, attempt, "notification delivered");
                    return;
                }
                Err(Undelivered::Passing(why)) if attempt < ATTEMPTS => {
                    tracing::debug!(by, id, occasion, attempt, why, "notification failed, will retry");
                    sleep(wait).await;
                    wait *= 2;
                }
                Err(Undelivered::Passing(why) | Undelivered::Final(why)) => {
                    tracing::warn!(by, id, occasion, attempt, why, "notification failed, giving up");
                    return;
                }
            }
        }
    }
}

/// Sending side of a channel's queue.
pub struct Outbox {
    name: &'static str,
    queue: Sender<Arc<Note>>,
}

impl Outbox {
    /// Starts the delivery task. The task ends when the outbox is dropped and the queue is empty.
    pub fn open(post: Post) -> (Self, JoinHandle<()>) {
        let (queue, notes) = mpsc::channel(QUEUE_LENGTH);
        (Self { name: post.name(), queue }, tokio::spawn(empty(post, notes)))
    }

    /// Queues a notification without blocking. If the queue is full, the notification is dropped.
    pub fn put(&self, note: Arc<Note>) {
        if let Err(error) = self.queue.try_send(note) {
            let by = self.name;
            tracing::warn!(by, %error, "notification dropped, queue full");
        }
    }
}

async fn empty(post: Post, mut notes: Receiver<Arc<Note>>) {
    while let Some(note) = notes.recv().await {
        post.deliver(&note).await;
    }
}
