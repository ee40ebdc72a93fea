//! Rules for requests inside an intercepted `CONNECT`.
//!
//! The main function is [`check`].

use actix_web::HttpRequest;

use super::client_info::connection_facts;
use super::connection::InnerTransport;
use crate::gateway::RequestError;
use crate::model::Target;

/// Checks that target, `CONNECT` and TLS handshake name the same host.
///
/// # Errors
/// [`RequestError::Misdirected`] if they differ.
pub fn check(request: &HttpRequest, target: &Target) -> Result<(), RequestError> {
    let connect = connection_facts(request).and_then(|facts| facts.connect.as_ref());
    let Some(connect) = connect else {
        return Ok(());
    };
    let around = Target::parse(&format!("{}://{}/", connect.scheme(), connect.authority));
    let is_inside = around.is_ok_and(|around| {
        around.scheme() == target.scheme() && around.has_same_authority(target)
    });
    if !is_inside {
        return Err(RequestError::Misdirected(
            "the target differs from the authority of the CONNECT around this request".to_owned(),
        ));
    }
    if let InnerTransport::Tls {
        server_name: Some(name),
    } = &connect.transport
        && name != target.host()
    {
        return Err(RequestError::Misdirected(
            "the TLS server name differs from the authority of the CONNECT around this request"
                .to_owned(),
        ));
    }
    Ok(())
}
