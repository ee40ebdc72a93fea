//! Download of one file: receives it, resumes it, verifies it, and cleans up.
//!
//! The main function is [`download_to`].

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use reqwest::Response;
use tokio::time::sleep;

use super::answer_head::{AnswerHead, CarriedPart};
use super::failure::Failure;
use super::file_request::{GatewayRequest, RequestedPart};
use super::part_file::PartFile;
use super::progress::FileBar;
use crate::cli::exit::FailureCode;
use crate::model::{Digests, Hasher, Sha256};

/// Bound on the requests of one download. Each one after the first continues a broken transfer.
const MAX_ATTEMPTS: usize = 4;

/// Pause before the second request. It doubles each time. A gateway that restarts needs less than
/// all pauses together.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A file that was received and verified.
pub struct Received {
    pub sha256: Sha256,
    pub size_bytes: u64,
}

/// Error of one request.
enum AttemptError {
    /// The transfer broke off. With an entity tag, another request can continue it.
    Interrupted(Failure, Option<String>),
    /// Another request would fail as well.
    Final(Failure),
}

impl From<Failure> for AttemptError {
    fn from(failure: Failure) -> Self {
        Self::Final(failure)
    }
}

impl From<std::io::Error> for AttemptError {
    fn from(error: std::io::Error) -> Self {
        Self::Final(error.into())
    }
}

/// Bytes that one request has completed.
struct CompletedPart {
    digests: Digests,
    head: AnswerHead,
    /// Whether some of the bytes are those of an earlier request.
    is_resumed: bool,
}

/// Streams a file to `output`, and verifies it at the end.
///
/// # Errors
/// [`Failure`] if it does not arrive completely, or has another digest.
pub async fn stream_to(
    request: GatewayRequest<'_>,
    output: &mut impl Write,
    bar: &FileBar,
) -> Result<(), Failure> {
    let response = request.send(RequestedPart::Whole).await?;
    let head = AnswerHead::of(&response);
    if !CarriedPart::of(&response).begins_at(0) {
        return Err(other_part());
    }
    let mut hasher = Hasher::new(&request.file.expected);
    match receive(response, output, &mut hasher, bar).await {
        Ok(()) => request.check(&hasher.finish(), &head).await,
        Err(AttemptError::Interrupted(failure, _) | AttemptError::Final(failure)) => Err(failure),
    }
}

/// Downloads a file to `output`. The unfinished file beside it is resumed, and removed if no later
/// download can resume it.
///
/// # Errors
/// [`Failure`] if it does not arrive completely, or has another digest.
pub async fn download_to(
    request: GatewayRequest<'_>,
    output: &Path,
    bar: &FileBar,
) -> Result<Received, Failure> {
    let mut part = PartFile::open(output)?;
    let digests = fill(request, &mut part, bar).await?;
    let received = Received {
        sha256: digests.sha256,
        size_bytes: part.size_bytes(),
    };
    part.persist_to(output)?;
    Ok(received)
}

/// Completes an unfinished file.
async fn fill(
    request: GatewayRequest<'_>,
    part: &mut PartFile,
    bar: &FileBar,
) -> Result<Digests, Failure> {
    // The entity tag of an immutable file is made of its SHA-256. The bytes of an unfinished file
    // are verified with all others at the end.
    let mut etag = None;
    if part.size_bytes() > 0 {
        etag = request.known_sha256().await?.map(|sha256| sha256.etag());
    }
    let (mut attempts, mut pause) = (0, FIRST_PAUSE);
    loop {
        attempts += 1;
        match attempt(request, part, etag.as_deref(), bar).await {
            Ok(completed) => {
                match request.check(&completed.digests, &completed.head).await {
                    Ok(()) => return Ok(completed.digests),
                    // The earlier bytes may be those of another file.
                    Err(failure)
                        if completed.is_resumed && failure.code == FailureCode::Corrupt =>
                    {
                        etag = None;
                    }
                    Err(failure) => {
                        part.set_resumable(false);
                        return Err(failure);
                    }
                }
            }
            Err(AttemptError::Interrupted(failure, tag)) => {
                part.set_resumable(tag.is_some());
                if tag.is_none() || attempts >= MAX_ATTEMPTS {
                    return Err(failure);
                }
                etag = tag;
                sleep(pause).await;
                pause *= 2;
            }
            Err(AttemptError::Final(failure)) => {
                let is_gone = matches!(failure.code, FailureCode::NotFound | FailureCode::Corrupt);
                part.set_resumable(!is_gone);
                return Err(failure);
            }
        }
    }
}

