//! Classifies the errors of the HTTP client.

use std::error::Error as StdError;
use std::io;
use std::iter::successors;

use super::egress_proxy::ProxyFault;
use super::error::OriginError;
use super::fault::{ConnectionFault, ProtocolFault, RequestFault, TimeoutPhase, TlsFault};
use super::head_reader::HeadFault;
use super::http_connector::ConnectError;
use super::tls::find_tls_error;
use crate::model::root_cause;

/// Converts an error of the HTTP client, of its connector, or of a body.
pub fn classify(error: &(dyn StdError + 'static)) -> OriginError {
    for cause in successors(Some(error), |&cause| cause.source()) {
        if let Some(connect) = cause.downcast_ref::<ConnectError>() {
            return classify_connect(connect);
        }
        let io_error = cause.downcast_ref::<io::Error>();
        if let Some(tls) = io_error.and_then(find_tls_error) {
            return OriginError::TlsFailure(TlsFault::Http(tls.clone()));
        }
        if let Some(fault) = io_error.and_then(find_head_fault) {
            return ProtocolFault::Head(fault).into();
        }
        if cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
        {
            return ProtocolFault::NotHttp(cause.to_string()).into();
        }
    }
    ConnectionFault::Closed(root_cause(error)).into()
}

fn find_head_fault(error: &io::Error) -> Option<HeadFault> {
    error.get_ref()?.downcast_ref::<HeadFault>().copied()
}

fn classify_connect(error: &ConnectError) -> OriginError {
    match error {
        ConnectError::Dial(error) => error.clone().into(),
        ConnectError::Tls(error) => OriginError::TlsFailure(TlsFault::Http(error.clone())),
        ConnectError::HandshakeCut(_) => OriginError::TlsFailure(TlsFault::Cut),
        ConnectError::Proxy(ProxyFault::Refused(508)) => ProtocolFault::RequestLoop.into(),
        ConnectError::Proxy(fault) => ConnectionFault::Connect(fault.to_string()).into(),
        ConnectError::Timeout => ConnectionFault::Timeout(TimeoutPhase::Connect).into(),
        ConnectError::InvalidHost => RequestFault::Target.into(),
    }
}
