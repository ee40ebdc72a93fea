//! Names and digests of stored targets in memory, so that a search reads no disk.
//!
//! The index is read from the records in the background while the page is in use, and new targets
//! are added as they are stored. It answers searches only: the story of a target comes from
//! its files. The main type is [`TargetIndex`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::admin::{AdminError, AdminService, ListReader, ListStart};
use crate::cache::ListedTarget;
use crate::model::{Event, Sha256, lock};

/// Bound on the targets in the index, about 60 MB with usual names.
const MAX_TARGETS: usize = 200_000;

/// Least time between two readings of all records.
const READ_INTERVAL: Duration = Duration::from_mins(1);

/// Factor by which this time is longer than a reading, so that readings take little of the disk.
const READ_PAUSE_FACTOR: u32 = 20;

/// Words of a search. Each one costs a pass over all URLs.
const MAX_WORDS: usize = 8;

/// Targets that a search looks at before events may change the index.
const TARGETS_PER_LOCK: usize = 4096;

/// Targets of a search that are returned.
const MAX_FOUND: usize = 100;

/// A stored target as a search shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedTarget {
    pub sha256: Sha256,
    pub size_bytes: u64,
    /// Whether the object is on the disk.
    pub is_cached: bool,
    pub is_pinned: bool,
}

/// Targets that a search has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchMatches {
    /// The first targets in the order of their URLs.
    pub targets: Vec<(Box<str>, IndexedTarget)>,
    /// Number of all targets that were found.
    pub total: usize,
    /// Number of targets in the index.
    pub indexed: usize,
    pub coverage: Coverage,
}

/// Part of the stored targets that the index has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Coverage {
    /// The records are being read for the first time.
    #[default]
    Reading,
    /// All targets, as far as there are not too many.
    Complete,
    /// There are more targets than the index may have.
    Truncated,
}

#[derive(Debug, Default)]
struct IndexState {
    targets: BTreeMap<Box<str>, (u64, IndexedTarget)>,
    /// Number of the newest reading. Targets of an earlier one are removed at its end.
    reading: u64,
    is_reading: bool,
    next_reading: Option<Instant>,
}

/// Names and digests of stored targets.
#[derive(Debug)]
pub struct TargetIndex {
    state: Mutex<IndexState>,
    coverage: watch::Sender<Coverage>,
}

impl Default for TargetIndex {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            coverage: watch::Sender::new(Coverage::Reading),
        }
    }
}

impl TargetIndex {
    /// Whether the records should be read now.
    pub fn is_due(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        !state.is_reading && state.next_reading.is_none_or(|next| next <= now)
    }

    /// Reads all records, unless that is going on. After a failure, the next reading tries again.
    pub async fn read(&self, admin: &AdminService, reader: &ListReader) {
        let began = Instant::now();
        let reading = {
            let mut state = lock(&self.state);
            if state.is_reading {
                return;
            }
            state.is_reading = true;
            state.reading += 1;
            state.reading
        };
        let result = self.read_targets(admin, reader, reading).await;
        let mut state = lock(&self.state);
        state.is_reading = false;
        let pause = (began.elapsed() * READ_PAUSE_FACTOR).max(READ_INTERVAL);
        state.next_reading = Some(Instant::now() + pause);
        match result {
            Ok(coverage) => {
                state.targets.retain(|_, (read_in, _)| *read_in == reading);
                drop(state);
                self.coverage.send_replace(coverage);
            }
            Err(error) => {
                tracing::warn!(%error, "targets were not read for the search of the page");
            }
        }
    }

    async fn read_targets(
        &self,
        admin: &AdminService,
        reader: &ListReader,
        reading: u64,
    ) -> Result<Coverage, AdminError> {
        let mut coverage = Coverage::Complete;
        let visit = admin.visit_targets(reader, ListStart::ALL, |listed, _| {
            if lock(&self.state).put(listed, reading) {
                return ControlFlow::Continue(());
            }
            coverage = Coverage::Truncated;
            ControlFlow::Break(())
        });
        visit.await?;
        Ok(coverage)
    }

    /// Adds a target that was stored, if the index is in use.
    pub fn record(&self, event: &Event) {
        let Event::Stored {
            target,
            sha256,
            size_bytes,
        } = event
        else {
            return;
        };
        let mut state = lock(&self.state);
        let url = target.redacted();
        let known = state.targets.get(url.as_str());
        // Other bytes than before do not answer.
        if state.reading == 0 || known.is_some() || state.targets.len() >= MAX_TARGETS {
            return;
        }
        let stored = IndexedTarget {
            sha256: *sha256,
            size_bytes: *size_bytes,
            is_cached: true,
            is_pinned: false,
        };
        let reading = state.reading;
        state.targets.insert(url.into(), (reading, stored));
    }

