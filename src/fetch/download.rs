//! One body on its way to the staging folder, over as many attempts and sources as it takes.

use bytes::Bytes;

use super::download_spec::DownloadSpec;
use super::in_flight::InFlightFetch;
use super::lease_record::{LeaseRecord, StagedBody};
use super::parent_cache;
use super::peer::{self, PeerBody};
use super::resume::{CompletedBody, PartialBody, check_encoding, read_error};
use super::{FetchError, Shared};
use crate::cache::Lease;
use crate::model::{ExpectedDigests, FileType, Hasher, Sha256};
use crate::origin::{ConnectionFault, Method, OriginError, OriginRequest, ProtocolFault, Response};
use crate::policy::{PolicyDenied, Source, SourceKind};

/// The piece in which what is staged is read again, in bytes.
const READ_PIECE_BYTES: usize = 256 * 1024;

/// What has come so far.
pub struct Download<'a> {
    shared: &'a Shared,
    fetch: &'a InFlightFetch,
    spec: DownloadSpec<'a>,
    /// Who was asked last.
    source: Option<&'a Source>,
    /// Where other processes are told how far it is.
    lease: Option<&'a Lease>,
    file_type: FileType,
    /// The last to be asked was another host, to which the target's own had redirected.
    is_redirected: bool,
    /// The last attempt got a head that was no error of the server's.
    has_answered: bool,
    body: Option<PartialBody>,
    /// Followers have seen the beginning of a body that is not the right one.
    readers_saw_bad_bytes: bool,
    /// What a parent says that its bytes are.
    parent_digest: Option<Sha256>,
    /// A body that is here, and what is to be known of it.
    completed: Option<CompletedBody>,
}

impl<'a> Download<'a> {
    pub fn new(
        shared: &'a Shared,
        fetch: &'a InFlightFetch,
        spec: DownloadSpec<'a>,
        lease: Option<&'a Lease>,
    ) -> Self {
        let admitted = spec.admitted;
        let file_type = if admitted.checks_file_type() {
            FileType::from_path(admitted.target().path())
        } else {
            FileType::Unchecked
        };
        let source = spec.sources.first();
        Self {
            shared,
            fetch,
            spec,
            source,
            lease,
            file_type,
            is_redirected: false,
            has_answered: false,
            body: None,
            readers_saw_bad_bytes: false,
            parent_digest: None,
            completed: None,
        }
    }

