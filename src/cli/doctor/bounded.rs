//! Waits with a bound for calls that block: system calls of a disk, and other programs.
//!
//! The main functions are [`within`] and [`output_of`].

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// Largest part of a program's output that is read, in bytes. `nginx -T` prints all its files.
const MAX_OUTPUT_BYTES: u64 = 4 << 20;

/// Output of a program that has ended.
pub struct ProgramOutput {
    pub succeeded: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a call that blocks, and returns `None` if it takes longer than `limit`.
///
/// The call has a thread of its own, which the end of this process does not wait for.
pub async fn within<T: Send + 'static>(
    limit: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new().name("check".to_owned());
    // If no thread can be started, the sender is dropped with the closure.
    drop(thread.spawn(move || drop(sender.send(call()))));
    timeout(limit, receiver).await.ok()?.ok()
}

/// Runs a program, and ends it if it takes longer than `limit`. It gets no input.
///
/// # Errors
/// If the program cannot be started, or takes too long.
pub async fn output_of(mut command: Command, limit: Duration) -> io::Result<ProgramOutput> {
    let command = command.stdin(Stdio::null());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Both pipes are read at the same time, so that the program never waits for a reader.
    let (stdout, stderr) = tokio::join!(
        within(limit, move || read(stdout)),
        within(limit, move || read(stderr)),
    );
    let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
        // A program that waits for a hanging disk ends only with that wait.
        child.kill()?;
        return Err(io::ErrorKind::TimedOut.into());
    };
    // A program that has closed both pipes is about to end.
    let ended = within(limit, move || child.wait()).await;
    let status = ended.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
    Ok(ProgramOutput {
        succeeded: status.success(),
        stdout,
        stderr,
    })
}

fn read(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // The part before a failure is enough for a finding.
        drop(pipe.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
