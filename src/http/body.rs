//! Response bodies, read as fast as the client accepts them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody, SizedStream};
use actix_web::web::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;

use crate::cache::{BucketError, BucketStream, FileHit, ObjectHandle, VerifyingReader};
use crate::fetch::{BodyReader, FetchError, Head};
use crate::gateway::{OriginError, PassThroughResponse};
use crate::limits::{Pacer, UpstreamPermit};
use crate::model::ByteRange;

/// How much a body sends before other tasks may run. Without this bound a fast client would occupy
/// a thread for megabytes, while hundreds of clients wait for their first byte.
const YIELD_BYTES: u64 = 256 * 1024;

/// Yields if a multiple of [`YIELD_BYTES`] lies between `offset` and `next`.
async fn yield_between_chunks(offset: u64, next: u64) {
    if offset / YIELD_BYTES != next / YIELD_BYTES {
        tokio::task::yield_now().await;
    }
}

/// Yields before an error, so that the server sends what it has buffered. Otherwise a short body
/// would be lost together with its head.
async fn flush_before_error<T, E>(chunk: Result<T, E>) -> Result<T, E> {
    if chunk.is_err() {
        tokio::task::yield_now().await;
    }
    chunk
}

/// Size of the next chunk at `offset` of `range`; 0 at its end.
fn next_chunk_bytes(range: ByteRange, offset: u64, chunk_bytes: usize) -> usize {
    let left = (range.last + 1).saturating_sub(offset);
    usize::try_from(left).unwrap_or(usize::MAX).min(chunk_bytes)
}

/// Returns the bytes `range` of an object in chunks of at most `chunk_bytes`.
pub fn object_body(object: ObjectHandle, range: ByteRange, chunk_bytes: usize) -> BoxBody {
    let chunks = try_unfold((object, range.first), move |(object, offset)| async move {
        let size = next_chunk_bytes(range, offset, chunk_bytes);
        if size == 0 {
            return Ok(None);
        }
        let chunk = flush_before_error(object.read_some(offset, size).await).await?;
        let next = offset + chunk.len() as u64;
        yield_between_chunks(offset, next).await;
        Ok::<_, io::Error>(Some((chunk, (object, next))))
    });
    SizedStream::new(range.size_bytes(), chunks).boxed()
}

/// Returns the bytes `range` of a hit on disk in chunks of at most `chunk_bytes`.
pub fn hit_body(hit: FileHit, range: ByteRange, chunk_bytes: usize) -> BoxBody {
    // One chunk needs no stream.
    if let Some(content) = hit.content(range)
        && content.len() <= chunk_bytes
    {
        return BoxBody::new(content);
    }
    let chunks = try_unfold((hit, range.first), move |(hit, offset)| async move {
        let size = next_chunk_bytes(range, offset, chunk_bytes);
        if size == 0 {
            return Ok(None);
        }
        let chunk = flush_before_error(hit.read_some(offset, size).await).await;
        let chunk = chunk.inspect_err(|error| {
            let sha256 = hit.record.sha256;
            tracing::error!(%error, %sha256, "object is unreadable, aborting the response");
        })?;
        let next = offset + chunk.len() as u64;
        yield_between_chunks(offset, next).await;
        Ok::<_, io::Error>(Some((chunk, (hit, next))))
    });
    SizedStream::new(range.size_bytes(), chunks).boxed()
}

/// Returns a whole object of `size_bytes` that is hashed while it is sent, in chunks of at most
/// `chunk_bytes`. The last chunk is withheld if the object is corrupt.
pub fn verified_body(reader: VerifyingReader, size_bytes: u64, chunk_bytes: usize) -> BoxBody {
    let chunks = try_unfold((reader, 0), move |(mut reader, offset)| async move {
        let chunk = flush_before_error(reader.next(chunk_bytes).await).await?;
        let Some(chunk) = chunk else { return Ok(None) };
        let next = offset + chunk.len() as u64;
        yield_between_chunks(offset, next).await;
        Ok::<_, io::Error>(Some((chunk, (reader, next))))
    });
    SizedStream::new(size_bytes, chunks).boxed()
}

