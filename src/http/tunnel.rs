//! Tunnels: carry the client's bytes to the origin unread.
//!
//! The main function is [`run_tunnel`].

use std::io::{self, Cursor};

use tokio::io::AsyncReadExt as _;

use super::connect_client::ConnectClient;
use super::connect_response::accept;
use super::response_facts::ResponseFacts;
use super::state::HttpService;
use crate::gateway::{IdleLimit, RequestError, Tunnel, TunnelEnd};
use crate::limits::{PendingTransfer, PoolClient, ResponsePermit, TransferPermit, TunnelPermit};
use crate::metrics::TransferEnd;
use crate::policy::AdmittedTunnel;

/// A tunnel with the permits that it holds while it is open.
pub struct OpenTunnel {
    pub tunnel: Tunnel,
    transfer_permit: TransferPermit,
    _tunnel_permit: TunnelPermit,
    _response_permit: ResponsePermit,
}

/// Connects a tunnel for a client.
///
/// # Errors
/// [`RequestError`] if a limit is reached, or the connection fails.
pub async fn open_tunnel(
    service: &HttpService,
    admitted: &AdmittedTunnel,
    client: PoolClient,
    transfer: PendingTransfer,
) -> Result<OpenTunnel, RequestError> {
    let transfer_permit = transfer.begin()?;
    let tunnel_permit = service.gateway.acquire_tunnel_permit(client)?;
    let response_permit = service
        .admission
        .acquire_response_permit(client)
        .ok_or(RequestError::Busy)?;
    Ok(OpenTunnel {
        tunnel: service.gateway.open_tunnel(admitted).await?,
        transfer_permit,
        _tunnel_permit: tunnel_permit,
        _response_permit: response_permit,
    })
}

/// Accepts the `CONNECT`, and runs its tunnel to its end.
///
/// # Errors
/// If the response cannot be written.
pub async fn run_tunnel(
    mut client: ConnectClient,
    opened: OpenTunnel,
    service: &HttpService,
) -> io::Result<()> {
    accept(&mut client.stream, service.name.as_str()).await?;
    client.log.set_status(200);
    relay(client, opened, service).await;
    Ok(())
}

/// Runs the tunnel of an accepted `CONNECT` to its end.
pub async fn relay(client: ConnectClient, opened: OpenTunnel, service: &HttpService) {
    let OpenTunnel {
        tunnel,
        transfer_permit,
        _tunnel_permit,
        _response_permit,
    } = opened;
    let (reader, writer) = client.stream.into_split();
    // Bytes that the client sent without waiting for the 200 belong to the tunnel.
    let reader = Cursor::new(client.early).chain(reader);
    let idle = IdleLimit {
        timeout: service.proxy.tunnel_idle_timeout.0,
        stopping: client.facts.stopping.notified(),
    };
    let report = tunnel.run(reader, writer, &transfer_permit, idle).await;
    let end = match report.end {
        TunnelEnd::Closed => TransferEnd::Complete,
        TunnelEnd::Idle => TransferEnd::Idle,
        TunnelEnd::Broken(_) => TransferEnd::Aborted,
    };
    let facts = ResponseFacts::tunnel();
    client.log.write(200, &facts, report.to_client_bytes, end);
}
