//! A real mail server on loopback.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::Authority;
use super::log::Log;

/// Debian's interpreter: the package of the server is installed for it.
const PYTHON: &str = "/usr/bin/python3";

/// A running server that stores all mail. Dropping it stops the server.
pub struct Smtp {
    child: Child,
    log: Log,
    port: u64,
}

impl Smtp {
    pub fn start() -> Self {
        Self::start_as(&json!({}))
    }

    /// Answers mails in turn. The last answer repeats.
    pub fn answering(answers: &[&str]) -> Self {
        Self::start_as(&json!({ "answers": answers }))
    }

    /// Accepts mail from `user` only, with or without TLS.
    pub fn with_password(user: &str, password: &str) -> Self {
        Self::start_as(&json!({ "user": user, "password": password }))
    }

    /// Requires a password as [`Smtp::with_password`] does, and offers TLS by
    /// STARTTLS or from the start.
    pub fn with_tls(authority: &Authority, is_implicit: bool, user: &str, password: &str) -> Self {
        let pair = authority.leaf_file();
        let tls = if is_implicit { "implicit" } else { "offered" };
        let options = json!({
            "certificate": pair,
            "key": pair,
            "tls": tls,
            "user": user,
            "password": password,
        });
        Self::start_as(&options)
    }

    fn start_as(wish: &Value) -> Self {
        let mut command = Command::new(PYTHON);
        command.args(["-c", include_str!("smtp.py"), &wish.to_string()]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let mut child = command.spawn().expect("Debian's python3 can be started");
        let log = Log::read(child.stdout.take().expect("standard output is piped"));
        let listening = log.wait_for("a mail server (Debian package python3-aiosmtpd)", |event| {
            event["port"].is_u64()
        });
        let port = listening["port"].as_u64().expect("the port is a number");
        Self { child, log, port }
    }

    /// Returns `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the recorded events of a kind: mails or logins.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        self.log
            .events()
            .into_iter()
            .filter(|event| event["message"] == kind)
            .collect()
    }

    /// Waits until `count` mails have arrived, accepted or not.
    #[track_caller]
    pub fn await_mails(&self, count: usize) -> Vec<Value> {
        self.log
            .wait_for_many("mail", count, |event| event["message"] == "mail")
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        // The process may have ended already; waiting for a mail then reports the failure.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
