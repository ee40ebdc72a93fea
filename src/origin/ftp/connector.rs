//! Opening a control connection: connect, perhaps TLS, log in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt;
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::tokio_rustls::TlsConnector;
use suppaftp::types::FileType;
use suppaftp::{FtpError, Mode, Status};
use tokio::net::TcpStream;

use super::FtpTls;
use super::control::{ByteForByte, Session, as_chars};
use super::error::{FtpCommandError, with_timeout};
use super::pool::Server;
use crate::dial::Dialer;
use crate::model::{ConfigError, FtpFile};
use crate::origin::OriginError;
use crate::policy::Admitted;

/// Ports below are those of other services (RFC 2577, section 3).
const MIN_DATA_PORT: u16 = 1024;

/// How long, and of how many servers, it is remembered that they speak TLS: then nobody on the way
/// can deny it.
const TLS_MEMORY: Duration = Duration::from_mins(10);
const MAX_REMEMBERED_SERVERS: u64 = 10_000;

/// TLS sessions that a connection may resume. There are servers that take data only from whom they
/// know (RFC 4217, section 10.2), and they mean this control connection and no other.
const TLS_SESSIONS: usize = 16;

pub struct Connector {
    dialer: Dialer,
    tls: FtpTls,
    tls_config: Arc<ClientConfig>,
    speaks_tls: Cache<Server, ()>,
    patience: Duration,
}

impl Connector {
    pub fn new(dialer: Dialer, tls: FtpTls, patience: Duration) -> Result<Self, ConfigError> {
        let failed = |why| {
            ConfigError::new(
                "fetch.ftp_tls",
                format!("cannot create the ftp client (are ca-certificates installed?): {why}"),
            )
        };
        let tls_config =
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(BuilderVerifierExt::with_platform_verifier)
                .map_err(failed)?
                .with_no_client_auth();
        let speaks_tls = Cache::builder()
            .max_capacity(MAX_REMEMBERED_SERVERS)
            .time_to_live(TLS_MEMORY)
            .build();
        Ok(Self {
            dialer,
            tls,
            tls_config: Arc::new(tls_config),
            speaks_tls,
            patience,
        })
    }

    /// Connects and logs in.
    pub async fn open(&self, hop: &Admitted, file: &FtpFile) -> Result<Session, OriginError> {
        let server = Server::of(hop.target());
        let mut stream = self.read_greeting(hop).await?;
        let is_secure = match self.tls {
            FtpTls::Never => false,
            FtpTls::Required => true,
            FtpTls::Offered if self.speaks_tls.contains_key(&server) => true,
            FtpTls::Offered => {
                let offered = stream.custom_command("AUTH TLS", &[Status::AuthOk]);
                match with_timeout(self.patience, offered).await {
                    Ok(_) => {
                        self.speaks_tls.insert(server, ());
                        // The library asks for itself, from the beginning.
                        stream = self.read_greeting(hop).await?;
                        true
                    }
                    // 421 ends the conversation; any other refusal is that of TLS, be it for the
                    // moment (RFC 4217, section 5).
                    Err(FtpCommandError::Refused(code)) if code != 421 => false,
                    Err(trouble) => return Err(trouble.into()),
                }
            }
        };
        if is_secure {
            stream = self.start_tls(stream, hop).await?;
        }
        match self.login(stream, file).await {
            // vsftpd lets nobody in anonymously through TLS unless it is told to. This is the word
            // of the server itself: its certificate was good.
            Err(FtpCommandError::Refused(530))
                if is_secure && self.tls == FtpTls::Offered && file.login.is_none() =>
            {
                Ok(self.login(self.read_greeting(hop).await?, file).await?)
            }
            session => Ok(session?),
        }
    }

    /// Connects and waits for the greeting.
    async fn read_greeting(&self, hop: &Admitted) -> Result<AsyncRustlsFtpStream, OriginError> {
        let socket = self.dialer.connect_to_origin(hop).await?;
        let dialer = self.dialer.clone();
        let mut stream = with_timeout(
            self.patience,
            AsyncRustlsFtpStream::connect_with_stream(socket),
        )
        .await?;
        stream.set_encoding(ByteForByte).await;
        // Wherever a server sends us for the data, we go to where it is itself.
        stream.set_passive_nat_workaround(true);
        Ok(stream
            .passive_stream_builder(move |address| Box::pin(open_data(dialer.clone(), address))))
    }

    /// From here on everything goes through TLS, or there is an error.
    async fn start_tls(
        &self,
        stream: AsyncRustlsFtpStream,
        hop: &Admitted,
    ) -> Result<AsyncRustlsFtpStream, OriginError> {
        let mut config = ClientConfig::clone(&self.tls_config);
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
        let connector = AsyncRustlsConnector::from(TlsConnector::from(Arc::new(config)));
        let name = hop.target().host().trim_matches(['[', ']']);
        match with_timeout(self.patience, stream.into_secure(connector, name)).await {
            Err(FtpCommandError::Refused(500..=599)) => Err(OriginError::InvalidResponse(
                "the origin does not speak TLS".to_owned(),
            )),
            secured => Ok(secured?),
        }
    }

    async fn login(
        &self,
        mut stream: AsyncRustlsFtpStream,
        file: &FtpFile,
    ) -> Result<Session, FtpCommandError> {
        let (user, password) = match &file.login {
            Some(login) => (as_chars(&login.user), as_chars(&login.password)),
            None => ("anonymous".to_owned(), "anonymous@".to_owned()),
        };
        with_timeout(self.patience, stream.login(user, password)).await?;
        with_timeout(self.patience, stream.transfer_type(FileType::Binary)).await?;
        // Asked for once by itself: later a refusal could be that of another command.
        match with_timeout(
            self.patience,
            stream.custom_command("EPSV", &[Status::ExtendedPassiveMode]),
        )
        .await
        {
            Ok(_) => stream.set_mode(Mode::ExtendedPassive),
            Err(FtpCommandError::Refused(500..=599)) => stream.set_mode(Mode::Passive),
            Err(trouble) => return Err(trouble),
        }
        Ok(Session::new(stream, self.patience))
    }
}

/// Connects to where a server listens with a file's bytes.
async fn open_data(dialer: Dialer, address: SocketAddr) -> Result<TcpStream, FtpError> {
    if address.port() < MIN_DATA_PORT {
        let wrong = OriginError::InvalidResponse(
            "the origin sends us to the port of another service".to_owned(),
        );
        return Err(FtpError::ConnectionError(io::Error::other(wrong)));
    }
    dialer
        .connect_to_address(address)
        .await
        .map_err(|error| FtpError::ConnectionError(io::Error::other(error)))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
