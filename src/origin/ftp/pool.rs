//! Control connections that wait to be used again, and how many there may be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::control::Session;
use crate::model::Target;
use crate::origin::OriginError;

/// How long an unused connection is kept, how many a server, and how many in all. Servers let in
/// few, and end those that say nothing.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const POOL_IDLE_PER_HOST: usize = 2;
const POOL_IDLE: usize = 256;

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    host: String,
    port: u16,
}

impl Server {
    pub fn of(target: &Target) -> Self {
        Self {
            host: target.host().to_owned(),
            port: target.port(),
        }
    }
}

/// Anonymous connections only: others belong to whoever has logged in.
#[derive(Debug)]
pub struct Pool {
    idle: Mutex<Idle>,
    places: Mutex<HashMap<Server, Arc<Semaphore>>>,
    per_host: usize,
}

#[derive(Debug, Default)]
struct Idle {
    sessions: Vec<(Server, Instant, Session)>,
    is_swept: bool,
}

impl Pool {
    pub fn new(per_host: usize) -> Self {
        Self {
            idle: Mutex::default(),
            places: Mutex::default(),
            per_host,
        }
    }

    /// Waits for leave to use a connection to a server.
    ///
    /// # Errors
    /// [`OriginError::Unreachable`] if others use all of them for longer than `patience`.
    pub async fn place(
        &self,
        server: &Server,
        patience: Duration,
    ) -> Result<OwnedSemaphorePermit, OriginError> {
        let of_server = {
            let mut places = lock(&self.places);
            places.retain(|_, places| Arc::strong_count(places) > 1);
            Arc::clone(
                places
                    .entry(server.clone())
                    .or_insert_with(|| Arc::new(Semaphore::new(self.per_host))),
            )
        };
        let place = timeout(patience, of_server.acquire_owned()).await;
        let place = place.map_err(|_| {
            OriginError::Unreachable("all connections to the origin are in use".to_owned())
        })?;
        Ok(place.expect("these semaphores are never closed"))
    }

    /// A connection to a server that nobody uses.
    pub fn take(&self, server: &Server) -> Option<Session> {
        let mut idle = lock(&self.idle);
        idle.drop_old();
        let at = idle
            .sessions
            .iter()
            .rposition(|(other, ..)| other == server)?;
        Some(idle.sessions.swap_remove(at).2)
    }

    /// Keeps a connection for a while, if there is room and nothing is wrong with it.
    pub fn put(self: &Arc<Self>, server: Server, session: Session) {
        let mut idle = lock(&self.idle);
        let of_server = idle
            .sessions
            .iter()
            .filter(|(other, ..)| *other == server)
            .count();
        if !session.replies_in_sync()
            || of_server >= POOL_IDLE_PER_HOST
            || idle.sessions.len() >= POOL_IDLE
        {
            return;
        }
        idle.sessions.push((server, Instant::now(), session));
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

impl Idle {
    fn drop_old(&mut self) {
        self.sessions
            .retain(|(_, since, _)| since.elapsed() < POOL_IDLE_TIMEOUT);
    }
}

/// Closes connections that nobody has used, until there are none.
async fn sweep(pool: Weak<Pool>) {
    loop {
        sleep(POOL_IDLE_TIMEOUT).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = lock(&pool.idle);
        idle.drop_old();
        if idle.sessions.is_empty() {
            idle.is_swept = false;
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one call, so that a panic leaves none half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
