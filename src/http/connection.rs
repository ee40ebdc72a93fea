//! A client's connection, and how long it may be slow to say what it wants.
//!
//! The HTTP library bounds the first request head and the rest between two requests. Here is what
//! it leaves open: later heads, connections that are turned away, and clients that have left while
//! they wait. A client that does not read is the kernel's to notice ([`set_stall_timeout`]), which
//! alone knows what has arrived.
//!
//! The library also decodes up to 16 requests ahead, and encodes each answer by the method, the
//! version and the `Connection` of the request that it decoded last. [`Connection`] therefore hands
//! over one request at a time: the first byte of the next one follows once the answer is written,
//! and once the library has had the chance to close behind it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::web::{Bytes, Payload};
use bytes::BytesMut;
use futures_util::stream::try_unfold;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};

use super::request_scanner::{FramingError, RequestScanner};

/// How long a client may take for its request head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one may take for which there is no place.
const REJECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the answer to a client that will say no more may take to begin. Such a client has
/// nearly always left.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// How long Millpond goes on reading from a connection that it has closed (RFC 9112, section 9.6).
/// If bytes were left unread, the kernel would reset the connection, and the client could lose the
/// last answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Once so many bytes of later requests were read, the rest waits in the kernel. Reading ahead
/// shows that a client has left.
const READ_AHEAD_BYTES: usize = 8 * 1024;

/// Buffer for bytes that are read and discarded.
const DISCARD_BYTES: usize = 4096;

/// The request that the HTTP library gets in place of a malformed one. Its answer is always an
/// error.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// Bytes that are invalid in a chunked body everywhere outside the data of a chunk.
const CHUNK_ERROR: &[u8] = b"\r\0";

/// What goes on between the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestPhase {
    /// Nothing was asked yet.
    New,
    /// Between two requests.
    Idle,
    /// The head of a later request has begun.
    ReadingHead,
    /// A request is being answered, and the answer has not begun.
    AwaitingResponse,
    Responding,
    /// The answer has ended. Bytes of it may still have to be written, and bytes of the request to
    /// be read.
    Responded,
}

/// What a connection and those who answer on it know of one another. Both belong to one thread.
#[derive(Debug)]
pub struct ConnectionState {
    phase: Cell<RequestPhase>,
    is_rejected: bool,
    refused: Cell<Option<FramingError>>,
    /// Of a connection whose client has said its last.
    waker: RefCell<Option<Waker>>,
}

impl ConnectionState {
    /// Whether there is no place for this connection.
    pub fn is_rejected(&self) -> bool {
        self.is_rejected
    }

    /// The error of a malformed request, in place of which the HTTP library got a stand-in.
    pub fn refused(&self) -> Option<FramingError> {
        self.refused.get()
    }

    /// A request has come.
    pub fn begin_request(&self) {
        self.phase.set(RequestPhase::AwaitingResponse);
    }

    /// Its answer begins.
    pub fn begin_response(&self) {
        self.phase.set(RequestPhase::Responding);
    }

