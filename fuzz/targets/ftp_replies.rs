//! Replies of an ftp server, in a session on loopback that downloads one file.
//!
//! The bytes 0x01 separate the greeting and the replies to the commands. Bytes behind 0x02 are
//! those of the data connection. `PORT` and `P1,P2` in a reply become the port of that connection.

#![no_main]

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use millpond::dial::{self, Dialer};
use millpond::limits::{DialLimits, LimitsConfig};
use millpond::metrics::OriginCounts;
use millpond::model::{Scheme, Target};
use millpond::origin::{Config, FtpTls, Method, Origin, OriginRequest};
use millpond::policy::{self, AllowedPort, Policy};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Number of loopback addresses that take turns. A closed connection keeps its ports for a minute.
const ADDRESSES: u8 = 64;

/// Time without a byte after which the client gives up.
const IDLE_TIMEOUT: Duration = Duration::from_millis(8);

/// Longest session. Each of its waits ends after [`IDLE_TIMEOUT`].
const MAX_SESSION: Duration = Duration::from_secs(8);

/// Server on one loopback address.
struct Server {
    address: Ipv4Addr,
    control: TcpListener,
    data: TcpListener,
}

struct Setup {
    runtime: Runtime,
    servers: Vec<Server>,
    origin: Origin,
    policy: Arc<Policy>,
    next: Cell<usize>,
}

thread_local! {
    static SETUP: RefCell<Setup> = RefCell::new(Setup::new());
}

impl Setup {
    fn new() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let servers: Vec<Server> = runtime.block_on(async {
            let mut servers = Vec::new();
            for number in 1..=ADDRESSES {
                let address = Ipv4Addr::new(127, 9, 9, number);
                servers.push(Server {
                    address,
                    control: TcpListener::bind((address, 0)).await.expect("loopback"),
                    data: TcpListener::bind((address, 0)).await.expect("loopback"),
                });
            }
            servers
        });
        let ports = servers.iter().map(|server| server.port());
        let config = policy::Config {
            allow_networks: vec!["127.0.0.0/8".parse().expect("a network")],
            ports: ports
                .map(|port| AllowedPort::OfScheme(Scheme::Ftp, port))
                .collect(),
            ..policy::Config::default()
        };
        let policy = Policy::new(config, Vec::new(), &[], LimitsConfig::default());
        let policy = Arc::new(policy.expect("a valid policy"));
        let limits = DialLimits {
            lookups: 8,
            extra_attempts: 8,
        };
        let dial = dial::Config::default();
        let dialer = Dialer::new(&dial, Arc::clone(&policy), IDLE_TIMEOUT, limits);
        let config = Config {
            connect_timeout: IDLE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            min_speed_bytes: 0,
            max_redirects: 1,
            per_host: 4,
            ftp_tls: FtpTls::Never,
            egress_proxy: String::new(),
            name: "fuzz".to_owned(),
        };
        let (dialer, counts) = (
            dialer.expect("a dialer"),
            OriginCounts::new(std::iter::empty()),
        );
        let origin = Origin::new(&config, Arc::clone(&policy), dialer, counts);
        Self {
            runtime,
            servers,
            origin: origin.expect("an origin"),
            policy,
            next: Cell::new(0),
        }
    }

    /// Runs one session by this script.
    fn run(&self, script: &Script) {
        let turn = self.next.get();
        self.next.set(turn + 1);
        let server = &self.servers[turn % self.servers.len()];
        self.runtime.block_on(async {
            let session = async {
                tokio::select! {
                    downloaded = self.download(server) => downloaded,
                    never = server.serve(script) => match never {},
                }
            };
            let downloaded = timeout(MAX_SESSION, session).await;
            let Some((stated, body)) = downloaded.expect("every session ends") else {
                return;
            };
            // A whole body has the stated length, or is all that the server has sent.
            match stated {
                Some(length) => {
                    assert_eq!(body.len() as u64, length);
                    assert!(script.data.starts_with(&body));
                }
                None => assert_eq!(body, script.data),
            }
        });
    }

    /// Downloads a file. Returns its stated length and the body, if the body is whole.
    async fn download(&self, server: &Server) -> Option<(Option<u64>, Vec<u8>)> {
        // No other session gets a connection with a login.
        let url = format!("ftp://u:p@{}:{}/f", server.address, server.port());
        let target = Target::parse(&url).expect("a target");
        let admitted = self.policy.admit(target).expect("an allowed target");
        let request = OriginRequest::new(Method::Get);
        let response = self.origin.request(&admitted, request).await.ok()?;
        let stated = response.length();
        let (mut chunks, mut body) = (response.into_body(), Vec::new());
        while let Some(chunk) = chunks.next().await.ok()? {
            body.extend_from_slice(&chunk);
        }
        Some((stated, body))
    }
}

impl Server {
    fn port(&self) -> u16 {
        self.control.local_addr().expect("a bound socket").port()
    }

    fn data_port(&self) -> u16 {
        self.data.local_addr().expect("a bound socket").port()
    }

    /// Serves connections for ever.
    async fn serve(&self, script: &Script) -> std::convert::Infallible {
        loop {
            let Ok((stream, _)) = self.control.accept().await else {
                continue;
            };
            // A closed connection is an end like any other.
            drop(self.converse(stream, script).await);
        }
    }

    async fn converse(
        &self,
        stream: tokio::net::TcpStream,
        script: &Script,
    ) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut commands = BufReader::new(read);
        for reply in &script.replies {
            write
                .write_all(&script.with_port(reply, self.data_port()))
                .await?;
            let mut command = Vec::new();
            if commands.read_until(b'\n', &mut command).await? == 0 {
                return Ok(());
            }
            if command.starts_with(b"RETR") {
                let (mut data, _) = self.data.accept().await?;
                data.write_all(&script.data).await?;
            }
        }
        Ok(())
    }
}

/// Replies and data of the server.
struct Script {
    replies: Vec<Vec<u8>>,
    data: Vec<u8>,
}

impl Script {
    fn new(bytes: &[u8]) -> Self {
        let mut halves = bytes.splitn(2, |byte| *byte == 2);
        let replies = halves.next().unwrap_or_default();
        Self {
            replies: replies
                .split(|byte| *byte == 1)
                .map(<[u8]>::to_vec)
                .collect(),
            data: halves.next().unwrap_or_default().to_vec(),
        }
    }

    fn with_port(&self, reply: &[u8], port: u16) -> Vec<u8> {
        let pair = format!("{},{}", port >> 8, port & 0xff);
        let reply = replace(reply, b"PORT", port.to_string().as_bytes());
        replace(&reply, b"P1,P2", pair.as_bytes())
    }
}

fn replace(text: &[u8], word: &[u8], by: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.windows(word.len()).position(|window| window == word) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(by);
        rest = &rest[at + word.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

fuzz_target!(|bytes: &[u8]| {
    SETUP.with_borrow(|setup| setup.run(&Script::new(bytes)));
});
