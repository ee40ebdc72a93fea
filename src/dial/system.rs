//! Lookups by the system's `getaddrinfo`, on threads of its own.
//!
//! `getaddrinfo` cannot be cancelled. A lookup that its caller has given up keeps its thread until
//! the system's own timeout. No other work uses these threads. The main type is [`SystemResolver`].

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use super::answers::{Found, FoundAddresses};
use super::error::{LookupError, OwnShortage};

/// Maximum number of threads, and so of concurrent calls of `getaddrinfo`.
const MAX_THREADS: usize = 64;

/// Stack size of a thread in bytes. `getaddrinfo` loads modules of the system, which need some.
const STACK_BYTES: usize = 256 * 1024;

/// Resolver of the system. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SystemResolver {
    threads: Arc<Semaphore>,
}

impl SystemResolver {
    pub fn new() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(MAX_THREADS)),
        }
    }

    /// Looks up all addresses of `host`, in the system's order.
    ///
    /// # Errors
    /// [`LookupError::NoAddress`], or [`LookupError::Shortage`] if no thread can be started.
    pub async fn lookup(self, host: String) -> Found {
        let permit = self.threads.acquire_owned().await;
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new()
            .name("resolver".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let found = (host.as_str(), 0).to_socket_addrs();
                drop(permit);
                // If the caller has given up, the result is dropped.
                sender.send(found.map(Iterator::collect::<Vec<_>>)).ok();
            })
            .map_err(|error| {
                tracing::warn!(%error, "cannot start a thread for a lookup");
                LookupError::from(OwnShortage::Threads)
            })?;
        match receiver.await {
            Ok(Ok(found)) => FoundAddresses::new(found.iter().map(SocketAddr::ip)),
            // The standard library does not pass on why the name has no address.
            Ok(Err(_)) | Err(_) => Err(LookupError::NoAddress),
        }
    }
}
