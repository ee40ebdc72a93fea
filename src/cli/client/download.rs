//! Download of one file: receives it, resumes it, verifies it, and cleans up.
//!
//! The main function is [`download_to`].

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use reqwest::{Response, StatusCode};
use tokio::time::sleep;

use super::failure::Failure;
use super::file_request::{
    GatewayRequest, RequestedPart, partial_range, strong_etag, unsatisfied_size,
};
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
    etag: Option<String>,
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
    let etag = strong_etag(&response);
    let mut hasher = Hasher::new(&request.file.expected);
    match receive(response, output, &mut hasher, bar).await {
        Ok(()) => request.check(&hasher.finish(), etag.as_deref()).await,
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
                let checked = request
                    .check(&completed.digests, completed.etag.as_deref())
                    .await;
                match checked {
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
    let is_complete = response.status() == StatusCode::RANGE_NOT_SATISFIABLE
        && first > 0
        && unsatisfied_size(&response) == Some(first);
    let is_rest = response.status() == StatusCode::PARTIAL_CONTENT
        && partial_range(&response).is_some_and(|(start, _)| start == first);
    let is_resumed = first > 0 && (is_complete || is_rest) && requested != RequestedPart::Whole;
    if is_resumed {
        part.hash_present(&mut hasher)?;
    } else {
        part.restart()?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE && first > 0 {
            response = request.send(RequestedPart::Whole).await?;
        }
    }
    let etag = strong_etag(&response);
    if response.status() != StatusCode::RANGE_NOT_SATISFIABLE {
        receive(response, part, &mut hasher, bar).await?;
    }
    Ok(CompletedPart {
        digests: hasher.finish(),
        etag,
        is_resumed,
    })
}

/// Writes a body to `to`, and hashes it. A truncated body is an error.
async fn receive(
    mut response: Response,
    to: &mut impl Write,
    hasher: &mut Hasher,
    bar: &FileBar,
) -> Result<(), AttemptError> {
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(());
    }
    match (partial_range(&response), response.content_length()) {
        (Some((first, size_bytes)), _) => bar.set_size(size_bytes, first),
        (None, Some(size_bytes)) => bar.set_size(size_bytes, 0),
        (None, None) => {}
    }
    let etag = strong_etag(&response);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                hasher.update(&chunk);
                to.write_all(&chunk)?;
                bar.add(chunk.len());
            }
            Ok(None) => break,
            Err(error) => return Err(AttemptError::Interrupted(error.into(), etag)),
        }
    }
    to.flush()?;
    Ok(())
}
