//! Another process's flight for the same target, followed by its note and by the length of the file that it stages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::flight::{Flight, Head};
use super::note::{Coming, Note};
use super::partial::unread;
use super::{FetchError, Shared};
use crate::cache::{Acquire, CacheError, FileHit, Lease, LeaseHolder, LeaseState, OpenFile};
use crate::model::{Key, Record};

/// How often one looks at what another process does, while it does something. A lock that is waited for would hold a thread
/// for hours.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How often one looks where nothing has happened for long.
const MAX_LOOK_INTERVAL: Duration = Duration::from_millis(160);

/// Leave to fetch, and what is left of those who had it before.
#[derive(Debug, Default)]
pub struct Turn {
    /// None where claims cannot be made: then others may fetch the same.
    claim: Option<Lease>,
    /// A body whose beginning our followers have seen.
    shown: Option<Shown>,
    /// Another process has just asked as often as it may.
    was_asked_in_vain: bool,
}

/// What our followers have seen of a body that another process staged. It is held open, so that it outlives its name.
#[derive(Debug)]
pub struct Shown {
    pub contents: OpenFile,
    pub coming: Coming,
    /// How much of it they may have seen.
    seen_bytes: u64,
}

impl Turn {
    pub fn claim(&self) -> Option<&Lease> {
        self.claim.as_ref()
    }

    pub fn take_shown(&mut self) -> Option<Shown> {
        self.shown.take()
    }

    /// How often the origin may be asked.
    pub fn attempts(&self, limit: u32) -> u32 {
        if self.was_asked_in_vain { 1 } else { limit }
    }

    /// Lets go, and tells those who waited why if there is nothing to be found.
    pub async fn end(self, flight: &Flight, outcome: &Result<Arc<Record>, FetchError>) {
        let failed = outcome.as_ref().err().and_then(Note::of_failure);
        match (&self.claim, failed) {
            // What has been seen of a body is worth all attempts, and the note that tells of it stays.
            (Some(_), Some(Note::Failed)) if flight.is_flowing() => {}
            (Some(claim), Some(note)) => tell(claim, &note).await,
            _ => {}
        }
        // Whoever flies next here must not find it taken by this one.
        if let Some(claim) = self.claim {
            claim.release().await;
        }
    }
}

/// Returns once it is this process's turn to fetch a target. Until then the flight goes where that of the other process
/// goes.
///
/// # Errors
/// What the other's flight came to, if that is everybody's failure.
pub async fn await_turn(shared: &Shared, flight: &Flight, key: Key) -> Result<Turn, FetchError> {
    let mut neighbour = Neighbour { shared, flight, turn: Turn::default() };
    match neighbour.await_claim(key).await {
        Ok(claim) => neighbour.turn.claim = Some(claim),
        Err(Unfollowed::Cache(error)) => {
            tracing::warn!(%error, "a target could not be claimed; other processes may fetch it too");
        }
        Err(Unfollowed::Fetch(error)) => return Err(error),
    }
    Ok(neighbour.turn)
}

/// Returns once no process holds the claim on a target.
pub async fn await_no_claim(shared: &Shared, key: Key) {
    let mut pace = Pace::default();
    loop {
        match shared.cache.is_leased(key).await {
            Ok(true) => pace.wait(false).await,
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "a claim could not be looked at; another process may fetch the same");
                return;
            }
        }
    }
}

/// Leaves a note for the other processes. Without it they wait for the end.
pub async fn tell(claim: &Lease, note: &Note) {
    if let Err(error) = claim.write_record(note.to_bytes()).await {
        tracing::warn!(%error, "other processes could not be told of a fetch");
    }
}

/// The waits between two looks: each is twice the last, until something happens.
struct Pace(Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(LOOK_INTERVAL)
    }
}

impl Pace {
    async fn wait(&mut self, something_happened: bool) {
        if something_happened {
            self.0 = LOOK_INTERVAL;
        }
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(MAX_LOOK_INTERVAL);
    }
}

/// Why another's flight is not followed to its end.
enum Unfollowed {
    Cache(CacheError),
    Fetch(FetchError),
}

impl From<CacheError> for Unfollowed {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl From<crate::cache::DiskError> for Unfollowed {
    fn from(error: crate::cache::DiskError) -> Self {
        Self::Cache(error.into())
    }
}

impl From<std::io::Error> for Unfollowed {
    fn from(error: std::io::Error) -> Self {
        Self::Cache(error.into())
    }
}

struct Neighbour<'a> {
    shared: &'a Shared,
    flight: &'a Flight,
    turn: Turn,
}

