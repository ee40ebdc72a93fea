//! Classifies the errors of the HTTP client.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;

use super::error::OriginError;
use super::fault::{ConnectionFault, ProtocolFault, TimeoutPhase, TlsFault};
use crate::dial::DialError;
use crate::model::root_cause;

/// Converts an error of the HTTP client. The result contains no URL, because a URL may be signed.
pub fn classify(error: reqwest::Error) -> OriginError {
    let error = error.without_url();
    let first: &(dyn StdError + 'static) = &error;
    for cause in successors(Some(first), |&cause| cause.source()) {
        if let Some(dial) = cause.downcast_ref::<DialError>() {
            return dial.clone().into();
        }
        if let Some(tls) = find_tls_error(cause) {
            return OriginError::TlsFailure(TlsFault::Http(tls.clone()));
        }
        if cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
        {
            return ProtocolFault::NotHttp(cause.to_string()).into();
        }
    }
    let fault = if error.is_timeout() && error.is_connect() {
        ConnectionFault::Timeout(TimeoutPhase::Connect)
    } else if error.is_timeout() {
        ConnectionFault::Timeout(TimeoutPhase::Response)
    } else if error.is_connect() && is_refused(&error) {
        ConnectionFault::Refused
    } else if error.is_connect() {
        ConnectionFault::Connect(root_cause(&error))
    } else {
        ConnectionFault::Closed(root_cause(&error))
    };
    fault.into()
}

/// Returns whether nothing listens at the address.
fn is_refused(error: &reqwest::Error) -> bool {
    let first: &(dyn StdError + 'static) = error;
    successors(Some(first), |&cause| cause.source())
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// Finds an error of the TLS library, such as an untrusted certificate.
///
/// The TLS error is nested in I/O errors, whose `source` skips the error that they contain.
fn find_tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    loop {
        if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        inner = inner.downcast_ref::<io::Error>()?.get_ref()?;
    }
}
