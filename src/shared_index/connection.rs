//! One connection to Redis. The main type is [`RedisConnection`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, RedisResult, Value};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::bounded_stream::BoundedStream;
use super::error::SharedIndexError;
use super::redis_url::RedisUrl;
use crate::dial::{Dialer, Reach};

/// Longest wait for a connection and the login.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// Longest wait of a check by an operator, who may be far away from the server.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// Open connection with a login. It ends when it is dropped.
pub struct RedisConnection {
    redis: MultiplexedConnection,
    /// Whether the server has sent more than it was asked for.
    is_exceeded: Arc<AtomicBool>,
    _driver: AbortOnDropHandle<()>,
}

impl RedisConnection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`SharedIndexError`] also if the server needs too long.
    pub async fn open(
        dialer: &Dialer,
        url: &RedisUrl,
        limit: Option<Duration>,
    ) -> Result<Self, SharedIndexError> {
        let limit = limit.unwrap_or(CONNECT_TIMEOUT);
        let opening = async {
            let (host, port) = (&url.host, url.port);
            let stream = dialer.connect_to_host(host, port, Reach::Configured, None);
            let stream = BoundedStream::new(stream.await?);
            let is_exceeded = stream.exceeded();
            // Each request has its own bound.
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let opened = MultiplexedConnection::new_with_config(&url.login, stream, config);
            let (redis, driver) = opened.await?;
            Ok(Self {
                redis,
                is_exceeded,
                _driver: AbortOnDropHandle::new(tokio::spawn(driver)),
            })
        };
        let opened = timeout(limit, opening).await;
        opened.unwrap_or(Err(SharedIndexError::Timeout(limit)))
    }

    /// Sends commands, and returns the response to each.
    ///
    /// # Errors
    /// [`SharedIndexError`] if there is no response within `limit`. The connection is of no use
    /// then.
    pub async fn send(
        &self,
        commands: &mut Pipeline,
        limit: Duration,
    ) -> Result<Vec<RedisResult<Value>>, SharedIndexError> {
        let mut redis = self.redis.clone();
        let sent = commands.ignore_errors().query_async(&mut redis);
        let answer = timeout(limit, sent).await;
        match answer {
            Ok(Ok(answers)) => Ok(answers),
            _ if self.is_exceeded.load(Ordering::Relaxed) => Err(SharedIndexError::Malformed),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(SharedIndexError::Timeout(limit)),
        }
    }
}

/// Connects to Redis, logs in and waits for an answer.
///
/// # Errors
/// [`SharedIndexError`] if the server cannot be used.
pub async fn check_login(dialer: &Dialer, url: &RedisUrl) -> Result<(), SharedIndexError> {
    let connection = RedisConnection::open(dialer, url, Some(CHECK_TIMEOUT)).await?;
    let mut ping = redis::pipe();
    ping.cmd("PING");
    for answer in connection.send(&mut ping, CHECK_TIMEOUT).await? {
        answer?;
    }
    Ok(())
}
