//! External programs: the clients that builds use, and short runs of the binary.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use serde_json::Value;

use super::DEADLINE;

/// A program with a clean environment, in a folder of the test.
pub struct Tool {
    program: String,
    package: &'static str,
    command: Command,
}

/// Result of a program.
#[derive(Debug)]
pub struct Run {
    /// None if a signal ended the program.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Returns the JSON documents on standard output, one a line.
    #[track_caller]
    pub fn documents(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    #[track_caller]
    pub fn assert_success(&self) {
        assert_eq!(
            self.code,
            Some(0),
            "exit code\n{}\n{}",
            self.stdout,
            self.stderr
        );
    }

    #[track_caller]
    pub fn assert_failure(&self) {
        assert!(
            self.code != Some(0),
            "the program should have failed\n{}\n{}",
            self.stdout,
            self.stderr
        );
    }
}

impl Tool {
    /// Returns GNU wget with one try and without the machine's configuration.
    pub fn wget(folder: &Path) -> Self {
        Self::new("wget", "wget", folder).args(&[
            "--no-config",
            "--no-hsts",
            "--tries=1",
            "--timeout=20",
            "-nv",
        ])
    }

    pub fn curl(folder: &Path) -> Self {
        Self::new("curl", "curl", folder).args(&[
            "-q",
            "--silent",
            "--show-error",
            "--max-time",
            "25",
        ])
    }

    pub fn aria2c(folder: &Path) -> Self {
        Self::new("aria2c", "aria2", folder).args(&[
            "--no-conf",
            "--max-tries=1",
            "--timeout=20",
            "--file-allocation=none",
        ])
    }

    /// Returns any program, with the Debian package that contains it.
    pub fn new(program: &str, package: &'static str, folder: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .env_clear()
            .current_dir(folder)
            .env("HOME", folder)
            .env("LC_ALL", "C");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            program: program.to_owned(),
            package,
            command,
        }
    }

    /// Returns a program that reads the file `hosts` in its folder in place of `/etc/hosts`, which
    /// needs the rights of root.
    pub fn with_hosts_file(program: &str, package: &'static str, folder: &Path) -> Self {
        let script = "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"";
        Self::new("unshare", "util-linux", folder)
            .args(&["--mount", "sh", "-c", script, program])
            .named(program, package)
    }

    fn named(mut self, program: &str, package: &'static str) -> Self {
        program.clone_into(&mut self.program);
        self.package = package;
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(mut self) -> Run {
        let mut child = match self.command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!(
                    "{} is missing: install the Debian package {}",
                    self.program, self.package
                )
            }
            Err(error) => panic!("{} cannot be started: {error}", self.program),
        };
        let stdout = in_thread(child.stdout.take().expect("standard output is piped"));
        let stderr = in_thread(child.stderr.take().expect("standard error is piped"));
        let stdout = until_end(&mut child, &stdout, &self.program);
        let stderr = until_end(&mut child, &stderr, &self.program);
        let status = child.wait().expect("a child can be waited for");
        Run {
            code: status.code(),
            stdout,
            stderr,
        }
    }
}

fn in_thread(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Output before an error is still useful.
        drop(stream.read_to_end(&mut bytes));
        // Sending fails if the receiver has timed out.
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

#[track_caller]
fn until_end(child: &mut Child, stream: &mpsc::Receiver<String>, program: &str) -> String {
    match stream.recv_timeout(DEADLINE) {
        Ok(text) => text,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            // The process may have just ended.
            drop(child.kill());
            panic!("{program} did not exit in time");
        }
    }
}

/// Whether a program is installed that no test may require.
pub fn has_program(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
