//! A bucket in this process that is as strict as the strictest store, fails as it is told, and remembers what it was asked.
//!
//! Behind it stands a real server of the protocol, which checks every signature; what that leaves out, `door` supplies. Names
//! in it are files on disk: a name of more than 160 characters is too long for it, 130 where it is uploaded in parts.

mod door;
mod fault;
mod files;
mod lists;
mod server;
mod strict;
mod uploads;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use self::door::{Door, Style};
use self::server::Server;
use super::{Builder, eventually, lock, sha256};

pub use self::door::Seen;
pub use self::fault::Fault;

pub const ACCESS_KEY_ID: &str = "bucket-test";
pub const SECRET_ACCESS_KEY: &str = "a-secret-of-the-tests";
pub const REGION: &str = "test-1";

/// The bucket's name.
pub const BUCKET: &str = "mill";

/// Under what name the store answers where the bucket's name stands before it. Nobody resolves it but who is told to.
const DOMAIN: &str = "s3.localhost";

/// Under what key the bucket has an object, behind the prefix.
pub fn object_key(body: &[u8]) -> String {
    let sha256 = sha256(body);
    format!("objects/{}/{sha256}", &sha256[..2])
}

/// A running store with one bucket. Dropped, it ends.
pub struct Bucket {
    door: Arc<Door>,
    server: Server,
}

impl Bucket {
    /// A bucket whose name stands in the path.
    pub fn start() -> Self {
        Self::start_as(|_| Style::Path)
    }

    /// A bucket whose name has to stand in the host name.
    pub fn virtual_host() -> Self {
        Self::start_as(|port| Style::VirtualHost(format!("{DOMAIN}:{port}")))
    }

    fn start_as(style: impl FnOnce(u16) -> Style) -> Self {
        // The standard library lets the port be listened at again while old connections to it are still dying.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let door = Arc::new(Door::new(style(port)));
        let server = Server::start(listener, door.clone());
        Self { door, server }
    }

    /// `[s3]` of a gateway that keeps its things under `prefix`.
    pub fn configure(&self, builder: Builder, prefix: &str) -> Builder {
        let builder = self
            .settings(prefix)
            .into_iter()
            .fold(builder, |builder, (key, value)| builder.set(&format!("s3.{key}"), &value));
        self.resolver().into_iter().fold(builder, |builder, (name, value)| builder.env(name, &value))
    }

    /// The same as text of a configuration file.
    pub fn section(&self, prefix: &str) -> String {
        let lines = self.settings(prefix).into_iter().map(|(key, value)| format!("{key} = {value}\n"));
        format!("[s3]\n{}", lines.collect::<String>())
    }

    fn settings(&self, prefix: &str) -> Vec<(&'static str, String)> {
        let text = |text: &str| format!("{text:?}");
        vec![
            ("endpoint", text(&self.endpoint())),
            ("region", text(REGION)),
            ("bucket", text(BUCKET)),
            ("prefix", text(prefix)),
            ("access_key_id", text(ACCESS_KEY_ID)),
            ("secret_access_key", text(SECRET_ACCESS_KEY)),
            ("path_style", matches!(self.door.style, Style::Path).to_string()),
        ]
    }

    /// What the environment of a program needs, so that it finds a bucket that has a host name (Debian package libnss-wrapper).
    pub fn resolver(&self) -> Vec<(&'static str, String)> {
        match &self.door.style {
            Style::Path => Vec::new(),
            Style::VirtualHost(_) => vec![
                ("LD_PRELOAD", "libnss_wrapper.so".to_owned()),
                ("NSS_WRAPPER_HOSTS", self.door.files.hosts_file(&format!("{BUCKET}.{DOMAIN}"))),
            ],
        }
    }

    /// Where the store answers, without the bucket's name.
    pub fn endpoint(&self) -> String {
        match &self.door.style {
            Style::Path => format!("http://{}", self.address()),
            Style::VirtualHost(domain) => format!("http://{domain}"),
        }
    }

