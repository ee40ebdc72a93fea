//! One body on its way from an origin to the staging folder, over as many attempts as it takes.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::flight::{Flight, Head};
use super::neighbour::{self, Shown};
use super::note::{Coming, Note};
use super::{FetchError, Shared};
use crate::model::{Expected, Hasher, KeptHeaders, Kind};
use crate::origin::{Method, OriginError, Request, Response, Resume};
use crate::policy::{Admitted, Refusal};
use crate::store::{Claim, Contents, Staging};

/// The piece in which what is staged is read again, in bytes.
const READ_PIECE_BYTES: usize = 256 * 1024;

/// What has come so far.
pub struct Intake<'a> {
    shared: &'a Shared,
    flight: &'a Flight,
    admitted: &'a Admitted,
    expected: &'a Expected,
    /// The digest that is expected is one of our own records', not a client's word.
    is_on_record: bool,
    /// Where other processes are told how far it is.
    claim: Option<&'a Claim>,
    kind: Kind,
    /// The last to be asked was another host, to which the target's own had redirected.
    is_redirected: bool,
    body: Option<Partial>,
}

/// A body that has begun.
struct Partial {
    staging: Staging,
    contents: Contents,
    /// What the followers are told, in bytes.
    length: Option<u64>,
    /// How long the whole is by any answer, in bytes; a resumed one may know what the first did not say.
    complete: Option<u64>,
    /// The strong validator of everything that is here, if it is all of one answer or proven to be.
    validator: Option<String>,
    /// The validator of a body begun again, until it has been compared with everything that is here.
    unproven: Option<String>,
    headers: KeptHeaders,
    source: String,
    /// Followers have seen the head.
    is_flowing: bool,
}

/// A body all of which is staged.
pub struct Taken {
    pub staging: Staging,
    pub headers: KeptHeaders,
    pub source: String,
    /// The head, if the followers have not seen it yet.
    pub unseen: Option<Arc<Head>>,
}

impl Partial {
    fn head(&self) -> Arc<Head> {
        Arc::new(Head { length: self.length, headers: self.headers.clone() })
    }

    fn coming(&self) -> Coming {
        Coming {
            file: self.staging.name(),
            length: self.length,
            headers: self.headers.clone(),
            source: self.source.clone(),
            validator: self.validator.clone(),
        }
    }
}

impl<'a> Intake<'a> {
    pub fn new(
        shared: &'a Shared,
        flight: &'a Flight,
        admitted: &'a Admitted,
        expected: &'a Expected,
        is_on_record: bool,
        claim: Option<&'a Claim>,
    ) -> Self {
        let kind = if admitted.judges_kind() { Kind::of_path(admitted.target().path()) } else { Kind::Unjudged };
        Self { shared, flight, admitted, expected, is_on_record, claim, kind, is_redirected: false, body: None }
    }

    /// Begins with what another process has left, of which the followers have seen a part. It is hashed again on its way.
    ///
    /// # Errors
    /// [`FetchError::Unstorable`] if it cannot be read or kept.
    pub async fn take_over(&mut self, left: Shown) -> Result<(), FetchError> {
        let Coming { length, headers, source, validator, .. } = left.coming;
        // Whoever died has still reserved the room for it. What it wrote is held open here.
        self.shared.store.release_dead().await?;
        let mut staging = self.shared.store.stage(length, Hasher::new(self.expected)).await?;
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
        let contents = staging.contents();
        self.flight.go_on_in(contents.clone(), staging.written_bytes());
        let (complete, unproven, is_flowing) = (length, None, true);
        self.body =
            Some(Partial { staging, contents, length, complete, validator, unproven, headers, source, is_flowing });
        self.tell_neighbours().await;
        Ok(())
    }

    /// Asks the origin once, for the whole or for the rest, and takes in what comes.
    ///
    /// # Errors
    /// [`FetchError`]; what has come stays for the next attempt.
    pub async fn attempt(&mut self) -> Result<(), FetchError> {
        let request = Request {
            resume: self.resume(),
            // A client's word must not let bytes into the store that came over an open line.
            digest_expected: self.is_on_record,
            ..Request::plain(Method::Get)
        };
        let asked_for_rest = request.resume.is_some();
        let response = self.ask(request).await?;
        // Where the body to come begins: what lies before is here already.
        let start = match response.status() {
            200 => 0,
            206 if asked_for_rest && self.is_the_rest(&response) => self.written_bytes() - response.overlap_bytes(),
            206 | 416 if asked_for_rest => {
                self.forget_validator();
                return Err(OriginError::Silent("the origin does not resume as it should".to_owned()).into());
            }
            _ => return Err(response.as_error().into()),
        };
        self.shared.policy.admit_body(response.header("content-type"), response.length()).map_err(OriginError::from)?;
        check_encoding(&response, self.admitted)?;
        if start == 0 {
            self.begin(&response).await?;
        }
        self.take_in(response, start).await
    }

    /// Whether the last answer, or the lack of one, was that of the target's own host.
    pub fn has_come_from_the_target(&self) -> bool {
        !self.is_redirected
    }

