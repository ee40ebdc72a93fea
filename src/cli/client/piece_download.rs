//! Download of one file in checked pieces from several sources at the same time.
//!
//! A piece with other bytes is never written, and its source is dropped. The digest of the whole
//! file decides at the end. The main function is [`download_pieces`].

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use reqwest::{Response, StatusCode};
use tokio::time::{Instant, sleep_until, timeout};

use super::answer_head::CarriedPart;
use super::download::Received;
use super::failure::Failure;
use super::file_request::GatewayRequest;
use super::part_file::PartFile;
use super::progress::{FileBar, ProgressBars};
use crate::cli::output::notice;
use crate::fetch::{NextSource, PiecePlan, PieceSource, PieceSources, SourceFailure};
use crate::metalink::Metalink;
use crate::model::{Digests, Hasher, PieceList};

/// Longest wait for a response, and for its next bytes.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Display of a download.
#[derive(Clone, Copy)]
pub struct PieceDisplay<'a> {
    pub bars: &'a ProgressBars,
    pub bar: &'a FileBar,
}

/// End of a download that did not fail.
pub enum PieceOutcome {
    /// The file has its final name.
    Complete(Received, Vec<PieceSource>),
    /// The sources did not suffice. The unfinished file has the complete pieces at its beginning.
    Incomplete,
}

/// A download and its shared state. All connections run in one task.
struct PieceDownload<'a> {
    request: GatewayRequest<'a>,
    list: &'a PieceList,
    display: PieceDisplay<'a>,
    progress: RefCell<PieceProgress>,
    sources: RefCell<PieceSources>,
}

struct PieceProgress {
    part: PartFile,
    plan: PiecePlan,
    /// Digests of the pieces before `hashed`.
    hasher: Hasher,
    hashed: usize,
}

/// Downloads the file of a metalink to `output`, over at most `connections`. Pieces that the
/// unfinished file has already are checked and kept.
///
/// # Errors
/// [`Failure`] if the file cannot be written, or is another one than the expected.
pub async fn download_pieces(
    request: GatewayRequest<'_>,
    (metalink, list): (&Metalink, &PieceList),
    output: &Path,
    connections: usize,
    display: PieceDisplay<'_>,
) -> Result<PieceOutcome, Failure> {
    let mut progress = PieceProgress {
        part: PartFile::open(output)?,
        plan: PiecePlan::new(list.digests().len(), connections),
        hasher: Hasher::new(&request.file.expected),
        hashed: 0,
    };
    let present_bytes = progress.check_present(list)?;
    display.bar.set_size(list.size_bytes(), present_bytes);
    let download = PieceDownload {
        request,
        list,
        display,
        progress: RefCell::new(progress),
        sources: RefCell::new(PieceSources::new(request.api.source_urls(metalink))),
    };
    let mut workers: FuturesUnordered<_> = (0..connections).map(|_| download.work()).collect();
    while let Some(ended) = workers.next().await {
        ended?;
        if download.progress.borrow().plan.is_complete() {
            break;
        }
    }
    // Connections that fetch a piece for the second time end here.
    drop(workers);
    let PieceDownload {
        progress, sources, ..
    } = download;
    let (sources, progress) = (sources.into_inner(), progress.into_inner());
    let (mut part, plan) = (progress.part, progress.plan);
    if !plan.is_complete() {
        part.truncate(PieceList::first_of(plan.prefix()))?;
        return Ok(PieceOutcome::Incomplete);
    }
    let digests: Digests = progress.hasher.finish();
    if digests.sha256 != metalink.sha256 {
        notice(&format_args!(
            "millpond: the gateway states wrong pieces of {}\n",
            request.file.url
        ));
        part.restart()?;
        return Ok(PieceOutcome::Incomplete);
    }
    if let Err(failure) = request.check_expected(&digests) {
        part.set_resumable(false);
        return Err(failure);
    }
    part.persist_to(output)?;
    let received = Received {
        sha256: digests.sha256,
        size_bytes: list.size_bytes(),
    };
    Ok(PieceOutcome::Complete(received, sources.into_all()))
}

impl PieceProgress {
    /// Finds the pieces that the unfinished file has. Returns their length in bytes.
    fn check_present(&mut self, list: &PieceList) -> Result<u64, Failure> {
        let mut present_bytes = 0;
        for at in 0..list.digests().len() {
            let (first, length) = (PieceList::first_of(at), list.length_of(at));
            if first + length as u64 > self.part.size_bytes() {
                break;
            }
            let bytes = self.part.read_at(first, length)?;
            if list.has(at, &bytes) {
                present_bytes += length as u64;
                self.complete(list, at, &bytes)?;
            }
        }
        Ok(present_bytes)
    }

