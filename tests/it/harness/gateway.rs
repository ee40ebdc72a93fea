//! A running gateway: the real binary.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::answer::Answer;
use super::builder::{BINARY, Builder};
use super::client::Request;
use super::log::Log;
use super::tools::{Run, Tool};
use super::{Origin, eventually, files_under, sha256};

struct Running {
    child: Child,
    log: Log,
    gateway: SocketAddr,
    proxy: Option<SocketAddr>,
}

/// A running gateway. Dropping it stops it and asserts that it leaves no staging files.
pub struct Gateway {
    setup: Builder,
    running: Option<Running>,
}

impl Builder {
    /// Starts the gateway and waits until its endpoints listen.
    #[track_caller]
    pub fn start(self) -> Gateway {
        let mut gateway = Gateway {
            setup: self,
            running: None,
        };
        gateway.start();
        gateway
    }
}

impl Gateway {
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts a gateway that relays every miss from `origin` and does not retry.
    #[track_caller]
    pub fn relaying(origin: &Origin) -> Self {
        Self::builder().origin(origin).relay().one_attempt().start()
    }

    /// Returns the configuration of another gateway on the same cache folder, with
    /// its own state folder.
    pub fn sibling(&self) -> Builder {
        self.setup.on_the_same_cache()
    }

    fn spawn(&self) -> (Child, Log) {
        assert!(self.running.is_none(), "the gateway runs already");
        self.setup.write();
        let mut command = self.setup.command();
        command
            .current_dir(self.setup.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let log = Log::read(child.stderr.take().expect("standard error is piped"));
        (child, log)
    }

    #[track_caller]
    fn start(&mut self) {
        let (child, log) = self.spawn();
        let has_proxy = self.setup.setting("proxy.listen") != "\"\"";
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        // From here on `drop` stops the child.
        self.running = Some(Running {
            child,
            log: log.clone(),
            gateway: unspecified,
            proxy: None,
        });
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
        self.running().proxy.expect("the proxy endpoint is enabled")
    }

    /// Returns the URL of a path at the gateway port.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    /// Returns the URL of a target behind the gateway's own URL.
    pub fn rewritten(&self, target: &str) -> String {
        self.url(&format!("/{target}"))
    }

    /// Returns a GET request for a target at the gateway endpoint.
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", &format!("/{target}"))
    }

