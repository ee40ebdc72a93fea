//! Reading whole objects without being in anybody's way: at a bounded rate, and without a trace in
//! the kernel's memory.

use std::io;
use std::num::NonZeroU64;
use std::thread;
use std::time::Duration;

use rustix::fs::{Advice, fadvise};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::disk::{OpenFile, ReadFrom};
use crate::model::{ExpectedDigests, Hasher, Rate, Sha256};

/// The piece in which an object is read, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// As `nice` counts.
const LOWEST_PRIORITY: i32 = 19;

/// The longest rest after one piece: a slow rate must not keep the end of the process waiting.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// How fast may be read.
#[derive(Debug)]
pub struct ReadThrottle {
    rate: Rate,
    /// When the next piece may be read.
    next: Instant,
}

impl ReadThrottle {
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            next: Instant::now(),
        }
    }

    /// Rests for as long as reading these bytes should take.
    pub async fn pause(&mut self, read_bytes: u64) {
        let Some(rate) = self.rate.bytes_per_second() else {
            return;
        };
        let pause =
            Duration::from_micros(read_bytes.saturating_mul(1_000_000) / rate).min(MAX_PAUSE);
        self.next = self.next.max(Instant::now()) + pause;
        sleep_until(self.next).await;
    }
}

/// Does work on a thread of the lowest priority, which is its own: only root can raise one again. A
/// thread whose I/O has no priority of its own has that of its CPU time (ioprio_set(2)).
async fn at_low_priority<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, outcome) = oneshot::channel();
    thread::Builder::new()
        .name("verify".to_owned())
        .spawn(move || {
            // The calling thread's alone, as Linux has it. Where it is refused, the work is done
            // all the same.
            let _ = setpriority_process(None, LOWEST_PRIORITY);
            // Nobody may wait any more.
            drop(done.send(work()));
        })?;
    outcome
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// The SHA-256 of a file.
pub async fn hash(file: &OpenFile, throttle: &mut ReadThrottle) -> io::Result<Sha256> {
    // The kernel would read ahead, and what it has read ahead would look like what was asked for by
    // others.
    let _ = fadvise(file.file(), 0, None, Advice::Random);
    let mut hasher = Hasher::new(&ExpectedDigests::nothing());
    let mut offset = 0;
    loop {
        let file = file.clone();
        let read = at_low_priority(move || {
            let read_bytes = feed(&file, offset, &mut hasher)?;
            Ok((hasher, read_bytes))
        });
        let (fed, read_bytes) = read.await?;
        hasher = fed;
        if read_bytes == 0 {
            return Ok(hasher.finish().sha256);
        }
        offset += read_bytes;
        throttle.pause(read_bytes).await;
    }
}

/// Hashes the next piece, and returns its length in bytes. If it had to be read from the disk, the
/// kernel's copy is dropped: the cache of the kernel is for what clients ask for.
fn feed(file: &OpenFile, offset: u64, hasher: &mut Hasher) -> io::Result<u64> {
    let (piece, from) = file.read_blocking(offset, PIECE_BYTES)?;
    hasher.update(&piece);
    let read_bytes = piece.len() as u64;
    if from == ReadFrom::Disk {
        // If the kernel ignores the advice, it costs memory only.
        let _ = fadvise(
            file.file(),
            offset,
            NonZeroU64::new(read_bytes),
            Advice::DontNeed,
        );
    }
    Ok(read_bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{DiskConfig, DiskIo, DiskStore, OpenMode};
    use crate::model::EventSink;

    fn open(path: &std::path::Path) -> OpenFile {
        let dir = tempfile::tempdir().unwrap();
        let config = DiskConfig {
            dir: dir.path().to_owned(),
            max_size_bytes: 0,
            high_watermark_bytes: 0,
            low_watermark_bytes: 0,
            min_free_bytes: 0,
            timeout: Duration::from_secs(1),
        };
        let store = DiskStore::open(config, OpenMode::Maintenance, None, EventSink::new()).unwrap();
        let io = DiskIo::new(store).unwrap();
        OpenFile::new(Arc::new(std::fs::File::open(path).unwrap()), io)
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_an_error_and_no_digest() {
        let folder = tempfile::tempdir().unwrap();
        let error = hash(
            &open(folder.path()),
            &mut ReadThrottle::new(Rate::UNLIMITED),
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[tokio::test]
    async fn what_reads_has_the_lowest_priority_and_nobody_else() {
        let own = || rustix::process::getpriority_process(None).map_err(io::Error::from);
        let before = own().unwrap();
        assert_eq!(at_low_priority(own).await.unwrap(), LOWEST_PRIORITY);
        assert_eq!(own().unwrap(), before);
    }

    #[tokio::test]
    async fn reading_takes_as_long_as_the_rate_asks_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; 3 << 20]).unwrap();
        let mut throttle = ReadThrottle::new("10MiB".to_owned().try_into().unwrap());
        let began = Instant::now();
        let found = hash(&open(file.path()), &mut throttle).await.unwrap();
        assert!(
            began.elapsed() >= Duration::from_millis(300),
            "{:?}",
            began.elapsed()
        );
        let mut hasher = Hasher::new(&ExpectedDigests::nothing());
        hasher.update(&vec![7; 3 << 20]);
        assert_eq!(found, hasher.finish().sha256);
    }
}