    pub fn sources(&self) -> &'a [Source] {
        self.spec.sources
    }

    /// Begins with what another process has left, of which the followers have seen a part. It is
    /// hashed again on its way.
    ///
    /// # Errors
    /// [`FetchError::StoreFailed`] if it cannot be read or kept.
    pub async fn resume_from_peer(&mut self, left: PeerBody) -> Result<(), FetchError> {
        let StagedBody {
            length,
            headers,
            source,
            validator,
            ..
        } = left.staged;
        // Whoever died has still reserved the room for it. What it wrote is held open here.
        self.shared.cache.reclaim_dead_processes().await?;
        let mut staging = self
            .shared
            .cache
            .stage(length, Hasher::new(self.spec.expected))
            .await?;
        loop {
            let written = staging.written_bytes();
            let wanted = length
                .map_or(READ_PIECE_BYTES as u64, |length| length - written)
                .min(READ_PIECE_BYTES as u64);
            let wanted = usize::try_from(wanted).expect("it is at most a piece");
            let piece = left
                .contents
                .read(written, wanted)
                .await
                .map_err(|error| read_error(&error))?;
            if piece.is_empty() {
                break;
            }
            staging.append(piece).await?;
        }
        let contents = staging.file();
        self.fetch
            .switch_file(contents.clone(), staging.written_bytes());
        let (complete, unconfirmed_validator, is_streaming) = (length, None, true);
        self.body = Some(PartialBody {
            staging,
            contents,
            length,
            complete,
            validator,
            unconfirmed_validator,
            headers,
            source,
            is_streaming,
        });
        self.update_lease_record().await;
        Ok(())
    }

    /// Asks a source once, for the whole or for the rest, and takes in what comes.
    ///
    /// # Errors
    /// [`FetchError`]; what has come stays for the next attempt, if it may be the beginning of what
    /// is wanted.
    pub async fn attempt(&mut self, source: &'a Source) -> Result<(), FetchError> {
        self.switch_source(source);
        let request = OriginRequest {
            resume: self.body.as_ref().and_then(PartialBody::resume),
            // A client's word must not let bytes into the store that came over an open line.
            digest_expected: self.spec.is_on_record,
            headers: parent_cache::request_headers(source, self.spec.expected),
            ..OriginRequest::new(Method::Get)
        };
        let asked_for_rest = request.resume.is_some();
        let response = self.send_request(source, request).await?;
        // Where the body to come begins: what lies before is here already.
        let start = match response.status() {
            200 => 0,
            206 if asked_for_rest
                && self
                    .body
                    .as_mut()
                    .is_some_and(|body| body.is_continued_by(&response)) =>
            {
                self.written_bytes() - response.overlap_bytes()
            }
            206 | 416 if asked_for_rest => {
                self.body.iter_mut().for_each(PartialBody::clear_validators);
                return Err(OriginError::from(ConnectionFault::ResumeFailed).into());
            }
            // What a parent says to `only-if-cached` where it has nothing (RFC 9111, section
            // 5.2.1.7).
            504 if source.kind() == SourceKind::Parent => {
                return Err(parent_cache::not_found().into());
            }
            _ => return Err(response.as_error().into()),
        };
        self.shared
            .policy
            .admit_body(response.header("content-type"), response.length())
            .map_err(OriginError::from)?;
        check_encoding(&response, self.spec.admitted)?;
        if start == 0 {
            self.begin(&response).await?;
            self.parent_digest = (source.kind() == SourceKind::Parent)
                .then(|| parent_cache::response_digest(&response))
                .flatten();
            if source.kind() == SourceKind::Parent
                && self.parent_digest.is_none()
                && !self.spec.expected.has_strong_digest()
            {
                return Err(parent_cache::missing_digest().into());
            }
        }
        self.receive_body(response, start).await?;
        self.finish().await
    }

    fn switch_source(&mut self, source: &'a Source) {
        let is_another = self
            .source
            .is_none_or(|last| last.target() != source.target());
        self.source = Some(source);
        if let Some(body) = self.body.as_mut().filter(|_| is_another) {
            body.clear_validators();
        }
    }

    /// Whether the last answer, or the lack of one, was that of the source's own host.
    pub fn last_response_was_direct(&self) -> bool {
        !self.is_redirected
    }

    /// Whether the last attempt got a head. A host that gives one is there, whatever becomes of the
    /// body.
    pub fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether what is expected is on record, and not a client's word.
    pub fn is_on_record(&self) -> bool {
        self.spec.is_on_record
    }

    /// Whether there is something here that the same source may go on with.
    pub fn has_begun(&self) -> bool {
        self.written_bytes() > 0
    }

    /// Whether followers have seen what nobody can go on with.
    pub fn readers_saw_bad_bytes(&self) -> bool {
        self.readers_saw_bad_bytes
    }

    async fn send_request(
        &mut self,
        source: &Source,
        request: OriginRequest,
    ) -> Result<Response, OriginError> {
        let asked = self.shared.origin.request(source.admitted(), request).await;
        self.is_redirected = match &asked {
            Ok(response) => response.is_redirected(),
            Err(failed) => failed.is_redirected,
        };
        self.has_answered = asked.as_ref().is_ok_and(|response| response.status() < 500);
        if self.has_answered {
            self.shared.circuits.record_first_response(source.target());
        }
        Ok(asked?)
    }

    /// The whole body, after an attempt that ended well.
    pub fn into_completed(self) -> Result<CompletedBody, FetchError> {
        self.completed.ok_or(FetchError::StoreFailed)
    }

    /// Holds a body that is all here against what is expected of it.
    async fn finish(&mut self) -> Result<(), FetchError> {
        let body = self.body.take().ok_or(FetchError::StoreFailed)?;
        let unsent_head = (!body.is_streaming).then(|| body.head());
        let finished = body.staging.finish()?;
        let parent_digest = ExpectedDigests::from_iter(self.parent_digest.map(Into::into));
        for expected in [self.spec.expected, &parent_digest] {
            if finished.digests.first_mismatch(expected).is_some() {
                self.readers_saw_bad_bytes = body.is_streaming;
                let (expected, found) = (expected.clone(), finished.digests.sha256);
                let completed = CompletedBody {
                    finished,
                    headers: body.headers,
                    source: body.source,
                    unsent_head,
                };
                if let Some(known_content) = self.spec.known_content.filter(|_| self.is_at_origin())
                {
                    known_content
                        .record_change(
                            self.shared,
                            self.spec.admitted,
                            self.spec.expected,
                            completed,
                        )
                        .await;
                }
                return Err(FetchError::Mismatch { expected, found });
            }
        }
        self.completed = Some(CompletedBody {
            finished,
            headers: body.headers,
            source: body.source,
            unsent_head,
        });
        Ok(())
    }

    fn is_at_origin(&self) -> bool {
        self.source
            .is_some_and(|source| source.kind() == SourceKind::Origin)
    }

    /// Whether the followers see nothing before all has been checked: wrong bytes that nobody has
    /// seen can still be those of another source.
    fn buffers_until_verified(&self) -> bool {
        !self.spec.expected.is_empty() && self.spec.sources.len() > 1
    }

    fn written_bytes(&self) -> u64 {
        self.body
            .as_ref()
            .map_or(0, |body| body.staging.written_bytes())
    }

    /// Lets other processes follow. They are told of another validator before bytes are written
    /// under it.
    async fn update_lease_record(&self) {
        let seen = self.body.as_ref().filter(|body| body.is_streaming);
        if let (Some(lease), Some(body)) = (self.lease, seen) {
            let kind = self.source.map(Source::kind);
            peer::write_lease_record(lease, &LeaseRecord::Flowing(body.staged_body(kind))).await;
        }
    }

    /// Begins a body, or begins it again. One that followers have seen must stay what it is.
    async fn begin(&mut self, response: &Response) -> Result<(), FetchError> {
        match &mut self.body {
            Some(body) if body.is_streaming => {
                if body.length != response.length() {
                    return Err(FetchError::ChangedDuringFetch);
                }
                body.validator = None;
                body.unconfirmed_validator = response.validator();
                response.source().clone_into(&mut body.source);
                self.update_lease_record().await;
            }
            _ => {
                // The old one gives its space back first.
                self.body = None;
                let staging = self
                    .shared
                    .cache
                    .stage(response.length(), Hasher::new(self.spec.expected))
                    .await?;
                self.body = Some(PartialBody {
                    contents: staging.file(),
                    staging,
                    length: response.length(),
                    complete: response.length(),
                    validator: response.validator(),
                    unconfirmed_validator: None,
                    headers: response.stored_headers(),
                    source: response.source().to_owned(),
                    is_streaming: false,
                });
            }
        }
        Ok(())
    }

    async fn receive_body(&mut self, response: Response, start: u64) -> Result<(), FetchError> {
        let limit = self.shared.policy.max_object_size();
        let mut arriving = response.into_body();
        let mut position = start;
        while let Some(bytes) = arriving.next().await? {
            position += bytes.len() as u64;
            if position > limit.bytes {
                return Err(OriginError::from(PolicyDenied::TooLarge(limit)).into());
            }
            let fresh = self.compare(bytes, position).await?;
            if self.confirm_validator(position) {
                self.update_lease_record().await;
            }
            if !fresh.is_empty() {
                self.append(fresh).await?;
            }
        }
        let body = self.body.as_ref().ok_or(FetchError::StoreFailed)?;
        if position != self.written_bytes()
            || body.complete.is_some_and(|length| length != position)
        {
            return Err(OriginError::from(ConnectionFault::Truncated).into());
        }
        self.check_file_type().await
    }

    /// Holds the part of `bytes`, which end at `position`, that is here already against what is
    /// here. Returns the rest.
    async fn compare(&self, mut bytes: Bytes, position: u64) -> Result<Bytes, FetchError> {
        let Some(body) = &self.body else {
            return Ok(bytes);
        };
        let written = body.staging.written_bytes();
        let mut start = position - bytes.len() as u64;
        while start < written && !bytes.is_empty() {
            let known = usize::try_from(written - start)
                .unwrap_or(usize::MAX)
                .min(bytes.len())
                .min(READ_PIECE_BYTES);
            let arrived = bytes.split_to(known);
            let here = body
                .contents
                .read(start, known)
                .await
                .map_err(|error| read_error(&error))?;
            if here != arrived {
                // Of a body that is adrift not all can be compared.
                return Err(if self.fetch.is_overflowing() {
                    FetchError::NoSpace
                } else {
                    FetchError::ChangedDuringFetch
                });
            }
            start += known as u64;
        }
        Ok(bytes)
    }

    /// Trusts the validator of a body begun again once all that is here has been compared with it.
    /// True at that moment.
    fn confirm_validator(&mut self, position: u64) -> bool {
        if let Some(body) = &mut self.body
            && position >= body.staging.written_bytes()
            && let Some(validator) = body.unconfirmed_validator.take()
        {
            body.validator = Some(validator);
            return true;
        }
        false
    }

    /// Lets the followers have the bytes that were appended last.
    async fn publish_progress(&self, bytes: Bytes) -> Result<(), FetchError> {
        let written = self.written_bytes();
        if !self.fetch.is_overflowing() {
            self.fetch.advance(written, bytes);
            return Ok(());
        }
        let patience = self.shared.config.idle_timeout.0;
        if self.fetch.push_overflow(written, bytes, patience).await {
            Ok(())
        } else {
            Err(FetchError::NoSpace)
        }
    }

    async fn append(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        let body = self.body.as_mut().ok_or(FetchError::StoreFailed)?;
        if body
            .length
            .is_some_and(|length| body.staging.written_bytes() + bytes.len() as u64 > length)
        {
            return Err(OriginError::from(ProtocolFault::TooLong).into());
        }
        let start = body.staging.written_bytes();
        if let Err(error) = body.staging.append(bytes.clone()).await {
            let error = FetchError::from(error);
            // Those who read along already get the rest all the same; everybody else has it passed
            // through.
            if !body.is_streaming {
                return Err(error);
            }
            self.fetch.start_overflow(start);
            // What those in other processes follow grows no more.
            if let Some(lease) = self.lease {
                lease.release().await;
            }
        }
        if body.is_streaming {
            return self.publish_progress(bytes).await;
        }
        // A body that is all here is shown once it is checked: until the head is sent, a failure
        // can still be a status.
        let written = body.staging.written_bytes();
        if written < self.file_type.sniff_bytes() as u64
            || body.length == Some(written)
            || self.buffers_until_verified()
        {
            return Ok(());
        }
        self.check_file_type().await?;
        if let Some(body) = &mut self.body {
            body.is_streaming = true;
            self.fetch
                .start_streaming(body.head(), body.contents.clone(), written);
            self.update_lease_record().await;
        }
        Ok(())
    }

    /// Holds the first bytes against what the name promises. An impostor is forgotten: it must not
    /// be resumed.
    async fn check_file_type(&mut self) -> Result<(), FetchError> {
        let Some(body) = self.body.as_ref().filter(|body| !body.is_streaming) else {
            return Ok(());
        };
        let first = body
            .contents
            .read(0, self.file_type.sniff_bytes())
            .await
            .map_err(|error| read_error(&error))?;
        if self.file_type.matches(&first) {
            return Ok(());
        }
        self.body = None;
        Err(FetchError::WrongFileType)
    }
}
