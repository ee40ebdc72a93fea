//! Transport of a client's connection: plain, or the inside of a TLS connection.
//!
//! The main type is [`ClientStream`].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::deadline::Deadline;

/// Interval between two looks for a reset, while a response goes to a half-closed connection.
const RESET_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Transport of a client's connection.
#[derive(Debug)]
pub enum ClientStream {
    Plain(TcpStream),
    /// Inside of an intercepted `CONNECT`. Boxed, because few connections are.
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientStream {
    /// Returns the error of a half-closed connection that the client has reset. No read returns it
    /// then, and no reader is woken. `deadline` must be for this wait alone.
    pub(super) fn poll_reset(
        &self,
        deadline: &mut Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        };
        while deadline.poll_within(RESET_CHECK_INTERVAL, cx).is_ready() {
            deadline.clear();
            if let Some(error) = socket.take_error()? {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }
}

/// Calls a function of the transport, whichever it is.
macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Self::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(cx))
    }
}
