//! Bound on what a server may send in response to one request. The main type is [`BoundedStream`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bound on the bytes of a server between two requests. The longest response of those that Millpond
/// asks for has 64 entries of 1 KiB.
const MAX_RESPONSE_BYTES: usize = 256 << 10;

/// Connection whose server may not send more than it was asked for.
#[derive(Debug)]
pub struct BoundedStream {
    stream: TcpStream,
    left: usize,
    is_exceeded: Arc<AtomicBool>,
}

impl BoundedStream {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            left: MAX_RESPONSE_BYTES,
            is_exceeded: Arc::default(),
        }
    }

    /// Returns a flag that is set once the server has sent too much. The client of Redis does not
    /// pass the error on.
    pub fn exceeded(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_exceeded)
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if let Some(left) = self.left.checked_sub(read) {
            self.left = left;
            polled
        } else {
            self.is_exceeded.store(true, Ordering::Relaxed);
            Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
        }
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.left = MAX_RESPONSE_BYTES;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
