//! The real binary, running.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::answer::Answer;
use super::builder::Builder;
use super::client::Request;
use super::log::Log;
use super::{Origin, eventually, files_under, sha256};

struct Running {
    child: Child,
    log: Log,
    gateway: SocketAddr,
    proxy: Option<SocketAddr>,
}

/// A running gateway. Dropped, it is stopped, and has to leave nothing behind.
pub struct Gateway {
    setup: Builder,
    running: Option<Running>,
}

impl Builder {
    /// Starts the gateway and waits until its doors are open.
    #[track_caller]
    pub fn start(self) -> Gateway {
        let mut gateway = Gateway { setup: self, running: None };
        gateway.start();
        gateway
    }
}

impl Gateway {
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A gateway that relays every miss from `origin`, without second attempts.
    #[track_caller]
    pub fn relaying(origin: &Origin) -> Self {
        Self::builder().origin(origin).relay().one_attempt().start()
    }

    /// The configuration of another gateway on the same cache folder, with a state folder of its own.
    pub fn sibling(&self) -> Builder {
        self.setup.on_the_same_cache()
    }

    fn spawn(&self) -> (Child, Log) {
        assert!(self.running.is_none(), "it runs already");
        self.setup.write();
        let mut command = self.setup.command();
        command.current_dir(self.setup.folder()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let log = Log::read(child.stderr.take().expect("it is piped"));
        (child, log)
    }

    #[track_caller]
    fn start(&mut self) {
        let (child, log) = self.spawn();
        let has_proxy = self.setup.setting("proxy.listen") != "\"\"";
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        // From here on the child is stopped when the gateway is dropped.
        self.running = Some(Running { child, log: log.clone(), gateway: unspecified, proxy: None });
        let gateway = listening_at(&log, "gateway");
        let proxy = has_proxy.then(|| listening_at(&log, "proxy"));
        if let Some(running) = &mut self.running {
            running.gateway = gateway;
            running.proxy = proxy;
        }
    }

    #[track_caller]
    fn running(&self) -> &Running {
        self.running.as_ref().expect("the gateway runs")
    }

    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    pub fn log(&self) -> &Log {
        &self.running().log
    }

    pub fn addr(&self) -> SocketAddr {
        self.running().gateway
    }

    pub fn proxy_addr(&self) -> SocketAddr {
        self.running().proxy.expect("the proxy door is open")
    }

    /// The URL of a path at the gateway port.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    /// The rewritten URL of a target.
    pub fn rewritten(&self, target: &str) -> String {
        self.url(&format!("/{target}"))
    }

    /// A GET of a target at the rewrite door.
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", &format!("/{target}"))
    }

