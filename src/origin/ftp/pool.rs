//! Pool of idle control connections, and the limit of connections to each server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::control::Session;
use crate::model::{Target, lock};
use crate::origin::fault::ConnectionFault;

/// How long an idle connection stays open. Servers close connections that send nothing.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum number of idle connections to one server. Servers accept few connections.
const POOL_IDLE_PER_HOST: usize = 2;

/// Maximum number of idle connections to all servers.
const POOL_IDLE: usize = 256;

/// Host and port of an ftp server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FtpServer {
    host: String,
    port: u16,
}

impl FtpServer {
    pub fn new(target: &Target) -> Self {
        Self {
            host: target.host().to_owned(),
            port: target.port(),
        }
    }
}

/// Pool of anonymous connections. A connection with a login is never shared.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<IdleSessions>,
    permits: Mutex<HashMap<FtpServer, Arc<Semaphore>>>,
    per_host: usize,
}

#[derive(Debug, Default)]
struct IdleSessions {
    /// With the time at which each session became idle.
    sessions: Vec<(FtpServer, Instant, Session)>,
    has_cleanup_task: bool,
}

impl Pool {
    pub fn new(per_host: usize) -> Self {
        Self {
            idle: Mutex::default(),
            permits: Mutex::default(),
            per_host,
        }
    }

    /// Waits for a permit to use a connection to a server.
    ///
    /// # Errors
    /// [`ConnectionFault::NoFreeConnection`] if no permit is free within `limit`.
    pub async fn acquire_permit(
        &self,
        server: &FtpServer,
        limit: Duration,
    ) -> Result<OwnedSemaphorePermit, ConnectionFault> {
        let semaphore = {
            let mut permits = lock(&self.permits);
            permits.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
            Arc::clone(
                permits
                    .entry(server.clone())
                    .or_insert_with(|| Arc::new(Semaphore::new(self.per_host))),
            )
        };
        let permit = timeout(limit, semaphore.acquire_owned())
            .await
            .map_err(|_| ConnectionFault::NoFreeConnection)?;
        Ok(permit.expect("these semaphores are never closed"))
    }

    /// Takes the idle connection to a server that was used last.
    pub fn take(&self, server: &FtpServer) -> Option<Session> {
        let mut idle = lock(&self.idle);
        idle.drop_expired();
        let position = idle
            .sessions
            .iter()
            .rposition(|(other, ..)| other == server)?;
        Some(idle.sessions.swap_remove(position).2)
    }

    /// Stores an idle connection. It is closed if the pool is full or its replies are out of sync.
    pub fn put(self: &Arc<Self>, server: FtpServer, session: Session) {
        let mut idle = lock(&self.idle);
        let idle_at_server = idle
            .sessions
            .iter()
            .filter(|(other, ..)| *other == server)
            .count();
        if !session.replies_in_sync()
            || idle_at_server >= POOL_IDLE_PER_HOST
            || idle.sessions.len() >= POOL_IDLE
        {
            return;
        }
        idle.sessions.push((server, Instant::now(), session));
        if !std::mem::replace(&mut idle.has_cleanup_task, true) {
            tokio::spawn(close_expired(Arc::downgrade(self)));
        }
    }
}

impl IdleSessions {
    fn drop_expired(&mut self) {
        self.sessions
            .retain(|(_, since, _)| since.elapsed() < POOL_IDLE_TIMEOUT);
    }
}

/// Place to which a connection returns after a transfer.
#[derive(Debug)]
pub struct PoolReturn {
    pub pool: Arc<Pool>,
    pub server: FtpServer,
}

impl PoolReturn {
    pub fn put(self, session: Session) {
        self.pool.put(self.server, session);
    }
}

/// Closes expired connections until the pool is empty.
async fn close_expired(pool: Weak<Pool>) {
    loop {
        sleep(POOL_IDLE_TIMEOUT).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = lock(&pool.idle);
        idle.drop_expired();
        if idle.sessions.is_empty() {
            idle.has_cleanup_task = false;
            return;
        }
    }
}
