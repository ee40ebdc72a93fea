//! An in-process S3 bucket that is as strict as the strictest store, injects faults, and
//! records its requests.
//!
//! A real S3 server behind it checks every signature. `front_end` adds the features that the server
//! lacks. Keys are file names on disk: a key may have 160 characters, or 130 in a multipart upload.

mod fault;
mod files;
mod front_end;
mod lists;
mod server;
mod strict;
mod uploads;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use self::front_end::{FrontEnd, Style};
use self::server::Server;
use super::{Builder, eventually, lock, sha256};

pub use self::fault::Fault;
pub use self::front_end::Seen;

pub const ACCESS_KEY_ID: &str = "bucket-test";
pub const SECRET_ACCESS_KEY: &str = "a-secret-of-the-tests";
pub const REGION: &str = "test-1";

/// The bucket's name.
pub const BUCKET: &str = "mill";

/// Domain of the store for virtual-host requests. Only a client with a changed
/// resolver resolves it.
const DOMAIN: &str = "s3.localhost";

/// Returns the key of an object in the bucket, without the prefix.
pub fn object_key(body: &[u8]) -> String {
    let sha256 = sha256(body);
    format!("objects/{}/{sha256}", &sha256[..2])
}

/// A running store with one bucket. Dropping it stops the store.
pub struct Bucket {
    front_end: Arc<FrontEnd>,
    server: Server,
}

impl Bucket {
    /// Starts a store with the bucket's name in the path.
    pub fn start() -> Self {
        Self::start_as(|_| Style::Path)
    }

    /// Starts a store that requires the bucket's name in the host name.
    pub fn virtual_host() -> Self {
        Self::start_as(|port| Style::VirtualHost(format!("{DOMAIN}:{port}")))
    }

    fn start_as(style: impl FnOnce(u16) -> Style) -> Self {
        // The standard library sets SO_REUSEADDR: the port can be bound while
        // old connections close.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        let port = listener
            .local_addr()
            .expect("a listener has an address")
            .port();
        let front_end = Arc::new(FrontEnd::new(style(port)));
        let server = Server::start(listener, front_end.clone());
        Self { front_end, server }
    }