    /// Returns a request at the gateway port, by its path.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.addr(), method, path)
    }

    /// Returns the admin token that the gateway created.
    pub fn token(&self) -> String {
        let file = self.state().join("admin_token");
        std::fs::read_to_string(file)
            .expect("the gateway creates the token at startup")
            .trim_end()
            .to_owned()
    }

    /// Returns an API request with the admin token.
    pub fn operate(&self, method: &str, path: &str) -> Request {
        self.request(method, path)
            .header("Authorization", &format!("Bearer {}", self.token()))
    }

    /// Runs a command in this folder with the URL and the operator token of this gateway.
    #[track_caller]
    pub fn run_command(&self, folder: &Path, arguments: &[&str]) -> Run {
        let tool = Tool::new(BINARY, "millpond", folder).args(arguments);
        let tool = tool.env("MILLPOND_URL", &self.url(""));
        tool.env("MILLPOND_TOKEN", &self.token()).run()
    }

    /// Returns a request at the proxy endpoint.
    pub fn proxied(&self, method: &str, target: &str) -> Request {
        Request::new(self.proxy_addr(), method, target)
    }

    /// Fetches a target through the gateway endpoint and asserts the body.
    #[track_caller]
    pub fn assert_serves(&self, target: &str, body: &[u8]) -> Answer {
        let answer = self.get(target).send();
        answer.assert_body(200, body);
        answer
    }

    /// Waits until the fetch of a target has ended, and returns its log event.
    #[track_caller]
    pub fn await_fetch(&self, target: &str) -> Value {
        self.log()
            .wait_for(&format!("a fetch of {target}"), |event| {
                event["message"] == "fetch" && event["uri"] == target
            })
    }

    /// Waits until a target is stored, and returns the log event of the fetch.
    #[track_caller]
    pub fn await_stored(&self, target: &str) -> Value {
        let fetch = self.await_fetch(target);
        assert_eq!(fetch["outcome"], "stored", "{fetch}");
        fetch
    }

    /// Waits until a target is uploaded to the bucket and the upload is verified.
    #[track_caller]
    pub fn await_uploaded(&self, target: &str) {
        self.log().wait_for("the upload", |event| {
            event["message"] == "uploaded" && event["uri"] == target
        });
    }

    pub fn cache(&self) -> &Path {
        self.setup.cache()
    }

    /// Returns the folder of `gateway.state_dir`.
    pub fn state(&self) -> PathBuf {
        self.setup.folder().join("state")
    }

    pub fn object_path(&self, body: &[u8]) -> PathBuf {
        let name = sha256(body);
        self.cache().join("objects").join(&name[..2]).join(name)
    }

    /// Returns the record files of a target.
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

    /// Returns the files in the staging folder, without the lock files, which are hidden.
    pub fn staged(&self) -> Vec<PathBuf> {
        let mut files = files_under(&self.cache().join("staging"));
        files.retain(|file| {
            !file
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        });
        files
    }

    /// Asserts that nothing is stored or staged.
    #[track_caller]
    pub fn assert_nothing_stored(&self) {
        // An abandoned staging file is removed in the background.
        eventually("nothing is staged", || {
            self.staged().is_empty().then_some(())
        });
        assert_eq!(self.objects(), Vec::<PathBuf>::new(), "objects");
        assert_eq!(self.records(), Vec::<PathBuf>::new(), "records");
    }

    /// Sends a signal, by name.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Writes another configuration and makes the gateway reload it.
    pub fn reload(&mut self, change: impl FnOnce(Builder) -> Builder) {
        self.setup = change(self.setup.clone());
        self.setup.write();
        self.signal("HUP");
    }

    /// Returns the configuration file.
    pub fn file(&self) -> PathBuf {
        self.setup.file()
    }

    /// Waits until the process has ended. Returns its exit code and its log.
    #[track_caller]
    pub fn await_exit(&mut self) -> (Option<i32>, Log) {
        let log = self.log().clone();
        assert!(log.await_end(), "the gateway did not exit in time");
        let mut running = self.running.take().expect("the gateway runs");
        let status = running.child.wait().expect("a child can be waited for");
        (status.code(), log)
    }

    /// Stops the gateway with SIGTERM and asserts a clean exit.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal("TERM");
        self.assert_clean_exit();
    }

    /// Asserts the clean exit of a gateway that was asked to stop.
    #[track_caller]
    pub fn assert_clean_exit(&mut self) {
        let (code, log) = self.await_exit();
        assert_eq!(code, Some(0), "the exit code\n{}", log.text());
        if self.setup.setting("log.format") == "\"json\"" {
            // The log line of a tunnel that is closed at the very end may follow this one.
            let end = log
                .events()
                .into_iter()
                .rev()
                .find(|event| event["message"] == "stopped");
            let end =
                end.unwrap_or_else(|| panic!("the log has no event `stopped`\n{}", log.text()));
            assert_eq!(end["in_flight"], 0, "in-flight fetches at the end");
        }
        // Another process in the same folder may be writing a file, which it moves at once.
        if !self.staged().is_empty() {
            eventually(&format!("no file is staged\n{}", log.text()), || {
                self.staged().is_empty().then_some(())
            });
        }
    }

    /// Kills the process with SIGKILL.
    pub fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.child.kill().expect("a running child can be killed");
            running.child.wait().expect("a child can be waited for");
        }
    }

    /// Starts the gateway and kills it after this time, whether its ports listen or
    /// not. Returns its log.
    pub fn restart_and_kill9(&mut self, after: Duration) -> Log {
        let (mut child, log) = self.spawn();
        thread::sleep(after);
        child.kill().expect("a running child can be killed");
        child.wait().expect("a child can be waited for");
        log
    }

    /// Restarts the gateway on the same folders, whether it was stopped, killed or still runs.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
        self.start();
    }

    /// Restarts the gateway as [`Gateway::restart`] does, with another configuration.
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
            // The last lines are the most useful.
            log.await_end();
            eprintln!("--- the gateway's log\n{}\n---", log.text());
        } else {
            self.stop();
        }
    }
}

fn listening_at(log: &Log, endpoint: &str) -> SocketAddr {
    let what = format!("the log line of the {endpoint} endpoint");
    let named = |line: &str| {
        [format!("endpoint={endpoint}"), format!("\"{endpoint}\"")]
            .iter()
            .any(|name| line.contains(name))
    };
    let line = log.wait_for_line(&what, |line| line.contains("listening") && named(line));
    let (_, rest) = line
        .split_once("address")
        .expect("the line has the address");
    let address: String = rest
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(|c| !"\", ".contains(*c))
        .collect();
    address
        .parse()
        .unwrap_or_else(|_| panic!("{address:?} is no address, in {line:?}"))
}

/// Sends a signal with the shell's `kill`: this needs no dependency on libc.
pub(super) fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "signal {name} could not be sent"
    );
}