    async fn ask(&mut self, request: Request) -> Result<Response, OriginError> {
        let asked = self.shared.origin.ask(self.admitted, request).await;
        self.is_redirected = match &asked {
            Ok(response) => response.is_redirected(),
            Err(unanswered) => unanswered.is_redirected,
        };
        if asked.as_ref().is_ok_and(|response| response.status() < 500) {
            self.shared.breakers.answered(self.admitted.target());
        }
        Ok(asked?)
    }

    /// The whole body, after an attempt that ended well.
    pub fn into_taken(self) -> Result<Taken, FetchError> {
        let body = self.body.ok_or(FetchError::Unstorable)?;
        let unseen = (!body.is_flowing).then(|| body.head());
        Ok(Taken { staging: body.staging, headers: body.headers, source: body.source, unseen })
    }

    fn written_bytes(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.staging.written_bytes())
    }

    /// Only under a strong validator can the rest be asked for (RFC 9110, section 13.1.5).
    fn resume(&self) -> Option<Resume> {
        let body = self.body.as_ref()?;
        let validator = body.validator.clone()?;
        let offset = body.staging.written_bytes();
        // Of a body that is all here there is no rest.
        (offset > 0 && body.complete != Some(offset)).then_some(Resume { offset, validator })
    }

    /// A 206 under the same validator (RFC 9110, section 15.3.7) that goes on where the body here ends. There are origins
    /// that heed Range and not If-Range.
    fn is_the_rest(&mut self, response: &Response) -> bool {
        let Some(body) = &mut self.body else { return false };
        let Some((first, complete)) = response.content_range() else { return false };
        let is_the_rest = first.checked_add(response.overlap_bytes()) == Some(body.staging.written_bytes())
            && body.complete.is_none_or(|length| length == complete)
            && body.validator.is_some()
            && response.validator() == body.validator;
        if is_the_rest {
            body.complete = Some(complete);
        }
        is_the_rest
    }

    fn forget_validator(&mut self) {
        if let Some(body) = &mut self.body {
            body.validator = None;
        }
    }

    /// Lets other processes follow. They are told of another validator before bytes are written under it.
    async fn tell_neighbours(&self) {
        let seen = self.body.as_ref().filter(|body| body.is_flowing);
        if let (Some(claim), Some(body)) = (self.claim, seen) {
            neighbour::tell(claim, &Note::Flowing(body.coming())).await;
        }
    }

    /// Begins a body, or begins it again. One that followers have seen must stay what it is.
    async fn begin(&mut self, response: &Response) -> Result<(), FetchError> {
        match &mut self.body {
            Some(body) if body.is_flowing => {
                if body.length != response.length() {
                    return Err(changed().into());
                }
                body.validator = None;
                body.unproven = response.validator();
                self.tell_neighbours().await;
            }
            _ => {
                // The old one gives its space back first.
                self.body = None;
                let staging = self.shared.store.stage(response.length(), Hasher::new(self.expected)).await?;
                self.body = Some(Partial {
                    contents: staging.contents(),
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
                return Err(changed().into());
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

    async fn append(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        let body = self.body.as_mut().ok_or(FetchError::Unstorable)?;
        if body.length.is_some_and(|length| body.staging.written_bytes() + bytes.len() as u64 > length) {
            return Err(OriginError::Wrong("the origin sends more than it said".to_owned()).into());
        }
        body.staging.append(bytes.clone()).await?;
        if body.is_flowing {
            self.flight.advance(body.staging.written_bytes(), bytes);
            return Ok(());
        }
        // A body that is all here is shown once it is checked: until the head is sent, a failure can still be a status.
        let written = body.staging.written_bytes();
        if written < self.kind.sniff_bytes() as u64 || body.length == Some(written) {
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

/// A coding around a file would be stored as if it were the file. Only where the file's own format is that coding can the
/// header be a misnomer, which is common for `.tar.gz`.
fn check_encoding(response: &Response, admitted: &Admitted) -> Result<(), OriginError> {
    let path = admitted.target().path().to_ascii_lowercase();
    let path = path.strip_suffix("/download").unwrap_or(&path);
    let endings: fn(&str) -> &[&str] = |coding| match coding {
        "gzip" | "x-gzip" => &[".gz", ".tgz", ".crate"],
        "bzip2" | "x-bzip2" => &[".bz2", ".tbz2"],
        "xz" | "x-xz" => &[".xz", ".txz"],
        "zstd" => &[".zst", ".tzst"],
        _ => &[],
    };
    let harmless = |coding: &str| endings(coding).iter().any(|ending| path.ends_with(ending));
    match response.content_encoding() {
        Some(coding) if !harmless(&coding) => {
            Err(OriginError::Wrong(format!("the origin sent the file in a coding, {coding}")))
        }
        _ => Ok(()),
    }
}

pub fn changed() -> OriginError {
    OriginError::Wrong("the origin's body changed between two attempts".to_owned())
}

pub fn unread(error: &io::Error) -> FetchError {
    tracing::warn!(%error, "a staged file could not be read");
    FetchError::Unstorable
}
