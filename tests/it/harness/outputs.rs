//! The real binary with outputs of the test's choice: pipes that are not read, files on full disks.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::builder::{BINARY, Builder};
use super::client::Request;
use super::eventually;
use super::gateway::signal;

/// State of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// A running gateway without a proxy port, whose log the test holds. Dropped, it is killed.
pub struct Bare {
    /// Keeps the folders.
    _setup: Builder,
    child: Child,
    address: SocketAddr,
}

impl Builder {
    /// Starts the gateway with this standard error, and waits until it listens.
    #[track_caller]
    pub fn start_logging_to(self, stderr: impl Into<Stdio>) -> Bare {
        let setup = self.text("proxy.listen", "");
        setup.write();
        let mut command = setup.command();
        command
            .current_dir(setup.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        let child = command.spawn().expect("the binary can be started");
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        // From here on the child is killed when it is dropped.
        let mut bare = Bare {
            _setup: setup,
            child,
            address: unknown,
        };
        bare.address = eventually("the gateway listens", || {
            assert_eq!(
                bare.child.try_wait().expect("a child can be waited for"),
                None,
                "the gateway runs"
            );
            listening_address(bare.child.id())
        });
        bare
    }
}

impl Bare {
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// A GET of a target at the gateway port.
    pub fn get(&self, target: &str) -> Request {
        Request::new(self.address, "GET", &format!("/{target}"))
    }

    /// Fetches a target, and waits until it is stored.
    #[track_caller]
    pub fn store(&self, target: &str, body: &[u8]) {
        self.get(target).send().assert_body(200, body);
        eventually("the target is stored", || {
            let answer = self.get(target).send();
            answer.assert_body(200, body);
            answer.wants("cache-status").contains("; hit").then_some(())
        });
    }

    /// Waits until `/readyz` has a text for which `wanted` holds. It is 200 all the time.
    #[track_caller]
    pub fn await_ready(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        eventually(what, || {
            let answer = self.get("readyz").send();
            answer.assert_status(200);
            wanted(&answer.text()).then_some(())
        });
    }

    pub fn terminate(&self) {
        signal(self.child.id(), "TERM");
    }

    /// Waits for its end, and returns the exit code.
    #[track_caller]
    pub fn await_exit(&mut self) -> Option<i32> {
        eventually("the gateway ends", || {
            self.child.try_wait().expect("a child can be waited for")
        })
        .code()
    }

    /// Stops it, and asserts that it ends well within `limit`.
    #[track_caller]
    pub fn assert_stops_within(&mut self, limit: Duration) {
        let began = Instant::now();
        self.terminate();
        assert_eq!(self.await_exit(), Some(0), "the exit code");
        assert!(began.elapsed() < limit, "it took {:?}", began.elapsed());
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs the binary to its end with these outputs, and returns the exit code.
#[track_caller]
pub fn run_with_outputs(
    folder: &Path,
    args: &[&str],
    stdout: impl Into<Stdio>,
    stderr: impl Into<Stdio>,
) -> Option<i32> {
    let mut command = Command::new(BINARY);
    command
        .args(args)
        .env_clear()
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let mut child = command.spawn().expect("the binary can be started");
    // The pipes are the child's alone.
    drop(command);
    eventually("the command ends", || {
        child.try_wait().expect("a child can be waited for")
    })
    .code()
}

/// The address that a process listens at, if it is one of IPv4.
fn listening_address(pid: u32) -> Option<SocketAddr> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .filter_map(|entry| {
            fs::read_link(entry.ok()?.path())
                .ok()?
                .into_os_string()
                .into_string()
                .ok()
        })
        .filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_own = fields.get(3) == Some(&LISTENS)
            && sockets
                .iter()
                .any(|socket| fields.get(9) == Some(&&**socket));
        let (_, port) = fields.get(1).filter(|_| is_own)?.split_once(':')?;
        Some(SocketAddr::from((
            [127, 0, 0, 1],
            u16::from_str_radix(port, 16).ok()?,
        )))
    })
}