    /// The address of everything in the bucket, to put a key behind.
    pub fn base_url(&self) -> String {
        match &self.door.style {
            Style::Path => format!("http://{}/{BUCKET}/", self.address()),
            Style::VirtualHost(domain) => format!("http://{BUCKET}.{domain}/"),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Everybody may read what is in it.
    pub fn make_public(&self) {
        self.door.make_public();
    }

    /// Takes no more connections, and breaks off those that there are.
    pub fn go_down(&self) {
        self.server.set_up(false);
        eventually("the bucket is down", || TcpStream::connect(self.address()).is_err().then_some(()));
    }

    /// Comes back at the same address, with what it had.
    pub fn come_up(&self) {
        self.server.set_up(true);
        eventually("the bucket is up", || TcpStream::connect(self.address()).ok());
    }

    /// Whatever `wanted` says yes to fails in this way, until [`Bucket::heal`]. The first fault that fits is the one.
    pub fn fault(&self, wanted: impl Fn(&Seen) -> bool + Send + Sync + 'static, fault: Fault) {
        self.door.faults.add(wanted, fault, usize::MAX);
    }

    /// As [`Bucket::fault`], for the first `count` requests that fit.
    pub fn fault_times(&self, count: usize, wanted: impl Fn(&Seen) -> bool + Send + Sync + 'static, fault: Fault) {
        self.door.faults.add(wanted, fault, count);
    }

    /// No fault any more. Who stands at a gate stays there.
    pub fn heal(&self) {
        self.door.faults.clear();
    }

    /// The requests of a method for keys that begin so, in the order in which they came.
    pub fn requests(&self, method: &str, prefix: &str) -> Vec<Seen> {
        let all = lock(&self.door.seen);
        all.iter().filter(|seen| seen.method == method && seen.key.starts_with(prefix)).cloned().collect()
    }

    pub fn count(&self, method: &str, prefix: &str) -> usize {
        self.requests(method, prefix).len()
    }

    /// How many requests came in all.
    pub fn total(&self) -> usize {
        lock(&self.door.seen).len()
    }

    /// Nothing was sent to it that some store would not have taken.
    #[track_caller]
    pub fn assert_nothing_refused(&self) {
        assert_eq!(self.refused(), Vec::<String>::new(), "what the bucket has refused");
    }

    /// What was refused, and why. Faults are none of it.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.door.refused).clone()
    }

    /// Every key with the size of what it names.
    pub fn objects(&self) -> BTreeMap<String, u64> {
        self.door.files.objects()
    }

    /// The keys that begin so.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.objects().into_keys().filter(|key| key.starts_with(prefix)).collect()
    }

    pub fn read(&self, key: &str) -> Option<Vec<u8>> {
        self.door.files.read(key)
    }

    /// Puts an object there behind the gateway's back.
    pub fn write(&self, key: &str, bytes: &[u8]) {
        self.door.files.write(key, bytes);
    }

    /// Removes an object behind the gateway's back.
    pub fn remove(&self, key: &str) {
        self.door.files.remove(key);
    }

    /// Changes one byte in the middle of an object, which keeps its date, its length and its ETag.
    pub fn damage(&self, key: &str) {
        self.door.files.damage(key);
    }

    /// Sets an object's `Last-Modified` back.
    pub fn age(&self, key: &str, by: Duration) {
        self.door.files.age(key, by);
    }

    /// The keys of the uploads in parts that are not complete.
    pub fn uploads(&self) -> Vec<String> {
        self.door.files.uploads().into_iter().map(|upload| upload.key).collect()
    }

    /// Sets back when the uploads for a key began.
    pub fn age_uploads(&self, key: &str, by: Duration) {
        self.door.files.age_uploads(key, by);
    }

    /// Waits until an object is there, and whole.
    #[track_caller]
    pub fn wait_for(&self, key: &str) -> Vec<u8> {
        eventually(&format!("{key} is in the bucket"), || self.read(key))
    }

    /// Waits until so many keys begin so.
    #[track_caller]
    pub fn wait_for_keys(&self, prefix: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} keys begin with {prefix}"), || {
            Some(self.keys(prefix)).filter(|keys| keys.len() == count)
        })
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.door.faults.abandon();
    }
}
