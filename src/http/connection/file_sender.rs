//! Sends a part of a stored file to the socket of a connection.
//!
//! The kernel sends what it has in memory. Other bytes are read on a disk thread and written, which
//! also brings them to the kernel's memory. The main type is [`FileSender`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use rustix::net::sockopt::set_tcp_cork;
use tokio::io::{AsyncWrite as _, Interest};
use tokio::net::TcpStream;

use crate::cache::{FileHit, SendOutcome};
use crate::model::ByteRange;

/// Most bytes that go to the socket before other tasks may run. Without this bound a fast client
/// would occupy a thread for megabytes, while hundreds of clients wait for their first byte.
const MAX_SENT_BYTES: u64 = 1 << 20;

/// Most bytes that are read at once.
const MAX_READ_BYTES: usize = 256 * 1024;

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>>>>;

/// The rest of a part of a file that is being sent.
pub struct FileSender {
    hit: FileHit,
    range: ByteRange,
    left_bytes: u64,
    step: SendStep,
    is_corked: bool,
}

enum SendStep {
    Sending,
    Reading(Reading),
    /// Bytes that were read.
    Writing(Bytes),
}

impl FileSender {
    /// Returns the sender of a part of a hit.
    pub fn new(hit: FileHit, range: ByteRange) -> Self {
        Self {
            hit,
            range,
            left_bytes: range.size_bytes(),
            step: SendStep::Sending,
            is_corked: false,
        }
    }

    /// Number of bytes that the socket has not taken yet.
    pub fn left_bytes(&self) -> u64 {
        self.left_bytes
    }

    /// Sends the rest.
    ///
    /// # Errors
    /// The error of the disk or of the socket.
    pub fn poll_send(
        &mut self,
        socket: &mut TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut budget_bytes = MAX_SENT_BYTES;
        self.set_cork(socket, true);
        while self.left_bytes > 0 {
            if budget_bytes == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let sent_bytes = match &mut self.step {
                SendStep::Sending => {
                    ready!(socket.poll_write_ready(cx))?;
                    match self.send(socket, budget_bytes) {
                        Ok(SendOutcome::Sent(sent_bytes)) => sent_bytes,
                        Ok(SendOutcome::MustRead) => {
                            self.step = self.read();
                            0
                        }
                        // The socket is no longer marked as ready.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                SendStep::Reading(reading) => {
                    let read = ready!(reading.as_mut().poll(cx));
                    let read = read.inspect_err(|error| self.report_unreadable(error));
                    self.step = SendStep::Writing(read?);
                    0
                }
                SendStep::Writing(bytes) if bytes.is_empty() => {
                    self.step = SendStep::Sending;
                    0
                }
                SendStep::Writing(bytes) => {
                    let count = ready!(Pin::new(&mut *socket).poll_write(cx, bytes))?;
                    if count == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    bytes.advance(count);
                    count as u64
                }
            };
            self.left_bytes -= sent_bytes;
            budget_bytes = budget_bytes.saturating_sub(sent_bytes);
        }
        self.set_cork(socket, false);
        Poll::Ready(Ok(()))
    }

    fn offset(&self) -> u64 {
        self.range.last + 1 - self.left_bytes
    }

    /// Sends at most `size_bytes` of the rest to a socket that takes some.
    fn send(&self, socket: &TcpStream, size_bytes: u64) -> io::Result<SendOutcome> {
        let size_bytes = self.left_bytes.min(size_bytes);
        socket.try_io(Interest::WRITABLE, || {
            let file = self.hit.file();
            file.send_cached(socket, self.offset(), size_bytes)
        })
    }

    fn report_unreadable(&self, error: &io::Error) {
        let sha256 = self.hit.record.sha256;
        tracing::error!(%error, %sha256, "object is unreadable, aborting the response");
    }

    /// Makes the kernel send full segments only, or what it has.
    fn set_cork(&mut self, socket: &TcpStream, is_corked: bool) {
        if self.is_corked != is_corked {
            // The segments are only smaller without it.
            set_tcp_cork(socket, is_corked).ok();
            self.is_corked = is_corked;
        }
    }

    /// Begins to read the next bytes.
    fn read(&self) -> SendStep {
        let (hit, offset) = (self.hit.clone(), self.offset());
        let left_bytes = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let size_bytes = left_bytes.min(MAX_READ_BYTES);
        SendStep::Reading(Box::pin(
            async move { hit.read_some(offset, size_bytes).await },
        ))
    }
}

impl std::fmt::Debug for FileSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileSender")
            .field("range", &self.range)
            .field("left_bytes", &self.left_bytes)
            .finish_non_exhaustive()
    }
}
