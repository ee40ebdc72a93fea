//! Whose turn it is to verify, and how far those before have come.
//!
//! One process of a folder verifies at a time: it holds the lock on `locks/verify`, which says where the next one goes on.

use std::fs::{File, TryLockError};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fs_err as fs;

use crate::model::Sha256;
use crate::store::index::since_epoch;
use crate::store::layout::Layout;
use crate::store::{Store, StoreError, blocking};

/// More than what the file holds, in bytes.
const MAX_STATE_BYTES: usize = 64;

/// A share of all digests, in the order of their first eight bytes: as digests are spread evenly, it is that share of the
/// objects. It begins where the last one ended, and goes on at the beginning behind the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    from: u64,
    /// At most 2^64.
    length: u128,
}

impl Stretch {
    const ALL: u128 = 1 << 64;

    fn new(from: u64, share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the share is between 0 and 1; rounded up, as many shares as make up a whole leave nothing out"
        )]
        let length = (share.clamp(0.0, 1.0) * Self::ALL as f64).ceil() as u128;
        Self { from, length: length.clamp(1, Self::ALL) }
    }

    pub(super) fn contains(self, sha256: Sha256) -> bool {
        u128::from(place_of(sha256).wrapping_sub(self.from)) < self.length
    }

    /// The folders of objects that it goes through, in order. The first comes again as the last where it goes all around.
    #[must_use]
    pub fn folders(self) -> Vec<u8> {
        let first = u128::from(self.from) >> 56;
        let last = (u128::from(self.from) + self.length - 1) >> 56;
        (first..=last).map(|folder| u8::try_from(folder % 256).expect("it is below 256")).collect()
    }

    /// Whether a new round begins in it.
    #[must_use]
    pub fn has_beginning(self) -> bool {
        self.from == 0 || u128::from(self.from) + self.length > Self::ALL
    }

    fn end(self) -> u64 {
        u64::try_from((u128::from(self.from) + self.length) % Self::ALL).expect("it is below 2^64")
    }

    /// Which part of the objects of a folder comes at this place of [`Stretch::folders`].
    pub(super) fn is_in_part(self, at: usize, sha256: Sha256) -> bool {
        let goes_around = u128::from(self.from) + self.length > Self::ALL;
        let is_first_folder = u64::from(sha256.as_bytes()[0]) == self.from >> 56;
        // A folder that comes twice is read behind the beginning at first, and before it at last.
        if goes_around && is_first_folder { (at == 0) == (place_of(sha256) >= self.from) } else { true }
    }
}

fn place_of(sha256: Sha256) -> u64 {
    let (first, _) = sha256.as_bytes().split_first_chunk().expect("a digest has more than eight bytes");
    u64::from_be_bytes(*first)
}

/// Leave to verify. Dropped, it is let go.
#[derive(Debug)]
pub struct Verification {
    file: Arc<File>,
    state: State,
}

/// What the file says: where to go on, and when somebody began last, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    place: u64,
    began: i64,
}

impl Store {
    /// Leave to verify, unless another process has it.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn begin_verification(&self) -> Result<Option<Verification>, StoreError> {
        let store = self.clone();
        blocking(move || Verification::begin(&store.shared.layout)).await
    }
}

impl Verification {
    fn begin(layout: &Layout) -> Result<Option<Self>, StoreError> {
        let path = layout.verification();
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = file.into_parts().0;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut text = [0; MAX_STATE_BYTES];
        let length = file.read_at(&mut text, 0)?;
        // What cannot be read was cut by a crash: then it begins anew.
        let state = std::str::from_utf8(&text[..length]).ok().and_then(parse).unwrap_or_default();
        Ok(Some(Self { file: Arc::new(file), state }))
    }

    /// How long it is until so much time has gone since somebody began. A clock that was set back does not put it off for
    /// longer.
    #[must_use]
    pub fn due_in(&self, rest: Duration) -> Duration {
        let since = since_epoch(SystemTime::now()).saturating_sub(self.state.began);
        u64::try_from(since).map_or(Duration::ZERO, |since| rest.saturating_sub(Duration::from_millis(since)))
    }

    /// The next share of the objects. That somebody has begun is written down with what is noted first.
    pub fn next_stretch(&mut self, share: f64) -> Stretch {
        self.state.began = since_epoch(SystemTime::now());
        Stretch::new(self.state.place, share)
    }

    /// What comes next lies behind this object.
    pub fn has_seen(&mut self, sha256: Sha256) {
        self.state.place = place_of(sha256).wrapping_add(1);
    }

    /// What comes next lies behind this share.
    pub fn has_ended(&mut self, stretch: Stretch) {
        self.state.place = stretch.end();
    }

    /// Writes down how far it is. A crash may cut that, and a part of the objects is read again then: it is not synced.
    ///
    /// # Errors
    /// [`StoreError`] if the disk refuses.
    pub async fn note(&self) -> Result<(), StoreError> {
        let (file, State { place, began }) = (Arc::clone(&self.file), self.state);
        blocking(move || {
            let text = format!("{place:016x} {began}\n");
            file.write_all_at(text.as_bytes(), 0)?;
            Ok(file.set_len(text.len() as u64)?)
        })
        .await
    }
}

fn parse(text: &str) -> Option<State> {
    let (place, began) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(State { place: u64::from_str_radix(place, 16).ok()?, began: began.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(first: u64) -> Sha256 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&first.to_be_bytes());
        Sha256::from_bytes(bytes)
    }

    /// How often an object comes up in a stretch.
    fn times(stretch: Stretch, sha256: Sha256) -> usize {
        let comes = |(at, folder): (usize, u8)| {
            folder == sha256.as_bytes()[0] && stretch.contains(sha256) && stretch.is_in_part(at, sha256)
        };
        stretch.folders().into_iter().enumerate().filter(|one| comes(*one)).count()
    }

    #[test]
    fn every_object_comes_up_once_however_the_whole_is_shared() {
        let places = (0..2000).map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let places: Vec<_> = places.chain([0, 1, u64::MAX, 0x1234 << 48]).collect();
        for (share, count) in [(1.0, 1), (0.5, 2), (0.25, 4), (1.0 / 256.0, 256)] {
            let mut from = 0x1234 << 48;
            let mut stretches = Vec::new();
            for _ in 0..count {
                let stretch = Stretch::new(from, share);
                from = stretch.end();
                stretches.push(stretch);
            }
            assert_eq!(from, 0x1234 << 48, "the whole was gone through");
            assert_eq!(stretches.iter().filter(|stretch| stretch.has_beginning()).count(), 1);
            for place in &places {
                let sum: usize = stretches.iter().map(|stretch| times(*stretch, digest(*place))).sum();
                assert_eq!(sum, 1, "{place:x} in shares of {share}");
            }
        }
    }

    #[test]
    fn a_state_that_is_cut_or_foreign_is_none() {
        assert_eq!(parse("00000000000000ff 17\n"), Some(State { place: 255, began: 17 }));
        for text in ["", "00000000000000ff 17", "x 17\n", "00000000000000ff\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
