//! Links of nodes of the cluster: a `CONNECT` with a mark at the gateway port, after which this
//! node answers pings.

use std::io;

use actix_http::Request;
use tokio::io::AsyncWriteExt as _;

use super::client_info::{Port, canonical_address};
use super::connect_client::ConnectClient;
use super::connect_response::send_error;
use super::connect_routes::ConnectRoutes;
use super::parse_request::single;
use super::response_facts::ResponseFacts;
use crate::cluster::{LINK_CONTENT, LINK_REQUEST, MARK_FIELD, MarkedRequest, PROOF_FIELD};
use crate::gateway::RequestError;
use crate::limits::TransferKind;
use crate::metrics::TransferEnd;

/// Returns whether a `CONNECT` asks for a link.
pub fn is_link(request: &Request, routes: &ConnectRoutes) -> bool {
    routes.port == Port::Gateway
        && routes.service.cluster.key().is_some()
        && request.head().headers.contains_key(MARK_FIELD)
}

/// Serves a link until the peer closes it or this process stops.
///
/// # Errors
/// If the response cannot be written.
pub async fn serve(
    request: &Request,
    mut client: ConnectClient,
    routes: &ConnectRoutes,
) -> io::Result<()> {
    let service = &routes.service;
    let proof = match prove(request, &client, routes) {
        Ok(proof) => proof,
        Err(error) => return send_error(&mut client, &error, service.name.as_str()).await,
    };
    let head = format!("HTTP/1.1 200 Connection established\r\n{PROOF_FIELD}: {proof}\r\n\r\n");
    client.stream.write_all(head.as_bytes()).await?;
    let facts = ResponseFacts::own();
    client.log.write(200, &facts, 0, TransferEnd::Complete);
    let Some(answering) = service.cluster.answer_pings(client.stream.into_std()?) else {
        return Ok(());
    };
    // The permit of the connection is held meanwhile.
    let _permit = client.permit;
    tokio::select! {
        _ = answering => {}
        () = client.facts.stopping.notified() => {}
    }
    Ok(())
}

/// Returns the proof of the response to a valid request for a link.
fn prove(
    request: &Request,
    client: &ConnectClient,
    routes: &ConnectRoutes,
) -> Result<String, RequestError> {
    let cluster = &routes.service.cluster;
    let gateway = &routes.service.gateway;
    // A denied client learns nothing else.
    let _transfer = gateway.admit_client(canonical_address(client.peer), TransferKind::Tunnel)?;
    if client.permit.is_err() {
        return Err(RequestError::Busy);
    }
    let received = MarkedRequest {
        recipient: &cluster.own().run,
        ..LINK_REQUEST
    };
    let mark = single(&request.head().headers, MARK_FIELD).unwrap_or_default();
    let peer = cluster.verify(received, mark)?;
    let proof = cluster.key().map(|key| key.prove(peer, LINK_CONTENT));
    Ok(proof.unwrap_or_default())
}
