//! A blind tunnel: bytes both ways, nothing read.

use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

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

    /// Runs the tunnel to its end. Each direction is closed by itself, as its sender closes it, and waits for its receiver.
    pub async fn run<C: AsyncRead + AsyncWrite + Unpin>(self, client: C, idle_timeout: Duration) -> TunnelReport {
        let last_activity = Mutex::new(Instant::now());
        let (to_origin, to_client) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut client = Watched { inner: client, last_activity: &last_activity, written_bytes: &to_client };
        let mut upstream = Watched { inner: self.upstream, last_activity: &last_activity, written_bytes: &to_origin };
        let copy = copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER_BYTES, BUFFER_BYTES);
        let end = tokio::select! {
            result = copy => match result {
                Ok(_) => TunnelEnd::Closed,
                Err(error) => TunnelEnd::Broken(error),
            },
            () = idle(&last_activity, idle_timeout) => TunnelEnd::Idle,
        };
        TunnelReport {
            end,
            to_origin_bytes: to_origin.load(Ordering::Relaxed),
            to_client_bytes: to_client.load(Ordering::Relaxed),
        }
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

/// A stream that notes when it last moved a byte, and how many it has written.
struct Watched<'a, S> {
    inner: S,
    last_activity: &'a Mutex<Instant>,
    written_bytes: &'a AtomicU64,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        *lock(self.last_activity) = Instant::now();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buf))?;
        self.written_bytes.fetch_add(written as u64, Ordering::Relaxed);
        *lock(self.last_activity) = Instant::now();
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
