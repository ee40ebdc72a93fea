//! Signal that a request waits for an object to be hashed. Hashing occupies a core, so it should
//! end early once the client has probably left. The connection of the client knows that.
//!
//! The signal belongs to the task of the request, so that no function on the way carries it. The
//! main type is [`HashingSignal`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

tokio::task_local! {
    static OF_REQUEST: HashingSignal;
}

/// Signal of one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct HashingSignal {
    waiting: Arc<AtomicUsize>,
}

/// Wait for an object to be hashed. It is counted until it is dropped.
#[derive(Debug)]
pub struct HashingWait {
    signal: Option<HashingSignal>,
}

impl HashingSignal {
    /// Runs a request, whose waits this signal shows. The request is large, and each move
    /// of it would add its size to that of every connection.
    pub async fn observe<T>(&self, request: Pin<&mut impl Future<Output = T>>) -> T {
        OF_REQUEST.scope(self.clone(), request).await
    }

    /// Whether the request waits for an object to be hashed.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl HashingWait {
    /// Raises the signal of the current request. Work without a request has none.
    pub fn begin() -> Self {
        let signal = OF_REQUEST.try_with(HashingSignal::clone).ok();
        if let Some(signal) = &signal {
            signal.waiting.fetch_add(1, Ordering::Relaxed);
        }
        Self { signal }
    }
}

impl Drop for HashingWait {
    fn drop(&mut self) {
        if let Some(signal) = &self.signal {
            signal.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
