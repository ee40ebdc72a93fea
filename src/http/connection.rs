//! A client's connection, and how long it may be slow to say what it wants.
//!
//! The HTTP library bounds the first request head and the rest between two requests. Here is what it leaves open: later heads,
//! connections that are turned away, and clients that have left while they wait. A client that does not read is the kernel's
//! to notice ([`set_stall_timeout`]), which alone knows what has arrived.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_web::web::{Bytes, Payload};
use futures_util::stream::try_unfold;
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};

/// How long a client may take for its request head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one may take for which there is no place.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the answer to a client that will say no more may take to begin. Such a client has nearly always left.
const LEFT_TIMEOUT: Duration = Duration::from_secs(5);

/// What goes on between the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was asked yet.
    New,
    /// Between two requests.
    Resting,
    /// The head of a later request has begun.
    Asking,
    /// A request is being answered, and the answer has not begun.
    Waiting {
        has_body: bool,
    },
    Answering,
}

/// What a connection and those who answer on it know of one another. Both belong to one thread.
#[derive(Debug)]
pub struct Line {
    phase: Cell<Phase>,
    is_turned_away: bool,
    /// Of a connection whose client has said its last.
    waker: RefCell<Option<Waker>>,
}

impl Line {
    /// Whether there is no place for this connection.
    pub fn is_turned_away(&self) -> bool {
        self.is_turned_away
    }

    /// A request has come.
    pub fn begin(&self, has_body: bool) {
        self.phase.set(Phase::Waiting { has_body });
    }

    /// Its answer begins.
    pub fn answer(&self) {
        self.phase.set(Phase::Answering);
    }

    /// Its answer has ended.
    pub fn rest(&self) {
        self.phase.set(Phase::Resting);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A connection with its line and its place.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    line: Rc<Line>,
    place: Option<OwnedSemaphorePermit>,
    /// When it is over, if nothing happens.
    deadline: Option<Pin<Box<Sleep>>>,
    has_said_all: bool,
    /// Something has come that may be a request, and was not looked at yet.
    has_unread: bool,
}

impl Connection {
    /// Without a place it is turned away.
    pub fn new(stream: TcpStream, place: Option<OwnedSemaphorePermit>) -> Self {
        let is_turned_away = place.is_none();
        let line = Line { phase: Cell::new(Phase::New), is_turned_away, waker: RefCell::default() };
        let deadline = is_turned_away.then(|| Box::pin(sleep(TURN_AWAY_TIMEOUT)));
        Self { stream, line: Rc::new(line), place, deadline, has_said_all: false, has_unread: false }
    }

    pub fn line(&self) -> Rc<Line> {
        Rc::clone(&self.line)
    }

    /// The bare connection, and the place to be held as long as it is open.
    pub fn into_parts(self) -> (TcpStream, Option<OwnedSemaphorePermit>) {
        (self.stream, self.place)
    }

    /// Whether the client has had its time to ask.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let is_asking = match self.line.phase.get() {
            Phase::New => self.line.is_turned_away,
            Phase::Asking => true,
            Phase::Resting | Phase::Waiting { .. } | Phase::Answering => false,
        };
        if !is_asking {
            self.deadline = None;
        }
        self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
    }

    /// The client has said its last. One that waits for its answer may only have closed its half, so that this is kept back
    /// for a while; one that gets it, to the end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.has_unread) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.line.phase.get() {
            Phase::Waiting { has_body: false } => {
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(LEFT_TIMEOUT)));
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(())
            }
            Phase::Answering => {
                self.deadline = None;
                self.line.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
            Phase::New | Phase::Resting | Phase::Asking | Phase::Waiting { has_body: true } => Poll::Ready(()),
        }
    }
}

impl AsyncRead for Connection {
    /// Who is too late is told as if he had said his last.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.has_said_all {
            let before = buffer.filled().len();
            match Pin::new(&mut this.stream).poll_read(cx, buffer) {
                Poll::Pending if this.is_late(cx) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                    this.has_said_all = true;
                    this.deadline = None;
                }
                Poll::Ready(Ok(())) => {
                    this.has_unread = true;
                    if this.line.phase.get() == Phase::Resting {
                        this.line.phase.set(Phase::Asking);
                        this.deadline = Some(Box::pin(sleep(HEAD_TIMEOUT)));
                    }
                    return Poll::Ready(Ok(()));
                }
                other => return other,
            }
        }
        this.poll_end(cx).map(Ok)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of a request. It breaks off once nothing of it has come for `limit` while it was waited for.
pub fn unless_stalled(body: Payload, limit: Duration) -> impl Stream<Item = Result<Bytes, PayloadError>> + Unpin {
    Box::pin(try_unfold(body, move |mut body| async move {
        match timeout(limit, body.next()).await {
            Ok(Some(piece)) => Ok(Some((piece?, body))),
            Ok(None) => Ok(None),
            Err(_) => Err(PayloadError::Incomplete(None)),
        }
    }))
}

/// Has the kernel break off a connection whose peer takes nothing of what is sent for so long, be it gone or only not reading
/// (RFC 9293, section 3.9.1.8: the user timeout). A kernel opens its window again once a part of its buffer is free, so that
/// one that reads less than that part in this time counts as not reading: about a KiB a second in five minutes.
pub fn set_stall_timeout(stream: &TcpStream, timeout: Duration) {
    let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds) {
        tracing::warn!(%error, "a connection has no bound on how long its client may not read");
    }
}