    /// Its answer has ended.
    pub fn finish_response(&self) {
        self.phase.set(RequestPhase::Responded);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Bytes on their way from the client to the HTTP library, which gets those of the current request
/// only.
#[derive(Debug, Default)]
struct Inflow {
    scanner: RequestScanner,
    /// Bytes that were read and not handed over: the beginning of a head, or what follows the
    /// current request.
    buffered: BytesMut,
    /// How many of the first bytes of `buffered` belong to the current request.
    cleared_bytes: usize,
    is_refused: bool,
}

impl Inflow {
    /// Takes the bytes of `buffer` behind the first `before` ones, and leaves those there that may
    /// be handed over. Bodies are not copied.
    fn accept(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let fresh = &buffer.filled()[before..];
        // Malformed bytes are held, and `release` returns their error.
        let count = if self.buffered.is_empty() {
            self.scanner.advance(fresh).unwrap_or(0)
        } else {
            0
        };
        self.buffered.extend_from_slice(&fresh[count..]);
        buffer.set_filled(before + count);
    }

    /// Moves held bytes of the current request into `buffer`, and returns whether there were any.
    fn release(&mut self, buffer: &mut ReadBuf<'_>) -> Result<bool, FramingError> {
        if self.buffered.is_empty() {
            return Ok(false);
        }
        if self.cleared_bytes == 0 {
            self.cleared_bytes = self.scanner.advance(&self.buffered)?;
        }
        let count = self.cleared_bytes.min(buffer.remaining());
        buffer.put_slice(&self.buffered.split_to(count));
        self.cleared_bytes -= count;
        if self.buffered.is_empty() {
            // An idle connection keeps no buffer.
            self.buffered = BytesMut::new();
        }
        Ok(count > 0)
    }

    /// Replaces the held bytes by an error, or by a stand-in if no byte of the request was handed
    /// over. Returns whether it is a stand-in.
    fn refuse(&mut self) -> bool {
        let is_in_head = self.scanner.is_in_head();
        self.buffered = BytesMut::from(if is_in_head { STAND_IN } else { CHUNK_ERROR });
        self.cleared_bytes = self.buffered.len();
        self.is_refused = true;
        is_in_head
    }

    /// Whether the current request was handed over to its end.
    fn is_request_complete(&self) -> bool {
        self.scanner.is_complete() && self.cleared_bytes == 0
    }

    /// Whether the next bytes have to wait in the kernel.
    fn is_full(&self) -> bool {
        self.is_refused || (self.scanner.is_complete() && self.buffered.len() >= READ_AHEAD_BYTES)
    }
}

/// A connection with its line and its place.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inflow: Inflow,
    state: Rc<ConnectionState>,
    permit: Option<OwnedSemaphorePermit>,
    /// When it is over, if nothing happens.
    deadline: Option<Pin<Box<Sleep>>>,
    is_half_closed: bool,
    /// Something has come that may be a request, and was not looked at yet.
    has_unread: bool,
    /// Set once the connection is closed and reads on ([`LINGER_TIMEOUT`]).
    linger_deadline: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// Without a place it is turned away.
    pub fn new(stream: TcpStream, permit: Option<OwnedSemaphorePermit>) -> Self {
        let is_rejected = permit.is_none();
        let (phase, refused) = (Cell::new(RequestPhase::New), Cell::default());
        let state = ConnectionState {
            phase,
            is_rejected,
            refused,
            waker: RefCell::default(),
        };
        let deadline = is_rejected.then(|| Box::pin(sleep(REJECT_TIMEOUT)));
        Self {
            stream,
            inflow: Inflow::default(),
            state: Rc::new(state),
            permit,
            deadline,
            is_half_closed: false,
            has_unread: false,
            linger_deadline: None,
        }
    }

    pub fn state(&self) -> Rc<ConnectionState> {
        Rc::clone(&self.state)
    }

    /// The bare connection, the place to be held as long as it is open, and the bytes that were
    /// read and not handed over.
    pub fn into_parts(self) -> (TcpStream, Option<OwnedSemaphorePermit>, BytesMut) {
        (self.stream, self.permit, self.inflow.buffered)
    }

    /// Whether the client has had its time to ask.
    fn deadline_passed(&mut self, cx: &mut Context<'_>) -> bool {
        let is_reading_head = match self.state.phase.get() {
            RequestPhase::New => self.state.is_rejected,
            RequestPhase::ReadingHead => true,
            // The rest of an unwanted body may take as long as a head.
            RequestPhase::Responded if !self.inflow.is_request_complete() => {
                self.deadline
                    .get_or_insert_with(|| Box::pin(sleep(HEAD_TIMEOUT)));
                true
            }
            RequestPhase::Idle
            | RequestPhase::AwaitingResponse
            | RequestPhase::Responding
            | RequestPhase::Responded => false,
        };
        if !is_reading_head {
            self.deadline = None;
        }
        self.deadline
            .as_mut()
            .is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
    }

    /// The client has said its last. One that waits for its answer may only have closed its half,
    /// so that this is kept back for a while; one that gets it, to the end.
    fn poll_half_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.has_unread) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.state.phase.get() {
            RequestPhase::AwaitingResponse if self.inflow.is_request_complete() => {
                let deadline = self
                    .deadline
                    .get_or_insert_with(|| Box::pin(sleep(HALF_CLOSED_TIMEOUT)));
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(())
            }
            RequestPhase::Responding => {
                self.deadline = None;
                self.state.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
            // The next request follows once the answer is written.
            RequestPhase::Responded
                if self.inflow.is_request_complete() && !self.inflow.buffered.is_empty() =>
            {
                Poll::Pending
            }
            RequestPhase::New
            | RequestPhase::Idle
            | RequestPhase::ReadingHead
            | RequestPhase::AwaitingResponse
            | RequestPhase::Responded => Poll::Ready(()),
        }
    }

