//! What is here of a body that has begun, and what an answer is to it.

use std::io;
use std::sync::Arc;

use super::FetchError;
use super::in_flight::Head;
use super::lease_record::StagedBody;
use crate::cache::{Finished, OpenFile, Staging};
use crate::model::{FileType, StoredHeaders};
use crate::origin::{OriginError, ProtocolFault, Response, Resume};
use crate::policy::{Admitted, SourceKind};

/// A body that has begun.
pub struct PartialBody {
    pub staging: Staging,
    pub contents: OpenFile,
    /// What the followers are told, in bytes.
    pub length: Option<u64>,
    /// How long the whole is by any answer, in bytes; a resumed one may know what the first did not
    /// say.
    pub complete: Option<u64>,
    /// The strong validator of everything that is here, if it is all of one answer or proven to be.
    pub validator: Option<String>,
    /// The validator of a body begun again, until it has been compared with everything that is
    /// here.
    pub unconfirmed_validator: Option<String>,
    pub headers: StoredHeaders,
    pub source: String,
    /// Followers have seen the head.
    pub is_streaming: bool,
}

/// A body all of which is staged, and of which all that is expected is true.
pub struct CompletedBody {
    pub finished: Finished,
    pub headers: StoredHeaders,
    pub source: String,
    /// The head, if the followers have not seen it yet.
    pub unsent_head: Option<Arc<Head>>,
}

impl PartialBody {
    pub fn head(&self) -> Arc<Head> {
        Arc::new(Head {
            length: self.length,
            headers: self.headers.clone(),
        })
    }

    /// What the others are told. Who goes on after us begins with the origin, where another's
    /// validator means nothing.
    pub fn staged_body(&self, kind: Option<SourceKind>) -> StagedBody {
        StagedBody {
            file: self.staging.name(),
            length: self.length,
            headers: self.headers.clone(),
            source: self.source.clone(),
            validator: self
                .validator
                .clone()
                .filter(|_| kind == Some(SourceKind::Origin)),
        }
    }

    /// Whether this is a 206 under the same validator (RFC 9110, section 15.3.7) that goes on where
    /// the body here ends. There are origins that heed Range and not If-Range.
    pub fn is_continued_by(&mut self, response: &Response) -> bool {
        let Some((first, complete)) = response.content_range() else {
            return false;
        };
        let is_the_rest = first.checked_add(response.overlap_bytes())
            == Some(self.staging.written_bytes())
            && self.complete.is_none_or(|length| length == complete)
            && self.validator.is_some()
            && response.validator() == self.validator;
        if is_the_rest {
            self.complete = Some(complete);
        }
        is_the_rest
    }

    /// Only under a strong validator can the rest be asked for (RFC 9110, section 13.1.5).
    pub fn resume(&self) -> Option<Resume> {
        let validator = self.validator.clone()?;
        let offset = self.staging.written_bytes();
        // Of a body that is all here there is no rest.
        (offset > 0 && self.complete != Some(offset)).then_some(Resume { offset, validator })
    }

    /// A validator of one source says nothing of another's bytes.
    pub fn clear_validators(&mut self) {
        self.validator = None;
        self.unconfirmed_validator = None;
    }
}

/// A coding around a file would be stored as if it were the file. Only where the file's own format
/// is that coding can the header be a misnomer, which is common for `.tar.gz`.
pub fn check_encoding(response: &Response, admitted: &Admitted) -> Result<(), OriginError> {
    let path = admitted.target().path();
    match response.content_encoding() {
        Some(coding) if !FileType::is_own_coding(path, &coding) => {
            Err(ProtocolFault::ContentEncoding(coding).into())
        }
        _ => Ok(()),
    }
}

pub fn read_error(error: &io::Error) -> FetchError {
    tracing::warn!(%error, "a staged file could not be read");
    FetchError::StoreFailed
}
