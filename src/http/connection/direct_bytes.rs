//! Bytes of a body that go to the socket directly. The HTTP library would copy them to a buffer of
//! its own before.
//!
//! The main type is [`DirectBytes`].

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWrite as _;

use super::client_stream::ClientStream;
use super::file_sender::FileSender;

/// The next bytes of the current response, behind those that the HTTP library has written.
#[derive(Debug, Default)]
pub struct DirectBytes {
    unsent: RefCell<Unsent>,
}

/// Bytes that are not sent yet.
#[derive(Debug)]
enum Unsent {
    Bytes(Bytes),
    /// Part of a file. The socket must be a plain one.
    File(Box<FileSender>),
}

impl Default for Unsent {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl DirectBytes {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes that are not sent yet.
    pub fn len(&self) -> u64 {
        match &*self.unsent.borrow() {
            Unsent::Bytes(bytes) => bytes.len() as u64,
            Unsent::File(file) => file.left_bytes(),
        }
    }

    /// Adds bytes behind those that are not sent yet.
    ///
    /// # Panics
    /// If there are such bytes.
    pub fn put(&self, bytes: Bytes) {
        self.replace(Unsent::Bytes(bytes));
    }

    /// Adds a part of a file. The connection must not be one of TLS.
    ///
    /// # Panics
    /// As [`DirectBytes::put`].
    pub fn put_file(&self, file: Box<FileSender>) {
        self.replace(Unsent::File(file));
    }

    fn replace(&self, next: Unsent) {
        assert!(self.is_empty(), "the body waits until its bytes are sent");
        self.unsent.replace(next);
    }

    /// Writes all bytes, and then wakes the current task for the next ones.
    pub(super) fn poll_send(
        &self,
        stream: &mut ClientStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut unsent = self.unsent.borrow_mut();
        match (&mut *unsent, stream) {
            (Unsent::File(file), ClientStream::Plain(socket)) => {
                ready!(file.poll_send(socket, cx))?;
            }
            (Unsent::File(_), ClientStream::Tls(_)) => {
                return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
            }
            (Unsent::Bytes(bytes), stream) => {
                while !bytes.is_empty() {
                    let count = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
                    if count == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    bytes.advance(count);
                }
            }
        }
        // Releases the buffer or the file.
        *unsent = Unsent::default();
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }
}
