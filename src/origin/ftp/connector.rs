//! Opens control connections: connects, starts TLS if necessary, and logs in.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use rustls::ClientConfig;
use rustls::client::Resumption;
use suppaftp::tokio::{AsyncRustlsConnector, AsyncRustlsFtpStream};
use suppaftp::tokio_rustls::TlsConnector;
use suppaftp::types::FileType;
use suppaftp::{FtpError, Mode, Status};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::control::{ByteForByte, Session, as_chars};
use super::error::{FtpCommandError, with_timeout};
use super::pool::FtpServer;
use crate::dial::Dialer;
use crate::model::FtpFile;
use crate::origin::config::FtpTls;
use crate::origin::error::OriginError;
use crate::origin::fault::{ConnectionFault, ProtocolFault, TimeoutPhase};
use crate::policy::Admitted;

/// Minimum port of a data connection. Lower ports belong to other services (RFC 2577, section 3).
const MIN_DATA_PORT: u16 = 1024;

/// How long a server counts as supporting TLS after it offered it. Within this time, an attacker on
/// the network cannot force plaintext.
const TLS_MEMORY: Duration = Duration::from_mins(10);

/// Maximum number of servers that count as supporting TLS. Each entry takes some memory.
const MAX_REMEMBERED_SERVERS: u64 = 10_000;

/// Maximum number of resumable TLS sessions of one control connection.
///
/// Some servers require that a data connection resumes the session of its own control connection
/// (RFC 4217, section 10.2).
const TLS_SESSIONS: usize = 16;

/// Login for anonymous ftp (RFC 1635). Servers ignore the password.
const ANONYMOUS_USER: &str = "anonymous";
const ANONYMOUS_PASSWORD: &str = "anonymous@";

/// Opens control connections. Remembers which servers offer TLS.
pub struct Connector {
    dialer: Dialer,
    tls: FtpTls,
    tls_config: Arc<ClientConfig>,
    /// Servers that offered TLS lately.
    tls_servers: Cache<FtpServer, ()>,
    command_timeout: Duration,
}

impl Connector {
    pub fn new(
        dialer: Dialer,
        tls: FtpTls,
        tls_config: ClientConfig,
        command_timeout: Duration,
    ) -> Self {
        let tls_servers = Cache::builder()
            .max_capacity(MAX_REMEMBERED_SERVERS)
            .time_to_live(TLS_MEMORY)
            .build();
        Self {
            dialer,
            tls,
            tls_config: Arc::new(tls_config),
            tls_servers,
            command_timeout,
        }
    }

    /// Connects to the server of `hop` and logs in.
    ///
    /// # Errors
    /// [`OriginError`] if the server is unreachable, or refuses TLS or the login.
    pub async fn open(&self, hop: &Admitted, file: &FtpFile) -> Result<Session, OriginError> {
        let server = FtpServer::new(hop.target());
        let mut stream = self.read_greeting(hop).await?;
        let is_secure = match self.tls {
            FtpTls::Never => false,
            FtpTls::Required => true,
            FtpTls::Offered if self.tls_servers.contains_key(&server) => true,
            FtpTls::Offered => {
                let offered = stream.custom_command("AUTH TLS", &[Status::AuthOk]);
                match with_timeout(self.command_timeout, offered).await {
                    Ok(_) => {
                        self.tls_servers.insert(server, ());
                        // The FTP client sends AUTH TLS itself, on a new connection.
                        stream = self.read_greeting(hop).await?;
                        true
                    }
                    // 421 closes the connection. Any other reply refuses TLS, perhaps only for now
                    // (RFC 4217, section 5).
                    Err(FtpCommandError::Refused(code)) if code != 421 => false,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        if is_secure {
            stream = self.start_tls(stream, hop).await?;
        }
        match self.login(stream, file).await {
            // By default, vsftpd refuses anonymous logins over TLS. The refusal is authentic,
            // because the certificate was valid.
            Err(FtpCommandError::Refused(530))
                if is_secure && self.tls == FtpTls::Offered && file.login.is_none() =>
            {
                Ok(self.login(self.read_greeting(hop).await?, file).await?)
            }
            result => Ok(result?),
        }
    }

    /// Connects and waits for the greeting.
    async fn read_greeting(&self, hop: &Admitted) -> Result<AsyncRustlsFtpStream, OriginError> {
        let socket = self.dialer.connect_to_origin(hop).await?;
        let dialer = self.dialer.clone();
        let greeting = AsyncRustlsFtpStream::connect_with_stream(socket);
        let mut stream = match timeout(self.command_timeout, greeting).await {
            Ok(stream) => stream.map_err(FtpCommandError::from)?,
            // No request was sent, so the host is silent for every path.
            Err(_) => return Err(ConnectionFault::Timeout(TimeoutPhase::Connect).into()),
        };
        stream.set_encoding(ByteForByte).await;
        // Data connections go to the server's own address, whatever address it sends.
        stream.set_passive_nat_workaround(true);
        Ok(stream
            .passive_stream_builder(move |address| Box::pin(open_data(dialer.clone(), address))))
    }

    /// Starts TLS, without a fallback to plaintext.
    async fn start_tls(
        &self,
        stream: AsyncRustlsFtpStream,
        hop: &Admitted,
    ) -> Result<AsyncRustlsFtpStream, OriginError> {
        let mut config = ClientConfig::clone(&self.tls_config);
        config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
        let connector = AsyncRustlsConnector::from(TlsConnector::from(Arc::new(config)));
        let name = hop.target().host().trim_matches(['[', ']']);
        match with_timeout(self.command_timeout, stream.into_secure(connector, name)).await {
            Err(FtpCommandError::Refused(500..=599)) => Err(ProtocolFault::NoTls.into()),
            result => Ok(result?),
        }
    }

    async fn login(
        &self,
        mut stream: AsyncRustlsFtpStream,
        file: &FtpFile,
    ) -> Result<Session, FtpCommandError> {
        let (user, password) = match &file.login {
            Some(login) => (as_chars(&login.user), as_chars(&login.password)),
            None => (ANONYMOUS_USER.to_owned(), ANONYMOUS_PASSWORD.to_owned()),
        };
        with_timeout(self.command_timeout, stream.login(user, password)).await?;
        with_timeout(self.command_timeout, stream.transfer_type(FileType::Binary)).await?;
        // EPSV is tried here on its own. Later, a refusal could belong to another command.
        match with_timeout(
            self.command_timeout,
            stream.custom_command("EPSV", &[Status::ExtendedPassiveMode]),
        )
        .await
        {
            Ok(_) => stream.set_mode(Mode::ExtendedPassive),
            Err(FtpCommandError::Refused(500..=599)) => stream.set_mode(Mode::Passive),
            Err(error) => return Err(error),
        }
        Ok(Session::new(stream, self.command_timeout))
    }
}

/// Opens the data connection to the address that the server sent.
async fn open_data(dialer: Dialer, address: SocketAddr) -> Result<TcpStream, FtpError> {
    if address.port() < MIN_DATA_PORT {
        let fault = ProtocolFault::PrivilegedDataPort(address.port());
        return Err(FtpError::ConnectionError(io::Error::other(fault)));
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
