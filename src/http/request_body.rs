//! Request bodies: the idle timeout, and the way to the client that sends them upstream.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, Payload};
use futures_util::stream::{try_unfold, unfold};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bound on chunks of a request body that wait for the origin.
const BODY_QUEUE_LENGTH: usize = 8;

/// Returns the body of a request. The stream fails if the client sends nothing for `limit` while
/// the reader waits.
pub fn with_idle_timeout(
    body: Payload,
    limit: Duration,
) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin {
    Box::pin(try_unfold(body, move |mut body| async move {
        match timeout(limit, body.next()).await {
            Ok(Some(chunk)) => Ok(Some((chunk?, body))),
            Ok(None) => Ok(None),
            Err(_) => Err(PayloadError::Incomplete(None)),
        }
    }))
}

/// Returns the body of `request` for the client that sends it upstream.
///
/// A payload belongs to the thread of its connection, so a task on this thread passes its chunks
/// through a queue. The queue is short, so that a client sends no faster than the origin reads.
pub fn forward_body(
    request: &HttpRequest,
    payload: Payload,
    idle_timeout: Duration,
) -> reqwest::Body {
    let has_body = request.headers().contains_key("content-length")
        || request.headers().contains_key("transfer-encoding");
    if !has_body {
        return reqwest::Body::from("");
    }
    let (sender, receiver) = mpsc::channel(BODY_QUEUE_LENGTH);
    let mut payload = with_idle_timeout(payload, idle_timeout);
    // The task ends with the payload, or when the receiver is dropped.
    actix_web::rt::spawn(async move {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            let is_end = chunk.is_err();
            if sender.send(chunk).await.is_err() || is_end {
                return;
            }
        }
    });
    let chunks = unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    reqwest::Body::wrap_stream(chunks)
}
