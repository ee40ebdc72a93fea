//! Request bodies: the 100 response that they need, the idle timeout, and the way to the client
//! that sends them upstream.
//!
//! The main functions are [`read_body`] and [`forward_body`].

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::web::{Bytes, Payload};
use futures_util::stream::{try_unfold, unfold};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::connection::ConnectionState;
use crate::gateway::STOPPING_IDLE_TIMEOUT;

/// Bound on chunks of a request body that wait for the origin.
const BODY_QUEUE_LENGTH: usize = 8;

/// Returns the body of `request`. The stream fails if the client sends nothing for `limit` while
/// the reader waits, or for [`STOPPING_IDLE_TIMEOUT`] while the process stops.
///
/// A client that waits for a 100 response gets it once the stream is read. A rejected client thus
/// sends no body (RFC 9110, section 10.1.1).
pub fn read_body(
    request: &HttpRequest,
    body: Payload,
    limit: Duration,
) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + use<> {
    let state = request.conn_data::<Rc<ConnectionState>>().map(Rc::clone);
    Box::pin(try_unfold(
        (state, body, true),
        move |(state, mut body, is_first)| async move {
            if let Some(state) = state.as_ref().filter(|_| is_first) {
                state.request_continue();
            }
            let chunk = tokio::select! {
                biased;
                chunk = body.next() => chunk,
                () = sleep(limit) => return Err(PayloadError::Incomplete(None)),
                () = stop_wait(state.as_deref()) => return Err(PayloadError::Incomplete(None)),
            };
            match chunk {
                Some(chunk) => Ok(Some((chunk?, (state, body, false)))),
                None => Ok(None),
            }
        },
    ))
}

/// Waits until a client may send nothing any longer, because the process stops.
async fn stop_wait(state: Option<&ConnectionState>) {
    match state {
        Some(state) => state.facts().stopping.notified().await,
        None => pending().await,
    }
    sleep(STOPPING_IDLE_TIMEOUT).await;
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
    let mut payload = read_body(request, payload, idle_timeout);
    let (start_reading, reading) = oneshot::channel();
    // The task ends with the payload, or when the receiver is dropped. It reads nothing of a
    // request that is rejected before.
    actix_web::rt::spawn(async move {
        if reading.await.is_err() {
            return;
        }
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
            let is_end = chunk.is_err();
            if sender.send(chunk).await.is_err() || is_end {
                return;
            }
        }
    });
    let chunks = unfold(
        (Some(start_reading), receiver),
        |(start, mut receiver)| async move {
            if let Some(start) = start {
                // The task reads as long as the receiver exists.
                start.send(()).ok();
            }
            let chunk = receiver.recv().await?;
            Some((chunk, (None, receiver)))
        },
    );
    reqwest::Body::wrap_stream(chunks)
}
