//! What passes through without being kept, and how many answers come from upstream at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Answer, Ask, Door, Gateway, HttpVersion, Intent, Problem};
use crate::model::{Expected, Kind};
use crate::policy::{Admitted, Class};
use crate::relay::{Method, PassRequest};

/// What is held of a passed body for a client that could not see where it was cut, in bytes.
const MAX_HELD_BYTES: u64 = 1 << 20;

/// How many answers may pass through at once. A client that does not read holds what was received for it: more than of a stored
/// file, where it can be read again.
const MAX_PASSES: usize = 384;

/// How long one waits for such a place: most answers are over sooner, and few clients ask again after a 503.
const PASS_PATIENCE: Duration = Duration::from_secs(30);

/// The places of answers that do not come from the store. They must not take every place from those whom it can serve.
pub(super) struct Upstream {
    /// From the first wait to the last byte.
    answers: Arc<Semaphore>,
    passes: Arc<Semaphore>,
    /// Those who wait for one of the passes.
    pass_queue: Semaphore,
}

impl Upstream {
    pub fn new(max_answers: usize) -> Self {
        Self {
            answers: Arc::new(Semaphore::new(max_answers)),
            passes: Arc::new(Semaphore::new(MAX_PASSES.min(max_answers.div_ceil(2)))),
            // With all that comes from upstream they leave places for what is stored.
            pass_queue: Semaphore::new(MAX_PASSES.min(max_answers / 4)),
        }
    }
}

impl Gateway {
    /// A place among the answers that come from upstream, to be held to their end.
    ///
    /// # Errors
    /// [`Problem::Busy`] if all are taken.
    pub fn begin_upstream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.upstream.answers).try_acquire_owned().map_err(|_| Problem::Busy)
    }

    /// A place among those that pass through, waited for if need be.
    async fn begin_pass(&self) -> Result<OwnedSemaphorePermit, Problem> {
        if let Ok(place) = Arc::clone(&self.upstream.passes).try_acquire_owned() {
            return Ok(place);
        }
        let _turn = self.upstream.pass_queue.try_acquire().map_err(|_| Problem::Busy)?;
        let place = timeout(PASS_PATIENCE, Arc::clone(&self.upstream.passes).acquire_owned()).await;
        Ok(place.map_err(|_| Problem::Busy)?.expect("this semaphore is never closed"))
    }

    /// Passes a request to the origin and stores nothing of it.
    pub(super) async fn pass(&self, admitted: &Admitted, ask: Ask) -> Result<Answer, Problem> {
        let places = [self.begin_pass().await?, self.begin_upstream()?];
        let (is_get, is_head) = (ask.intent == Intent::Get, ask.intent == Intent::Head);
        let expected = if is_get { ask.expected } else { Expected::nothing() };
        let mut headers = ask.forwarded_headers;
        if !expected.is_empty() {
            // A digest is that of the whole body, uncoded.
            headers.retain(|(name, _)| !["range", "if-range", "accept-encoding"].contains(&name.as_str()));
        }
        let method = match ask.intent {
            Intent::Get => Method::Get,
            Intent::Head => Method::Head,
            Intent::Other(name) => Method::Other(name),
        };
        let request =
            PassRequest { method, headers, body: ask.body, follow_redirects: ask.door == Door::Rewrite, expected };
        let mut passed = self.relay.pass(admitted, request).await.map_err(Problem::Origin)?;
        passed.places = Some(places);
        match passed.status {
            // The client's own range or condition is answered.
            412 | 416 => {}
            400.. if ask.door == Door::Rewrite => return Err(Problem::Origin(passed.as_error())),
            200 if is_get && admitted.judges_kind() && admitted.class() == Class::Frozen => {
                let kind = Kind::of_path(admitted.target().path());
                if !passed.fits(kind).await.map_err(Problem::Origin)? {
                    return Err(Problem::Impostor);
                }
            }
            _ => {}
        }
        if ask.version == HttpVersion::Http10
            && !is_head
            && passed.length.is_none()
            && !passed.hold(MAX_HELD_BYTES).await.map_err(Problem::Origin)?
        {
            let text = "the origin does not say how long this is, so that HTTP/1.0 could not tell its end from a cut: ask with HTTP/1.1";
            return Err(Problem::BadRequest(text.to_owned()));
        }
        Ok(Answer::Passed(Box::new(passed)))
    }
}
