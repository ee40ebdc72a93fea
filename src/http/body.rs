//! Bodies of answers, read as the client takes them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody, SizedStream};
use actix_web::web::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use tokio::sync::OwnedSemaphorePermit;

use crate::cache::{BucketError, BucketStream, FileHit, ObjectHandle};
use crate::fetch::{BodyReader, FetchError, Head};
use crate::gateway::{OriginError, PassThroughResponse};
use crate::limits::Pacer;
use crate::model::ByteRange;

/// How much one answer sends before it is the next one's turn. A fast client would otherwise keep a
/// thread to itself for megabytes, while hundreds wait for their first byte.
const YIELD_BYTES: u64 = 256 * 1024;

/// Lets others go first if `next` begins another turn.
async fn yield_between_chunks(offset: u64, next: u64) {
    if offset / YIELD_BYTES != next / YIELD_BYTES {
        tokio::task::yield_now().await;
    }
}

/// Before a body is broken off, what was written of it goes out: otherwise a short one would be cut
/// with its head.
async fn flush_before_error<T, E>(piece: Result<T, E>) -> Result<T, E> {
    if piece.is_err() {
        tokio::task::yield_now().await;
    }
    piece
}

/// Bytes `range` of an object, `piece_bytes` at a time.
pub fn of_object(object: ObjectHandle, range: ByteRange, piece_bytes: usize) -> BoxBody {
    let pieces = try_unfold((object, range.first), move |(object, offset)| async move {
        if offset > range.last {
            return Ok(None);
        }
        let size = usize::try_from(range.last - offset + 1)
            .unwrap_or(usize::MAX)
            .min(piece_bytes);
        let piece = object.read_some(offset, size).await?;
        let next = offset + piece.len() as u64;
        yield_between_chunks(offset, next).await;
        Ok::<_, std::io::Error>(Some((piece, (object, next))))
    });
    SizedStream::new(range.size_bytes(), pieces).boxed()
}

/// Bytes `range` of a hit, `piece_bytes` at a time.
pub fn of_hit(hit: FileHit, range: ByteRange, piece_bytes: usize) -> BoxBody {
    let pieces = try_unfold((hit, range.first), move |(hit, offset)| async move {
        if offset > range.last {
            return Ok(None);
        }
        let size = usize::try_from(range.last - offset + 1)
            .unwrap_or(usize::MAX)
            .min(piece_bytes);
        let piece = hit.read_some(offset, size).await.inspect_err(|error| {
            tracing::error!(%error, sha256 = %hit.record.sha256, "an object could not be read; the answer is broken off");
        })?;
        let next = offset + piece.len() as u64;
        yield_between_chunks(offset, next).await;
        Ok::<_, std::io::Error>(Some((piece, (hit, next))))
    });
    SizedStream::new(range.size_bytes(), pieces).boxed()
}

/// A body that is still coming, from `range` where one was asked for.
pub fn of_in_flight(
    reader: BodyReader,
    head: Arc<Head>,
    range: Option<ByteRange>,
    piece_bytes: usize,
    permit: OwnedSemaphorePermit,
) -> BoxBody {
    let size = range.map(ByteRange::size_bytes).or(head.length);
    let pieces = read_in_flight(reader, head, range, piece_bytes, permit);
    match size {
        Some(size) => SizedStream::new(size, pieces).boxed(),
        None => BodyStream::new(pieces).boxed(),
    }
}

fn read_in_flight(
    reader: BodyReader,
    head: Arc<Head>,
    range: Option<ByteRange>,
    piece_bytes: usize,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Bytes, FetchError>> {
    let end = range.map(|range| range.last + 1);
    let start = range.map_or(0, |range| range.first);
    try_unfold(
        (reader, start, permit),
        move |(mut reader, offset, permit)| {
            let head = Arc::clone(&head);
            async move {
                if end.is_some_and(|end| offset >= end) {
                    return Ok(None);
                }
                let Some(mut piece) =
                    flush_before_error(reader.next(&head, offset, piece_bytes).await).await?
                else {
                    return Ok(None);
                };
                if let Some(end) = end {
                    piece.truncate(usize::try_from(end - offset).unwrap_or(usize::MAX));
                }
                let next = offset + piece.len() as u64;
                yield_between_chunks(offset, next).await;
                Ok(Some((piece, (reader, next, permit))))
            }
        },
    )
}

/// The next part of what was received, `piece_bytes` at most: a connection copies what it is given.
fn part_of(received: &mut Bytes, piece_bytes: usize) -> Bytes {
    received.split_to(received.len().min(piece_bytes))
}

/// What the bucket gives.
pub fn of_bucket(body: BucketStream, piece_bytes: usize) -> BoxBody {
    let size = body.size_bytes();
    let pieces =
        try_unfold(
            (body, Bytes::new()),
            move |(mut body, mut received)| async move {
                if received.is_empty() {
                    let next = flush_before_error(body.next().await).await.inspect_err(|error| {
                tracing::error!(%error, "the bucket broke off; the answer is broken off");
            })?;
                    let Some(next) = next else { return Ok(None) };
                    received = next;
                }
                Ok::<_, BucketError>(Some((
                    part_of(&mut received, piece_bytes),
                    (body, received),
                )))
            },
        );
    SizedStream::new(size, pieces).boxed()
}

/// What an origin sends through us.
pub fn of_pass_through(passed: PassThroughResponse, piece_bytes: usize) -> BoxBody {
    let length = passed.length;
    let pieces = try_unfold(
        (passed, Bytes::new()),
        move |(mut passed, mut received)| async move {
            if received.is_empty() {
                let Some(next) = flush_before_error(passed.next().await).await? else {
                    return Ok(None);
                };
                received = next;
            }
            Ok::<_, OriginError>(Some((
                part_of(&mut received, piece_bytes),
                (passed, received),
            )))
        },
    );
    match length {
        Some(length) => SizedStream::new(length, pieces).boxed(),
        None => BodyStream::new(pieces).boxed(),
    }
}

/// A body that may go only as fast as `pacer` lets it.
pub fn paced(body: BoxBody, pacer: Pacer) -> BoxBody {
    let size = body.size();
    if size == BodySize::None {
        return body;
    }
    let pieces = try_unfold(
        (body, pacer, Bytes::new()),
        |(mut body, mut pacer, mut waiting)| async move {
            if waiting.is_empty() {
                match poll_fn(|cx| Pin::new(&mut body).poll_next(cx))
                    .await
                    .transpose()?
                {
                    Some(piece) => waiting = piece,
                    None => return Ok(None),
                }
            }
            let allowed = pacer.acquire(waiting.len()).await;
            let piece = waiting.split_to(allowed);
            Ok::<_, Box<dyn std::error::Error>>(Some((piece, (body, pacer, waiting))))
        },
    );
    match size {
        BodySize::Sized(size) => SizedStream::new(size, pieces).boxed(),
        BodySize::Stream | BodySize::None => BodyStream::new(pieces).boxed(),
    }
}

/// No body, but the length of the one that GET would have.
pub struct HeadBody {
    pub length: Option<u64>,
}

impl MessageBody for HeadBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.length.map_or(BodySize::None, BodySize::Sized)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}
