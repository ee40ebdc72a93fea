//! A gateway with a large object, and nodes that send wrong bytes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use millpond::cluster::MARK_FIELD;
use millpond::metalink::Metalink;

use crate::cluster::fake_peer::poll_answer;
use crate::cluster::stage::{SECRET, key};
use crate::harness::{Body, Gateway, Origin, Reply, archive, eventually, listen, sha256};

pub const PIECE: usize = 1 << 20;

/// Size of an object with 17 pieces, the last of which is short.
pub const SIZE: usize = 16 * PIECE + 12_345;

pub const PATH: &str = "/pub/x-1.0.tar.gz";

/// Returns an origin with a large file, and the file.
pub fn origin(seed: u64) -> (Origin, Body) {
    let (origin, body) = (Origin::start(), archive(seed, SIZE));
    origin.serve(PATH, Reply::file(&body).ranges());
    (origin, body)
}

/// Fetches the file of an origin, and waits for its pieces.
#[track_caller]
pub fn store(gateway: &Gateway, origin: &Origin, body: &[u8]) {
    let url = origin.url(PATH);
    gateway.assert_serves(&url, body);
    gateway.await_stored(&url);
    await_pieces(gateway, body);
}

/// Waits until the gateway states the pieces of an object, and returns its document.
#[track_caller]
pub fn await_pieces(gateway: &Gateway, body: &[u8]) -> Metalink {
    eventually("the pieces are computed", || {
        Some(metalink(gateway, body)).filter(|document| document.pieces.is_some())
    })
}

/// Returns the document of an object.
#[track_caller]
pub fn metalink(gateway: &Gateway, body: &[u8]) -> Metalink {
    let answer = gateway.request("GET", &metalink_path(body)).send();
    answer.assert_status(200);
    Metalink::parse(&answer.text()).expect("the document is valid")
}

pub fn object_path(body: &[u8]) -> String {
    format!("/api/v1/objects/sha256/{}", sha256(body))
}

pub fn metalink_path(body: &[u8]) -> String {
    object_path(body) + "/metalink"
}

/// A node of the cluster that claims to have every object, and sends the bytes of another file.
pub struct LyingNode {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl LyingNode {
    pub fn start(ip: &str, body: &Body) -> Self {
        let listener = listen(ip);
        let address = listener.local_addr().expect("a listener has an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (ranges, body) = (Arc::clone(&asked), Arc::clone(body));
        thread::spawn(move || serve(&listener, &ranges, &body));
        Self { address, asked }
    }

    /// Returns the ranges of objects that clients have asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no thread panicked").clone()
    }
}

fn serve(listener: &TcpListener, asked: &Arc<Mutex<Vec<String>>>, body: &Body) {
    while let Ok((socket, _)) = listener.accept() {
        let (asked, body) = (Arc::clone(asked), Arc::clone(body));
        // A client that goes away needs no answer.
        thread::spawn(move || drop(answer(socket, &asked, &body)));
    }
}

fn answer(mut socket: TcpStream, asked: &Mutex<Vec<String>>, body: &[u8]) -> std::io::Result<()> {
    let mut lines = BufReader::new(socket.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let (mut mark, mut range) = (String::new(), None);
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        if name.eq_ignore_ascii_case(MARK_FIELD) {
            value.clone_into(&mut mark);
        } else if name.eq_ignore_ascii_case("range") {
            range = Some(value.to_owned());
        }
    }
    if first.contains("/api/v1/node ") {
        let response = poll_answer(&key(SECRET), &mark, |_| ());
        return socket.write_all(response.unwrap_or_default().as_bytes());
    }
    let (status, field, part) = match &range {
        None => ("200 OK", String::new(), body),
        Some(range) => {
            asked
                .lock()
                .expect("no thread panicked")
                .push(range.clone());
            let (from, to) = range["bytes=".len()..].split_once('-').expect("a range");
            let from: usize = from.parse().expect("a number");
            let to = to.parse().map_or(body.len(), |last: usize| last + 1);
            let field = format!("Content-Range: bytes {from}-{}/{}\r\n", to - 1, body.len());
            ("206 Partial Content", field, &body[from..to])
        }
    };
    let length = part.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n\
         Connection: close\r\n{field}\r\n"
    );
    socket.write_all(head.as_bytes())?;
    let is_head = first.starts_with("HEAD");
    socket.write_all(if is_head { &[] } else { part })
}
