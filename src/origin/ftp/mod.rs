//! Origins of ftp (RFC 959, 2428, 3659, 4217).
//!
//! [`connector`] opens a control connection, [`control`] is one, [`pool`] keeps those that may be
//! used again, and a [`transfer`] is a body. Only files are fetched: no command lists anything or
//! changes anything. What comes is told in the words of HTTP: size and date together are the body's
//! validator, and the length alone ends it. Data connections go to the control connection's own
//! address, past policy and dial; a connection with anything wrong about it is closed.

mod connector;
mod control;
mod error;
mod pool;
mod transfer;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
    LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::{Config, Method, OriginError, Request, Response};
use crate::dial::Dialer;
use crate::model::{ByteRange, ConfigError, FtpFile, Login, RangeSpec, Selected};
use crate::policy::{Admitted, PolicyDenied};
use connector::Connector;
use control::{FileMetadata, Session};
use error::FtpCommandError;
use pool::{Pool, Server};
pub use transfer::Transfer;

/// How old a file must be to be known by its date, which says only seconds.
const MIN_AGE: Duration = Duration::from_mins(1);

/// How much of what is here is sent again before the rest, so that the two can be held against each
/// other, in bytes.
const OVERLAP_BYTES: u64 = 64 * 1024;

/// Whether the conversation and the bytes go through TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FtpTls {
    /// Where the server offers it: then its certificate must be good.
    Offered,
    Required,
    Never,
}

/// An answer's head in the words of HTTP.
#[derive(Debug)]
pub struct FtpHead {
    pub status: u16,
    pub headers: HeaderMap,
    pub validator: Option<String>,
    pub overlap_bytes: u64,
}

/// Which bytes of a file are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestedRange {
    Whole,
    /// The rest behind this offset, after [`OVERLAP_BYTES`] that are here already.
    Rest(u64),
    Part(ByteRange),
    /// A part behind the end.
    Nothing,
}

impl RequestedRange {
    fn offset(self) -> u64 {
        match self {
            Self::Whole | Self::Nothing => 0,
            Self::Rest(offset) => offset,
            Self::Part(part) => part.first,
        }
    }
}

/// The client of all ftp origins.
#[derive(Debug)]
pub struct FtpOrigin {
    connector: Connector,
    pool: Arc<Pool>,
    config: Config,
}

impl FtpOrigin {
    /// # Errors
    /// A line, if the machine has no certificates.
    pub fn new(config: Config, dialer: Dialer) -> Result<Self, ConfigError> {
        let connector = Connector::new(dialer, config.ftp_tls, config.idle_timeout)?;
        Ok(Self {
            connector,
            pool: Arc::new(Pool::new(config.per_host)),
            config,
        })
    }

