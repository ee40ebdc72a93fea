//! End of a verified body that readers get once the body can be looked up.
//!
//! A client that has the end of a body may ask for its record at once. This file knows no disk and
//! no record. The main type is [`WithheldEnd`].

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::fetch_progress::Head;
use super::shared_body::SharedBody;
use crate::cache::{Finished, OpenFile};
use crate::model::Digests;

/// Longest time for which readers wait for the record. A slow disk must not hold up a client that
/// needs only the bytes.
const MAX_DELAY: Duration = Duration::from_millis(1_500);

/// End of a body whose length and digests are verified. Dropping it makes the end available to
/// readers, also if the fetch is cancelled.
pub struct WithheldEnd<'a> {
    body: &'a SharedBody,
    digests: Digests,
    file: OpenFile,
    /// Head of an empty body. Its end is visible with its head.
    head: Option<Arc<Head>>,
}

impl<'a> WithheldEnd<'a> {
    /// Makes all of a body but its end available to readers. `unsent_head` is the head, if they do
    /// not have it yet.
    pub fn new(
        body: &'a SharedBody,
        finished: &Finished,
        mut unsent_head: Option<Arc<Head>>,
    ) -> Self {
        let (file, size_bytes) = (finished.file(), finished.size_bytes());
        if size_bytes > 0
            && let Some(head) = unsent_head.take()
        {
            body.start_streaming(head, file.clone(), size_bytes);
        }
        Self {
            body,
            digests: finished.digests.clone(),
            file,
            head: unsent_head,
        }
    }

    /// Runs `store`, and withholds the end until it is done, at most for [`MAX_DELAY`].
    pub async fn show_after<T>(self, store: impl Future<Output = T>) -> T {
        let mut store = pin!(store);
        let stored = timeout(MAX_DELAY, store.as_mut()).await;
        drop(self);
        match stored {
            Ok(stored) => stored,
            Err(_) => store.await,
        }
    }
}

impl Drop for WithheldEnd<'_> {
    fn drop(&mut self) {
        if let Some(head) = self.head.take() {
            self.body.start_streaming(head, self.file.clone(), 0);
        }
        self.body.mark_verified(self.digests.clone());
    }
}
