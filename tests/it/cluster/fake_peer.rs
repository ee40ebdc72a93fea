//! A peer with the secret, whose document and bodies the test decides.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use millpond::cluster::{
    ClusterKey, LINK_CONTENT, LINK_REQUEST, MARK_FIELD, MarkedRequest, NODE_PATH, NodeDocument,
    ORIGIN_TAG_FIELD, POLL_REQUEST, PROOF_FIELD, proven_content,
};
use millpond::model::Target;

use super::stage::{SECRET, key};
use crate::harness::{eventually, listen};

/// Identity, name and random number of the peer.
pub const FAKE: &str = "fake";

/// A peer with the secret.
pub struct FakePeer {
    pub address: SocketAddr,
    polls: Arc<AtomicUsize>,
}

/// Behavior of a peer.
pub struct Conduct {
    /// Changes the right document.
    pub document: fn(&mut NodeDocument),
    /// Answer to a request for a target.
    pub body: Option<FakeBody>,
    /// Time before an acknowledgement. The peer answers pings meanwhile.
    pub busy_for: Option<Duration>,
}

/// Beginning of a body. The connection ends behind it.
pub struct FakeBody {
    pub length: usize,
    pub bytes: Vec<u8>,
    /// Entity tag of the origin.
    pub tag: String,
    /// Whether the answers have a proof.
    pub is_proven: bool,
}

impl FakePeer {
    /// Starts a peer that changes the right document with `change`, and has no bodies.
    pub fn start(ip: &str, change: fn(&mut NodeDocument)) -> Self {
        let conduct = Conduct {
            document: change,
            body: None,
            busy_for: None,
        };
        Self::with(ip, conduct)
    }

    pub fn with(ip: &str, conduct: Conduct) -> Self {
        let listener = listen(ip);
        let address = listener.local_addr().expect("a listener has an address");
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        thread::spawn(move || serve(&listener, &count, &conduct));
        Self { address, polls }
    }

    /// Waits until the peer was asked so many times.
    pub fn await_polls(&self, count: usize) {
        eventually("the peer was asked", || {
            (self.polls.load(Ordering::SeqCst) >= count).then_some(())
        });
    }
}

fn serve(listener: &TcpListener, polls: &AtomicUsize, conduct: &Conduct) {
    let key = key(SECRET);
    while let Ok((socket, _)) = listener.accept() {
        // A node that has ended needs no answer.
        if answer(socket, &key, conduct) == Some(true) {
            polls.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Answers one request. Returns whether it was a poll.
fn answer(mut socket: TcpStream, key: &ClusterKey, conduct: &Conduct) -> Option<bool> {
    let mut lines = BufReader::new(socket.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    let mut parts = request.split(' ');
    let (method, path) = (parts.next()?, parts.next()?);
    let mut mark = String::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case(MARK_FIELD)
        {
            value.clone_into(&mut mark);
        }
    }
    if path == NODE_PATH {
        let answer = poll_answer(key, &mark, conduct.document)?;
        socket.write_all(answer.as_bytes()).ok()?;
        return Some(true);
    }
    if method == "CONNECT" && conduct.busy_for.is_some() {
        open_link(socket, key, &mark)?;
        return Some(false);
    }
    if let Some(time) = conduct.busy_for.filter(|_| method == "POST") {
        thread::sleep(time);
    }
    let target = Target::parse(path.strip_prefix('/')?).ok()?;
    let answer = body_answer(key, &mark, (method, &target), conduct.body.as_ref()?)?;
    socket.write_all(&answer).ok()?;
    Some(false)
}

/// Answers pings on a connection for ever.
fn open_link(mut socket: TcpStream, key: &ClusterKey, mark: &str) -> Option<()> {
    let received = MarkedRequest {
        recipient: FAKE,
        ..LINK_REQUEST
    };
    let request = key.verify(received, mark, SystemTime::now()).ok()?;
    let proof = key.prove(request, LINK_CONTENT);
    let head = format!("HTTP/1.1 200 OK\r\n{PROOF_FIELD}: {proof}\r\n\r\n");
    socket.write_all(head.as_bytes()).ok()?;
    let mut pings = socket.try_clone().ok()?;
    // Ends with the node.
    thread::spawn(move || io::copy(&mut pings, &mut socket));
    Some(())
}

/// Returns the response to a poll with this mark, whose right document `change` changes.
pub fn poll_answer(key: &ClusterKey, mark: &str, change: fn(&mut NodeDocument)) -> Option<String> {
    let now = SystemTime::now();
    let request = key.verify(POLL_REQUEST, mark, now).ok()?;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let mut document = NodeDocument {
        id: FAKE.to_owned(),
        run: FAKE.to_owned(),
        name: FAKE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        layout: 2,
        space_bytes: 1 << 30,
        folder: FAKE.to_owned(),
        bucket: String::new(),
        ready: true,
        draining: false,
        clock_ms: u64::try_from(since.as_millis()).ok()?,
        advertise: None,
    };
    change(&mut document);
    let body = serde_json::to_string(&document).ok()?;
    let proof = key.prove(request, body.as_bytes());
    let length = body.len();
    Some(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\
         {PROOF_FIELD}: {proof}\r\n\r\n{body}"
    ))
}

fn body_answer(
    key: &ClusterKey,
    mark: &str,
    (method, target): (&str, &Target),
    body: &FakeBody,
) -> Option<Vec<u8>> {
    let received = MarkedRequest {
        recipient: FAKE,
        method,
        target: target.as_str(),
    };
    let request = key.verify(received, mark, SystemTime::now()).ok()?;
    let (status, length, bytes, origin_tag) = match method {
        "POST" => (202, 0, &body.bytes[..0], ""),
        "GET" => (200, body.length, &body.bytes[..], body.tag.as_str()),
        _ => (504, 0, &body.bytes[..0], ""),
    };
    let field = |name: &str| match name {
        ORIGIN_TAG_FIELD => origin_tag.to_owned(),
        _ => String::new(),
    };
    let content = proven_content(target, status, field);
    let proof = if body.is_proven {
        key.prove(request, &content)
    } else {
        "00".to_owned()
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\
         {ORIGIN_TAG_FIELD}: {origin_tag}\r\n{PROOF_FIELD}: {proof}\r\n\r\n"
    );
    Some([head.as_bytes(), bytes].concat())
}
