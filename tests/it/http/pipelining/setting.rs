//! One connection on which all requests are sent at once.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{Body, Builder, DEADLINE, Gate, Gateway, Origin, Reply, archive, assert_same};

pub const SLOW: &str = "/slow-1.0.tar.gz";
pub const OTHER: &str = "/other-1.0.tar.gz";
pub const UPLOAD: &str = "/upload";
pub const SMUGGLED: &str = "/smuggled-1.0.tar.gz";

/// A port of the gateway. The forms of its requests differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Gateway,
    Proxy,
}

pub const PORTS: [Port; 2] = [Port::Gateway, Port::Proxy];

impl Port {
    pub fn address(self, gateway: &Gateway) -> SocketAddr {
        match self {
            Self::Gateway => gateway.addr(),
            Self::Proxy => gateway.proxy_addr(),
        }
    }

    pub fn target(self, url: &str) -> String {
        match self {
            Self::Gateway => format!("/{url}"),
            Self::Proxy => url.to_owned(),
        }
    }
}

/// The bytes of one connection, in the order in which they came.
pub struct Received(pub Vec<u8>);

pub struct Reception {
    pub status: u16,
    /// Lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Received {
    /// Takes the next answer. The request's method decides whether it has a body.
    #[track_caller]
    pub fn take(&mut self, method: &str) -> Reception {
        let end = self.0.windows(4).position(|window| window == b"\r\n\r\n");
        let end =
            end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&self.0)));
        let head = String::from_utf8(self.0.drain(..end + 4).collect())
            .expect("a head is text")
            .to_ascii_lowercase();
        let status = head
            .strip_prefix("http/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.or_else(|| {
            head.strip_prefix("http/1.0 ")
                .and_then(|rest| rest.get(..3)?.parse().ok())
        });
        let status = status.unwrap_or_else(|| panic!("{head:?} begins with no status"));
        let field = |name: &str| {
            head.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        assert_eq!(
            field("transfer-encoding"),
            None,
            "every answer here has a length"
        );
        let length =
            match field("content-length").map(|value| value.parse::<usize>().expect("a number")) {
                Some(length) if method != "HEAD" && status != 100 => length,
                _ => 0,
            };
        assert!(
            self.0.len() >= length,
            "{} bytes of a body of {length}",
            self.0.len()
        );
        Reception {
            status,
            body: self.0.drain(..length).collect(),
            head,
        }
    }

    #[track_caller]
    pub fn take_ok(&mut self, method: &str, body: &[u8]) {
        let reception = self.take(method);
        assert_eq!(reception.status, 200, "{method}: {}", reception.head);
        assert!(
            reception
                .head
                .contains(&format!("content-length: {}\r\n", body.len())),
            "{}",
            reception.head
        );
        assert_same(&reception.body, if method == "HEAD" { b"" } else { body });
    }

    /// Takes an answer behind which the connection ends.
    #[track_caller]
    pub fn take_last(mut self, method: &str, status: u16) -> String {
        let reception = self.take(method);
        assert_eq!(reception.status, status, "{method}: {}", reception.head);
        assert!(
            reception.head.contains("connection: close\r\n"),
            "{}",
            reception.head
        );
        self.assert_end();
        String::from_utf8_lossy(&reception.body).into_owned()
    }

    /// As [`Received::take_last`], of a file.
    #[track_caller]
    pub fn take_last_ok(mut self, body: &[u8]) {
        let reception = self.take("GET");
        assert_eq!(reception.status, 200, "{}", reception.head);
        assert!(
            reception.head.contains("connection: close\r\n"),
            "{}",
            reception.head
        );
        assert_same(&reception.body, body);
        self.assert_end();
    }

    #[track_caller]
    pub fn assert_end(&self) {
        assert_eq!(
            String::from_utf8_lossy(&self.0),
            "",
            "more than the answers"
        );
    }
}

/// How the first file is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// From an origin that answers once all is sent.
    Miss,
    /// From the disk.
    Hit,
    /// From the disk, before anything else was asked of the process.
    HitAfterRestart,
}

pub const FIRSTS: [First; 3] = [First::Miss, First::Hit, First::HitAfterRestart];

/// An origin, a gateway in front of it, and one way to ask for the files.
pub struct Setting {
    pub origin: Origin,
    pub gateway: Gateway,
    pub gate: Gate,
    pub first: First,
    pub port: Port,
    pub slow: Body,
    pub other: Body,
}

impl Setting {
    /// Calls `check` for each port and each way in which the first file is had.
    pub fn each(configure: impl Fn(Builder) -> Builder, check: impl Fn(&Setting)) {
        for port in PORTS {
            for first in FIRSTS {
                eprintln!("{first:?} at the {port:?} port");
                check(&Self::new(first, port, configure(Gateway::builder())));
            }
        }
    }

    pub fn new(first: First, port: Port, builder: Builder) -> Self {
        let (origin, gate) = (Origin::start(), Gate::new());
        let (slow, other) = (archive(1, 70_000), archive(2, 3000));
        origin.serve(SLOW, Reply::file(&slow).gate_before_head(&gate));
        origin.serve(OTHER, Reply::file(&other));
        origin.serve(UPLOAD, Reply::ok(&b"taken\n".to_vec().into()));
        let mut gateway = builder.origin(&origin).relay().one_attempt().start();
        if first != First::Miss {
            gate.open();
            gateway.assert_serves(&origin.url(SLOW), &slow);
            gateway.await_stored(&origin.url(SLOW));
        }
        if first == First::HitAfterRestart {
            gateway.restart();
        }
        Self {
            origin,
            gateway,
            gate,
            first,
            port,
            slow,
            other,
        }
    }

    pub fn target(&self, path: &str) -> String {
        self.port.target(&self.origin.url(path))
    }

    /// A request head with these further fields, each with its line end.
    pub fn head(&self, method: &str, path: &str, fields: &str) -> String {
        format!(
            "{method} {} HTTP/1.1\r\nHost: x\r\n{fields}\r\n",
            self.target(path)
        )
    }

    pub fn get(&self, path: &str) -> String {
        self.head("GET", path, "")
    }

    /// A request that ends the connection.
    pub fn last(&self) -> String {
        self.head("GET", OTHER, "Connection: close\r\n")
    }

    /// Sends all in one packet, lets the origin answer, and reads to the end of the connection.
    #[track_caller]
    pub fn exchange(&self, sent: impl AsRef<[u8]>) -> Received {
        let mut socket =
            TcpStream::connect(self.port.address(&self.gateway)).expect("the gateway listens");
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout can be set");
        socket
            .write_all(sent.as_ref())
            .expect("the gateway takes it");
        if self.first == First::Miss {
            self.gate.await_reached(1);
            self.gate.open();
        }
        let mut bytes = Vec::new();
        socket
            .read_to_end(&mut bytes)
            .expect("the gateway answers, and closes");
        Received(bytes)
    }
}
