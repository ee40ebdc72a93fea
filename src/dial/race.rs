//! Races connections to the addresses of one name (RFC 8305, "Happy Eyeballs").
//!
//! All outgoing connections are opened here. An address that does not answer delays the next one
//! by [`ATTEMPT_DELAY`] only. The main function is [`race`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::candidates::{AddressCandidates, AddressVerdict, NoCandidate};

/// Delay between two attempts (RFC 8305, section 8, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long IPv4 addresses wait for the lookup of IPv6 ones (RFC 8305, section 8, "Resolution
/// Delay").
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// Maximum number of addresses that are tried for one connection, and so of concurrent sockets.
const MAX_ATTEMPTS: usize = 8;

/// Delay between two attempts if no additional one is allowed at the same time. The earlier ones
/// end then.
const LONE_ATTEMPT_DELAY: Duration = Duration::from_secs(1);

/// Error returned when no connection was opened.
#[derive(Debug)]
pub enum RaceError {
    /// There was no address to connect to.
    NoCandidate(NoCandidate),
    /// No address accepted a connection. The error is the last one.
    Unreachable(io::Error),
}

/// Connects to the first address that answers. The other attempts are dropped.
///
/// The race itself has no deadline. `check` decides about each address before it is tried.
/// Every attempt beside another one takes a permit of `extra_attempts`. Without a free permit, the
/// addresses are tried one at a time.
///
/// # Errors
/// [`RaceError`] if all addresses have failed.
pub async fn race(
    mut candidates: AddressCandidates,
    check: impl Fn(IpAddr) -> AddressVerdict,
    extra_attempts: &Semaphore,
) -> Result<TcpStream, RaceError> {
    let mut attempts = FuturesUnordered::new();
    let mut started = 0;
    let mut next_start = Instant::now();
    let mut last_start = next_start;
    let mut last_error = None;
    loop {
        let may_start = started < MAX_ATTEMPTS && candidates.has_next();
        tokio::select! {
            Some(result) = attempts.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    last_error = Some(error);
                    next_start = Instant::now();
                }
            },
            Some(()) = candidates.receive(), if started < MAX_ATTEMPTS => {
                if started == 0 {
                    next_start = Instant::now();
                    if candidates.awaits_preferred() {
                        next_start += RESOLUTION_DELAY;
                    }
                }
            }
            () = sleep_until(next_start), if may_start => {
                let permit = extra_attempts.try_acquire().ok();
                let is_lone = permit.is_none() && !attempts.is_empty();
                if is_lone && last_start.elapsed() < LONE_ATTEMPT_DELAY {
                    next_start = last_start + LONE_ATTEMPT_DELAY;
                    continue;
                }
                if let Some(address) = candidates.take_next(&check) {
                    if is_lone {
                        attempts.clear();
                    }
                    let permit = permit.filter(|_| !attempts.is_empty());
                    attempts.push(connect(address, permit));
                    started += 1;
                    last_start = Instant::now();
                    next_start = last_start + ATTEMPT_DELAY;
                }
            }
            else => break,
        }
    }
    Err(match last_error {
        Some(error) => RaceError::Unreachable(error),
        None => RaceError::NoCandidate(candidates.failure()),
    })
}

async fn connect(
    address: SocketAddr,
    _permit: Option<SemaphorePermit<'_>>,
) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Requests, handshakes and commands are small and wait for their response.
    stream.set_nodelay(true)?;
    Ok(stream)
}