/// Returns the body of an in-flight fetch, or its bytes `range`, in chunks of at most
/// `chunk_bytes`. The body holds `permit`.
pub fn in_flight_body(
    reader: BodyReader,
    head: Arc<Head>,
    range: Option<ByteRange>,
    chunk_bytes: usize,
    permit: UpstreamPermit,
) -> BoxBody {
    let size = range.map(ByteRange::size_bytes).or(head.length);
    let chunks = read_in_flight(reader, head, range, chunk_bytes, permit);
    match size {
        Some(size) => SizedStream::new(size, chunks).boxed(),
        None => BodyStream::new(chunks).boxed(),
    }
}

fn read_in_flight(
    reader: BodyReader,
    head: Arc<Head>,
    range: Option<ByteRange>,
    chunk_bytes: usize,
    permit: UpstreamPermit,
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
                let chunk = reader.next(&head, offset, chunk_bytes).await;
                let Some(mut chunk) = flush_before_error(chunk).await? else {
                    return Ok(None);
                };
                if let Some(end) = end {
                    chunk.truncate(usize::try_from(end - offset).unwrap_or(usize::MAX));
                }
                let next = offset + chunk.len() as u64;
                yield_between_chunks(offset, next).await;
                Ok(Some((chunk, (reader, next, permit))))
            }
        },
    )
}

/// Takes the next chunk of at most `chunk_bytes` from `received`. The server copies each chunk into
/// the buffer of its connection, so that a larger chunk would take more memory.
fn split_chunk(received: &mut Bytes, chunk_bytes: usize) -> Bytes {
    received.split_to(received.len().min(chunk_bytes))
}

/// Returns a body from the bucket in chunks of at most `chunk_bytes`.
pub fn bucket_body(body: BucketStream, chunk_bytes: usize) -> BoxBody {
    let size = body.size_bytes();
    let state = (body, Bytes::new());
    let chunks = try_unfold(state, move |(mut body, mut received)| async move {
        if received.is_empty() {
            let next = flush_before_error(body.next().await).await;
            let next = next.inspect_err(|error| {
                tracing::error!(%error, "bucket download failed, aborting the response");
            })?;
            let Some(next) = next else { return Ok(None) };
            received = next;
        }
        let chunk = split_chunk(&mut received, chunk_bytes);
        Ok::<_, BucketError>(Some((chunk, (body, received))))
    });
    SizedStream::new(size, chunks).boxed()
}

/// Returns the body of a passed-through response in chunks of at most `chunk_bytes`.
pub fn pass_through_body(passed: PassThroughResponse, chunk_bytes: usize) -> BoxBody {
    let length = passed.length;
    let state = (passed, Bytes::new());
    let chunks = try_unfold(state, move |(mut passed, mut received)| async move {
        if received.is_empty() {
            let Some(next) = flush_before_error(passed.next().await).await? else {
                return Ok(None);
            };
            received = next;
        }
        let chunk = split_chunk(&mut received, chunk_bytes);
        Ok::<_, OriginError>(Some((chunk, (passed, received))))
    });
    match length {
        Some(length) => SizedStream::new(length, chunks).boxed(),
        None => BodyStream::new(chunks).boxed(),
    }
}

/// Limits the speed of a body by `pacer`.
pub fn paced(body: BoxBody, pacer: Pacer) -> BoxBody {
    let size = body.size();
    if size == BodySize::None {
        return body;
    }
    let chunks = try_unfold(
        (body, pacer, Bytes::new()),
        |(mut body, mut pacer, mut waiting)| async move {
            if waiting.is_empty() {
                match poll_fn(|cx| Pin::new(&mut body).poll_next(cx))
                    .await
                    .transpose()?
                {
                    Some(chunk) => waiting = chunk,
                    None => return Ok(None),
                }
            }
            let allowed_bytes = pacer.acquire(waiting.len()).await;
            let chunk = waiting.split_to(allowed_bytes);
            Ok::<_, Box<dyn std::error::Error>>(Some((chunk, (body, pacer, waiting))))
        },
    );
    match size {
        BodySize::Sized(size) => SizedStream::new(size, chunks).boxed(),
        BodySize::Stream | BodySize::None => BodyStream::new(chunks).boxed(),
    }
}

/// An empty body with the length of the body that GET would have.
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
