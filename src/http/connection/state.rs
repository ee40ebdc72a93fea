//! State that a connection shares with the request that is served on it.
//!
//! The main type is [`ConnectionState`]. It knows neither the socket nor the bytes.

use std::cell::{Cell, RefCell};
use std::task::{Context, Waker};

use crate::http::framing_error::FramingError;

/// Phase of the current request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPhase {
    /// No byte of the first request has arrived.
    New,
    /// The connection is between two requests.
    Idle,
    /// The head of a later request has begun.
    ReadingHead,
    /// A request is being served, and its response has not begun.
    AwaitingResponse,
    Responding,
    /// The response has ended. Bytes of it may still have to be written, and bytes of the request
    /// to be read.
    Responded,
}

/// State that the connection and the current request share. Both run on one thread.
#[derive(Debug)]
pub struct ConnectionState {
    phase: Cell<RequestPhase>,
    is_rejected: bool,
    framing_error: Cell<Option<FramingError>>,
    /// The reader of a half-closed connection, which waits for the end of the response.
    waker: RefCell<Option<Waker>>,
}

impl ConnectionState {
    /// Returns the state of a new connection. `is_rejected` means that it got no permit.
    pub fn new(is_rejected: bool) -> Self {
        Self {
            phase: Cell::new(RequestPhase::New),
            is_rejected,
            framing_error: Cell::default(),
            waker: RefCell::default(),
        }
    }

    /// Whether the connection got no permit, so that its requests are answered with 503.
    pub fn is_rejected(&self) -> bool {
        self.is_rejected
    }

    /// Returns the error of a malformed request. The HTTP library got a stand-in for the request.
    pub fn framing_error(&self) -> Option<FramingError> {
        self.framing_error.get()
    }

    pub(super) fn set_framing_error(&self, error: FramingError) {
        self.framing_error.set(Some(error));
    }

    pub(super) fn phase(&self) -> RequestPhase {
        self.phase.get()
    }

    pub(super) fn set_phase(&self, phase: RequestPhase) {
        self.phase.set(phase);
    }

    /// Records that the HTTP library has read the head of a request.
    pub fn begin_request(&self) {
        self.phase.set(RequestPhase::AwaitingResponse);
    }

    pub fn begin_response(&self) {
        self.phase.set(RequestPhase::Responding);
    }

    /// Records that the response has ended, and wakes the reader that waits for it.
    pub fn finish_response(&self) {
        self.phase.set(RequestPhase::Responded);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Wakes the current task once the response has ended.
    pub(super) fn wake_after_response(&self, cx: &Context<'_>) {
        self.waker.replace(Some(cx.waker().clone()));
    }
}
