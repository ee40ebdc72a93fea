//! Nodes on addresses of their own, and a peer whose document the test decides.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use millpond::cluster::{ClusterKey, MARK_FIELD, NodeDocument, POLL_REQUEST, PROOF_FIELD};
use millpond::model::Secret;
use serde_json::Value;

use crate::harness::{Builder, Gateway, eventually, listen};

pub const SECRET: &str = "a secret of all nodes";

/// Returns an address that is free now.
pub fn free_address(ip: &str) -> SocketAddr {
    listen(ip).local_addr().expect("a listener has an address")
}

/// Returns the URL of a node.
pub fn url_of(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// Returns the key of the cluster, as a node has it.
pub fn key(secret: &str) -> ClusterKey {
    ClusterKey::new(Secret::from(secret.to_owned()))
}

/// Returns the configuration of a node at an address, with these peers.
pub fn node(name: &str, address: SocketAddr, peers: &[SocketAddr]) -> Builder {
    let peers: Vec<_> = peers.iter().copied().map(url_of).collect();
    Gateway::builder()
        .text("gateway.name", name)
        .text("gateway.listen", &address.to_string())
        .text("cluster.secret", SECRET)
        .set("cluster.peers", &format!("{peers:?}"))
        .relay()
}

/// Returns the list of nodes of a gateway.
pub fn nodes(gateway: &Gateway) -> Value {
    let answer = gateway.operate("GET", "/api/v1/nodes").send();
    answer.assert_status(200);
    answer.json()
}

/// Waits until a gateway sees its peer at an address in a state.
#[track_caller]
pub fn await_state(gateway: &Gateway, peer: SocketAddr, state: &str) {
    eventually(&format!("peer {peer} is {state}"), || {
        let list = nodes(gateway);
        let peers = list["peers"].as_array().expect("it is a list").clone();
        let found = peers.iter().find(|entry| {
            let url = entry["url"].as_str().unwrap_or_default();
            url.trim_end_matches('/') == url_of(peer)
        });
        (found.expect("the peer is listed")["state"] == state).then_some(())
    });
}

/// A peer with the secret, whose document the test decides.
pub struct FakePeer {
    pub address: SocketAddr,
    polls: Arc<AtomicUsize>,
}

impl FakePeer {
    /// Starts a peer that changes the right document with `change`.
    pub fn start(ip: &str, change: fn(&mut NodeDocument)) -> Self {
        let listener = listen(ip);
        let address = listener.local_addr().expect("a listener has an address");
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        thread::spawn(move || serve_polls(&listener, &count, change));
        Self { address, polls }
    }

    /// Waits until the peer was asked so many times.
    pub fn await_polls(&self, count: usize) {
        eventually("the peer was asked", || {
            (self.polls.load(Ordering::SeqCst) >= count).then_some(())
        });
    }
}

fn serve_polls(listener: &TcpListener, count: &AtomicUsize, change: fn(&mut NodeDocument)) {
    let key = key(SECRET);
    while let Ok((socket, _)) = listener.accept() {
        // A poller that has ended needs no answer.
        if answer_poll(socket, &key, change).is_some() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn answer_poll(
    mut socket: TcpStream,
    key: &ClusterKey,
    change: fn(&mut NodeDocument),
) -> Option<()> {
    let mut mark = String::new();
    for line in BufReader::new(socket.try_clone().ok()?).lines() {
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
    socket.write_all(&poll_answer(&mark, key, change)?).ok()
}

/// Returns the response to a poll with this mark, whose right document `change` changes.
pub fn poll_answer(mark: &str, key: &ClusterKey, change: fn(&mut NodeDocument)) -> Option<Vec<u8>> {
    let now = SystemTime::now();
    let request = key.verify(POLL_REQUEST, mark, now).ok()?;
    let since = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let mut document = NodeDocument {
        id: "fake".to_owned(),
        run: "fake".to_owned(),
        name: "fake".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        layout: 2,
        space_bytes: 1 << 30,
        folder: "fake".to_owned(),
        ready: true,
        clock_ms: u64::try_from(since.as_millis()).ok()?,
        advertise: None,
    };
    change(&mut document);
    let body = serde_json::to_string(&document).ok()?;
    let proof = key.prove(request, body.as_bytes());
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\
         {PROOF_FIELD}: {proof}\r\n\r\n"
    );
    Some((head + &body).into_bytes())
}
