//! Connection to an HTTP origin, as its client uses it. The main type is [`OriginStream`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Stream of bytes, plain or encrypted, once or twice.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Identity of a connection. No two connections of the process have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionId(u64);

/// Form of the request target (RFC 9112, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestForm {
    Origin,
    /// Absolute form, for a plain request through an egress proxy.
    Absolute,
}

/// Open connection to an origin, or to the egress proxy in front of it.
pub struct OriginStream {
    io: Box<dyn ByteStream>,
    id: ConnectionId,
    form: RequestForm,
}

impl OriginStream {
    pub fn new(io: Box<dyn ByteStream>, form: RequestForm) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            io,
            id: ConnectionId(NEXT.fetch_add(1, Ordering::Relaxed)),
            form,
        }
    }

    pub fn id(&self) -> ConnectionId {
        self.id
    }
}

impl Connection for OriginStream {
    fn connected(&self) -> Connected {
        Connected::new()
            .proxy(self.form == RequestForm::Absolute)
            .extra(self.id)
    }
}

impl AsyncRead for OriginStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for OriginStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
