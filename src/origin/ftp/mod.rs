//! Client for ftp origins (RFC 959, 2428, 3659, 4217).
//!
//! A [`connector`] opens and logs in a control connection. A [`control`] session sends commands. A
//! [`pool`] holds idle connections, and a [`transfer`] is the body of a response. Millpond only
//! fetches files. No command lists a directory or changes anything.
//!
//! Responses have the terms of HTTP. Size and date together are the validator of a body, and the
//! length alone decides where it ends. A data connection goes to the address of its control
//! connection, through policy and dialer. A connection with any irregularity is closed. The main
//! type is [`FtpOrigin`].

mod connector;
mod control;
mod error;
mod pool;
mod range;
pub mod transfer;

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::body::{Body, BodyStream};
use super::config::Config;
use super::error::OriginError;
use super::fault::RequestFault;
use super::request::{Method, OriginRequest};
use super::response::Response;
use super::tls::TrustedCertificates;
use crate::dial::Dialer;
use crate::model::{ConfigError, FtpFile, Login};
use crate::policy::{Admitted, PolicyDenied};
use connector::Connector;
use control::Session;
use error::FtpCommandError;
use pool::{FtpServer, Pool, PoolReturn};
use range::{RequestedRange, response_head, validator};
use transfer::{ConnectionSlot, Extent, Transfer};

#[derive(Debug)]
pub struct FtpOrigin {
    connector: Connector,
    pool: Arc<Pool>,
    config: Config,
}

/// Request for one file, with its permit to use a connection to the server.
struct FileRequest<'a> {
    hop: &'a Admitted,
    request: &'a OriginRequest,
    file: FtpFile,
    server: FtpServer,
    /// Moves into the transfer.
    permit: Option<OwnedSemaphorePermit>,
    /// False after the server refused to send a file from an offset.
    use_ranges: bool,
}

impl FtpOrigin {
    /// # Errors
    /// A text with the reason why TLS is unavailable.
    pub fn new(
        config: Config,
        dialer: Dialer,
        trusted: &TrustedCertificates,
    ) -> Result<Self, ConfigError> {
        let tls_config = trusted.client_config()?;
        let connector = Connector::new(dialer, config.ftp_tls, tls_config, config.idle_timeout);
        Ok(Self {
            connector,
            pool: Arc::new(Pool::new(config.per_host)),
            config,
        })
    }

    /// Requests one file.
    ///
    /// # Errors
    /// [`OriginError`], with the status 404 if there is no such file.
    pub async fn send(
        &self,
        hop: &Admitted,
        request: &OriginRequest,
    ) -> Result<Response, OriginError> {
        if matches!(request.method, Method::Other(_)) {
            return Err(RequestFault::FtpMethod.into());
        }
        let mut file = FtpFile::from_target(hop.target()).map_err(PolicyDenied::FtpFile)?;
        if file.login.is_none() {
            file.login = request
                .header("authorization")
                .and_then(Login::from_authorization);
        }
        let server = FtpServer::new(hop.target());
        let permit = self
            .pool
            .acquire_permit(&server, self.config.idle_timeout)
            .await?;
        self.send_file_request(FileRequest {
            hop,
            request,
            file,
            server,
            permit: Some(permit),
            use_ranges: true,
        })
        .await
    }

    /// Sends a request on an idle connection, or on a new one.
    async fn send_file_request(
        &self,
        mut file_request: FileRequest<'_>,
    ) -> Result<Response, OriginError> {
        let mut idle = if file_request.file.login.is_none() {
            self.pool.take(&file_request.server)
        } else {
            None
        };
        loop {
            let was_idle = idle.is_some();
            let session = match idle.take() {
                Some(session) => session,
                None => {
                    self.connector
                        .open(file_request.hop, &file_request.file)
                        .await?
                }
            };
            match self.respond(session, &mut file_request).await {
                Ok(response) => return Ok(response),
                Err(FtpCommandError::NoRestart) if file_request.use_ranges => {
                    file_request.use_ranges = false;
                }
                Err(error) => {
                    let error = OriginError::from(error);
                    // Servers close idle connections, and report it only at the next command.
                    if !(was_idle && error.is_transient()) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Starts the transfer on a session. Without a body, the session returns to the pool at once.
    async fn respond(
        &self,
        mut session: Session,
        file_request: &mut FileRequest<'_>,
    ) -> Result<Response, FtpCommandError> {
        let (request, target) = (file_request.request, file_request.hop.target());
        let path = &file_request.file.path;
        let metadata = session.metadata(path).await?;
        let validator = validator(target.host(), &metadata);
        let range = if file_request.use_ranges {
            RequestedRange::select(request, &metadata, validator.as_ref())
        } else {
            RequestedRange::Whole
        };
        let head = response_head(range, &metadata, validator);
        // A connection with a login must not serve other clients.
        let return_to = file_request.file.login.is_none().then(|| PoolReturn {
            pool: Arc::clone(&self.pool),
            server: file_request.server.clone(),
        });
        if request.method == Method::Head {
            metadata.require_exists()?;
        }
        if request.method == Method::Head || range == RequestedRange::Unsatisfiable {
            if let Some(return_to) = return_to {
                return_to.put(session);
            }
            let body = Body::new(BodyStream::Empty, &self.config);
            return Ok(Response::new(head, body, target));
        }
        let data = session.retrieve(path, range.offset()).await?;
        let extent = match range {
            RequestedRange::Rest(_) => Extent::Rest {
                path: path.clone(),
                metadata,
            },
            RequestedRange::Part(_) => Extent::Part,
            RequestedRange::Whole | RequestedRange::Unsatisfiable => Extent::ToEnd,
        };
        let slot = ConnectionSlot {
            return_to,
            permit: file_request.permit.take(),
        };
        let remaining_bytes = metadata.size_bytes.map(|size| range.length_bytes(size));
        let transfer = Transfer::new((session, data), remaining_bytes, extent, slot);
        let body = Body::new(BodyStream::Ftp(Box::new(transfer)), &self.config);
        Ok(Response::new(head, body, target))
    }
}