    /// Any request at the gateway port, by its path.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.addr(), method, path)
    }

    /// The token that the gateway has made for its operators.
    pub fn token(&self) -> String {
        let file = self.setup.folder().join("state/admin_token");
        std::fs::read_to_string(file).expect("it is made at the start").trim_end().to_owned()
    }

    /// A request of an operator to the API.
    pub fn operate(&self, method: &str, path: &str) -> Request {
        self.request(method, path).header("Authorization", &format!("Bearer {}", self.token()))
    }

    /// A request at the proxy door.
    pub fn proxied(&self, method: &str, target: &str) -> Request {
        Request::new(self.proxy_addr(), method, target)
    }

    /// Fetches a target by the rewrite door and asserts the body.
    #[track_caller]
    pub fn assert_serves(&self, target: &str, body: &[u8]) -> Answer {
        let answer = self.get(target).send();
        answer.assert_body(200, body);
        answer
    }

    /// Waits until the fetch of a target has ended, and says how.
    #[track_caller]
    pub fn await_fetch(&self, target: &str) -> Value {
        self.log()
            .wait_for(&format!("a fetch of {target}"), |event| event["message"] == "fetch" && event["uri"] == target)
    }

    /// Waits until a target is stored.
    #[track_caller]
    pub fn await_stored(&self, target: &str) -> Value {
        let fetch = self.await_fetch(target);
        assert_eq!(fetch["outcome"], "stored", "{fetch}");
        fetch
    }

    /// Waits until the bucket has a target, and was looked at.
    #[track_caller]
    pub fn await_uploaded(&self, target: &str) {
        self.log().wait_for("the upload", |event| event["message"] == "uploaded" && event["uri"] == target);
    }

    pub fn cache(&self) -> &Path {
        self.setup.cache()
    }

    pub fn object_path(&self, body: &[u8]) -> PathBuf {
        let name = sha256(body);
        self.cache().join("objects").join(&name[..2]).join(name)
    }

    /// The record files of a target.
    pub fn records_of(&self, target: &str) -> Vec<PathBuf> {
        let key = sha256(target.as_bytes());
        files_under(&self.cache().join("records").join(&key[..2]).join(key))
    }

    pub fn objects(&self) -> Vec<PathBuf> {
        files_under(&self.cache().join("objects"))
    }

    pub fn records(&self) -> Vec<PathBuf> {
        files_under(&self.cache().join("records"))
    }

    /// The bodies on their way in: every file of the staging folder but the locks, which are hidden.
    pub fn staged(&self) -> Vec<PathBuf> {
        let mut files = files_under(&self.cache().join("staging"));
        files.retain(|file| !file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
        files
    }

    /// Asserts that nothing was stored, and nothing is about to be.
    #[track_caller]
    pub fn assert_nothing_stored(&self) {
        // What was given up is removed beside the requests.
        eventually("nothing is staged", || self.staged().is_empty().then_some(()));
        assert_eq!(self.objects(), Vec::<PathBuf>::new(), "objects");
        assert_eq!(self.records(), Vec::<PathBuf>::new(), "records");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Writes another configuration and tells the gateway to read it.
    pub fn reload(&mut self, change: impl FnOnce(Builder) -> Builder) {
        self.setup = change(self.setup.clone());
        self.setup.write();
        self.signal("HUP");
    }

    /// The configuration file.
    pub fn file(&self) -> PathBuf {
        self.setup.file()
    }

    /// Waits until the process has ended, however it does, and returns its exit code and what it wrote.
    #[track_caller]
    pub fn await_exit(&mut self) -> (Option<i32>, Log) {
        let log = self.log().clone();
        assert!(log.await_end(), "the gateway does not end");
        let mut running = self.running.take().expect("the gateway runs");
        let status = running.child.wait().expect("a child can be waited for");
        (status.code(), log)
    }

    /// Stops it as an operator would, and asserts that it leaves nothing behind.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.assert_clean_exit();
    }

    /// Asserts the end of a gateway that was told to stop.
    #[track_caller]
    pub fn assert_clean_exit(&mut self) {
        let (code, log) = self.await_exit();
        assert_eq!(code, Some(0), "the exit code\n{}", log.text());
        if self.setup.setting("log.format") == "\"json\"" {
            // A tunnel that is broken off at the very end may be told of after it.
            let end = log.events().into_iter().rev().find(|event| event["message"] == "stopped");
            let end = end.unwrap_or_else(|| panic!("the end was not told\n{}", log.text()));
            assert_eq!(end["flights"], 0, "flights at the end");
        }
        assert_eq!(self.staged(), Vec::<PathBuf>::new(), "staging files left behind");
    }

    /// Ends it as a power failure of the process would.
    pub fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.child.kill().expect("a running child can be killed");
            running.child.wait().expect("a child can be waited for");
        }
    }

    /// Starts it again and kills it `after` that, its doors open or not. Returns what it wrote.
    pub fn restart_and_kill9(&mut self, after: Duration) -> Log {
        let (mut child, log) = self.spawn();
        thread::sleep(after);
        child.kill().expect("a running child can be killed");
        child.wait().expect("a child can be waited for");
        log
    }

    /// Starts it again on the same folders, whether it was stopped, killed, or still runs.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
        self.start();
    }

    /// As [`Gateway::restart`], with another configuration.
    #[track_caller]
    pub fn restart_with(&mut self, change: impl FnOnce(Builder) -> Builder) {
        if self.running.is_some() {
            self.stop();
        }
        self.setup = change(self.setup.clone());
        self.start();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let Some(running) = &self.running else { return };
        if thread::panicking() {
            let log = running.log.clone();
            self.kill9();
            // What it wrote last is what tells most.
            log.await_end();
            eprintln!("--- the gateway's log\n{}\n---", log.text());
        } else {
            self.stop();
        }
    }
}

fn listening_at(log: &Log, door: &str) -> SocketAddr {
    let what = format!("listening at the {door} door");
    let named = |line: &str| [format!("door={door}"), format!("\"{door}\"")].iter().any(|name| line.contains(name));
    let line = log.wait_for_line(&what, |line| line.contains("listening") && named(line));
    let (_, rest) = line.split_once("address").expect("the line tells the address");
    let address: String =
        rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(|c| !"\", ".contains(*c)).collect();
    address.parse().unwrap_or_else(|_| panic!("{address:?} is no address, in {line:?}"))
}

/// Without a dependency on the system's C library, the shell is who sends signals.
pub(super) fn signal(pid: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
    assert!(status.is_ok_and(|status| status.success()), "the signal {name} cannot be sent");
}
