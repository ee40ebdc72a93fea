//! Posts: the ways in which notes leave, each with a queue and a task, so that a dead one delays nobody.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::incident::Note;
use super::mail::Mail;
use super::webhook::Webhook;

/// Notes that wait for one post. What comes when it is full is lost to this post, and stays listed.
const QUEUE_LENGTH: usize = 64;

/// How often the delivery of one note is tried.
const ATTEMPTS: u32 = 4;

/// The wait before the second attempt. It doubles with each one.
const BACKOFF: Duration = Duration::from_secs(1);

/// How long one attempt may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);

pub enum Post {
    Webhook(Webhook),
    Mail(Mail),
}

/// Why a note was not taken.
#[derive(Debug)]
pub enum Undelivered {
    /// It may be taken later.
    Passing(String),
    /// It will not be taken.
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
        timeout(TIMEOUT, sent).await.unwrap_or_else(|_| Err(Undelivered::Passing("no answer in time".to_owned())))
    }

    /// Tries until the note is taken, or trying is of no use.
    async fn deliver(&self, note: &Note) {
        let (by, id, occasion) = (self.name(), &note.incident.id, note.occasion.as_str());
        let mut wait = BACKOFF;
        for attempt in 1.. {
            match self.send(note).await {
                Ok(()) => {
                    tracing::info!(by, id, occasion, attempt, "told");
                    return;
                }
                Err(Undelivered::Passing(why)) if attempt < ATTEMPTS => {
                    tracing::debug!(by, id, occasion, attempt, why, "could not be told yet");
                    sleep(wait).await;
                    wait *= 2;
                }
                Err(Undelivered::Passing(why) | Undelivered::Final(why)) => {
                    tracing::warn!(by, id, occasion, attempt, why, "could not be told");
                    return;
                }
            }
        }
    }
}

/// The near end of a post.
pub struct Outbox {
    name: &'static str,
    queue: Sender<Arc<Note>>,
}

impl Outbox {
    /// Starts the task that empties it. It ends when the outbox is dropped and empty.
    pub fn open(post: Post) -> (Self, JoinHandle<()>) {
        let (queue, notes) = mpsc::channel(QUEUE_LENGTH);
        (Self { name: post.name(), queue }, tokio::spawn(empty(post, notes)))
    }

    /// Never waits.
    pub fn put(&self, note: Arc<Note>) {
        if let Err(error) = self.queue.try_send(note) {
            let by = self.name;
            tracing::warn!(by, %error, "could not be told: too much waits already");
        }
    }
}

async fn empty(post: Post, mut notes: Receiver<Arc<Note>>) {
    while let Some(note) = notes.recv().await {
        post.deliver(&note).await;
    }
}