impl Neighbour<'_> {
    async fn await_claim(&mut self, key: Key) -> Result<Lease, Unfollowed> {
        loop {
            match self.shared.cache.lease(key).await? {
                Acquire::Acquired(claim) => return Ok(claim),
                Acquire::HeldBy(rival) => self.follow(&rival).await?,
            }
        }
    }

    /// Follows one that holds the claim until it lets go.
    async fn follow(&mut self, rival: &LeaseHolder) -> Result<(), Unfollowed> {
        let parse = |note: Option<Bytes>| note.and_then(|bytes| Note::parse(&bytes));
        let mut pace = Pace::default();
        loop {
            match rival.state().await? {
                LeaseState::Held(note) => {
                    if let Some(Note::Flowing(coming)) = parse(note) {
                        self.turn_to(coming).await?;
                    }
                    let has_grown = self.advance()?;
                    pace.wait(has_grown).await;
                }
                LeaseState::Released(note) => return self.hear_last(parse(note)).map_err(Unfollowed::Fetch),
            }
        }
    }

    /// What is known of the file counts only if nobody writes to it any more.
    fn hear_last(&mut self, note: Option<Note>) -> Result<(), FetchError> {
        if let Some(failure) = note.as_ref().and_then(Note::failure) {
            return Err(failure);
        }
        self.turn.was_asked_in_vain = matches!(note, Some(Note::Failed));
        if let (Some(shown), Some(Note::Flowing(last))) = (&mut self.turn.shown, note)
            && shown.coming.file == last.file
        {
            shown.coming.validator = last.validator;
        }
        Ok(())
    }

    /// Shows our followers what another process stages, from where they are.
    async fn turn_to(&mut self, coming: Coming) -> Result<(), Unfollowed> {
        if self.turn.shown.as_ref().is_some_and(|shown| shown.coming.file == coming.file) {
            return Ok(());
        }
        // It may have its final name by now, and then there is little left to wait for.
        let Some(contents) = self.shared.cache.disk().open_staged(coming.file.clone()).await? else { return Ok(()) };
        // What its validator is worth is known at the end.
        let coming = Coming { validator: None, ..coming };
        let readable_bytes = coming.readable_bytes(&contents)?;
        if let Some(shown) = &self.turn.shown {
            if shown.coming.length != coming.length {
                return Err(Unfollowed::Fetch(FetchError::Changed));
            }
            if readable_bytes < shown.seen_bytes {
                return Ok(());
            }
            if !contents.prefix_eq(&shown.contents, shown.seen_bytes).await? {
                return Err(Unfollowed::Fetch(FetchError::Changed));
            }
            self.flight.go_on_in(contents.clone(), readable_bytes);
        } else {
            let head = Head { length: coming.length, headers: coming.headers.clone() };
            self.flight.flow(Arc::new(head), contents.clone(), readable_bytes);
        }
        self.turn.shown = Some(Shown { contents, coming, seen_bytes: readable_bytes });
        Ok(())
    }

    /// Shows our followers what has been written since, if anything.
    fn advance(&mut self) -> Result<bool, Unfollowed> {
        let Some(shown) = &mut self.turn.shown else { return Ok(false) };
        let readable_bytes = shown.coming.readable_bytes(&shown.contents)?;
        let has_grown = readable_bytes > shown.seen_bytes;
        if has_grown {
            shown.seen_bytes = readable_bytes;
            self.flight.advance(readable_bytes, Bytes::new());
        }
        Ok(has_grown)
    }
}

impl Coming {
    /// The file is as long as what was written to it: space that is set aside does not show in its length.
    fn readable_bytes(&self, contents: &OpenFile) -> std::io::Result<u64> {
        let size_bytes = contents.size_bytes()?;
        Ok(self.length.map_or(size_bytes, |length| size_bytes.min(length)))
    }
}

impl Shown {
    /// Lets the followers have the end of a body that was published, if it is the one that they have seen.
    ///
    /// # Errors
    /// [`FetchError`] if it is another.
    pub async fn land(&self, flight: &Flight, hit: &FileHit) -> Result<(), FetchError> {
        let is_as_long = self.coming.length.is_none_or(|length| length == hit.size_bytes());
        let agrees = is_as_long
            && hit.file().prefix_eq(&self.contents, self.seen_bytes).await.map_err(|error| unread(&error))?;
        if !agrees {
            return Err(FetchError::Changed);
        }
        flight.go_on_in(hit.file().clone(), hit.size_bytes());
        flight.complete(hit.record.sha256);
        Ok(())
    }
}