    /// Records a piece that the file has with these bytes, and hashes the complete beginning of the
    /// file.
    fn complete(&mut self, list: &PieceList, at: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.plan.complete(at);
        while self.hashed < self.plan.prefix() {
            if self.hashed == at {
                self.hasher.update(bytes);
            } else {
                let first = PieceList::first_of(self.hashed);
                let bytes = self.part.read_at(first, list.length_of(self.hashed))?;
                self.hasher.update(&bytes);
            }
            self.hashed += 1;
        }
        Ok(())
    }
}

impl PieceDownload<'_> {
    /// One connection: fetches pieces until nothing is left to do, or no source is left.
    async fn work(&self) -> Result<(), Failure> {
        loop {
            let source = self.sources.borrow_mut().next(Instant::now());
            let source = match source {
                NextSource::Ask(source) => source,
                NextSource::WaitUntil(until) => {
                    sleep_until(until).await;
                    continue;
                }
                NextSource::Nothing => return Ok(()),
            };
            let claimed = self.progress.borrow_mut().plan.claim();
            let Some(claimed) = claimed else {
                self.sources
                    .borrow_mut()
                    .end(source, Ok(()), Instant::now());
                return Ok(());
            };
            let fetched = self.fetch(source, claimed.clone()).await;
            self.progress.borrow_mut().plan.release(claimed);
            let ended = match fetched {
                Ok(()) => Ok(()),
                Err(PieceError::Source(failure)) => Err(failure),
                Err(PieceError::Own(failure)) => return Err(failure),
            };
            let mut sources = self.sources.borrow_mut();
            let shown = sources.shown_url(source);
            if let Some(reason) = sources.end(source, ended, Instant::now()) {
                self.display.bars.suspend(|| {
                    notice(&format_args!(
                        "millpond: {shown}: {reason}; source dropped\n"
                    ));
                });
            }
            drop(sources);
            if self.progress.borrow().plan.is_complete() {
                return Ok(());
            }
        }
    }

    /// Fetches consecutive pieces with one request, and writes those that have their digests.
    async fn fetch(&self, source: usize, pieces: Range<usize>) -> Result<(), PieceError> {
        let first = PieceList::first_of(pieces.start);
        let end = first
            + pieces
                .clone()
                .map(|at| self.list.length_of(at) as u64)
                .sum::<u64>();
        let url = self.sources.borrow().url(source).to_owned();
        let sent = self.request.api.get_range(&url, first..end);
        let response = timeout(STALL_TIMEOUT, sent).await;
        let response = response.map_err(|_| passing("no answer"))?;
        let mut response = response.map_err(|failure| passing(&failure.text))?;
        self.check_head(&response, first..end)?;
        let mut rest = Vec::new();
        for at in pieces {
            let length = self.list.length_of(at);
            while rest.len() < length {
                let chunk = timeout(STALL_TIMEOUT, response.chunk()).await;
                let chunk = chunk.map_err(|_| passing("the response has stalled"))?;
                let chunk = chunk.map_err(|error| passing(&Failure::from(error).text))?;
                let chunk = chunk.ok_or_else(|| passing("the response has ended early"))?;
                rest.extend_from_slice(&chunk);
            }
            let piece = &rest[..length];
            if !self.list.has(at, piece) {
                let reason = format!("piece {at} has wrong bytes");
                return Err(PieceError::Source(SourceFailure::Lasting(reason)));
            }
            self.write(source, at, piece).map_err(PieceError::Own)?;
            rest.drain(..length);
        }
        Ok(())
    }

    /// Checks that a response has the requested part of the file.
    fn check_head(&self, response: &Response, wanted: Range<u64>) -> Result<(), PieceError> {
        let status = response.status();
        let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let lasting = |reason: &str| PieceError::Source(SourceFailure::Lasting(reason.to_owned()));
        let (first, end, size_bytes) = (wanted.start, wanted.end, self.list.size_bytes());
        let part = CarriedPart::Range {
            first,
            end,
            size_bytes,
        };
        match status {
            StatusCode::PARTIAL_CONTENT if CarriedPart::of(response) == part => Ok(()),
            StatusCode::PARTIAL_CONTENT => Err(lasting("another part than the requested one")),
            StatusCode::OK => Err(lasting("the source sends no parts")),
            _ if is_passing => Err(passing(&status.to_string())),
            _ => Err(lasting(&status.to_string())),
        }
    }

    /// Writes a piece, unless another connection was faster.
    fn write(&self, source: usize, at: usize, bytes: &[u8]) -> Result<(), Failure> {
        let mut progress = self.progress.borrow_mut();
        if progress.plan.has(at) {
            return Ok(());
        }
        progress.part.write_at(PieceList::first_of(at), bytes)?;
        progress.complete(self.list, at, bytes)?;
        self.sources.borrow_mut().note_piece(source, bytes.len());
        self.display.bar.add(bytes.len());
        Ok(())
    }
}

/// Error of one request.
enum PieceError {
    Source(SourceFailure),
    /// The file cannot be written.
    Own(Failure),
}

fn passing(reason: &str) -> PieceError {
    PieceError::Source(SourceFailure::Passing(reason.to_owned()))
}
