//! Permit and connection state that a request holds until its response has ended. The main type is
//! [`RequestGuard`].

use std::rc::Rc;

use super::connection::{ConnectionState, DirectBytes};
use crate::limits::ResponsePermit;

/// Permit of a request, and the state of its connection. Dropping it reports the end of the
/// response to the connection.
pub struct RequestGuard {
    state: Rc<ConnectionState>,
    _permit: Option<ResponsePermit>,
}

impl RequestGuard {
    /// Health checks and rejected requests have no permit.
    pub fn new(state: Rc<ConnectionState>, permit: Option<ResponsePermit>) -> Self {
        Self {
            state,
            _permit: permit,
        }
    }

    /// Returns the bytes of the response that the connection sends itself.
    pub fn direct_bytes(&self) -> &DirectBytes {
        self.state.direct_bytes()
    }

    /// Whether the kernel can send files to the client: nothing is encrypted.
    pub fn can_send_files(&self) -> bool {
        !self.state.facts().is_intercepted()
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.state.finish_response();
    }
}
