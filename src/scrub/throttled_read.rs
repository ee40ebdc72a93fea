//! Reads and hashes whole objects at a bounded rate and the lowest priority, without filling the
//! page cache.

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

/// Size of one read.
const READ_BYTES: usize = 1 << 20;

/// Nice value of the reading threads.
const LOWEST_PRIORITY: i32 = 19;

/// Longest pause after one read. A longer one would delay the end of the process.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Limits the rate of reads.
#[derive(Debug)]
pub struct ReadThrottle {
    rate: Rate,
    /// Time of the next read.
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

    /// Waits as long as these bytes take at the configured rate, at most [`MAX_PAUSE`].
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

/// Runs `work` on a new thread of the lowest CPU priority. Its I/O priority follows from the CPU
/// priority (ioprio_set(2)). The thread is not reused, because only root can raise a priority.
async fn at_low_priority<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (done, outcome) = oneshot::channel();
    thread::Builder::new()
        .name("scrub".to_owned())
        .spawn(move || {
            // On Linux this sets the priority of the calling thread only. After a failure the work
            // runs at normal priority.
            let _ = setpriority_process(None, LOWEST_PRIORITY);
            // The receiver is dropped if the scrub was stopped.
            drop(done.send(work()));
        })?;
    outcome
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// Returns the SHA-256 of a file.
pub async fn hash(file: &OpenFile, throttle: &mut ReadThrottle) -> io::Result<Sha256> {
    let start = Hasher::new(&ExpectedDigests::nothing());
    let read = read_throttled(file, throttle, start, Hasher::update);
    Ok(read.await?.finish().sha256)
}

/// Reads a file, and passes its bytes to `take` with the `state`, which is returned at the end.
pub async fn read_throttled<S: Send + 'static>(
    file: &OpenFile,
    throttle: &mut ReadThrottle,
    mut state: S,
    take: fn(&mut S, &[u8]),
) -> io::Result<S> {
    // Pages that the kernel reads ahead would be taken for pages that clients requested, and would
    // stay in the page cache.
    let _ = fadvise(file.file(), 0, None, Advice::Random);
    let mut offset = 0;
    loop {
        let file = file.clone();
        let read = at_low_priority(move || {
            let read_bytes = read_next(&file, offset, |bytes| take(&mut state, bytes))?;
            Ok((state, read_bytes))
        });
        let (updated, read_bytes) = read.await?;
        state = updated;
        if read_bytes == 0 {
            return Ok(state);
        }
        offset += read_bytes;
        throttle.pause(read_bytes).await;
    }
}

/// Reads the next bytes, and returns their number. Bytes that were read from the disk are dropped
/// from the page cache, which is for objects that clients request.
fn read_next(file: &OpenFile, offset: u64, take: impl FnOnce(&[u8])) -> io::Result<u64> {
    let (bytes, from) = file.read_blocking(offset, READ_BYTES)?;
    take(&bytes);
    let read_bytes = bytes.len() as u64;
    if from == ReadFrom::Disk {
        // If the kernel ignores the advice, the page cache holds more than necessary.
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
            max_observed_bytes: u64::MAX,
            min_free_bytes: 0,
            min_free_inodes: 0,
            timeout: Duration::from_secs(1),
            held_objects: 0,
        };
        let store = DiskStore::open(config, OpenMode::Maintenance, None, EventSink::new()).unwrap();
        let io = DiskIo::new(store).unwrap();
        OpenFile::new(Arc::new(std::fs::File::open(path).unwrap()), io)
    }

    #[tokio::test]
    async fn unreadable_file_is_an_error() {
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
    async fn only_reading_thread_has_lowest_priority() {
        let own = || rustix::process::getpriority_process(None).map_err(io::Error::from);
        let before = own().unwrap();
        assert_eq!(at_low_priority(own).await.unwrap(), LOWEST_PRIORITY);
        assert_eq!(own().unwrap(), before);
    }

    #[tokio::test]
    async fn hashing_keeps_to_rate() {
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
