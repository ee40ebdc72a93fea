//! Blind tunnel: copies bytes in both directions without reading them.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::limits::{Pacer, TransferPermit};
use crate::model::lock;

/// Buffer size of each direction, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Time without a byte after which the process ends a tunnel or a request body while it stops. A
/// transfer in progress has no such gap.
pub const STOPPING_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// When a tunnel without any bytes ends.
#[derive(Debug)]
pub struct IdleLimit<S> {
    /// Longest time in which neither side sends anything.
    pub timeout: Duration,
    /// Ready once the process stops. The time is at most [`STOPPING_IDLE_TIMEOUT`] then.
    pub stopping: S,
}

/// Connection to the target of a tunnel.
#[derive(Debug)]
pub struct Tunnel {
    upstream: TcpStream,
}

/// How a tunnel ended.
#[derive(Debug)]
pub enum TunnelEnd {
    /// Both sides closed their direction.
    Closed,
    /// Neither side sent anything within the limit.
    Idle,
    /// A connection failed.
    Broken(io::Error),
}

/// Transferred bytes of a tunnel, and how it ended.
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

    /// Waits until the target has sent bytes, or has closed the connection.
    pub async fn readable(&self) {
        // An error shows when the tunnel reads.
        self.upstream.readable().await.ok();
    }

    /// Runs the tunnel to its end, at most at the rate of `transfer_permit`.
    ///
    /// Each direction is closed on its own when its sender closes it.
    pub async fn run<R, W>(
        mut self,
        from_client: R,
        to_client: W,
        transfer_permit: &TransferPermit,
        idle: IdleLimit<impl Future<Output = ()>>,
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
        let direction = |moved_bytes, quota| Direction {
            pacer: transfer_permit.pacer(),
            activity: &activity,
            moved_bytes,
            quota,
        };
        let to_client =
            direction(&to_client_bytes, Some(transfer_permit)).copy(from_origin, to_client);
        let to_origin = direction(&to_origin_bytes, None).copy(from_client, to_origin);
        let end = tokio::select! {
            result = async { tokio::try_join!(to_client, to_origin) } => match result {
                Ok((HalfClose::Sent, HalfClose::Sent)) => TunnelEnd::Closed,
                Ok((HalfClose::PeerGone(error), _) | (_, HalfClose::PeerGone(error)))
                | Err(error) => TunnelEnd::Broken(error),
            },
            () = activity.wait_until_idle(idle.timeout) => TunnelEnd::Idle,
            () = async {
                idle.stopping.await;
                let timeout = idle.timeout.min(STOPPING_IDLE_TIMEOUT);
                activity.wait_until_idle(timeout).await;
            } => TunnelEnd::Idle,
        };
        TunnelReport {
            end,
            to_origin_bytes: to_origin_bytes.load(Ordering::Relaxed),
            to_client_bytes: to_client_bytes.load(Ordering::Relaxed),
        }
    }
}

/// End of one direction.
enum HalfClose {
    /// The end of the stream was sent to the receiver.
    Sent,
    /// The receiver reads no more. Bytes from it may still be in transit.
    PeerGone(io::Error),
}

/// One direction of a tunnel.
struct Direction<'a> {
    pacer: Option<Pacer>,
    activity: &'a Activity,
    moved_bytes: &'a AtomicU64,
    /// Counts the bytes for the client that receives them.
    quota: Option<&'a TransferPermit>,
}

impl Direction<'_> {
    /// Copies bytes until the sender closes the stream or the receiver is gone.
    ///
    /// # Errors
    /// The read error of the sender.
    async fn copy<R, W>(mut self, mut reader: R, mut writer: W) -> io::Result<HalfClose>
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

    /// Writes all bytes, paced.
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
            let mut part = &bytes[..allowed];
            while !part.is_empty() {
                let written = writer.write(part).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                part = &part[written..];
                self.moved_bytes
                    .fetch_add(written as u64, Ordering::Relaxed);
                if let Some(quota) = self.quota {
                    quota.count_bytes(written as u64);
                }
                self.activity.record();
            }
            bytes = &bytes[allowed..];
        }
        Ok(())
    }
}

/// Time of the last activity in a tunnel.
struct Activity {
    last: Mutex<Instant>,
    /// Number of directions that wait for their rate limit. Such a wait is not idle time.
    pacing: AtomicU32,
}

impl Activity {
    fn record(&self) {
        *lock(&self.last) = Instant::now();
    }

    async fn with_pacing<T>(&self, wait: impl Future<Output = T>) -> T {
        self.pacing.fetch_add(1, Ordering::Relaxed);
        let result = wait.await;
        self.pacing.fetch_sub(1, Ordering::Relaxed);
        self.record();
        result
    }

    /// Waits until there was no activity for `limit`.
    async fn wait_until_idle(&self, limit: Duration) {
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
