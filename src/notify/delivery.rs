//! Delivery of one notification: timeout and retries.
//!
//! This module must not know the channels. Its main function is [`deliver_with_retries`].

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::incident::Notification;
use crate::retry::Backoff;

/// Maximum number of delivery attempts for one notification.
const MAX_ATTEMPTS: u32 = 4;

/// Wait before the second attempt. It doubles with each attempt.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(4);

/// Timeout of one attempt.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Error returned when a notification was not delivered. It contains the reason.
#[derive(Debug)]
pub enum DeliveryError {
    /// A retry may succeed.
    Transient(String),
    /// Retries are useless.
    Permanent(String),
}

/// Delivers a notification through a channel. Each call of `send` is one attempt.
pub async fn deliver_with_retries<F>(
    channel: &'static str,
    notification: &Notification,
    send: impl Fn() -> F,
) where
    F: Future<Output = Result<(), DeliveryError>>,
{
    let (id, event) = (&notification.incident.id, notification.kind.as_str());
    let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
    for attempt in 1.. {
        match with_attempt_timeout(send()).await {
            Ok(()) => {
                tracing::info!(by = channel, id, event, attempt, "notification delivered");
                return;
            }
            Err(DeliveryError::Transient(why)) if attempt < MAX_ATTEMPTS => {
                tracing::debug!(
                    by = channel,
                    id,
                    event,
                    attempt,
                    why,
                    "notification failed, will retry"
                );
                sleep(backoff.next_delay()).await;
            }
            Err(DeliveryError::Transient(why) | DeliveryError::Permanent(why)) => {
                tracing::warn!(
                    by = channel,
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

async fn with_attempt_timeout(
    attempt: impl Future<Output = Result<(), DeliveryError>>,
) -> Result<(), DeliveryError> {
    timeout(ATTEMPT_TIMEOUT, attempt)
        .await
        .unwrap_or_else(|_| Err(DeliveryError::Transient("request timed out".to_owned())))
}
