//! One body on its way to the staging folder, over as many attempts and sources as it takes.

use bytes::Bytes;

use super::flight::Flight;
use super::neighbour::{self, Shown};
use super::note::{Coming, Note};
use super::parent;
use super::partial::{Partial, Taken, check_encoding, unread};
use super::witness::Kept;
use super::{FetchError, Shared};
use crate::cache::Lease;
use crate::model::{Expected, Hasher, Kind, Sha256};
use crate::origin::{Method, OriginError, Request, Response};
use crate::policy::{Admitted, Place, Refusal, Source};

/// The piece in which what is staged is read again, in bytes.
const READ_PIECE_BYTES: usize = 256 * 1024;

/// What is to be had, and where.
pub struct Wanted<'a> {
    pub admitted: &'a Admitted,
    pub expected: &'a Expected,
    /// The digest that is expected is one of our own records', not a client's word.
    pub is_on_record: bool,
    pub sources: &'a [Source],
    /// What the target's own origin must give, because it gave it before.
    pub kept: Option<&'a Kept>,
}

/// What has come so far.
pub struct Intake<'a> {
    shared: &'a Shared,
    flight: &'a Flight,
    wanted: Wanted<'a>,
    /// Who was asked last.
    source: Option<&'a Source>,
    /// Where other processes are told how far it is.
    claim: Option<&'a Lease>,
    kind: Kind,
    /// The last to be asked was another host, to which the target's own had redirected.
    is_redirected: bool,
    /// The last attempt got a head that was no error of the server's.
    has_answered: bool,
    body: Option<Partial>,
    /// Followers have seen the beginning of a body that is not the right one.
    is_spoilt: bool,
    /// What a parent says that its bytes are.
    stated: Option<Sha256>,
    /// A body that is here, and what is to be known of it.
    taken: Option<Taken>,
}

impl<'a> Intake<'a> {
    pub fn new(shared: &'a Shared, flight: &'a Flight, wanted: Wanted<'a>, claim: Option<&'a Lease>) -> Self {
        let admitted = wanted.admitted;
        let kind = if admitted.judges_kind() { Kind::of_path(admitted.target().path()) } else { Kind::Unjudged };
        let source = wanted.sources.first();
        Self {
            shared,
            flight,
            wanted,
            source,
            claim,
            kind,
            is_redirected: false,
            has_answered: false,
            body: None,
            is_spoilt: false,
            stated: None,
            taken: None,
        }
    }