    /// Asks once.
    ///
    /// # Errors
    /// [`OriginError`], with the status 404 where there is no such file.
    pub async fn ask(&self, hop: &Admitted, request: &Request) -> Result<Response, OriginError> {
        if matches!(request.method, Method::Other(_)) {
            return Err(OriginError::InvalidResponse(
                "ftp knows no such method".to_owned(),
            ));
        }
        let mut file = FtpFile::from_target(hop.target()).map_err(PolicyDenied::FtpFile)?;
        if file.login.is_none() {
            file.login = request
                .header("authorization")
                .and_then(Login::from_authorization);
        }
        let server = Server::of(hop.target());
        let mut place = Some(self.pool.place(&server, self.config.idle_timeout).await?);
        let mut idle = if file.login.is_none() {
            self.pool.take(&server)
        } else {
            None
        };
        let mut may_restart = true;
        loop {
            let was_idle = idle.is_some();
            let session = match idle.take() {
                Some(session) => session,
                None => self.connector.open(hop, &file).await?,
            };
            match self
                .answer(session, hop, &file, request, may_restart, &mut place)
                .await
            {
                Ok(response) => return Ok(response),
                Err(FtpCommandError::NoRestart) if may_restart => may_restart = false,
                Err(trouble) => {
                    let error = OriginError::from(trouble);
                    // Servers close connections that nobody uses, and say so when they are used
                    // again.
                    if !(was_idle && error.is_transient()) {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn answer(
        &self,
        mut session: Session,
        hop: &Admitted,
        file: &FtpFile,
        request: &Request,
        may_restart: bool,
        place: &mut Option<OwnedSemaphorePermit>,
    ) -> Result<Response, FtpCommandError> {
        let metadata = session.metadata(&file.path).await?;
        let validator = validator_of(hop, &metadata);
        let wanted = if may_restart {
            wanted_by(request, &metadata, validator.as_deref())
        } else {
            RequestedRange::Whole
        };
        let head = head_of(wanted, &metadata, validator);
        // Where a login was needed nobody else goes on with it.
        let home = file
            .login
            .is_none()
            .then(|| (Arc::clone(&self.pool), Server::of(hop.target())));
        if request.method == Method::Head {
            metadata.require_exists()?;
        }
        if request.method == Method::Head || wanted == RequestedRange::Nothing {
            if let Some((pool, server)) = home {
                pool.put(server, session);
            }
            return Ok(Response::of_ftp(head, None, hop.target(), &self.config));
        }
        let data = session.retrieve(&file.path, wanted.offset()).await?;
        let left = match wanted {
            RequestedRange::Part(part) => Some(part.size_bytes()),
            _ => metadata.size.map(|size| size - wanted.offset()),
        };
        let transfer = Transfer::new(session, data, left, home, place.take());
        let transfer = match wanted {
            RequestedRange::Rest(_) => transfer.of_the_rest(file.path.clone(), metadata),
            RequestedRange::Part(_) => transfer.of_a_part(),
            RequestedRange::Whole | RequestedRange::Nothing => transfer,
        };
        Ok(Response::of_ftp(
            head,
            Some(transfer),
            hop.target(),
            &self.config,
        ))
    }
}

/// Size and date say which bytes these are, once the date cannot come again with other bytes: as
/// with `Last-Modified` (RFC 9110, section 8.8.2.2).
fn validator_of(hop: &Admitted, metadata: &FileMetadata) -> Option<String> {
    let (size, modified) = (metadata.size?, metadata.modified?);
    let age = SystemTime::now().duration_since(modified).ok()?;
    let date = httpdate::fmt_http_date(modified);
    (age >= MIN_AGE).then(|| format!("\"ftp {} {size} {date}\"", hop.target().host()))
}

fn wanted_by(
    request: &Request,
    metadata: &FileMetadata,
    validator: Option<&str>,
) -> RequestedRange {
    let Some(size) = metadata.size else {
        return RequestedRange::Whole;
    };
    if let Some(resume) = &request.resume {
        let offset = resume.offset.saturating_sub(OVERLAP_BYTES);
        let is_same = validator == Some(resume.validator.as_str()) && resume.offset < size;
        return if is_same && offset > 0 {
            RequestedRange::Rest(offset)
        } else {
            RequestedRange::Whole
        };
    }
    // A condition on the range is for a validator that was never given.
    let range = request
        .header("range")
        .filter(|_| request.method == Method::Get && request.header("if-range").is_none());
    match range
        .and_then(RangeSpec::parse)
        .map(|range| range.select(size))
    {
        None => RequestedRange::Whole,
        Some(Selected::Part(part)) => RequestedRange::Part(part),
        Some(Selected::Unsatisfiable) => RequestedRange::Nothing,
    }
}

fn head_of(wanted: RequestedRange, metadata: &FileMetadata, validator: Option<String>) -> FtpHead {
    let mut headers = HeaderMap::new();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if let Some(modified) = metadata.modified {
        let date = HeaderValue::try_from(httpdate::fmt_http_date(modified))
            .expect("a date is visible ASCII");
        headers.insert(LAST_MODIFIED, date);
    }
    let mut status = 200;
    if let Some(size) = metadata.size {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let (length, range) = match wanted {
            RequestedRange::Whole => (size, None),
            RequestedRange::Rest(offset) => (
                size - offset,
                Some(format!("bytes {offset}-{}/{size}", size - 1)),
            ),
            RequestedRange::Part(part) => (
                part.size_bytes(),
                Some(format!("bytes {}-{}/{size}", part.first, part.last)),
            ),
            RequestedRange::Nothing => (0, Some(format!("bytes */{size}"))),
        };
        headers.insert(CONTENT_LENGTH, length.into());
        if let Some(range) = range {
            status = if wanted == RequestedRange::Nothing {
                416
            } else {
                206
            };
            headers.insert(
                CONTENT_RANGE,
                HeaderValue::try_from(range).expect("numbers are visible ASCII"),
            );
        }
    }
    let overlap_bytes = if matches!(wanted, RequestedRange::Rest(_)) {
        OVERLAP_BYTES
    } else {
        0
    };
    FtpHead {
        status,
        headers,
        validator,
        overlap_bytes,
    }
}
