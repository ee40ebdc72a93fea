//! The thread that sends and answers the pings of all links.
//!
//! It has no other work, so that its answers never wait behind those for clients. The main type is
//! [`LinkThread`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::link::{Link, LinkState, MAX_SILENCE};

/// Time between two pings if no request waits for a sign of the peer.
const IDLE_PAUSE: Duration = Duration::from_secs(1);

/// Part of the silence that is waited for at once. If this thread itself runs late, the silence
/// grows by one part only.
const STEP: Duration = Duration::from_millis(50);

/// Number of parts after which a peer is silent.
const SILENT_STEPS: u128 = MAX_SILENCE.as_millis() / STEP.as_millis();

/// Number of parts after which a silent link is closed. A poll that is answered opens another one.
const MAX_STEPS: u128 = 5000 / STEP.as_millis();

/// How long a peer may send no ping before its link is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(30);

/// The only content of a link. The peer sends each byte back.
const PING: [u8; 1] = *b".";

/// Thread for the pings.
#[derive(Debug)]
pub struct LinkThread(Option<Runtime>);

impl LinkThread {
    /// Starts the thread. Without it, there are no links.
    pub fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("peer-links")
            .enable_all()
            .build();
        let runtime = runtime.inspect_err(|error| {
            tracing::warn!(%error, "cannot start the thread for links to peers");
        });
        Self(runtime.ok())
    }

    /// Returns no thread, for a node without a cluster.
    pub fn none() -> Self {
        Self(None)
    }

    /// Sends pings on an open connection, until the connection fails.
    pub fn send_pings(&self, stream: std::net::TcpStream, link: Arc<Link>) {
        let Some(runtime) = &self.0 else { return };
        link.set(LinkState::Answering);
        runtime.spawn(async move {
            if let Err(error) = send_pings(stream, &link).await {
                tracing::debug!(%error, "link to a peer ended");
            }
            link.set(LinkState::Lost);
        });
    }

    /// Answers pings on a connection, until the peer closes it or the result is dropped.
    pub fn answer_pings(&self, stream: std::net::TcpStream) -> Option<AbortOnDropHandle<()>> {
        let runtime = self.0.as_ref()?;
        Some(AbortOnDropHandle::new(runtime.spawn(async move {
            if let Err(error) = answer_pings(stream).await {
                tracing::debug!(%error, "link of a peer ended");
            }
        })))
    }
}

impl Drop for LinkThread {
    fn drop(&mut self) {
        // A runtime that is dropped inside of another one would panic.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn send_pings(stream: std::net::TcpStream, link: &Arc<Link>) -> io::Result<()> {
    let mut stream = TcpStream::from_std(stream)?;
    let mut answer = PING;
    // Otherwise the peer was removed, and nothing else has the link.
    while Arc::strong_count(link) > 1 {
        stream.write_all(&PING).await?;
        let mut steps = 0;
        loop {
            // Looks for an answer before the time, so that a late thread still finds it.
            if let Ok(read) = timeout(STEP, stream.read_exact(&mut answer)).await {
                read?;
                break;
            }
            steps += 1;
            if steps == SILENT_STEPS {
                link.set(LinkState::Silent);
            }
            if steps == MAX_STEPS {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        link.set(LinkState::Answering);
        sleep(STEP).await;
        tokio::select! {
            () = link.wait_needed() => {}
            () = sleep(IDLE_PAUSE) => {}
            // The peer sends nothing without a ping, so this is the end.
            _ = stream.read(&mut answer) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    Ok(())
}

async fn answer_pings(stream: std::net::TcpStream) -> io::Result<()> {
    let mut stream = TcpStream::from_std(stream)?;
    let mut ping = PING;
    while let Ok(read) = timeout(PING_TIMEOUT, stream.read_exact(&mut ping)).await {
        read?;
        stream.write_all(&ping).await?;
    }
    Ok(())
}
