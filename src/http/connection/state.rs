//! State that a connection shares with the request that is served on it.
//!
//! The main type is [`ConnectionState`]. It knows neither the socket nor the bytes.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::task::{Context, Waker};

use actix_server::GracefulShutdownSignal;

use super::direct_bytes::DirectBytes;
use crate::cache::HashingSignal;
use crate::http::framing_error::FramingError;
use crate::http::request_head::{Expectation, HeadNotes};
use crate::limits::PoolClient;
use crate::model::Scheme;

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

/// The 100 response to the current request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Continuation {
    #[default]
    None,
    /// Something reads the body of the request.
    Requested,
    Sent,
}

/// The `CONNECT` whose requests a connection carries.
#[derive(Debug, Clone)]
pub struct EnclosingConnect {
    pub authority: String,
    pub transport: InnerTransport,
}

/// Transport of the requests inside a `CONNECT`.
#[derive(Debug, Clone)]
pub enum InnerTransport {
    Plain,
    /// Millpond has ended the TLS.
    Tls {
        /// Host that the client has named in the handshake (SNI), in the form of a target.
        server_name: Option<String>,
    },
}

impl EnclosingConnect {
    /// Returns the scheme of the requests inside.
    pub fn scheme(&self) -> Scheme {
        match self.transport {
            InnerTransport::Plain => Scheme::Http,
            InnerTransport::Tls { .. } => Scheme::Https,
        }
    }
}

/// Facts about a connection that hold for all its requests.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// Client that the connection counts for: its peer, or the client in the PROXY header.
    pub client: PoolClient,
    /// The gateway port at the address that the client has connected to.
    pub gateway: Option<SocketAddr>,
    /// `None` outside of a `CONNECT`.
    pub connect: Option<EnclosingConnect>,
    /// Signal that the process stops. Waits for a client that sends nothing end then.
    pub stopping: GracefulShutdownSignal,
}

impl ConnectionFacts {
    /// Whether the requests are inside an intercepted `CONNECT`.
    pub fn is_intercepted(&self) -> bool {
        let connect = self.connect.as_ref();
        connect.is_some_and(|connect| connect.scheme() == Scheme::Https)
    }
}

/// State that the connection and the current request share. Both run on one thread.
#[derive(Debug)]
pub struct ConnectionState {
    phase: Cell<RequestPhase>,
    is_rejected: Cell<bool>,
    framing_error: Cell<Option<FramingError>>,
    notes: Cell<HeadNotes>,
    continuation: Cell<Continuation>,
    /// The reader of the connection, which sends a 100 response before it reads on.
    reader: RefCell<Option<Waker>>,
    facts: ConnectionFacts,
    /// Whether the current request waits for an object to be hashed.
    hashing: HashingSignal,
    /// The reader of a half-closed connection, which waits for the end of the response.
    waker: RefCell<Option<Waker>>,
    direct_bytes: DirectBytes,
}

impl ConnectionState {
    /// Returns the state of a new connection. `is_rejected` means that it got no permit.
    pub fn new(is_rejected: bool, facts: ConnectionFacts) -> Self {
        Self {
            phase: Cell::new(RequestPhase::New),
            is_rejected: Cell::new(is_rejected),
            framing_error: Cell::default(),
            notes: Cell::default(),
            continuation: Cell::default(),
            reader: RefCell::default(),
            facts,
            hashing: HashingSignal::default(),
            waker: RefCell::default(),
            direct_bytes: DirectBytes::default(),
        }
    }

    /// Returns the bytes of the current response that the connection sends itself.
    pub fn direct_bytes(&self) -> &DirectBytes {
        &self.direct_bytes
    }

    pub fn facts(&self) -> &ConnectionFacts {
        &self.facts
    }

    pub fn hashing(&self) -> &HashingSignal {
        &self.hashing
    }

    /// Whether the connection has no permit, so that its requests are answered with 503.
    pub fn is_rejected(&self) -> bool {
        self.is_rejected.get()
    }

    /// Records that another connection has got the permit.
    pub(super) fn reject(&self) {
        self.is_rejected.set(true);
    }

    /// Returns the error of a malformed request. The HTTP library got a stand-in for the request.
    pub fn framing_error(&self) -> Option<FramingError> {
        self.framing_error.get()
    }

    pub(super) fn set_framing_error(&self, error: FramingError) {
        self.framing_error.set(Some(error));
    }

    pub fn expectation(&self) -> Expectation {
        self.notes.get().expectation
    }

    /// Whether the client wants to speak another protocol than HTTP on this connection.
    pub fn wants_other_protocol(&self) -> bool {
        self.notes.get().wants_other_protocol()
    }

    /// Sets the facts about the head of the request that is handed over.
    pub(super) fn set_notes(&self, notes: HeadNotes) {
        self.notes.set(notes);
    }

    /// Whether the client still waits for a 100 response, so that it may never send the body.
    pub fn awaits_continue(&self) -> bool {
        self.expectation() == Expectation::Continue && self.continuation.get() == Continuation::None
    }

    /// Sends a 100 response if the client waits for one. Call it when something reads the body.
    pub fn request_continue(&self) {
        if !self.awaits_continue() {
            return;
        }
        self.continuation.set(Continuation::Requested);
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// Returns whether a 100 response is to be sent now.
    pub(super) fn take_continue(&self) -> bool {
        let is_requested = self.continuation.get() == Continuation::Requested;
        if is_requested {
            self.continuation.set(Continuation::Sent);
        }
        is_requested
    }

    /// Wakes the current task once a 100 response is to be sent.
    pub(super) fn wake_for_continue(&self, cx: &Context<'_>) {
        if self.awaits_continue() {
            self.reader.replace(Some(cx.waker().clone()));
        }
    }

    /// Whether the HTTP library has read the head of a request.
    pub fn has_begun_request(&self) -> bool {
        self.phase.get() != RequestPhase::New
    }

    pub(super) fn phase(&self) -> RequestPhase {
        self.phase.get()
    }

    pub(super) fn set_phase(&self, phase: RequestPhase) {
        self.phase.set(phase);
    }

    /// Records that the HTTP library has read the head of a request.
    pub fn begin_request(&self) {
        self.continuation.set(Continuation::None);
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
