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

/// The next bytes of the current response, behind those that the HTTP library has written.
#[derive(Debug, Default)]
pub struct DirectBytes {
    unsent: RefCell<Bytes>,
}

impl DirectBytes {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes that are not sent yet.
    pub fn len(&self) -> usize {
        self.unsent.borrow().len()
    }

    /// Adds bytes behind those that are not sent yet.
    ///
    /// # Panics
    /// If there are such bytes.
    pub fn put(&self, bytes: Bytes) {
        let earlier = self.unsent.replace(bytes);
        assert!(
            earlier.is_empty(),
            "the body waits until its bytes are sent"
        );
    }

    /// Writes all bytes, and then wakes the current task for the next ones.
    pub(super) fn poll_send(
        &self,
        stream: &mut ClientStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut unsent = self.unsent.borrow_mut();
        if unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !unsent.is_empty() {
            let count = ready!(Pin::new(&mut *stream).poll_write(cx, &unsent))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            unsent.advance(count);
        }
        // Releases the buffer.
        *unsent = Bytes::new();
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }
}
