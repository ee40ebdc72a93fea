//! Partial and complete bodies of a download, and which responses can continue a partial one. The
//! main types are [`PartialBody`] and [`CompletedBody`].

use std::sync::Arc;

use super::error::{FetchError, Unconfirmed};
use super::fetch_progress::Head;
use super::multi_process::{PeerBody, StagedBody};
use crate::cache::{Cache, Finished, OpenFile, Staging};
use crate::limits::Readership;
use crate::model::{Hasher, StoredHeaders};
use crate::origin::{Response, Resume, Validator, Validity};
use crate::policy::SourceKind;

/// Size of the pieces in which a staged file is read again, in bytes.
pub const READ_PIECE_BYTES: usize = 256 * 1024;

/// Body of which a part may be staged.
pub struct PartialBody {
    pub staging: Staging,
    /// The staged file.
    pub file: OpenFile,
    /// Length that readers see, in bytes.
    pub length: Option<u64>,
    /// Length by any response, in bytes. A 206 may state it although the first response did not.
    pub complete_length: Option<u64>,
    /// Validator of all staged bytes, if they belong to one version of the file.
    pub validator: Option<Validator>,
    /// Validator of a restarted body. It is confirmed after the response was compared with all
    /// staged bytes.
    pub unconfirmed_validator: Option<Validator>,
    /// Validator of the origin, as a peer has stated it. It is valid at the origin only.
    pub origin_validator: Option<Validator>,
    /// Length of the beginning that a peer has sent without a proof of its digest, and that was not
    /// compared with another source.
    pub unproven_bytes: u64,
    /// Whether the rest was taken from a response that did not state the date of the file.
    pub date: DateCheck,
    pub headers: StoredHeaders,
    /// URL that the body came from.
    pub source: String,
    /// Readers have seen the head.
    pub is_streaming: bool,
    /// A part was taken from a response that was not compared with all bytes before it.
    pub was_resumed: bool,
    pub end: BodyEnd,
}

/// Whether the date of a resumed file must be requested again before the file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateCheck {
    Done,
    Pending,
}

/// Knowledge about the end of a body that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// A length, a last chunk, a required digest, the format or a second response shows the end.
    Confirmed,
    /// The body must not be stored.
    Unconfirmed(Unconfirmed),
}

/// Staged body that is complete and has passed all checks.
pub struct CompletedBody {
    pub finished: Finished,
    pub end: BodyEnd,
    pub was_resumed: bool,
    pub headers: StoredHeaders,
    /// URL that the body came from.
    pub source: String,
    /// The head, if readers have not seen it yet.
    pub unsent_head: Option<Arc<Head>>,
}

impl CompletedBody {
    /// # Errors
    /// [`FetchError::Unconfirmed`] if the body must not be stored.
    pub fn require_end(&self) -> Result<(), FetchError> {
        match self.end {
            BodyEnd::Confirmed => Ok(()),
            BodyEnd::Unconfirmed(reason) => Err(reason.into()),
        }
    }
}

impl PartialBody {
    /// Returns an empty body with the head of a response.
    pub fn new(staging: Staging, response: &Response) -> Self {
        Self {
            validator: response.validator(),
            headers: response.stored_headers(),
            source: response.source().to_owned(),
            ..Self::of_length(staging, response.length())
        }
    }

    /// Returns a body of this length, if it is known, without a head.
    fn of_length(staging: Staging, length: Option<u64>) -> Self {
        Self {
            file: staging.file(),
            staging,
            length,
            complete_length: length,
            validator: None,
            unconfirmed_validator: None,
            origin_validator: None,
            unproven_bytes: 0,
            date: DateCheck::Done,
            headers: StoredHeaders::default(),
            source: String::new(),
            is_streaming: false,
            was_resumed: false,
            end: BodyEnd::Confirmed,
        }
    }

    /// Copies and hashes the body that another process has left. Readers have seen its head.
    ///
    /// # Errors
    /// [`FetchError::NoSpace`] or [`FetchError::StoreFailed`].
    pub async fn copy_from_peer(
        cache: &Cache,
        readership: &Readership,
        peer_body: PeerBody,
        hasher: Hasher,
    ) -> Result<Self, FetchError> {
        let length = peer_body.staged.length;
        // The dead process may still hold a reservation. Its file is open here, so it can go.
        cache.leases().reclaim_dead_processes().await?;
        let mut staging = cache.stage_for(readership, length, hasher).await?;
        loop {
            let written = staging.written_bytes();
            // A process that hangs may add bytes of another version later.
            let left_bytes = usize::try_from(peer_body.seen_bytes - written);
            let size_bytes = left_bytes.unwrap_or(usize::MAX).min(READ_PIECE_BYTES);
            let bytes = peer_body
                .file
                .read(written, size_bytes)
                .await
                .map_err(|error| FetchError::from_read_error(&error))?;
            if bytes.is_empty() {
                break;
            }
            staging.append(bytes).await?;
        }
        Ok(Self {
            validator: peer_body.staged.validator,
            headers: peer_body.staged.headers,
            source: peer_body.staged.source,
            is_streaming: true,
            ..Self::of_length(staging, length)
        })
    }

