//! The real BIND as an unprivileged process, with one zone that a key may update.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, OpCode, Query, ResponseCode, UpdateMessage as _};
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};
use tempfile::TempDir;

use super::wire::listen;
use super::{DEADLINE, eventually};

/// Name in the zone `example.org` that the tests use.
pub const DNS_NAME: &str = "sources.example.org";

/// Key that may update the zone, and its secret in base64.
pub const DNS_KEY: &str = "node-key";
pub const DNS_SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const SECRET_BYTES: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A running server. Dropping it stops the server.
pub struct Named {
    child: Option<Child>,
    folder: TempDir,
    address: SocketAddr,
}

impl Named {
    /// Starts a server with these records of the name, such as `A 192.0.2.1`.
    #[track_caller]
    pub fn start(records: &[&str]) -> Self {
        Self::start_at("127.0.0.1", records)
    }

    /// Starts a server at an IPv4 or IPv6 loopback address.
    #[track_caller]
    pub fn start_at(ip: &str, records: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        // Another process may take the port before `named` does: the wait below then fails.
        let address = listen(ip).local_addr().expect("a listener has an address");
        let own = folder.path().display();
        let (v4, v6) = if address.is_ipv4() {
            (ip, "none")
        } else {
            ("none", ip)
        };
        let port = address.port();
        let config = format!(
            "options {{ directory \"{own}\"; listen-on port {port} {{ {v4}; }}; \
             listen-on-v6 port {port} {{ {v6}; }};\n\
             pid-file none; session-keyfile none; recursion no; notify no; \
             dnssec-validation no; }};\n\
             controls {{ }};\n\
             key \"{DNS_KEY}\" {{ algorithm hmac-sha256; secret \"{DNS_SECRET}\"; }};\n\
             zone \"example.org\" {{ type primary; file \"zone\"; \n\
             update-policy {{ grant {DNS_KEY} name {DNS_NAME} A AAAA; }}; }};\n"
        );
        let mut zone =
            "$TTL 3600\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n"
                .to_owned();
        zone.extend(
            records
                .iter()
                .map(|record| format!("sources 300 {record}\n")),
        );
        std::fs::write(folder.path().join("named.conf"), config)
            .expect("the folder can be written");
        std::fs::write(folder.path().join("zone"), zone).expect("the folder can be written");
        let mut server = Self {
            child: None,
            folder,
            address,
        };
        server.go_on();
        server
    }

    /// Starts the server or restarts it, and waits until it answers.
    #[track_caller]
    pub fn go_on(&mut self) {
        let mut command = Command::new("/usr/sbin/named");
        command
            .args(["-g", "-n", "1", "-c"])
            .arg(self.folder.path().join("named.conf"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("named is missing: install the Debian package bind9")
            }
            Err(error) => panic!("named cannot be started: {error}"),
        });
        eventually("named answers", || {
            self.ask(&question(RecordType::SOA)).ok()
        });
    }

    /// Stops the server. Changes of the zone survive a restart.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The process may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the record data of a type at the name.
    #[track_caller]
    pub fn has(&self, kind: RecordType) -> BTreeSet<String> {
        let answer = self.ask(&question(kind)).expect("named answers");
        answer
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect()
    }

    /// Returns the TTL of the records of a type, in seconds.
    #[track_caller]
    pub fn ttl_seconds(&self, kind: RecordType) -> u32 {
        let answer = self.ask(&question(kind)).expect("named answers");
        answer
            .answers
            .first()
            .expect("the name has a record of this type")
            .ttl
    }

    #[track_caller]
    pub fn assert_has(&self, kind: RecordType, wanted: &[&str]) {
        assert_eq!(
            self.has(kind),
            wanted.iter().map(|&text| text.to_owned()).collect(),
            "{kind} records of the name"
        );
    }

    #[track_caller]
    pub fn await_has(&self, kind: RecordType, wanted: &[&str]) {
        let wanted: BTreeSet<_> = wanted.iter().map(|&text| text.to_owned()).collect();
        eventually(&format!("the name has {wanted:?}"), || {
            (self.has(kind) == wanted).then_some(())
        });
    }

    /// Adds an address to the name, as another node or an operator does.
    #[track_caller]
    pub fn add(&self, address: &str) {
        self.change(address, DNSClass::IN, 300);
    }

    #[track_caller]
    pub fn remove(&self, address: &str) {
        self.change(address, DNSClass::NONE, 0);
    }

    #[track_caller]
    fn change(&self, address: &str, class: DNSClass, ttl_seconds: u32) {
        let address: IpAddr = address.parse().expect("the address is valid");
        let mut record = Record::from_rdata(name(DNS_NAME), ttl_seconds, RData::from(address));
        record.dns_class = class;
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.add_zone(Query::query(name("example.org"), RecordType::SOA));
        message.add_update(record);
        let signer = TSigner::new(
            SECRET_BYTES.to_vec(),
            TsigAlgorithm::HmacSha256,
            name(DNS_KEY),
            300,
        );
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock is later than 1970")
            .as_secs();
        message
            .finalize(&signer.expect("the key is valid"), now)
            .expect("a message can be signed");
        let answer = self.ask(&message).expect("named answers");
        assert_eq!(
            answer.response_code,
            ResponseCode::NoError,
            "response code of the update"
        );
    }

    fn ask(&self, message: &Message) -> io::Result<Message> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write_frame(
            &mut stream,
            &message.to_vec().expect("a message can be written"),
        )?;
        Message::from_vec(&read_frame(&mut stream)?).map_err(io::Error::other)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.stop();
    }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("the name is valid");
    name.set_fqdn(true);
    name
}

fn question(kind: RecordType) -> Message {
    let mut message = Message::query();
    let asked = if kind == RecordType::SOA {
        "example.org"
    } else {
        DNS_NAME
    };
    message.add_query(Query::query(name(asked), kind));
    message
}

pub(super) fn read_frame(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

pub(super) fn write_frame(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).expect("messages here are short");
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}