    pub fn sources(&self) -> &'a [Source] {
        self.wanted.sources
    }

    /// Begins with what another process has left, of which the followers have seen a part. It is hashed again on its way.
    ///
    /// # Errors
    /// [`FetchError::Unstorable`] if it cannot be read or kept.
    pub async fn take_over(&mut self, left: Shown) -> Result<(), FetchError> {
        let Coming { length, headers, source, validator, .. } = left.coming;
        // Whoever died has still reserved the room for it. What it wrote is held open here.
        self.shared.cache.reclaim_dead_processes().await?;
        let mut staging = self.shared.cache.stage(length, Hasher::new(self.wanted.expected)).await?;
        loop {
            let written = staging.written_bytes();
            let wanted = length.map_or(READ_PIECE_BYTES as u64, |length| length - written).min(READ_PIECE_BYTES as u64);
            let wanted = usize::try_from(wanted).expect("it is at most a piece");
            let piece = left.contents.read(written, wanted).await.map_err(|error| unread(&error))?;
            if piece.is_empty() {
                break;
            }
            staging.append(piece).await?;
        }
        let contents = staging.file();
        self.flight.go_on_in(contents.clone(), staging.written_bytes());
        let (complete, unproven, is_flowing) = (length, None, true);
        self.body =
            Some(Partial { staging, contents, length, complete, validator, unproven, headers, source, is_flowing });
        self.tell_neighbours().await;
        Ok(())
    }

    /// Asks a source once, for the whole or for the rest, and takes in what comes.
    ///
    /// # Errors
    /// [`FetchError`]; what has come stays for the next attempt, if it may be the beginning of what is wanted.
    pub async fn attempt(&mut self, source: &'a Source) -> Result<(), FetchError> {
        self.turn_to(source);
        let request = Request {
            resume: self.body.as_ref().and_then(Partial::resume),
            // A client's word must not let bytes into the store that came over an open line.
            digest_expected: self.wanted.is_on_record,
            headers: parent::headers(source, self.wanted.expected),
            ..Request::plain(Method::Get)
        };
        let asked_for_rest = request.resume.is_some();
        let response = self.ask(source, request).await?;
        // Where the body to come begins: what lies before is here already.
        let start = match response.status() {
            200 => 0,
            206 if asked_for_rest && self.body.as_mut().is_some_and(|body| body.is_continued_by(&response)) => {
                self.written_bytes() - response.overlap_bytes()
            }
            206 | 416 if asked_for_rest => {
                self.body.iter_mut().for_each(Partial::forget_validators);
                return Err(OriginError::Silent("the origin does not resume as it should".to_owned()).into());
            }
            // What a parent says to `only-if-cached` where it has nothing (RFC 9111, section 5.2.1.7).
            504 if source.place() == Place::Parent => return Err(parent::absent().into()),
            _ => return Err(response.as_error().into()),
        };
        self.shared.policy.admit_body(response.header("content-type"), response.length()).map_err(OriginError::from)?;
        check_encoding(&response, self.wanted.admitted)?;
        if start == 0 {
            self.begin(&response).await?;
            self.stated = (source.place() == Place::Parent).then(|| parent::stated_digest(&response)).flatten();
            if source.place() == Place::Parent && self.stated.is_none() && !self.wanted.expected.is_trustworthy() {
                return Err(parent::unstated().into());
            }
        }
        self.take_in(response, start).await?;
        self.finish().await
    }

    fn turn_to(&mut self, source: &'a Source) {
        let is_another = self.source.is_none_or(|last| last.target() != source.target());
        self.source = Some(source);
        if let Some(body) = self.body.as_mut().filter(|_| is_another) {
            body.forget_validators();
        }
    }

    /// Whether the last answer, or the lack of one, was that of the source's own host.
    pub fn has_come_from_the_source(&self) -> bool {
        !self.is_redirected
    }

    /// Whether the last attempt got a head. A host that gives one is there, whatever becomes of the body.
    pub fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// Whether what is expected is on record, and not a client's word.
    pub fn is_on_record(&self) -> bool {
        self.wanted.is_on_record
    }

    /// Whether there is something here that the same source may go on with.
    pub fn has_begun(&self) -> bool {
        self.written_bytes() > 0
    }

    /// Whether followers have seen what nobody can go on with.
    pub fn is_spoilt(&self) -> bool {
        self.is_spoilt
    }

    async fn ask(&mut self, source: &Source, request: Request) -> Result<Response, OriginError> {
        let asked = self.shared.origin.ask(source.admitted(), request).await;
        self.is_redirected = match &asked {
            Ok(response) => response.is_redirected(),
            Err(unanswered) => unanswered.is_redirected,
        };
        self.has_answered = asked.as_ref().is_ok_and(|response| response.status() < 500);
        if self.has_answered {
            self.shared.breakers.answered(source.target());
        }
        Ok(asked?)
    }

    /// The whole body, after an attempt that ended well.
    pub fn into_taken(self) -> Result<Taken, FetchError> {
        self.taken.ok_or(FetchError::Unstorable)
    }

    /// Holds a body that is all here against what is expected of it.
    async fn finish(&mut self) -> Result<(), FetchError> {
        let body = self.body.take().ok_or(FetchError::Unstorable)?;
        let unseen = (!body.is_flowing).then(|| body.head());
        let finished = body.staging.finish()?;
        let stated = Expected::from_iter(self.stated.map(Into::into));
        for expected in [self.wanted.expected, &stated] {
            if finished.digests.violated(expected).is_some() {
                self.is_spoilt = body.is_flowing;
                let (expected, found) = (expected.clone(), finished.digests.sha256);
                let taken = Taken { finished, headers: body.headers, source: body.source, unseen };
                if let Some(kept) = self.wanted.kept.filter(|_| self.is_at_origin()) {
                    kept.witness(self.shared, self.wanted.admitted, self.wanted.expected, taken).await;
                }
                return Err(FetchError::Mismatch { expected, found });
            }
        }
        self.taken = Some(Taken { finished, headers: body.headers, source: body.source, unseen });
        Ok(())
    }

    fn is_at_origin(&self) -> bool {
        self.source.is_some_and(|source| source.place() == Place::Origin)
    }

    /// Whether the followers see nothing before all has been checked: wrong bytes that nobody has seen can still be those of
    /// another source.
    fn is_held(&self) -> bool {
        !self.wanted.expected.is_empty() && self.wanted.sources.len() > 1
    }

    fn written_bytes(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.staging.written_bytes())
    }

    /// Lets other processes follow. They are told of another validator before bytes are written under it.
    async fn tell_neighbours(&self) {
        let seen = self.body.as_ref().filter(|body| body.is_flowing);
        if let (Some(claim), Some(body)) = (self.claim, seen) {
            let place = self.source.map(Source::place);
            neighbour::tell(claim, &Note::Flowing(body.coming(place))).await;
        }
    }

    /// Begins a body, or begins it again. One that followers have seen must stay what it is.
    async fn begin(&mut self, response: &Response) -> Result<(), FetchError> {
        match &mut self.body {
            Some(body) if body.is_flowing => {
                if body.length != response.length() {
                    return Err(FetchError::Changed);
                }
                body.validator = None;
                body.unproven = response.validator();
                response.source().clone_into(&mut body.source);
                self.tell_neighbours().await;
            }
            _ => {
                // The old one gives its space back first.
                self.body = None;
                let staging = self.shared.cache.stage(response.length(), Hasher::new(self.wanted.expected)).await?;
                self.body = Some(Partial {
                    contents: staging.file(),
                    staging,
                    length: response.length(),
                    complete: response.length(),
                    validator: response.validator(),
                    unproven: None,
                    headers: response.kept_headers(),
                    source: response.source().to_owned(),
                    is_flowing: false,
                });
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, response: Response, start: u64) -> Result<(), FetchError> {
        let limit = self.shared.policy.max_object_size();
        let mut arriving = response.into_body();
        let mut position = start;
        while let Some(bytes) = arriving.next().await? {
            position += bytes.len() as u64;
            if position > limit.bytes {
                return Err(OriginError::from(Refusal::TooLarge(limit)).into());
            }
            let fresh = self.compare(bytes, position).await?;
            if self.prove(position) {
                self.tell_neighbours().await;
            }
            if !fresh.is_empty() {
                self.append(fresh).await?;
            }
        }
        let body = self.body.as_ref().ok_or(FetchError::Unstorable)?;
        if position != self.written_bytes() || body.complete.is_some_and(|length| length != position) {
            return Err(OriginError::Silent("the origin broke off".to_owned()).into());
        }
        self.judge_kind().await
    }

    /// Holds the part of `bytes`, which end at `position`, that is here already against what is here. Returns the rest.
    async fn compare(&self, mut bytes: Bytes, position: u64) -> Result<Bytes, FetchError> {
        let Some(body) = &self.body else { return Ok(bytes) };
        let written = body.staging.written_bytes();
        let mut start = position - bytes.len() as u64;
        while start < written && !bytes.is_empty() {
            let known = usize::try_from(written - start).unwrap_or(usize::MAX).min(bytes.len()).min(READ_PIECE_BYTES);
            let arrived = bytes.split_to(known);
            let here = body.contents.read(start, known).await.map_err(|error| unread(&error))?;
            if here != arrived {
                // Of a body that is adrift not all can be compared.
                return Err(if self.flight.is_adrift() { FetchError::NoSpace } else { FetchError::Changed });
            }
            start += known as u64;
        }
        Ok(bytes)
    }

    /// Trusts the validator of a body begun again once all that is here has been compared with it. True at that moment.
    fn prove(&mut self, position: u64) -> bool {
        if let Some(body) = &mut self.body
            && position >= body.staging.written_bytes()
            && let Some(validator) = body.unproven.take()
        {
            body.validator = Some(validator);
            return true;
        }
        false
    }

    /// Lets the followers have the bytes that were appended last.
    async fn show(&self, bytes: Bytes) -> Result<(), FetchError> {
        let written = self.written_bytes();
        if !self.flight.is_adrift() {
            self.flight.advance(written, bytes);
            return Ok(());
        }
        let patience = self.shared.config.idle_timeout.0;
        if self.flight.drift(written, bytes, patience).await { Ok(()) } else { Err(FetchError::NoSpace) }
    }

    async fn append(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        let body = self.body.as_mut().ok_or(FetchError::Unstorable)?;
        if body.length.is_some_and(|length| body.staging.written_bytes() + bytes.len() as u64 > length) {
            return Err(OriginError::Wrong("the origin sends more than it said".to_owned()).into());
        }
        let start = body.staging.written_bytes();
        if let Err(error) = body.staging.append(bytes.clone()).await {
            let error = FetchError::from(error);
            // Those who read along already get the rest all the same; everybody else has it passed through.
            if !body.is_flowing {
                return Err(error);
            }
            self.flight.cast_off(start);
            // What those in other processes follow grows no more.
            if let Some(claim) = self.claim {
                claim.release().await;
            }
        }
        if body.is_flowing {
            return self.show(bytes).await;
        }
        // A body that is all here is shown once it is checked: until the head is sent, a failure can still be a status.
        let written = body.staging.written_bytes();
        if written < self.kind.sniff_bytes() as u64 || body.length == Some(written) || self.is_held() {
            return Ok(());
        }
        self.judge_kind().await?;
        if let Some(body) = &mut self.body {
            body.is_flowing = true;
            self.flight.flow(body.head(), body.contents.clone(), written);
            self.tell_neighbours().await;
        }
        Ok(())
    }

    /// Holds the first bytes against what the name promises. An impostor is forgotten: it must not be resumed.
    async fn judge_kind(&mut self) -> Result<(), FetchError> {
        let Some(body) = self.body.as_ref().filter(|body| !body.is_flowing) else { return Ok(()) };
        let first = body.contents.read(0, self.kind.sniff_bytes()).await.map_err(|error| unread(&error))?;
        if self.kind.fits(&first) {
            return Ok(());
        }
        self.body = None;
        Err(FetchError::Impostor)
    }
}