    /// Prepares a body that readers have seen for a response that begins at offset 0. The response
    /// is compared with the staged bytes.
    ///
    /// # Errors
    /// [`FetchError::ChangedDuringFetch`] if the response has another length.
    pub fn restart(&mut self, response: &Response) -> Result<(), FetchError> {
        let stated = response.length().or(self.complete_length);
        if self
            .complete_length
            .is_some_and(|length| stated != Some(length))
        {
            return Err(FetchError::ChangedDuringFetch);
        }
        self.complete_length = stated;
        self.was_resumed = false;
        self.date = DateCheck::Done;
        self.validator = None;
        self.unconfirmed_validator = response.validator();
        response.source().clone_into(&mut self.source);
        Ok(())
    }

    /// Ends staging. The caller has received the whole body.
    pub fn finish(self) -> Result<CompletedBody, FetchError> {
        let unsent_head = (!self.is_streaming).then(|| self.head());
        Ok(CompletedBody {
            finished: self.staging.finish()?,
            end: self.end,
            was_resumed: self.was_resumed,
            headers: self.headers,
            source: self.source,
            unsent_head,
        })
    }

    pub fn head(&self) -> Arc<Head> {
        Arc::new(Head {
            length: self.length,
            headers: self.headers.clone(),
        })
    }

    /// Describes the body for other processes. After a takeover, the next holder of the lease
    /// begins with the origin, so only a validator of the origin is useful.
    pub fn staged_body(&self, kind: Option<SourceKind>) -> StagedBody {
        StagedBody {
            file: self.staging.name(),
            length: self.length,
            headers: self.headers.clone(),
            source: self.source.clone(),
            validator: self
                .validator
                .clone()
                .filter(|_| kind == Some(SourceKind::Origin) && self.unproven_bytes == 0),
        }
    }

    /// Whether a 206 continues this body: it has the same validator (RFC 9110, section 15.3.7) and
    /// the right range. Some origins support Range but ignore If-Range.
    ///
    /// The complete length of such a response is recorded, and whether it states the date.
    pub fn is_continued_by(&mut self, response: &Response) -> bool {
        let Some((first, complete_length)) = response.content_range(self.complete_length) else {
            return false;
        };
        let is_rest = first.checked_add(response.overlap_bytes())
            == Some(self.staging.written_bytes())
            && self
                .complete_length
                .is_none_or(|length| length == complete_length);
        let validity = self
            .validator
            .as_ref()
            .map_or(Validity::Other, |validator| {
                response.compare_validator(validator)
            });
        if !is_rest || validity == Validity::Other {
            return false;
        }
        self.complete_length = Some(complete_length);
        self.was_resumed = true;
        self.date = match validity {
            Validity::Unstated => DateCheck::Pending,
            Validity::Same | Validity::Other => DateCheck::Done,
        };
        true
    }

    /// Returns the range request for the rest of the body. It needs a validator, and bytes before
    /// those that are requested again.
    pub fn resume(&self) -> Option<Resume> {
        let resume = Resume {
            offset: self.staging.written_bytes(),
            validator: self.validator.clone()?,
        };
        let is_incomplete = self.complete_length != Some(resume.offset);
        (is_incomplete && resume.first_byte() > 0).then_some(resume)
    }

    /// Prepares a body of a peer for a range request to the origin. The bytes of the peer are
    /// compared with those of the origin later.
    pub fn continue_at_origin(&mut self) {
        self.validator = self.origin_validator.take();
        self.unproven_bytes = self.staging.written_bytes();
    }

    /// Keeps the validator of the origin if another peer states the same one.
    pub fn keep_origin_validator(&mut self, stated: Option<&Validator>) {
        self.origin_validator = self
            .origin_validator
            .take()
            .filter(|own| Some(own) == stated);
    }

    /// Removes the validators, because they are not valid at another source.
    pub fn clear_validators(&mut self) {
        self.validator = None;
        self.unconfirmed_validator = None;
    }
}
