//! Sends a part of a stored file to the socket of a connection.
//!
//! The kernel sends what it has in memory. Other bytes are read on a disk thread and written, which
//! also brings them to the kernel's memory. The main type is [`FileSender`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use rustix::net::sockopt::set_tcp_cork;
use tokio::io::{AsyncWrite as _, Interest};
use tokio::net::TcpStream;

use crate::cache::FileHit;
use crate::model::ByteRange;

/// Most bytes that go to the socket before other tasks may run. Without this bound a fast client
/// would occupy a thread for megabytes, while hundreds of clients wait for their first byte.
const MAX_SENT_BYTES: u64 = 1 << 20;

/// How long bytes that were found in memory count as being there.
const CHECK_VALID: Duration = Duration::from_millis(100);

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>>>>;

/// The rest of a part of a file that is being sent.
pub struct FileSender {
    hit: FileHit,
    range: ByteRange,
    left_bytes: u64,
    /// Most bytes that are read at once.
    chunk_bytes: usize,
    checked: Option<CheckedPart>,
    step: SendStep,
    is_corked: bool,
}

enum SendStep {
    Sending,
    Reading(Reading),
    /// Bytes that were read.
    Writing(Bytes),
}

/// Part of the file that was found in memory.
struct CheckedPart {
    /// Offset of the first byte that was not, or was not looked for.
    end: u64,
    is_end_missing: bool,
    checked_at: Instant,
}

impl FileSender {
    /// Returns the sender of a part of a hit. It keeps at most `chunk_bytes` in memory.
    pub fn new(hit: FileHit, range: ByteRange, chunk_bytes: usize) -> Self {
        Self {
            hit,
            range,
            left_bytes: range.size_bytes(),
            chunk_bytes,
            checked: None,
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
        while self.left_bytes > 0 {
            if budget_bytes == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let sent_bytes = ready!(self.poll_step(socket, budget_bytes, cx))?;
            self.left_bytes -= sent_bytes;
            budget_bytes = budget_bytes.saturating_sub(sent_bytes);
        }
        self.set_cork(socket, false);
        Poll::Ready(Ok(()))
    }

    /// Goes one step on. Returns the number of bytes that the socket has taken, at most
    /// `budget_bytes` or what was read.
    fn poll_step(
        &mut self,
        socket: &mut TcpStream,
        budget_bytes: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<u64>> {
        match &mut self.step {
            SendStep::Sending => {
                ready!(socket.poll_write_ready(cx))?;
                self.set_cork(socket, true);
                Poll::Ready(self.send(socket, budget_bytes))
            }
            SendStep::Reading(reading) => {
                let Poll::Ready(read) = reading.as_mut().poll(cx) else {
                    // The disk may take long.
                    self.set_cork(socket, false);
                    return Poll::Pending;
                };
                let read = read.inspect_err(|error| self.report_unreadable(error));
                self.step = SendStep::Writing(read?);
                Poll::Ready(Ok(0))
            }
            SendStep::Writing(bytes) if bytes.is_empty() => {
                self.step = SendStep::Sending;
                Poll::Ready(Ok(0))
            }
            SendStep::Writing(bytes) => {
                let count = ready!(Pin::new(socket).poll_write(cx, bytes))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                bytes.advance(count);
                Poll::Ready(Ok(count as u64))
            }
        }
    }

    fn offset(&self) -> u64 {
        self.range.last + 1 - self.left_bytes
    }

    /// Sends at most `budget_bytes` of the rest to a socket that may take some. If they are not in
    /// memory, the next step reads them.
    fn send(&mut self, socket: &TcpStream, budget_bytes: u64) -> io::Result<u64> {
        let (offset, size_bytes) = (self.offset(), self.left_bytes.min(budget_bytes));
        let cached_bytes = self.check(offset, size_bytes).min(size_bytes);
        let sent = if cached_bytes == 0 {
            Ok(0)
        } else {
            let file = self.hit.file();
            socket.try_io(Interest::WRITABLE, || {
                file.send_cached(socket, offset, cached_bytes)
            })
        };
        match sent {
            Ok(0) => {
                self.checked = None;
                self.step = self.read();
                Ok(0)
            }
            // The socket is no longer marked as ready.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent,
        }
    }

    /// Returns how many of the bytes from `offset` are in memory. A byte that was missing is not
    /// looked for again: to look for it has made the kernel read it, but not the bytes around it.
    fn check(&mut self, offset: u64, size_bytes: u64) -> u64 {
        if let Some(checked) = &self.checked
            && checked.checked_at.elapsed() < CHECK_VALID
            && (offset < checked.end || checked.is_end_missing)
        {
            return checked.end - offset;
        }
        let cached_bytes = self.hit.file().cached_bytes(offset, size_bytes);
        self.checked = Some(CheckedPart {
            end: offset + cached_bytes,
            is_end_missing: cached_bytes < size_bytes,
            checked_at: Instant::now(),
        });
        cached_bytes
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
        let size_bytes = left_bytes.min(self.chunk_bytes);
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
