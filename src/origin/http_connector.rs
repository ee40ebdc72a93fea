//! Connector of the HTTP client: dials, passes an egress proxy, and starts TLS.
//!
//! Every address that it connects to is checked by the dialer. The main type is
//! [`OriginConnector`].

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::egress_proxy::{EgressProxy, ProxyFault, ProxyTransport};
use super::head_reader::Requests;
use super::http_stream::{ByteStream, OriginStream, RequestForm};
use super::opened::{Opening, current_asker, record_opening};
use super::tls::find_tls_error;
use crate::dial::{Asker, DialError, Dialer, Reach};

/// Opens connections to the origins of one egress route. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OriginConnector {
    parts: Arc<ConnectorParts>,
    requests: Requests,
}

/// Settings of a connector.
#[derive(Debug)]
pub struct ConnectorParts {
    pub dialer: Dialer,
    /// Addresses that a direct connection may use.
    pub reach: Reach,
    pub tls: Arc<ClientConfig>,
    pub egress_proxy: Option<EgressProxy>,
    /// Name of this node.
    pub name: String,
    /// Maximum time for lookup, connection, proxy and TLS together.
    pub connect_timeout: Duration,
}

/// Error returned when no connection is opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the handshake failed: {0}")]
    Tls(rustls::Error),
    /// The connection failed during the handshake.
    #[error("the connection ended during the TLS handshake: {0}")]
    HandshakeCut(io::Error),
    #[error(transparent)]
    Proxy(#[from] ProxyFault),
    #[error("the connection timed out")]
    Timeout,
    #[error("the request has no valid host name")]
    InvalidHost,
}

impl OriginConnector {
    /// Creates a connector whose connections carry so many requests.
    pub fn new(parts: Arc<ConnectorParts>, requests: Requests) -> Self {
        Self { parts, requests }
    }
}

impl Service<Uri> for OriginConnector {
    type Response = TokioIo<OriginStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let (parts, requests) = (Arc::clone(&self.parts), self.requests);
        let asker = current_asker();
        record_opening(Opening::InProgress);
        Box::pin(async move {
            let connecting = parts.connect(&destination, asker);
            let (stream, form) = timeout(parts.connect_timeout, connecting)
                .await
                .map_err(|_| ConnectError::Timeout)??;
            let stream = OriginStream::new(stream, form, requests);
            record_opening(Opening::Opened(stream.id()));
            Ok(TokioIo::new(stream))
        })
    }
}

impl ConnectorParts {
    async fn connect(
        &self,
        destination: &Uri,
        asker: Asker,
    ) -> Result<(Box<dyn ByteStream>, RequestForm), ConnectError> {
        let host = destination.host().ok_or(ConnectError::InvalidHost)?;
        let is_tls = destination.scheme_str() == Some("https");
        let port = match destination.port_u16() {
            Some(port) => port,
            None if is_tls => 443,
            None => 80,
        };
        let (mut stream, form) = match &self.egress_proxy {
            None => (
                self.connect_directly(host, port, asker).await?,
                RequestForm::Origin,
            ),
            Some(proxy) => {
                let mut stream = self.connect_to_proxy(proxy).await?;
                if is_tls {
                    let authority = format!("{host}:{port}");
                    proxy
                        .open_tunnel(&mut stream, &authority, &self.name)
                        .await?;
                    (stream, RequestForm::Origin)
                } else {
                    (stream, RequestForm::Absolute)
                }
            }
        };
        if is_tls {
            stream = self.start_tls(stream, host).await?;
        }
        Ok((stream, form))
    }

    async fn connect_directly(
        &self,
        host: &str,
        port: u16,
        asker: Asker,
    ) -> Result<Box<dyn ByteStream>, ConnectError> {
        let stream = self.dialer.connect_to_host(host, port, self.reach, asker);
        Ok(Box::new(stream.await?))
    }

    async fn connect_to_proxy(
        &self,
        proxy: &EgressProxy,
    ) -> Result<Box<dyn ByteStream>, ConnectError> {
        let dialed = self
            .dialer
            .connect_to_host(&proxy.host, proxy.port, Reach::Configured, None);
        let stream = Box::new(dialed.await?);
        match proxy.transport {
            ProxyTransport::Plain => Ok(stream),
            ProxyTransport::Tls => self.start_tls(stream, &proxy.host).await,
        }
    }

    async fn start_tls(
        &self,
        stream: Box<dyn ByteStream>,
        host: &str,
    ) -> Result<Box<dyn ByteStream>, ConnectError> {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| ConnectError::InvalidHost)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(match find_tls_error(&error) {
                Some(tls) => ConnectError::Tls(tls.clone()),
                None => ConnectError::HandshakeCut(error),
            }),
        }
    }
}