    fn begin_head(&mut self) {
        self.state.phase.set(RequestPhase::ReadingHead);
        self.deadline = Some(Box::pin(sleep(HEAD_TIMEOUT)));
    }

    /// Makes way for the next request if the current one is complete and answered. The library
    /// flushes after it has written all of the answer, and if it has to close the connection, it
    /// does so before it reads again.
    fn begin_next(&mut self, cx: &Context<'_>) {
        if self.state.phase.get() != RequestPhase::Responded || !self.inflow.is_request_complete() {
            return;
        }
        self.inflow.scanner.restart();
        if self.inflow.buffered.is_empty() {
            self.state.phase.set(RequestPhase::Idle);
        } else {
            self.begin_head();
        }
        if !self.inflow.buffered.is_empty() || self.is_half_closed {
            cx.waker().wake_by_ref();
        }
    }

    /// Reads and discards bytes until the client closes its half or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = if self.state.is_rejected {
            REJECT_TIMEOUT
        } else {
            LINGER_TIMEOUT
        };
        let deadline = self
            .linger_deadline
            .get_or_insert_with(|| Box::pin(sleep(limit)));
        if deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let mut bytes = [0; DISCARD_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).is_err()
                || buffer.filled().is_empty()
            {
                return Poll::Ready(());
            }
        }
    }
}

impl AsyncRead for Connection {
    /// Who is too late is told as if he had said his last.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.inflow.release(buffer) {
                Ok(false) => {}
                Ok(true) => {
                    this.has_unread = true;
                    return Poll::Ready(Ok(()));
                }
                Err(error) => {
                    if this.inflow.refuse() {
                        this.state.refused.set(Some(error));
                    }
                    continue;
                }
            }
            if this.inflow.is_full() {
                return Poll::Pending;
            }
            if this.is_half_closed {
                return this.poll_half_closed(cx).map(Ok);
            }
            let before = buffer.filled().len();
            match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                Poll::Pending if this.deadline_passed(cx) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                    this.is_half_closed = true;
                    this.deadline = None;
                }
                Poll::Ready(Ok(())) => {
                    if this.state.phase.get() == RequestPhase::Idle {
                        this.begin_head();
                    }
                    this.inflow.accept(buffer, before);
                    if buffer.filled().len() > before {
                        this.has_unread = true;
                        return Poll::Ready(Ok(()));
                    }
                }
                other => return other,
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.begin_next(cx);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger_deadline.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.inflow.buffered.is_empty() && !self.inflow.is_refused {
            return Poll::Ready(Ok(()));
        }
        self.poll_linger(cx).map(Ok)
    }
}

/// The body of a request. It breaks off once nothing of it has come for `limit` while it was waited
/// for.
pub fn with_idle_timeout(
    body: Payload,
    limit: Duration,
) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin {
    Box::pin(try_unfold(body, move |mut body| async move {
        match timeout(limit, body.next()).await {
            Ok(Some(piece)) => Ok(Some((piece?, body))),
            Ok(None) => Ok(None),
            Err(_) => Err(PayloadError::Incomplete(None)),
        }
    }))
}

/// Has the kernel break off a connection whose peer takes nothing of what is sent for so long, be
/// it gone or only not reading (RFC 9293, section 3.9.1.8: the user timeout). A kernel opens its
/// window again once a part of its buffer is free, so that one that reads less than that part in
/// this time counts as not reading: about a KiB a second in five minutes.
pub fn set_stall_timeout(stream: &TcpStream, timeout: Duration) {
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds) {
        tracing::warn!(%error, "a connection has no bound on how long its client may not read");
    }
}
