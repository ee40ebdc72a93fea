//! A client's connection: hands over one request at a time and enforces deadlines.
//!
//! The HTTP library bounds the first request head. This module bounds the rest: the idle time
//! between two requests, later heads, rejected connections, and clients that disconnect while they
//! wait. The kernel detects a client that does not read, since only the kernel knows which bytes
//! have arrived.
//!
//! The library also decodes up to 16 requests ahead. It encodes each response by the method, the
//! version and the `Connection` field of the request that it decoded last. [`ClientConnection`]
//! therefore hands over one request at a time. The first byte of the next request follows once the
//! response is written and the library has had the chance to close the connection.
//!
//! A body of known length passes by the library: [`DirectBytes`] follow what the library has
//! written.

mod client_stream;
mod deadline;
mod direct_bytes;
mod file_sender;
mod linger;
mod request_gate;
mod state;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::{Admission, ConnectionPermit, ExcessConnection};
use deadline::Deadline;
use linger::Linger;
use request_gate::RequestGate;
use state::RequestPhase;

pub use client_stream::ClientStream;
pub use direct_bytes::DirectBytes;
pub use file_sender::FileSender;
pub use state::{ConnectionFacts, ConnectionState, EnclosingConnect, InnerTransport};

/// How long a client may take to send a request head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a response may take to begin after the client has closed its half. Such a client has
/// nearly always disconnected.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(5);

/// The same time, while Millpond hashes an object for the response. In this interval the connection
/// checks whether that is so.
const HALF_CLOSED_HASHING_TIMEOUT: Duration = Duration::from_millis(250);

/// How long Millpond goes on reading from a connection that it has closed.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// The response that makes a client send its body (RFC 9110, section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A 100 response that is being sent.
#[derive(Debug, Default)]
struct Interim {
    rest: &'static [u8],
    /// A part was written and not flushed: TLS may keep it.
    is_unflushed: bool,
}

/// A client's connection with its permit, as the HTTP library reads and writes it.
#[derive(Debug)]
pub struct ClientConnection {
    stream: ClientStream,
    gate: RequestGate,
    state: Rc<ConnectionState>,
    permit: Admission,
    /// When the connection ends, unless its phase changes before.
    deadline: Deadline,
    is_half_closed: bool,
    /// How long the response has not begun since then.
    half_closed_for: Duration,
    /// Bytes were handed over that the HTTP library may not have parsed yet.
    has_unparsed: bool,
    interim: Interim,
    /// Set once the connection is closed for writing.
    linger: Option<Linger>,
}

impl ClientConnection {
    /// Returns the connection on `stream`. If it is above the limit, its request is rejected.
    pub fn new(stream: ClientStream, permit: Admission, facts: ConnectionFacts) -> Self {
        let reject_timeout = permit.as_ref().err().map(ExcessConnection::reject_timeout);
        Self {
            stream,
            gate: RequestGate::default(),
            state: Rc::new(ConnectionState::new(permit.is_err(), facts)),
            permit,
            deadline: reject_timeout.map_or_else(Deadline::default, Deadline::after),
            is_half_closed: false,
            half_closed_for: Duration::ZERO,
            has_unparsed: false,
            interim: Interim::default(),
            linger: None,
        }
    }

    /// Adds bytes that were read from the connection before.
    pub fn with_early(self, early: &[u8]) -> Self {
        Self {
            gate: RequestGate::with_buffered(early),
            ..self
        }
    }

    pub fn state(&self) -> Rc<ConnectionState> {
        Rc::clone(&self.state)
    }

    /// Returns the socket, the permit, and the bytes that were read and not handed over. The caller
    /// must hold the permit while the socket is open.
    pub fn into_parts(self) -> (ClientStream, Admission, BytesMut) {
        (self.stream, self.permit, self.gate.into_buffered())
    }

    /// How long the client of a rejected connection may take.
    fn reject_timeout(&self) -> Duration {
        let excess = self.permit.as_ref().err();
        excess.map_or(
            ConnectionPermit::REJECT_TIMEOUT,
            ExcessConnection::reject_timeout,
        )
    }

