//! `CONNECT` to an intercepted host: ends the TLS inside, and serves the requests in it like those
//! of the proxy port.
//!
//! The main function is [`serve`].

use std::io;

use super::client_info::canonical_address;
use super::connect_client::{CLIENT_CLOSED, ConnectClient, log_stop};
use super::connect_response::{accept, send_error};
use super::connect_routes::{ConnectRoutes, run_inside};
use super::connection::{ClientConnection, ClientStream, InnerTransport};
use super::response_facts::ResponseFacts;
use crate::gateway::RequestError;
use crate::intercept::{HandshakeError, Interceptor};
use crate::limits::ConnectionPermit;
use crate::metrics::{Outcome, TransferEnd};
use crate::model::ClientNet;

/// Logged status if the client has begun no handshake that Millpond can serve.
const BAD_HANDSHAKE: u16 = 400;

/// Serves a `CONNECT` to `host`, which policy has admitted.
///
/// # Errors
/// If the response to the `CONNECT` cannot be written.
pub async fn serve(
    mut client: ConnectClient,
    host: &str,
    interceptor: &Interceptor,
    routes: &ConnectRoutes,
) -> io::Result<()> {
    let name = routes.service.name.as_str();
    client.log.mark_intercepted();
    if !interceptor.can_serve(host) {
        return send_error(&mut client, &RequestError::Unavailable, name).await;
    }
    // A handshake is a head that has begun and not ended: it shares the bound on these.
    let may_begin = client
        .permit
        .as_mut()
        .map_or(true, ConnectionPermit::begin_head);
    if !may_begin {
        return send_error(&mut client, &RequestError::Busy, name).await;
    }
    accept(&mut client.stream, name).await?;
    client.log.set_status(200);
    let peer = ClientNet::from_address(canonical_address(client.peer));
    let accepted = tokio::select! {
        accepted = interceptor.accept(client.stream, &client.early, host) => Some(accepted),
        () = client.facts.stopping.notified() => None,
    };
    let intercepted = match accepted {
        Some(Ok(intercepted)) => intercepted,
        None => {
            log_stop(&client.log);
            return Ok(());
        }
        Some(Err(error)) => {
            if error.is_refusal() {
                interceptor.warn_of_refusal(peer, host, &error.to_string());
            }
            client.log.set_error(error.to_string());
            let (status, outcome) = logged(&error);
            let facts = ResponseFacts::without_response(outcome);
            client.log.write(status, &facts, 0, TransferEnd::Aborted);
            return Ok(());
        }
    };
    // The requests inside are counted as those of the proxy endpoint.
    let facts = ResponseFacts::own();
    client.log.write(200, &facts, 0, TransferEnd::Complete);
    let mut inner_facts = client.facts;
    if let Some(connect) = &mut inner_facts.connect {
        connect.transport = InnerTransport::Tls {
            server_name: intercepted.server_name,
        };
    }
    let mut permit = client.permit;
    if let Ok(permit) = &mut permit {
        permit.end_head();
    }
    let stream = ClientStream::Tls(Box::new(intercepted.stream));
    let connection = ClientConnection::new(stream, permit, inner_facts);
    let state = connection.state();
    run_inside(connection, client.peer, routes).await;
    if !state.has_begun_request() {
        let cause = "the client closed the connection after the TLS handshake, without a request";
        interceptor.warn_of_refusal(peer, host, cause);
    }
    Ok(())
}

/// Returns the status and the outcome of a failed handshake.
fn logged(error: &HandshakeError) -> (u16, Outcome) {
    match error {
        HandshakeError::Refused(_)
        | HandshakeError::Closed
        | HandshakeError::TimedOut(_)
        | HandshakeError::Io(_) => (CLIENT_CLOSED, Outcome::Abandoned),
        HandshakeError::NoTls
        | HandshakeError::TooLong
        | HandshakeError::NoHttp1
        | HandshakeError::OldVersion
        | HandshakeError::Failed(_) => (BAD_HANDSHAKE, Outcome::Refused),
        HandshakeError::Mint(_) => (BAD_HANDSHAKE, Outcome::Error),
    }
}
