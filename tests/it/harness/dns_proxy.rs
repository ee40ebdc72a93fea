//! A proxy in front of the DNS server that holds updates back until the test opens a gate.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::bind::{read_frame, write_frame};
use super::wire::listen;
use super::{Gate, Named};

/// Bits of the opcode in the third octet of a message (RFC 2136, section 2.2).
const OPCODE_MASK: u8 = 0x78;
const OPCODE_UPDATE: u8 = 5 << 3;

/// A running proxy. Dropping it closes the port.
pub struct DnsProxy {
    address: SocketAddr,
    gate: Gate,
    is_over: Arc<AtomicBool>,
}

impl DnsProxy {
    /// Starts a proxy that holds each update at the gate before it forwards the update.
    pub fn before(named: &Named, gate: &Gate) -> Self {
        let listener = listen("127.0.0.1");
        let address = listener.local_addr().expect("a listener has an address");
        let is_over = Arc::new(AtomicBool::new(false));
        let proxy = Self {
            address,
            gate: gate.clone(),
            is_over: Arc::clone(&is_over),
        };
        let (server, gate) = (named.address(), gate.clone());
        thread::spawn(move || accept(&listener, server, &gate, &is_over));
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DnsProxy {
    fn drop(&mut self) {
        self.gate.abandon();
        self.is_over.store(true, Ordering::Release);
        // Wakes the listener, which may have ended.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, server: SocketAddr, gate: &Gate, is_over: &AtomicBool) {
    for client in listener.incoming().map_while(Result::ok) {
        if is_over.load(Ordering::Acquire) {
            return;
        }
        let gate = gate.clone();
        thread::spawn(move || hand_on(client, server, &gate));
    }
}

/// Forwards messages until either side closes the connection.
fn hand_on(mut client: TcpStream, server: SocketAddr, gate: &Gate) {
    let Ok(mut server) = TcpStream::connect(server) else {
        return;
    };
    while let Ok(question) = read_frame(&mut client) {
        if question[2] & OPCODE_MASK == OPCODE_UPDATE && !gate.pass() {
            break;
        }
        let answered = write_frame(&mut server, &question).and_then(|()| read_frame(&mut server));
        if answered
            .and_then(|answer| write_frame(&mut client, &answer))
            .is_err()
        {
            break;
        }
    }
    // The connection may be closed already.
    drop(client.shutdown(Shutdown::Both));
}
