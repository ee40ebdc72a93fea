//! A Redis server of the Debian package, on a loopback address.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use redis::{Cmd, FromRedisValue};
use tempfile::TempDir;

use super::gateway::signal;
use super::{eventually, listen};

/// Password of each server.
pub const REDIS_PASSWORD: &str = "hush-of-redis";

/// A server that stores nothing on disk.
pub struct RedisServer {
    child: Option<Child>,
    folder: TempDir,
    address: SocketAddr,
}

impl RedisServer {
    /// Reserves an address. [`RedisServer::run`] starts the server.
    pub fn at(ip: &str) -> Self {
        Self {
            child: None,
            folder: tempfile::tempdir().expect("a folder can be made"),
            address: listen(ip).local_addr().expect("a listener has an address"),
        }
    }

    /// Starts a server, and waits until it answers.
    pub fn start(ip: &str) -> Self {
        let mut server = Self::at(ip);
        server.run();
        server
    }

    /// Starts the server again, without its former content.
    pub fn run(&mut self) {
        let (ip, port) = (self.address.ip().to_string(), self.address.port());
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", &ip, "--port", &port.to_string()])
            .args(["--requirepass", REDIS_PASSWORD])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("redis-server is missing: install the Debian package redis-server")
            }
            Err(error) => panic!("redis-server cannot be started: {error}"),
        });
        eventually("redis listens", || TcpStream::connect(self.address).ok());
    }

    /// Sends a signal, by name.
    pub fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("the server runs");
        signal(child.id(), name);
    }

    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The process may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Returns the URL with the password.
    pub fn url(&self) -> String {
        self.url_with(REDIS_PASSWORD)
    }

    pub fn url_with(&self, password: &str) -> String {
        format!("redis://:{password}@{}/0", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs a command, whose words are separated by spaces.
    #[track_caller]
    pub fn run_command<T: FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut parsed = redis::cmd(words.next().unwrap_or_default());
        parsed.arg(words.collect::<Vec<_>>());
        self.send(&parsed)
    }

    #[track_caller]
    pub fn send<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let client = redis::Client::open(self.url()).expect("the URL is valid");
        let mut connection = client.get_connection().expect("the server answers");
        command
            .query(&mut connection)
            .expect("the command is valid")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill9();
    }
}
