//! Connection to an HTTP origin, as its client uses it. The main type is [`OriginStream`].

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head_reader::{HeadReader, Requests};

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
    heads: HeadReader,
    id: ConnectionId,
    form: RequestForm,
}

impl OriginStream {
    pub fn new(io: Box<dyn ByteStream>, form: RequestForm, requests: Requests) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            io,
            heads: HeadReader::new(requests),
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
            .extra(self.heads.rewritten_head())
    }
}

impl AsyncRead for OriginStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        while !this.heads.give(buffer) {
            let start = buffer.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
            let received = &buffer.filled()[start..];
            if !this.heads.is_in_head() {
                break;
            }
            if received.is_empty() {
                this.heads.end();
                this.heads.give(buffer);
                break;
            }
            let taken = this.heads.receive(received);
            taken.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
            buffer.set_filled(start);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OriginStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.heads.begin_request();
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.heads.begin_request();
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
