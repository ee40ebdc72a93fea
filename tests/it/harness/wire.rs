//! Server side of a blocking connection, plain or TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use tokio::net::TcpSocket;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Backlog of a listening socket. The standard library uses 128, fewer than some tests need.
const BACKLOG: u32 = 4096;

/// Listens on a free port of a loopback address.
pub fn listen(ip: &str) -> TcpListener {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime can be made");
    let _entered = runtime.enter();
    let address = SocketAddr::new(ip.parse().expect("the address is valid"), 0);
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.expect("a socket can be made");
    socket.bind(address).expect("a loopback port is free");
    let listener = socket
        .listen(BACKLOG)
        .and_then(tokio::net::TcpListener::into_std)
        .expect("a socket can listen");
    listener
        .set_nonblocking(false)
        .expect("a listener can be made blocking");
    listener
}

pub enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Wire {
    pub fn accept(socket: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        Ok(match tls {
            None => Self::Plain(socket),
            Some(config) => {
                let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                Self::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    /// Reads and discards data until the peer closes the connection.
    pub fn await_end(&mut self) {
        let mut sink = [0; 4096];
        while self.receive(&mut sink).is_ok_and(|count| count > 0) {}
    }

    /// Closes the TCP connection cleanly, without a TLS `close_notify`.
    pub fn close(self) {
        // It fails if the peer has closed already.
        drop(self.socket().shutdown(Shutdown::Both));
    }

    /// Resets the connection.
    pub fn reset(self) {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.sock.try_clone().expect("a socket can be cloned"),
        };
        TcpSocket::from_std_stream(socket)
            .set_zero_linger()
            .expect("SO_LINGER can be set");
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}
