//! Loopback HTTP/1.1 origins that answer by script and record their requests.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio_rustls::rustls::ServerConfig;

use super::reply::{After, Reply};
use super::tls::Authority;
use super::wire::{Wire, listen};
use super::{eventually, lock};

const MAX_HEAD_BYTES: usize = 256 << 10;

/// A request as the origin received it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How many requests came before it on its connection.
    pub turn: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A server of scripted responses. It answers 404 to any other target.
pub struct Origin {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
}

#[derive(Default)]
struct Shared {
    scripts: Mutex<HashMap<String, Script>>,
    sockets: Mutex<HashMap<usize, TcpStream>>,
    connections: AtomicUsize,
    answering: AtomicUsize,
    most_at_once: AtomicUsize,
    closing: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

#[derive(Default)]
struct Script {
    /// Responses to the requests, in turn. The last one repeats.
    replies: Vec<Reply>,
    asked: Vec<Asked>,
}

impl Origin {
    pub fn start() -> Self {
        Self::start_on("127.0.0.1", None)
    }

    /// Starts an origin at another loopback address.
    pub fn start_at(ip: &str) -> Self {
        Self::start_on(ip, None)
    }

    /// Starts an https origin for `localhost` and 127.0.0.1.
    pub fn start_tls(authority: &Authority) -> Self {
        Self::start_tls_at("127.0.0.1", authority)
    }

    /// Starts an https origin at an address that its certificate may not cover.
    pub fn start_tls_at(ip: &str, authority: &Authority) -> Self {
        Self::start_on(ip, Some(authority.server_config()))
    }

    fn start_on(ip: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = listen(ip);
        let address = listener.local_addr().expect("a listener has an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            tls,
            ..Shared::default()
        });
        let accepting = shared.clone();
        thread::spawn(move || accept_all(&accepting, &listener));
        Self {
            shared,
            address,
            scheme,
        }
    }

    /// Answers every request for `target` with `reply`.
    pub fn serve(&self, target: &str, reply: Reply) {
        self.script(target, vec![reply]);
    }

    /// Answers the requests for `target` in turn. The last response repeats.
    pub fn script(&self, target: &str, replies: Vec<Reply>) {
        let mut scripts = lock(&self.shared.scripts);
        scripts.entry(target.to_owned()).or_default().replies = replies;
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self, target: &str) -> String {
        format!("{}://{}{target}", self.scheme, self.address)
    }

    /// Returns the URL with the name `localhost` instead of the address.
    pub fn named_url(&self, target: &str) -> String {
        format!("{}://localhost:{}{target}", self.scheme, self.port())
    }

    /// Returns the number of requests for `target`.
    pub fn count(&self, target: &str) -> usize {
        self.requests(target).len()
    }

    /// Returns the number of all requests.
    pub fn total(&self) -> usize {
        lock(&self.shared.scripts)
            .values()
            .map(|script| script.asked.len())
            .sum()
    }

    /// Returns the requested targets, sorted, one entry for each request.
    pub fn asked(&self) -> Vec<String> {
        let scripts = lock(&self.shared.scripts);
        let targets = scripts
            .iter()
            .flat_map(|(target, script)| script.asked.iter().map(|_| target.clone()));
        let mut targets: Vec<_> = targets.collect();
        targets.sort();
        targets
    }

    pub fn requests(&self, target: &str) -> Vec<Asked> {
        let scripts = lock(&self.shared.scripts);
        scripts
            .get(target)
            .map(|script| script.asked.clone())
            .unwrap_or_default()
    }

    /// Returns the request for `target`, and asserts that there was only one.
    #[track_caller]
    pub fn request(&self, target: &str) -> Asked {
        let mut requests = self.requests(target);
        assert_eq!(requests.len(), 1, "requests for {target}");
        requests.remove(0)
    }

    /// Returns the number of opened connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Returns the largest number of concurrent requests.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }

    /// Stops the origin: closes its connections and its port.
    pub fn stop(self) {
        self.shut_down();
    }

    /// Stops the origin as [`Origin::stop`] does, and keeps its record of the requests.
    pub fn shut_down(&self) {
        self.close();
        eventually("the origin's port is closed", || {
            TcpStream::connect(self.address).is_err().then_some(())
        });
    }

