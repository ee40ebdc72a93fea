//! The position of the scrub, and the lock that lets one process of the folder scrub at a time.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fs_err as fs;

use crate::cache::{Cache, CacheError};
use crate::disk::{DiskError, DiskIo, IoClass, since_epoch};
use crate::model::Sha256;

/// Bound on the content of the lock file, in bytes. The content is always shorter.
const MAX_STATE_BYTES: usize = 64;

/// A range of digests by their first eight bytes, which wraps around at the end.
///
/// Digests are evenly distributed, so a share of the digests is the same share of the objects. Each
/// range begins where the last one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubRange {
    /// First position.
    from: u64,
    /// Number of positions, from 1 to 2^64.
    length: u128,
}

impl ScrubRange {
    const ALL: u128 = 1 << 64;

    fn new(from: u64, share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the share is between 0 and 1. It is rounded up, so that all shares together \
                      contain every digest"
        )]
        let length = (share.clamp(0.0, 1.0) * Self::ALL as f64).ceil() as u128;
        Self {
            from,
            length: length.clamp(1, Self::ALL),
        }
    }

    /// Returns the range of all digests.
    #[must_use]
    pub fn whole() -> Self {
        Self {
            from: 0,
            length: Self::ALL,
        }
    }

    pub fn contains(self, sha256: Sha256) -> bool {
        u128::from(position_of(sha256).wrapping_sub(self.from)) < self.length
    }

    /// Returns the first bytes of the digests in the range, in order. The first one occurs again as
    /// the last if the range wraps around within one folder.
    #[must_use]
    pub fn parts(self) -> Vec<u8> {
        let first = u128::from(self.from) >> 56;
        let last = (u128::from(self.from) + self.length - 1) >> 56;
        (first..=last)
            .map(|folder| u8::try_from(folder % 256).expect("a remainder of 256 is below 256"))
            .collect()
    }

    /// Whether the range contains the beginning of a new round.
    #[must_use]
    pub fn starts_new_round(self) -> bool {
        self.from == 0 || u128::from(self.from) + self.length > Self::ALL
    }

    fn end(self) -> u64 {
        let end = (u128::from(self.from) + self.length) % Self::ALL;
        u64::try_from(end).expect("a remainder of 2^64 is below 2^64")
    }

    /// Whether an object of the range belongs to this index of [`ScrubRange::parts`]. Each object
    /// belongs to one index.
    pub fn is_in_part(self, at: usize, sha256: Sha256) -> bool {
        let wraps_around = u128::from(self.from) + self.length > Self::ALL;
        let is_first_folder = u64::from(sha256.as_bytes()[0]) == self.from >> 56;
        // A folder that occurs twice has the digests from `from` on at its first index, and the
        // other ones at its last.
        if wraps_around && is_first_folder {
            (at == 0) == (position_of(sha256) >= self.from)
        } else {
            true
        }
    }
}

fn position_of(sha256: Sha256) -> u64 {
    let (first, _) = sha256
        .as_bytes()
        .split_first_chunk()
        .expect("a digest has more than eight bytes");
    u64::from_be_bytes(*first)
}

/// The right to scrub, held by one process of the folder. Dropping it releases it.
#[derive(Debug)]
pub struct ScrubLock {
    disk: DiskIo,
    file: Arc<File>,
    state: CursorState,
}

/// Content of the lock file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct CursorState {
    /// Position from which the next range begins.
    position: u64,
    /// Time at which the last scrub began, in milliseconds since 1970.
    began: i64,
    /// Time at which the round of this position began. Older versions did not record it.
    round_began: Option<i64>,
}

/// Round of the scrub, for operators.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScrubRound {
    /// Each object that was stored before is read again within one round after this time.
    pub began: Option<SystemTime>,
    pub last_share_began: SystemTime,
    /// Part of the objects that the round has read, from 0 to 1.
    pub progress: f64,
}

/// Returns the round of a cache, or `None` before the first scrub.
///
/// # Errors
/// [`CacheError`] if the disk does not answer.
pub async fn read_round(cache: &Cache) -> Result<Option<ScrubRound>, CacheError> {
    let disk = cache.disk().clone();
    let read = disk.run(IoClass::Maintenance, |disk| {
        match fs::File::open(disk.layout.scrub_lock()) {
            Ok(file) => Ok(read_state(&file.into_parts().0)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DiskError::from(error)),
        }
    });
    Ok(read.await?.map(CursorState::round))
}

impl CursorState {
    fn round(self) -> ScrubRound {
        let at = |millis: i64| UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs());
        #[expect(clippy::cast_precision_loss, reason = "a person reads it in percent")]
        let progress = self.position as f64 / ScrubRange::ALL as f64;
        ScrubRound {
            began: self.round_began.map(at),
            last_share_began: at(self.began),
            progress,
        }
    }
}

