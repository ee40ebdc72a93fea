//! Rules for requests inside a `CONNECT`: they name the host that the client has asked for.
//!
//! The main functions are [`check`] and [`is_inside`].

use actix_web::HttpRequest;
use actix_web::http::header::HOST;

use super::client_info::{RequestOrigin, connection_facts, is_intercepted};
use super::connection::{EnclosingConnect, InnerTransport};
use super::parse_request::single;
use crate::gateway::RequestError;
use crate::model::Target;

/// Checks that `Host` names the host of the target, if the request is inside a `CONNECT`. A tunnel
/// would have brought the bytes of that virtual host. An empty `Host` names none.
///
/// # Errors
/// [`RequestError::Misdirected`] if they differ.
fn check_host(request: &HttpRequest, target: &Target) -> Result<(), RequestError> {
    let connect = connection_facts(request).and_then(|facts| facts.connect.as_ref());
    let host = single(request.headers(), HOST).filter(|host| !host.is_empty());
    let (Some(connect), Some(host)) = (connect, host) else {
        return Ok(());
    };
    let named = Target::parse(&format!("{}://{host}/", connect.scheme()));
    if named.is_ok_and(|named| named.has_same_authority(target)) {
        Ok(())
    } else {
        Err(RequestError::Misdirected(
            "Host differs from the authority of the CONNECT around this request".to_owned(),
        ))
    }
}

/// Whether a request fulfils [`check`].
pub fn is_inside(request: &HttpRequest, origin: &RequestOrigin) -> bool {
    !is_intercepted(request)
        || Target::parse(origin.form.as_str()).is_ok_and(|target| check(request, &target).is_ok())
}

/// Checks that `Host` names the host of the target, if the request is inside a `CONNECT`. If that
/// is intercepted, the `CONNECT` and the TLS handshake must name it too.
///
/// # Errors
/// [`RequestError::Misdirected`] if they differ.
pub fn check(request: &HttpRequest, target: &Target) -> Result<(), RequestError> {
    check_host(request, target)?;
    let connect = connection_facts(request).and_then(|facts| facts.connect.as_ref());
    let Some(EnclosingConnect {
        authority,
        transport: InnerTransport::Tls { server_name },
    }) = connect
    else {
        return Ok(());
    };
    let around = Target::parse(&format!("https://{authority}/"));
    let is_inside = around.is_ok_and(|around| {
        around.scheme() == target.scheme() && around.has_same_authority(target)
    });
    if !is_inside {
        return Err(RequestError::Misdirected(
            "the target differs from the authority of the CONNECT around this request".to_owned(),
        ));
    }
    if server_name
        .as_ref()
        .is_some_and(|name| name != target.host())
    {
        return Err(RequestError::Misdirected(
            "the TLS server name differs from the authority of the CONNECT around this request"
                .to_owned(),
        ));
    }
    Ok(())
}
