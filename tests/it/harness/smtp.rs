//! A real mail server on loopback.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::Authority;
use super::log::Log;

/// Debian's own: it is the one that has the package.
const PYTHON: &str = "/usr/bin/python3";

/// A running server, which keeps all mail. Dropped, it ends.
pub struct Smtp {
    child: Child,
    log: Log,
    port: u64,
}

impl Smtp {
    pub fn start() -> Self {
        Self::start_as(&json!({}))
    }

    /// Answers mails in turn; the last answer stays.
    pub fn answering(answers: &[&str]) -> Self {
        Self::start_as(&json!({ "answers": answers }))
    }

    /// Takes mail from `user` alone, over whatever line.
    pub fn with_password(user: &str, password: &str) -> Self {
        Self::start_as(&json!({ "user": user, "password": password }))
    }

    /// As [`Smtp::with_password`], with TLS by STARTTLS, or from the start.
    pub fn with_tls(authority: &Authority, is_implicit: bool, user: &str, password: &str) -> Self {
        let pair = authority.leaf_file();
        let tls = if is_implicit { "implicit" } else { "offered" };
        let wish = json!({ "certificate": pair, "key": pair, "tls": tls, "user": user, "password": password });
        Self::start_as(&wish)
    }

    fn start_as(wish: &Value) -> Self {
        let mut command = Command::new(PYTHON);
        command.args(["-c", include_str!("smtp.py"), &wish.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("Debian's python3 can be started");
        let log = Log::read(child.stdout.take().expect("it is piped"));
        let listening = log.wait_for("a mail server (Debian package python3-aiosmtpd)", |event| event["port"].is_u64());
        let port = listening["port"].as_u64().expect("it is a number");
        Self { child, log, port }
    }

    /// `127.0.0.1:port`
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All that was heard: mails and logins.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        self.log.events().into_iter().filter(|event| event["message"] == kind).collect()
    }

    /// Waits until so many mails have come, taken or not.
    #[track_caller]
    pub fn await_mails(&self, count: usize) -> Vec<Value> {
        self.log.wait_for_many("mail", count, |event| event["message"] == "mail")
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        // It may have ended by itself, which shows where mail was awaited.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