impl ScrubLock {
    /// Acquires the lock. Returns `None` if another process holds it.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn acquire(cache: &Cache) -> Result<Option<Self>, CacheError> {
        let disk = cache.disk().clone();
        let opened = disk.run(IoClass::Maintenance, |disk| {
            Ok::<_, DiskError>(open(&disk.layout.scrub_lock())?)
        });
        let Some((file, state)) = opened.await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            disk,
            file: Arc::new(file),
            state,
        }))
    }

    /// Returns the time until `interval` has passed since the last scrub began. Returns zero if the
    /// clock was set back before that time.
    #[must_use]
    pub fn due_in(&self, interval: Duration) -> Duration {
        let since = since_epoch(SystemTime::now()).saturating_sub(self.state.began);
        u64::try_from(since).map_or(Duration::ZERO, |since| {
            interval.saturating_sub(Duration::from_millis(since))
        })
    }

    /// Whether the next share of the objects begins a new round.
    #[must_use]
    pub fn next_starts_new_round(&self, share: f64) -> bool {
        ScrubRange::new(self.state.position, share).starts_new_round()
    }

    /// Begins the next share of the objects. [`ScrubLock::save`] stores that it began.
    pub fn begin_range(&mut self, share: f64) -> ScrubRange {
        let range = ScrubRange::new(self.state.position, share);
        self.state.began = since_epoch(SystemTime::now());
        if range.starts_new_round() {
            self.state.round_began = Some(self.state.began);
        }
        range
    }

    /// Moves the position after this object.
    pub fn advance_to(&mut self, sha256: Sha256) {
        self.state.position = position_of(sha256).wrapping_add(1);
    }

    /// Moves the position after this range.
    pub fn finish_range(&mut self, range: ScrubRange) {
        self.state.position = range.end();
    }

    /// Stores the position without a sync. After a crash some objects are read again.
    ///
    /// # Errors
    /// [`CacheError`] if the disk cannot be read or written.
    pub async fn save(&self) -> Result<(), CacheError> {
        let (file, state) = (Arc::clone(&self.file), self.state);
        let written = self.disk.run(IoClass::Maintenance, move |_| {
            let text = format!("{:016x} {}{}\n", state.position, state.began, round(state));
            file.write_all_at(text.as_bytes(), 0)?;
            Ok::<_, DiskError>(file.set_len(text.len() as u64)?)
        });
        Ok(written.await?)
    }
}

fn open(path: &Path) -> io::Result<Option<(File, CursorState)>> {
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let file = file.into_parts().0;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // A crash may have cut the text. Then the scrub starts over.
    let state = read_state(&file)?.unwrap_or_default();
    Ok(Some((file, state)))
}

fn read_state(file: &File) -> io::Result<Option<CursorState>> {
    let mut text = [0; MAX_STATE_BYTES];
    let length = file.read_at(&mut text, 0)?;
    Ok(std::str::from_utf8(&text[..length]).ok().and_then(parse))
}

fn round(state: CursorState) -> String {
    state
        .round_began
        .map_or_else(String::new, |began| format!(" {began}"))
}

fn parse(text: &str) -> Option<CursorState> {
    let mut words = text.strip_suffix('\n')?.split(' ');
    Some(CursorState {
        position: u64::from_str_radix(words.next()?, 16).ok()?,
        began: words.next()?.parse().ok()?,
        round_began: words.next().map(str::parse).transpose().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(first: u64) -> Sha256 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&first.to_be_bytes());
        Sha256::from_bytes(bytes)
    }

    /// Returns how often a range has an object.
    fn occurrences(range: ScrubRange, sha256: Sha256) -> usize {
        let is_read = |(at, folder): (usize, u8)| {
            folder == sha256.as_bytes()[0] && range.contains(sha256) && range.is_in_part(at, sha256)
        };
        range
            .parts()
            .into_iter()
            .enumerate()
            .filter(|part| is_read(*part))
            .count()
    }

    #[test]
    fn shares_read_each_object_once() {
        let positions = (0..2000).map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let positions: Vec<_> = positions.chain([0, 1, u64::MAX, 0x1234 << 48]).collect();
        for (share, count) in [(1.0, 1), (0.5, 2), (0.25, 4), (1.0 / 256.0, 256)] {
            let mut from = 0x1234 << 48;
            let mut ranges = Vec::new();
            for _ in 0..count {
                let range = ScrubRange::new(from, share);
                from = range.end();
                ranges.push(range);
            }
            assert_eq!(from, 0x1234 << 48, "the round is complete");
            assert_eq!(
                ranges
                    .iter()
                    .filter(|range| range.starts_new_round())
                    .count(),
                1
            );
            for position in &positions {
                let sum: usize = ranges
                    .iter()
                    .map(|range| occurrences(*range, digest(*position)))
                    .sum();
                assert_eq!(sum, 1, "{position:x} in shares of {share}");
            }
        }
    }

    #[test]
    fn invalid_state_is_ignored() {
        assert_eq!(
            parse("00000000000000ff 17\n"),
            Some(CursorState {
                position: 255,
                began: 17,
                round_began: None,
            })
        );
        let with_round = parse("00000000000000ff 17 16\n").unwrap();
        assert_eq!(with_round.round_began, Some(16));
        for text in [
            "",
            "00000000000000ff 17",
            "x 17\n",
            "00000000000000ff\n",
            "00000000000000ff 17 x\n",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
