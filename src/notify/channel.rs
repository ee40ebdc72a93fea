//! Notification channels (webhook, mail).
//!
//! Each has its own queue and task, so a failing channel does not block the other.

use std::sync::Arc;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use super::delivery::{DeliveryError, deliver_with_retries};
use super::incident::Notification;
use super::mail::Mail;
use super::webhook::Webhook;

/// Queue length of one channel. If the queue is full, notifications are dropped for this channel.
/// Their incidents stay listed.
const QUEUE_LENGTH: usize = 64;

pub enum Channel {
    Webhook(Webhook),
    Mail(Mail),
}

impl Channel {
    fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "mail",
        }
    }

    async fn send(&self, notification: &Notification) -> Result<(), DeliveryError> {
        match self {
            Self::Webhook(webhook) => webhook.send(notification).await,
            Self::Mail(mail) => mail.send(notification).await,
        }
    }
}

/// Sending side of a channel's queue.
pub struct ChannelQueue {
    name: &'static str,
    queue: Sender<Arc<Notification>>,
}

impl ChannelQueue {
    /// Starts the delivery task. The task ends when this value is dropped and the queue is empty.
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
        deliver_with_retries(channel.name(), &notification, || {
            channel.send(&notification)
        })
        .await;
    }
}
