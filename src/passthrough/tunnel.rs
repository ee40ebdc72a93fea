//! A blind tunnel: bytes both ways, nothing read.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::limits::{Pacer, TransferPermit};

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

    /// Runs the tunnel to its end, as fast as `transfer` lets it. Each direction is closed by
    /// itself, as its sender closes it, and waits for its receiver.
    pub async fn run<R, W>(
        mut self,
        from_client: R,
        to_client: W,
        transfer_permit: &TransferPermit,
        idle_timeout: Duration,
    ) -> TunnelReport
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let activity = Activity {
            last: Mutex::new(Instant::now()),
            pacing: AtomicU32::new(0),
        };
        let (from_origin, to_origin) = self.upstream.split();
        let (to_client_bytes, to_origin_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let direction = |moved_bytes| Direction {
            pacer: transfer_permit.pacer(),
            activity: &activity,
            moved_bytes,
        };
        let down = direction(&to_client_bytes).pump(from_origin, to_client);
        let up = direction(&to_origin_bytes).pump(from_client, to_origin);
        let end = tokio::select! {
            result = async { tokio::try_join!(down, up) } => match result {
                Ok((HalfClose::Sent, HalfClose::Sent)) => TunnelEnd::Closed,
                Ok((HalfClose::PeerGone(error), _) | (_, HalfClose::PeerGone(error))) | Err(error) => TunnelEnd::Broken(error),
            },
            () = activity.idle(idle_timeout) => TunnelEnd::Idle,
        };
        TunnelReport {
            end,
            to_origin_bytes: to_origin_bytes.load(Ordering::Relaxed),
            to_client_bytes: to_client_bytes.load(Ordering::Relaxed),
        }
    }
}

/// How the receiver of one direction took its end.
enum HalfClose {
    /// It was told that the sender is done.
    Sent,
    /// It reads no more. What it has sent itself may still be under way.
    PeerGone(io::Error),
}

/// One way through a tunnel.
struct Direction<'a> {
    pacer: Option<Pacer>,
    activity: &'a Activity,
    moved_bytes: &'a AtomicU64,
}

impl Direction<'_> {
    /// Moves bytes until the sender is done or the receiver is gone. An error is the sender's.
    async fn pump<R, W>(mut self, mut reader: R, mut writer: W) -> io::Result<HalfClose>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let size_bytes = reader.read(&mut buffer).await?;
            self.activity.record();
            let sent = match size_bytes {
                0 => writer.shutdown().await,
                _ => self.send(&buffer[..size_bytes], &mut writer).await,
            };
            match sent {
                Ok(()) if size_bytes == 0 => return Ok(HalfClose::Sent),
                Ok(()) => {}
                Err(error) => return Ok(HalfClose::PeerGone(error)),
            }
        }
    }

    async fn send<W: AsyncWrite + Unpin>(
        &mut self,
        mut bytes: &[u8],
        writer: &mut W,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let allowed = match &mut self.pacer {
                Some(pacer) => self.activity.with_pacing(pacer.acquire(bytes.len())).await,
                None => bytes.len(),
            };
            let mut now = &bytes[..allowed];
            while !now.is_empty() {
                let written = writer.write(now).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                now = &now[written..];
                self.moved_bytes
                    .fetch_add(written as u64, Ordering::Relaxed);
                self.activity.record();
            }
            bytes = &bytes[allowed..];
        }
        Ok(())
    }
}

/// When something last happened in a tunnel.
struct Activity {
    last: Mutex<Instant>,
    /// Directions that wait for leave to go on. That is our time and not theirs.
    pacing: AtomicU32,
}

impl Activity {
    fn record(&self) {
        *lock(&self.last) = Instant::now();
    }

    async fn with_pacing<T>(&self, wait: impl Future<Output = T>) -> T {
        self.pacing.fetch_add(1, Ordering::Relaxed);
        let done = wait.await;
        self.pacing.fetch_sub(1, Ordering::Relaxed);
        self.record();
        done
    }

    /// Returns once nothing has happened for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            if self.pacing.load(Ordering::Relaxed) > 0 {
                self.record();
            }
            let deadline = *lock(&self.last) + limit;
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }
}

fn lock(last_activity: &Mutex<Instant>) -> std::sync::MutexGuard<'_, Instant> {
    last_activity
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
