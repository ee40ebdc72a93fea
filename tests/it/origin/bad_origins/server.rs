//! An origin that acts by the scripts of the table.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::net::TcpSocket;

use super::script::{ENDLESS_BYTES, Row, Step};
use crate::harness::listen;

/// Pause between two bytes of a dripping response. A busy machine makes it many times as long, and
/// the gateway ends a response that is slower than `fetch.min_speed`.
const DRIP_PAUSE: Duration = Duration::from_micros(50);

/// Longest wait for the peer. Only a failing test reaches it.
const PEER_TIMEOUT: Duration = Duration::from_secs(20);

/// Use of a connection after a response.
enum Next {
    Request,
    Nothing,
}

/// Serves all rows at `listener`, and each deaf row at a port of its own.
pub struct BadOrigin {
    rows: HashMap<String, Arc<Row>>,
    port: u16,
    deaf_ports: HashMap<String, u16>,
}

impl BadOrigin {
    pub fn start(listener: TcpListener, rows: &[Arc<Row>]) -> Arc<Self> {
        let mut origin = Self {
            rows: HashMap::new(),
            port: port_of(&listener),
            deaf_ports: HashMap::new(),
        };
        for row in rows {
            origin.rows.insert(row.name.clone(), Arc::clone(row));
            if row.is_deaf {
                let listener = listen("127.0.0.1");
                origin
                    .deaf_ports
                    .insert(row.name.clone(), port_of(&listener));
                let row = Arc::clone(row);
                thread::spawn(move || {
                    for socket in listener.incoming().flatten() {
                        let row = Arc::clone(&row);
                        // A closed connection is an end like any other.
                        thread::spawn(move || drop(respond(&socket, &row.responses[0])));
                    }
                });
            }
        }
        let origin = Arc::new(origin);
        let shared = Arc::clone(&origin);
        let counts: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let (shared, counts) = (Arc::clone(&shared), Arc::clone(&counts));
                thread::spawn(move || drop(shared.converse(&socket, &counts)));
            }
        });
        origin
    }

    pub fn ports(&self) -> Vec<u16> {
        let deaf = self.deaf_ports.values().copied();
        deaf.chain([self.port]).collect()
    }

    pub fn url(&self, row: &Row, kind: &str) -> String {
        let port = self.deaf_ports.get(&row.name).unwrap_or(&self.port);
        format!("http://127.0.0.1:{port}{}", row.path(kind))
    }

    /// Serves the requests of one connection.
    fn converse(
        &self,
        socket: &TcpStream,
        counts: &Mutex<HashMap<String, usize>>,
    ) -> io::Result<()> {
        loop {
            let target = read_target(socket)?;
            let name = target.split('/').nth(1).unwrap_or_default();
            let Some(row) = self.rows.get(name) else {
                return Ok(());
            };
            let turn = {
                let mut counts = counts.lock().expect("no thread panicked with the lock");
                let count = counts.entry(target.clone()).or_default();
                *count += 1;
                (*count - 1).min(row.responses.len() - 1)
            };
            if let Next::Nothing = respond(socket, &row.responses[turn])? {
                return Ok(());
            }
        }
    }
}

fn port_of(listener: &TcpListener) -> u16 {
    listener
        .local_addr()
        .expect("a listener has an address")
        .port()
}

/// Reads the head of a request, and returns its target.
fn read_target(mut socket: &TcpStream) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

fn respond(mut socket: &TcpStream, steps: &[Step]) -> io::Result<Next> {
    for step in steps {
        match step {
            Step::Send(bytes) => socket.write_all(bytes)?,
            Step::Drip(bytes) => {
                for byte in bytes {
                    socket.write_all(&[*byte])?;
                    thread::sleep(DRIP_PAUSE);
                }
            }
            Step::Endless(bytes) => {
                for _ in 0..ENDLESS_BYTES / bytes.len() {
                    socket.write_all(bytes)?;
                }
            }
            Step::Close => {
                socket.shutdown(Shutdown::Both)?;
                return Ok(Next::Nothing);
            }
            Step::Reset => {
                let socket = TcpSocket::from_std_stream(socket.try_clone()?);
                socket.set_zero_linger()?;
                return Ok(Next::Nothing);
            }
            Step::Await => {
                socket.peek(&mut [0])?;
            }
            Step::HalfClose => socket.shutdown(Shutdown::Write)?,
            Step::Stall => {
                socket.set_read_timeout(Some(PEER_TIMEOUT))?;
                while socket.read(&mut [0; 4096])? > 0 {}
                return Ok(Next::Nothing);
            }
        }
    }
    Ok(Next::Request)
}
