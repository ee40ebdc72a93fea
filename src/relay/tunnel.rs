//! A blind tunnel: bytes both ways, nothing read.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::policy::{Pacer, Transfer};

/// The buffer of each direction, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection to the origin that a client's bytes are passed to.
#[derive(Debug)]
pub struct Tunnel {
    upstream: TcpStream,
}

/// What a tunnel came to.
#[derive(Debug)]
pub enum TunnelEnd {
    /// Both sides said that they were done.
    Closed,
    /// Neither side said anything for the idle timeout.
    Idle,
    Broken(io::Error),
}

/// How much went through a tunnel, in bytes, and how it ended.
#[derive(Debug)]
pub struct TunnelReport {
    pub end: TunnelEnd,
    pub to_origin_bytes: u64,
    pub to_client_bytes: u64,
}

impl Tunnel {
    pub(super) fn new(upstream: TcpStream) -> Self {
        Self { upstream }
    }

    /// Runs the tunnel to its end, as fast as `transfer` lets it. Each direction is closed by itself, as its sender closes it,
    /// and waits for its receiver.
    pub async fn run<R, W>(
        mut self,
        from_client: R,
        to_client: W,
        transfer: &Transfer,
        idle_timeout: Duration,
    ) -> TunnelReport
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let last_activity = Mutex::new(Instant::now());
        let (from_origin, to_origin) = self.upstream.split();
        let (to_client_bytes, to_origin_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let direction = |moved_bytes| Direction { pacer: transfer.pacer(), last_activity: &last_activity, moved_bytes };
        let down = direction(&to_client_bytes).pump(from_origin, to_client);
        let up = direction(&to_origin_bytes).pump(from_client, to_origin);
        let end = tokio::select! {
            result = async { tokio::try_join!(down, up) } => match result {
                Ok(_) => TunnelEnd::Closed,
                Err(error) => TunnelEnd::Broken(error),
            },
            () = idle(&last_activity, idle_timeout) => TunnelEnd::Idle,
        };
        TunnelReport {
            end,
            to_origin_bytes: to_origin_bytes.load(Ordering::Relaxed),
            to_client_bytes: to_client_bytes.load(Ordering::Relaxed),
        }
    }
}

/// One way through a tunnel.
struct Direction<'a> {
    pacer: Option<Pacer>,
    last_activity: &'a Mutex<Instant>,
    moved_bytes: &'a AtomicU64,
}

impl Direction<'_> {
    /// Moves bytes until the sender is done, and tells the receiver so.
    async fn pump<R, W>(mut self, mut reader: R, mut writer: W) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let size_bytes = reader.read(&mut buffer).await?;
            self.note_activity();
            if size_bytes == 0 {
                return writer.shutdown().await;
            }
            if let Some(pacer) = &mut self.pacer {
                pacer.pace(size_bytes).await;
            }
            let mut rest = &buffer[..size_bytes];
            while !rest.is_empty() {
                let written = writer.write(rest).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                rest = &rest[written..];
                self.moved_bytes.fetch_add(written as u64, Ordering::Relaxed);
                self.note_activity();
            }
        }
    }

    fn note_activity(&self) {
        *lock(self.last_activity) = Instant::now();
    }
}

/// Returns once nothing has happened for `limit`.
async fn idle(last_activity: &Mutex<Instant>, limit: Duration) {
    loop {
        let deadline = *lock(last_activity) + limit;
        if deadline <= Instant::now() {
            return;
        }
        sleep_until(deadline).await;
    }
}

fn lock(last_activity: &Mutex<Instant>) -> std::sync::MutexGuard<'_, Instant> {
    last_activity.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
