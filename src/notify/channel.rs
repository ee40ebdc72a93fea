//! Notification channels (webhook, mail).
//!
//! Each has its own queue and task, so a failing channel does not block the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::incident::Notification;
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

pub enum Channel {
    Webhook(Webhook),
    Mail(Mail),
}

/// Error returned when a notification was not delivered.
#[derive(Debug)]
pub enum DeliveryError {
    /// Transient: a retry may succeed.
    Transient(String),
    /// Permanent: retries are useless.
    Permanent(String),
}

impl Channel {
    fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "mail",
        }
    }

    async fn send(&self, notification: &Notification) -> Result<(), DeliveryError> {
        let sent = async {
            match self {
                Self::Webhook(webhook) => webhook.send(notification).await,
                Self::Mail(mail) => mail.send(notification).await,
            }
        };
        timeout(TIMEOUT, sent)
            .await
            .unwrap_or_else(|_| Err(DeliveryError::Transient("request timed out".to_owned())))
    }

    /// Delivers a notification, and retries transient errors.
    async fn deliver(&self, notification: &Notification) {
        let (by, id, event) = (
            self.name(),
            &notification.incident.id,
            notification.kind.as_str(),
        );
        let mut wait = BACKOFF;
        for attempt in 1.. {
            match self.send(notification).await {
                Ok(()) => {
                    tracing::info!(by, id, event, attempt, "notification delivered");
                    return;
                }
                Err(DeliveryError::Transient(why)) if attempt < ATTEMPTS => {
                    tracing::debug!(
                        by,
                        id,
                        event,
                        attempt,
                        why,
                        "notification failed, will retry"
                    );
                    sleep(wait).await;
                    wait *= 2;
                }
                Err(DeliveryError::Transient(why) | DeliveryError::Permanent(why)) => {
                    tracing::warn!(
                        by,
                        id,
                        event,
                        attempt,
                        why,
                        "notification failed, giving up"
                    );
                    return;
                }
            }
        }
    }
}

/// Sending side of a channel's queue.
pub struct ChannelQueue {
    name: &'static str,
    queue: Sender<Arc<Notification>>,
}

impl ChannelQueue {
    /// Starts the delivery task. The task ends when the outbox is dropped and the queue is empty.
    pub fn open(channel: Channel) -> (Self, JoinHandle<()>) {
        let (queue, notifications) = mpsc::channel(QUEUE_LENGTH);
        (
            Self {
                name: channel.name(),
                queue,
            },
            tokio::spawn(run_channel(channel, notifications)),
        )
    }

    /// Queues a notification without blocking. If the queue is full, the notification is dropped.
    pub fn put(&self, notification: Arc<Notification>) {
        if let Err(error) = self.queue.try_send(notification) {
            let by = self.name;
            tracing::warn!(by, %error, "notification dropped, queue full");
        }
    }
}

async fn run_channel(channel: Channel, mut notifications: Receiver<Arc<Notification>>) {
    while let Some(notification) = notifications.recv().await {
        channel.deliver(&notification).await;
    }
}