/// Sends one request, for the rest of the file if `etag` is known, and receives the response.
async fn attempt(
    request: GatewayRequest<'_>,
    part: &mut PartFile,
    etag: Option<&str>,
    bar: &FileBar,
) -> Result<CompletedPart, AttemptError> {
    let first = part.size_bytes();
    let requested = match etag {
        Some(etag) if first > 0 => RequestedPart::Rest { first, etag },
        _ => RequestedPart::Whole,
    };
    let sent = request.send(requested).await;
    // A refused connection has the code of every failure. One with a tag can be tried again.
    let mut response = match (sent, etag) {
        (Ok(response), _) => response,
        (Err(failure), Some(etag)) if failure.code == FailureCode::Failed => {
            return Err(AttemptError::Interrupted(failure, Some(etag.to_owned())));
        }
        (Err(failure), _) => return Err(failure.into()),
    };
    let mut hasher = Hasher::new(&request.file.expected);
    let is_resumed = requested != RequestedPart::Whole && continues(&response, first, etag);
    if is_resumed {
        part.hash_present(&mut hasher)?;
    } else {
        part.restart()?;
        if requested != RequestedPart::Whole && CarriedPart::of(&response) != CarriedPart::Whole {
            response = request.send(RequestedPart::Whole).await?;
        }
        if !CarriedPart::of(&response).begins_at(0) {
            return Err(other_part().into());
        }
    }
    let head = AnswerHead::of(&response);
    receive(response, part, &mut hasher, bar).await?;
    Ok(CompletedPart {
        digests: hasher.finish(),
        head,
        is_resumed,
    })
}

/// Whether the body is the rest of a file from `first` on. A part is of the same file only if it
/// has the same strong entity tag (RFC 9110, section 15.3.7.3).
fn continues(response: &Response, first: u64, etag: Option<&str>) -> bool {
    let part = CarriedPart::of(response);
    let is_of_same_file = match part {
        CarriedPart::Nothing { .. } => true,
        _ => AnswerHead::of(response).etag.as_deref() == etag,
    };
    is_of_same_file && part.begins_at(first)
}

fn other_part() -> Failure {
    Failure::failed("the response has another part of the file than the requested one")
}

/// Writes a body to `to`, and hashes it. A truncated body is an error.
async fn receive(
    mut response: Response,
    to: &mut impl Write,
    hasher: &mut Hasher,
    bar: &FileBar,
) -> Result<(), AttemptError> {
    let part = CarriedPart::of(&response);
    match (part, response.content_length()) {
        (CarriedPart::Nothing { .. }, _) => return Ok(()),
        (
            CarriedPart::Range {
                first, size_bytes, ..
            },
            _,
        ) => bar.set_size(size_bytes, first),
        (_, Some(size_bytes)) => bar.set_size(size_bytes, 0),
        (_, None) => {}
    }
    let etag = AnswerHead::of(&response).etag;
    let mut received_bytes = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                hasher.update(&chunk);
                to.write_all(&chunk)?;
                bar.add(chunk.len());
                received_bytes += chunk.len() as u64;
            }
            Ok(None) => break,
            Err(error) => return Err(AttemptError::Interrupted(error.into(), etag)),
        }
    }
    to.flush()?;
    check_end(part, received_bytes, etag)
}

/// Checks that a body of `received_bytes` reaches the end of the file.
fn check_end(
    part: CarriedPart,
    received_bytes: u64,
    etag: Option<String>,
) -> Result<(), AttemptError> {
    let CarriedPart::Range {
        first,
        end,
        size_bytes,
    } = part
    else {
        return Ok(());
    };
    let received_end = first + received_bytes;
    if received_end == end && end == size_bytes {
        return Ok(());
    }
    let text = format!("the response ended at byte {received_end} of {size_bytes}");
    // Bytes behind the stated range have no place in the file.
    let etag = etag.filter(|_| received_end <= end);
    Err(AttemptError::Interrupted(Failure::failed(text), etag))
}
