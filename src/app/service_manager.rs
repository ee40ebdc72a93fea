//! Messages to the service manager, such as systemd, about the state of the service.
//!
//! The protocol is that of sd_notify(3): a datagram to the socket that `NOTIFY_SOCKET` names. The
//! standard library has all that it needs. This module must not know what the service does. Its
//! main type is [`ServiceManager`].

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Variable with the address of the socket, set by the service manager.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// First byte of an address in the abstract namespace, which has no file.
const ABSTRACT_MARK: u8 = b'@';

/// State that a service manager waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// Both ports accept connections, and the cache folder is open.
    Ready,
    /// A signal stops the service.
    Stopping,
}

impl ServiceState {
    fn message(self) -> &'static str {
        match self {
            Self::Ready => "READY=1",
            Self::Stopping => "STOPPING=1",
        }
    }
}

/// The service manager that started this process, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
}

impl ServiceManager {
    /// Connects to the socket of the service manager. A failure is logged, because the service
    /// works without one.
    #[must_use]
    pub fn connect() -> Self {
        let address = std::env::var_os(SOCKET_VARIABLE).filter(|address| !address.is_empty());
        let socket = address.and_then(|address| match open(&address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, ?address, "cannot open the socket in NOTIFY_SOCKET");
                None
            }
        });
        Self { socket }
    }

    /// Reports a state. Does nothing without a service manager, and never waits.
    pub fn report(&self, state: ServiceState) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state.message().as_bytes()) {
            tracing::warn!(%error, ?state, "cannot report the state to the service manager");
        }
    }
}

fn open(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [ABSTRACT_MARK, name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