    /// Adds the `[s3]` section of a gateway that stores its objects under `prefix`.
    pub fn configure(&self, builder: Builder, prefix: &str) -> Builder {
        let builder = self
            .settings(prefix)
            .into_iter()
            .fold(builder, |builder, (key, value)| {
                builder.set(&format!("s3.{key}"), &value)
            });
        self.resolver()
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.env(name, &value))
    }

    /// Returns the same section as text for a configuration file.
    pub fn section(&self, prefix: &str) -> String {
        let lines = self
            .settings(prefix)
            .into_iter()
            .map(|(key, value)| format!("{key} = {value}\n"));
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
            (
                "path_style",
                matches!(self.front_end.style, Style::Path).to_string(),
            ),
        ]
    }

    /// Returns the environment in which a program resolves the host name of a virtual-host bucket
    /// (Debian package libnss-wrapper).
    pub fn resolver(&self) -> Vec<(&'static str, String)> {
        match &self.front_end.style {
            Style::Path => Vec::new(),
            Style::VirtualHost(_) => vec![
                ("LD_PRELOAD", "libnss_wrapper.so".to_owned()),
                (
                    "NSS_WRAPPER_HOSTS",
                    self.front_end
                        .files
                        .hosts_file(&format!("{BUCKET}.{DOMAIN}")),
                ),
            ],
        }
    }

    /// Returns the URL of the store, without the bucket's name.
    pub fn endpoint(&self) -> String {
        match &self.front_end.style {
            Style::Path => format!("http://{}", self.address()),
            Style::VirtualHost(domain) => format!("http://{domain}"),
        }
    }

    /// Returns the URL of the bucket, to which a key can be appended.
    pub fn base_url(&self) -> String {
        match &self.front_end.style {
            Style::Path => format!("http://{}/{BUCKET}/", self.address()),
            Style::VirtualHost(domain) => format!("http://{BUCKET}.{domain}/"),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Makes the bucket readable without a signature.
    pub fn make_public(&self) {
        self.front_end.make_public();
    }

    /// Stops accepting connections and closes the open ones.
    pub fn go_down(&self) {
        self.server.set_up(false);
        eventually("the bucket refuses connections", || {
            TcpStream::connect(self.address()).is_err().then_some(())
        });
    }

    /// Listens again at the same address, with the same objects.
    pub fn come_up(&self) {
        self.server.set_up(true);
        eventually("the bucket accepts connections", || {
            TcpStream::connect(self.address()).ok()
        });
    }

    /// Injects a fault into the requests that `wanted` selects, until [`Bucket::heal`]. The first
    /// matching fault applies.
    pub fn fault(&self, wanted: impl Fn(&Seen) -> bool + Send + Sync + 'static, fault: Fault) {
        self.front_end.faults.add(wanted, fault, usize::MAX);
    }

    /// Injects a fault as [`Bucket::fault`] does, into the first `count` matching requests.
    pub fn fault_times(
        &self,
        count: usize,
        wanted: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        fault: Fault,
    ) {
        self.front_end.faults.add(wanted, fault, count);
    }

    /// Removes all faults. Requests that wait at a gate stay there.
    pub fn heal(&self) {
        self.front_end.faults.clear();
    }

    /// Returns the requests with this method and key prefix, in the order of arrival.
    pub fn requests(&self, method: &str, prefix: &str) -> Vec<Seen> {
        let all = lock(&self.front_end.seen);
        all.iter()
            .filter(|seen| seen.method == method && seen.key.starts_with(prefix))
            .cloned()
            .collect()
    }

    pub fn count(&self, method: &str, prefix: &str) -> usize {
        self.requests(method, prefix).len()
    }

    /// Returns the number of all requests.
    pub fn total(&self) -> usize {
        lock(&self.front_end.seen).len()
    }

    /// Asserts that no request was refused as invalid by the rules of any store.
    #[track_caller]
    pub fn assert_nothing_refused(&self) {
        assert_eq!(
            self.refused(),
            Vec::<String>::new(),
            "requests that the bucket refused"
        );
    }

    /// Returns the refused requests with the reasons. Injected faults are not included.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.front_end.refused).clone()
    }

    /// Returns every key with the size of its object.
    pub fn objects(&self) -> BTreeMap<String, u64> {
        self.front_end.files.objects()
    }

    /// Returns the keys with this prefix.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        self.objects()
            .into_keys()
            .filter(|key| key.starts_with(prefix))
            .collect()
    }

    pub fn read(&self, key: &str) -> Option<Vec<u8>> {
        self.front_end.files.read(key)
    }

    /// Writes an object directly, without a request.
    pub fn write(&self, key: &str, bytes: &[u8]) {
        self.front_end.files.write(key, bytes);
    }

    /// Removes an object directly, without a request.
    pub fn remove(&self, key: &str) {
        self.front_end.files.remove(key);
    }

    /// Changes one byte in the middle of an object, and keeps its date, its length and its ETag.
    pub fn damage(&self, key: &str) {
        self.front_end.files.damage(key);
    }

    /// Moves an object's `Last-Modified` into the past.
    pub fn age(&self, key: &str, by: Duration) {
        self.front_end.files.age(key, by);
    }

    /// Returns the keys of the incomplete multipart uploads.
    pub fn uploads(&self) -> Vec<String> {
        self.front_end
            .files
            .uploads()
            .into_iter()
            .map(|upload| upload.key)
            .collect()
    }

    /// Moves the start of the uploads for a key into the past.
    pub fn age_uploads(&self, key: &str, by: Duration) {
        self.front_end.files.age_uploads(key, by);
    }

    /// Waits until a complete object exists.
    #[track_caller]
    pub fn wait_for(&self, key: &str) -> Vec<u8> {
        eventually(&format!("{key} is in the bucket"), || self.read(key))
    }

    /// Waits until exactly `count` keys have this prefix.
    #[track_caller]
    pub fn wait_for_keys(&self, prefix: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} keys begin with {prefix}"), || {
            Some(self.keys(prefix)).filter(|keys| keys.len() == count)
        })
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.front_end.faults.abandon();
    }
}