    /// Whether the deadline of the current phase has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> bool {
        let limit = match self.state.phase() {
            RequestPhase::New if self.state.is_rejected() => Some(self.reject_timeout()),
            RequestPhase::Idle => Some(KEEP_ALIVE),
            RequestPhase::ReadingHead if self.gate.is_in_head() => Some(HEAD_TIMEOUT),
            // The rest of an unwanted body may take as long as a head.
            RequestPhase::Responded if !self.gate.is_request_complete() => Some(HEAD_TIMEOUT),
            RequestPhase::New
            | RequestPhase::ReadingHead
            | RequestPhase::AwaitingResponse
            | RequestPhase::Responding
            | RequestPhase::Responded => None,
        };
        let Some(limit) = limit else {
            self.deadline.clear();
            return false;
        };
        self.deadline.poll_within(limit, cx).is_ready()
    }

    /// Returns ready when the HTTP library may see that the client has closed its half.
    ///
    /// A client that waits for its response may have closed only its half. The library sees the end
    /// after [`HALF_CLOSED_TIMEOUT`] then, or earlier if the response costs CPU, and not before the
    /// end of a response that has begun.
    fn poll_half_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_unparsed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.state.phase() {
            RequestPhase::AwaitingResponse if self.gate.is_request_complete() => {
                self.poll_patience(cx).map(Ok)
            }
            RequestPhase::Responding => {
                self.state.wake_after_response(cx);
                self.stream.poll_reset(&mut self.deadline, cx)
            }
            // The next request follows once the response is written.
            RequestPhase::Responded
                if self.gate.is_request_complete() && self.gate.has_buffered() =>
            {
                Poll::Pending
            }
            RequestPhase::New
            | RequestPhase::Idle
            | RequestPhase::ReadingHead
            | RequestPhase::AwaitingResponse
            | RequestPhase::Responded => Poll::Ready(Ok(())),
        }
    }

    /// Returns ready when a half-closed connection has waited long enough for its response.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let step = HALF_CLOSED_HASHING_TIMEOUT;
            ready!(self.deadline.poll_within(step, cx));
            self.deadline.clear();
            self.half_closed_for += step;
            let is_hashing = self.state.hashing().is_raised();
            if is_hashing || self.half_closed_for >= HALF_CLOSED_TIMEOUT {
                return Poll::Ready(());
            }
        }
    }

    /// Sends a 100 response if the service reads the body. The response before has been written,
    /// and that of this request has not begun.
    fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.state.take_continue() {
            self.interim.rest = CONTINUE;
        }
        while !self.interim.rest.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, self.interim.rest))?;
            self.interim.rest = &self.interim.rest[count..];
            self.interim.is_unflushed = true;
        }
        if self.interim.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.interim.is_unflushed = false;
        }
        self.state.wake_for_continue(cx);
        Poll::Ready(Ok(()))
    }

    /// Counts a head that has begun and not ended. Returns whether the client may go on with it.
    fn count_unfinished_head(&mut self) -> bool {
        let is_unfinished = self.gate.is_in_head() && self.gate.has_buffered();
        match &mut self.permit {
            Ok(permit) if is_unfinished => permit.begin_head(),
            Ok(permit) => {
                permit.end_head();
                true
            }
            // A rejected connection ends soon.
            Err(_) => true,
        }
    }

    /// Whether the connection has to close, because it waits for a request and another one has got
    /// its permit.
    fn poll_gives_way(&self, cx: &Context<'_>) -> bool {
        match &self.permit {
            Ok(permit) if self.gate.is_in_head() => permit.wait_for_request(cx.waker()),
            Ok(_) | Err(_) => false,
        }
    }

    /// Records that bytes have arrived. If the connection had to close, its request is rejected.
    fn receive(&self) {
        if self.permit.as_ref().is_ok_and(ConnectionPermit::receive) {
            self.state.reject();
        }
    }

    fn begin_head(&mut self) {
        self.state.set_phase(RequestPhase::ReadingHead);
        self.deadline.clear();
    }

    /// Begins the next request if the current one is complete and answered.
    ///
    /// The library flushes after it has written the whole response. If it has to close the
    /// connection, it does so before it reads again.
    fn begin_next_request(&mut self, cx: &mut Context<'_>) {
        if self.state.phase() != RequestPhase::Responded || !self.gate.is_request_complete() {
            return;
        }
        self.gate.begin_next();
        if let Ok(permit) = &self.permit {
            permit.end_request();
        }
        if self.gate.has_buffered() {
            self.begin_head();
        } else {
            self.state.set_phase(RequestPhase::Idle);
            self.deadline.clear();
        }
        // The library reads again only when it is woken, so the wait is registered here.
        let gives_way = !self.gate.has_buffered() && self.poll_gives_way(cx);
        // A deadline cannot have passed yet.
        if self.gate.has_buffered() || self.is_half_closed || gives_way || self.poll_deadline(cx) {
            cx.waker().wake_by_ref();
        }
    }
}

impl AsyncRead for ClientConnection {
    /// Reads bytes of the current request. A passed deadline reads as the end of the stream.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(Err(error)) = this.poll_continue(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            let released = this.gate.release(buffer);
            this.state.set_notes(this.gate.notes());
            match released {
                Ok(false) => {}
                Ok(true) => {
                    this.has_unparsed = true;
                    return Poll::Ready(Ok(()));
                }
                Err(error) => {
                    if this.gate.replace_malformed() {
                        this.state.set_framing_error(error);
                    }
                    continue;
                }
            }
            if this.gate.is_full() {
                return Poll::Pending;
            }
            if this.is_half_closed {
                return this.poll_half_closed(cx);
            }
            let before = buffer.filled().len();
            match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                Poll::Pending if this.poll_deadline(cx) || this.poll_gives_way(cx) => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                    this.is_half_closed = true;
                    this.deadline.clear();
                }
                Poll::Ready(Ok(())) => {
                    this.receive();
                    if this.state.phase() == RequestPhase::Idle {
                        this.begin_head();
                    }
                    this.gate.accept(buffer, before);
                    if !this.count_unfinished_head() {
                        // Reads as the end of the stream.
                        return Poll::Ready(Ok(()));
                    }
                    this.state.set_notes(this.gate.notes());
                    if buffer.filled().len() > before {
                        this.has_unparsed = true;
                        return Poll::Ready(Ok(()));
                    }
                }
                other => return other,
            }
        }
    }
}

impl AsyncWrite for ClientConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_continue(cx))?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.state.direct_bytes().poll_send(&mut this.stream, cx))?;
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.begin_next_request(cx);
        Poll::Ready(Ok(()))
    }

    /// Closes the connection for writing. Lingers if the client has sent bytes that were not read,
    /// or will send the end of TLS.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let has_unread = this.gate.has_buffered() || this.gate.is_request_replaced();
        // A client of TLS ends with bytes of its own, and a reset could cost it the response.
        let is_tls = matches!(this.stream, ClientStream::Tls(_));
        if !has_unread && !is_tls {
            return Poll::Ready(Ok(()));
        }
        let limit = if this.state.is_rejected() {
            this.reject_timeout()
        } else {
            LINGER_TIMEOUT
        };
        let linger = this.linger.get_or_insert_with(|| Linger::start(limit));
        linger.poll(&mut this.stream, cx).map(Ok)
    }
}
