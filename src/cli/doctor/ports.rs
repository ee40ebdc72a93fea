//! Checks of the two ports of this machine: Millpond must listen there, and answer.
//!
//! The main function is [`check`].

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::finding::Finding;
use crate::config::Config;
use crate::model::sanitize_line;

/// How long a connection to a port of this machine, and the answer there, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest part of an answer that is read, in bytes.
const MAX_ANSWER_BYTES: u64 = 4096;

/// First bytes of a front server (PROXY protocol, version 1).
const PROXY_HEADER: &str = "PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\n";

/// A port and how to ask it.
struct PortCheck<'a> {
    check: &'static str,
    key: &'static str,
    listen: &'a str,
    /// Sent before the request.
    header: &'static str,
    request: &'static str,
}

/// Checks the gateway port, and the proxy port if there is one.
pub async fn check(config: &Config) -> Vec<Finding> {
    let gateway = PortCheck {
        check: "gateway_port",
        key: "gateway.listen",
        listen: &config.gateway.listen,
        header: "",
        request: "GET /version",
    };
    let mut findings = vec![gateway.run().await];
    if !config.proxy.listen.is_empty() {
        let proxy = PortCheck {
            check: "proxy_port",
            key: "proxy.listen",
            listen: &config.proxy.listen,
            header: if config.proxy.proxy_protocol {
                PROXY_HEADER
            } else {
                ""
            },
            request: "OPTIONS *",
        };
        findings.push(proxy.run().await);
    }
    findings
}

/// Returns an address under which a port of this machine is reached.
pub fn reachable(listen: &str) -> String {
    match listen.rsplit_once(':') {
        Some(("0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listen.to_owned(),
    }
}

impl PortCheck<'_> {
    async fn run(&self) -> Finding {
        let address = reachable(self.listen);
        let place = format!("{} {address}", self.key);
        let advice = "check that the service runs, and see its log";
        match timeout(ANSWER_TIMEOUT, self.ask(&address)).await {
            Err(_) => Finding::failed(
                self.check,
                format!("{place}: no answer within {} s", ANSWER_TIMEOUT.as_secs()),
                "the program there hangs: see its log, and restart it",
            ),
            Ok(Err(error)) => Finding::failed(self.check, format!("{place}: {error}"), advice),
            Ok(Ok(answer)) => self.judge(&place, &answer),
        }
    }

    /// Sends the request, and returns the answer.
    async fn ask(&self, address: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        let (header, request) = (self.header, self.request);
        let request =
            format!("{header}{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let read = stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await;
        // A port that trusts nginx only ends other connections, also with a reset.
        if answer.is_empty() && header.is_empty() {
            read?;
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn judge(&self, place: &str, answer: &str) -> Finding {
        let other = "another program has the port: stop it, or change the key";
        let Some(status) = answer
            .lines()
            .next()
            .filter(|line| line.starts_with("HTTP/1."))
        else {
            if answer.is_empty() && !self.header.is_empty() {
                let text = format!("{place} accepts connections of gateway.trusted_proxies only");
                return Finding::ok(self.check, text);
            }
            return Finding::failed(self.check, format!("{place}: no HTTP answer"), other);
        };
        let version = answer
            .lines()
            .find_map(|line| line.strip_prefix("millpond "));
        let own = env!("CARGO_PKG_VERSION");
        match version {
            Some(version) if version != own => Finding::warning(
                self.check,
                format!("{place} is version {}, not {own}", sanitize_line(version)),
                "restart the service after an upgrade",
            ),
            None if self.request == "GET /version" && status.contains(" 200 ") => {
                Finding::failed(self.check, format!("{place} is not Millpond"), other)
            }
            _ => Finding::ok(self.check, format!("{place} answers")),
        }
    }
}