    /// Waits until all records were read once, at most for `longest`.
    pub async fn wait_complete(&self, longest: Duration) {
        let mut coverage = self.coverage.subscribe();
        let complete = coverage.wait_for(|coverage| *coverage != Coverage::Reading);
        // The search then answers from what was read.
        drop(tokio::time::timeout(longest, complete).await);
    }

    /// Forgets all targets.
    pub fn clear(&self) {
        let mut state = lock(&self.state);
        if !state.is_reading && state.reading > 0 {
            *state = IndexState::default();
            self.coverage.send_replace(Coverage::Reading);
        }
    }

    /// Finds the targets whose URL contains all words of a query, in any case, or whose digest
    /// begins with the only word. Words behind the first `MAX_WORDS` are ignored. It takes a while
    /// in a large index, and events need not wait for its end.
    #[must_use]
    pub fn find(&self, query: &str) -> SearchMatches {
        let query = query.to_ascii_lowercase();
        let words: Vec<&str> = query.split_whitespace().take(MAX_WORDS).collect();
        let digest_start = match words[..] {
            [word] if word.bytes().all(|byte| byte.is_ascii_hexdigit()) => Some(word),
            _ => None,
        };
        let matches = |url: &str, target: &IndexedTarget| {
            // Most URLs have no capitals, and need no copy.
            let is_lower = !url.bytes().any(|byte| byte.is_ascii_uppercase());
            let url = if is_lower {
                Cow::Borrowed(url)
            } else {
                Cow::Owned(url.to_ascii_lowercase())
            };
            words.iter().all(|word| url.contains(word))
                || digest_start.is_some_and(|start| target.sha256.to_string().starts_with(start))
        };
        let mut found = SearchMatches::default();
        let mut last: Option<Box<str>> = None;
        loop {
            let state = lock(&self.state);
            found.indexed = state.targets.len();
            found.coverage = *self.coverage.borrow();
            let begin = last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let behind = state
                .targets
                .range::<Box<str>, _>((begin, Bound::Unbounded));
            let mut newest = None;
            for (url, (_, target)) in behind.take(TARGETS_PER_LOCK) {
                newest = Some(url);
                if matches(url, target) {
                    found.total += 1;
                    if found.targets.len() < MAX_FOUND {
                        found.targets.push((url.clone(), target.clone()));
                    }
                }
            }
            match newest.cloned() {
                Some(newest) => last = Some(newest),
                None => return found,
            }
        }
    }
}

impl IndexState {
    /// Adds or replaces a target. Returns false if there are too many.
    fn put(&mut self, listed: &ListedTarget, reading: u64) -> bool {
        let url = listed.record.target.redacted();
        if self.targets.len() >= MAX_TARGETS && !self.targets.contains_key(url.as_str()) {
            return false;
        }
        let target = IndexedTarget {
            sha256: listed.record.sha256,
            size_bytes: listed.record.size_bytes,
            is_cached: listed.is_cached,
            is_pinned: listed.is_pinned,
        };
        self.targets.insert(url.into(), (reading, target));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Target;

    fn stored(url: &str, byte: u8) -> Event {
        Event::Stored {
            target: Target::parse(url).unwrap(),
            sha256: Sha256::from_bytes([byte; 32]),
            size_bytes: 1,
        }
    }

    #[test]
    fn search_finds_names_and_digests() {
        let index = TargetIndex::default();
        index.record(&stored("https://a.example/before-1.0.tar.gz", 1));
        lock(&index.state).reading = 1;
        for (url, byte) in [
            ("https://a.example/Foo-1.0.tar.gz", 0xab),
            ("https://b.example/foo-2.0.tar.gz", 0xcd),
            ("https://b.example/bar-2.0.tar.gz", 0xef),
        ] {
            index.record(&stored(url, byte));
        }
        let urls = |query: &str| {
            let found = index.find(query).targets.into_iter();
            found.map(|(url, _)| url.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(urls("foo").len(), 2);
        assert_eq!(urls("FOO b.example"), ["https://b.example/foo-2.0.tar.gz"]);
        assert_eq!(urls("abab"), ["https://a.example/Foo-1.0.tar.gz"]);
        assert_eq!(urls(&"ef".repeat(32)), ["https://b.example/bar-2.0.tar.gz"]);
        assert!(urls("before").is_empty(), "the index was not in use");
        assert_eq!(index.find("nothing").indexed, 3);
    }

    #[test]
    fn large_index_answers_at_once() {
        let index = TargetIndex::default();
        lock(&index.state).reading = 1;
        for number in 0..10_000 {
            let url = format!("https://h{}.example/pub/x-{number}.0.tar.gz", number % 50);
            index.record(&stored(&url, 7));
        }
        let began = Instant::now();
        let found = index.find("x-9999");
        assert!(began.elapsed() < Duration::from_millis(200));
        assert_eq!((found.total, found.indexed), (1, 10_000));
        let all = index.find("example");
        assert_eq!((all.total, all.targets.len()), (10_000, MAX_FOUND));
    }
}