    fn close(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        for script in lock(&self.shared.scripts).values() {
            script
                .replies
                .iter()
                .flat_map(Reply::gates)
                .for_each(super::Gate::abandon);
        }
        for socket in lock(&self.shared.sockets).values() {
            // It fails if the peer has closed already.
            drop(socket.shutdown(std::net::Shutdown::Both));
        }
        // Wakes the listener, so that it sees `closing`.
        drop(TcpStream::connect(self.address));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.close();
    }
}

fn accept_all(shared: &Arc<Shared>, listener: &TcpListener) {
    for socket in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(socket) = socket else { continue };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = shared.clone();
        thread::spawn(move || {
            if let Ok(clone) = socket.try_clone() {
                lock(&shared.sockets).insert(number, clone);
            }
            converse(&shared, socket, number);
        });
    }
}

/// Serves one connection to its end.
fn converse(shared: &Shared, socket: TcpStream, number: usize) {
    let after = Wire::accept(socket, shared.tls.as_ref()).map(|mut wire| {
        let mut unread = Vec::new();
        let mut turn = 0;
        let after = loop {
            match exchange(shared, &mut wire, &mut unread, turn) {
                Ok(After::Keep) => turn += 1,
                Ok(after) => break after,
                // A closed or reset connection is a normal end.
                Err(_) => break After::Close,
            }
        };
        (wire, after)
    });
    lock(&shared.sockets).remove(&number);
    match after {
        Ok((wire, After::Reset)) => wire.reset(),
        Ok((wire, _)) => wire.close(),
        // The TLS handshake failed.
        Err(_) => {}
    }
}

fn exchange(
    shared: &Shared,
    wire: &mut Wire,
    unread: &mut Vec<u8>,
    turn: usize,
) -> io::Result<After> {
    let asked = Asked {
        turn,
        ..read_request(wire, unread)?
    };
    let now = shared.answering.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_at_once.fetch_max(now, Ordering::SeqCst);
    let reply = {
        let mut scripts = lock(&shared.scripts);
        let script = scripts.entry(asked.target.clone()).or_default();
        let turn = script
            .asked
            .len()
            .min(script.replies.len().saturating_sub(1));
        script.asked.push(asked.clone());
        script
            .replies
            .get(turn)
            .cloned()
            .unwrap_or_else(|| Reply::status(404))
    };
    let after = reply.send(wire, &asked);
    shared.answering.fetch_sub(1, Ordering::SeqCst);
    after
}

fn read_request(wire: &mut Wire, unread: &mut Vec<u8>) -> io::Result<Asked> {
    let end = loop {
        if let Some(at) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if unread.len() > MAX_HEAD_BYTES {
            return Err(io::Error::other("the request's head is too long"));
        }
        receive_more(wire, unread)?;
    };
    let head: Vec<u8> = unread.drain(..end).collect();
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.trim_end().split("\r\n");
    let mut words = lines
        .next()
        .unwrap_or_default()
        .split(' ')
        .map(str::to_owned);
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.into(), value.trim().into()));
    let mut asked = Asked {
        method,
        target,
        headers: headers.collect(),
        body: Vec::new(),
        turn: 0,
    };
    if asked
        .header("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    asked.body = read_body(wire, unread, &asked)?;
    Ok(asked)
}

fn read_body(wire: &mut Wire, unread: &mut Vec<u8>, asked: &Asked) -> io::Result<Vec<u8>> {
    if asked.header("transfer-encoding").is_none() {
        let length = asked
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        return take(wire, unread, length);
    }
    let mut body = Vec::new();
    loop {
        let line = loop {
            match unread.windows(2).position(|window| window == b"\r\n") {
                Some(at) => break unread.drain(..at + 2).collect::<Vec<u8>>(),
                None => receive_more(wire, unread)?,
            }
        };
        let size = String::from_utf8_lossy(&line);
        let size = size.trim().split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        let chunk = take(wire, unread, size + 2)?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

fn take(wire: &mut Wire, unread: &mut Vec<u8>, count: usize) -> io::Result<Vec<u8>> {
    while unread.len() < count {
        receive_more(wire, unread)?;
    }
    Ok(unread.drain(..count).collect())
}

fn receive_more(wire: &mut Wire, unread: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 16 << 10];
    match wire.receive(&mut buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            unread.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}
