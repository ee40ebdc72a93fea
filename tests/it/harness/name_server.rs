//! A scripted DNS server, and addresses that swallow connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::TcpSocket;

use super::lock;

/// Longest wait for a connection to a full backlog. One that is accepted takes less on loopback.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Reaction of the server to a query of one type for one name.
#[derive(Debug, Clone)]
pub enum DnsReply {
    /// These addresses, with their TTL in seconds.
    Addresses(Vec<IpAddr>, u32),
    /// Another name for this one. The addresses of that name follow in the response.
    Alias(&'static str),
    /// The name does not exist, for so many seconds.
    NoName(u32),
    Failure,
    Silence,
    /// These addresses, once [`NameServer::answer_late`] is called.
    Late(Vec<IpAddr>),
}

/// A running server. It answers that other names do not exist. Dropping it leaves its thread until
/// the tests end.
pub struct NameServer {
    shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    address: SocketAddr,
}

#[derive(Default)]
struct Shared {
    /// Replies in turn. The last one repeats.
    replies: Mutex<HashMap<(String, RecordType), Vec<DnsReply>>>,
    asked: Mutex<Vec<(String, RecordType)>>,
    late: Mutex<Vec<(Message, SocketAddr)>>,
}

impl NameServer {
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0")
    }

    pub fn start_at(address: &str) -> Self {
        let socket = UdpSocket::bind(address).expect("the loopback port is free");
        let address = socket.local_addr().expect("a socket has an address");
        let (shared, socket) = (Arc::<Shared>::default(), Arc::new(socket));
        let (own, own_socket) = (Arc::clone(&shared), Arc::clone(&socket));
        thread::spawn(move || own.answer_all(&own_socket));
        Self {
            shared,
            socket,
            address,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the replies to queries of one type, in turn.
    pub fn script(&self, name: &str, kind: RecordType, replies: Vec<DnsReply>) {
        lock(&self.shared.replies).insert((name.to_owned(), kind), replies);
    }

    /// Sets the addresses of a name, each under its own type, with a TTL of 300 s.
    pub fn serve(&self, name: &str, addresses: &[&str]) {
        let parsed = addresses.iter().map(|text| text.parse::<IpAddr>());
        let parsed = parsed.map(|address| address.expect("the address is valid"));
        let (v4, v6): (Vec<_>, Vec<_>) = parsed.partition(IpAddr::is_ipv4);
        for (kind, addresses) in [(RecordType::A, v4), (RecordType::AAAA, v6)] {
            self.script(name, kind, vec![DnsReply::Addresses(addresses, 300)]);
        }
    }

    /// Answers no query for a name.
    pub fn silence(&self, name: &str) {
        for kind in [RecordType::A, RecordType::AAAA] {
            self.script(name, kind, vec![DnsReply::Silence]);
        }
    }

    /// Answers the queries that got [`DnsReply::Late`].
    pub fn answer_late(&self) {
        for (response, client) in lock(&self.shared.late).drain(..) {
            send(&self.socket, &response, client);
        }
    }

    /// Returns how often a type of a name was asked for.
    pub fn count(&self, name: &str, kind: RecordType) -> usize {
        let asked = lock(&self.shared.asked);
        asked
            .iter()
            .filter(|own| **own == (name.to_owned(), kind))
            .count()
    }

    /// Returns the number of all queries.
    pub fn total(&self) -> usize {
        lock(&self.shared.asked).len()
    }
}

impl Shared {
    fn answer_all(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((size, client)) = socket.recv_from(&mut buffer) {
            let Ok(query) = Message::from_vec(&buffer[..size]) else {
                continue;
            };
            if let Some(response) = self.respond(query, client) {
                send(socket, &response, client);
            }
        }
    }

    fn respond(&self, query: Message, client: SocketAddr) -> Option<Message> {
        let question = query.queries.first()?.clone();
        let (name, kind) = (question.name().clone(), question.query_type());
        let text = name.to_ascii().trim_end_matches('.').to_lowercase();
        lock(&self.asked).push((text.clone(), kind));
        let mut response = query;
        response.metadata.message_type = MessageType::Response;
        response.metadata.recursion_available = true;
        response.additionals.clear();
        match self.next_reply(&text, kind) {
            DnsReply::Silence => return None,
            DnsReply::Late(addresses) => {
                add_addresses(&mut response, &name, &addresses, 300);
                lock(&self.late).push((response, client));
                return None;
            }
            DnsReply::Failure => response.metadata.response_code = ResponseCode::ServFail,
            DnsReply::NoName(seconds) => {
                response.metadata.response_code = ResponseCode::NXDomain;
                response.add_authority(authority(seconds));
            }
            DnsReply::Addresses(addresses, seconds) if addresses.is_empty() => {
                response.add_authority(authority(seconds));
            }
            DnsReply::Addresses(addresses, seconds) => {
                add_addresses(&mut response, &name, &addresses, seconds);
            }
            DnsReply::Alias(other) => {
                let alias = absolute(other);
                let data = RData::CNAME(CNAME(alias.clone()));
                response.add_answer(Record::from_rdata(name, 300, data));
                if let DnsReply::Addresses(addresses, seconds) = self.next_reply(other, kind) {
                    add_addresses(&mut response, &alias, &addresses, seconds);
                }
            }
        }
        Some(response)
    }

    fn next_reply(&self, name: &str, kind: RecordType) -> DnsReply {
        let mut replies = lock(&self.replies);
        match replies.get_mut(&(name.to_owned(), kind)) {
            Some(replies) if replies.len() > 1 => replies.remove(0),
            Some(replies) => replies[0].clone(),
            None => DnsReply::NoName(300),
        }
    }
}

fn send(socket: &UdpSocket, response: &Message, client: SocketAddr) {
    let bytes = response.to_vec().expect("a message can be written");
    // The client may have given up.
    drop(socket.send_to(&bytes, client));
}

fn add_addresses(response: &mut Message, name: &Name, addresses: &[IpAddr], seconds: u32) {
    for address in addresses {
        let data = RData::from(*address);
        response.add_answer(Record::from_rdata(name.clone(), seconds, data));
    }
}

/// Returns the record whose last number is the TTL of a missing name (RFC 2308, section 3).
fn authority(seconds: u32) -> Record {
    let zone = absolute("example.test");
    let soa = SOA::new(zone.clone(), zone.clone(), 1, 3600, 600, 86400, seconds);
    Record::from_rdata(zone, seconds, RData::SOA(soa))
}

fn absolute(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("the name is valid");
    name.set_fqdn(true);
    name
}

/// An address and port that swallow connections: the backlog of a listener is full.
pub struct SilentAddress {
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl SilentAddress {
    /// Makes a loopback address silent at a port that is in use at another one.
    #[track_caller]
    pub fn at(ip: &str, port: u16) -> Self {
        let address = SocketAddr::new(ip.parse().expect("the address is valid"), port);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("a runtime can be made");
        let _entered = runtime.enter();
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        };
        let socket = socket.expect("a socket can be made");
        socket.set_reuseaddr(true).expect("the option exists");
        socket.bind(address).expect("the port is free here");
        let listener = socket.listen(1).expect("a socket can listen");
        let listener = listener.into_std().expect("a listener can be taken");
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, ACCEPT_WAIT) {
            waiting.push(stream);
            assert!(waiting.len() < 64, "the backlog of {address} is never full");
        }
        Self {
            _listener: listener,
            _waiting: waiting,
        }
    }
}
