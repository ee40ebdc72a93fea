//! Lingering close of a connection (RFC 9112, section 9.6).
//!
//! If bytes were left unread, the kernel would reset the connection, and the client could lose the
//! last response. The main type is [`Linger`].

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::client_stream::ClientStream;

/// Buffer for bytes that are read and discarded.
const DISCARD_BYTES: usize = 4096;

/// Reading and discarding on a connection that Millpond has closed for writing.
#[derive(Debug)]
pub struct Linger {
    deadline: Pin<Box<Sleep>>,
}

impl Linger {
    /// Starts the period, which ends after `limit` at the latest.
    pub fn start(limit: Duration) -> Self {
        Self {
            deadline: Box::pin(sleep(limit)),
        }
    }

    /// Reads and discards bytes until the client closes its half or the deadline passes.
    pub fn poll(&mut self, stream: &mut ClientStream, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        loop {
            let mut bytes = [0; DISCARD_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            if ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)).is_err()
                || buffer.filled().is_empty()
            {
                return Poll::Ready(());
            }
        }
    }
}
