//! Memory of a folder that is scanned again and again: the files that are done, and those that may
//! still be written.
//!
//! The main type is [`WatchMemory`].

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::report::{AdoptOutcome, FileReport};
use super::source_stamp::SourceStamp;

/// Bound on the entries of a watched folder. Each takes some 200 bytes of memory.
pub const MAX_ENTRIES: usize = 1_000_000;

/// Interval at which a file is tried again that could not be taken and has not changed.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// The entries of a folder, by their paths.
#[derive(Debug)]
pub struct WatchMemory {
    entries: HashMap<PathBuf, RememberedEntry>,
    /// Number of the scan that runs.
    scan: u64,
    /// Time for which a file must not change before it is taken.
    settle: Duration,
}

#[derive(Debug)]
struct RememberedEntry {
    stamp: Option<SourceStamp>,
    /// Number of the last scan that found it.
    scan: u64,
    state: EntryState,
}

#[derive(Debug)]
enum EntryState {
    /// It has not changed since this time.
    Unchanged(Instant),
    /// It was handed to the adopter.
    Visited,
    Done,
    Failed {
        cause: String,
        retry_at: Instant,
    },
}

impl WatchMemory {
    #[must_use]
    pub fn new(settle: Duration) -> Self {
        Self {
            entries: HashMap::new(),
            scan: 0,
            settle,
        }
    }

    /// Begins a scan.
    pub fn begin_scan(&mut self) {
        self.scan += 1;
    }

    /// Forgets the entries that the scan did not find.
    pub fn end_scan(&mut self) {
        let scan = self.scan;
        self.entries.retain(|_, entry| entry.scan == scan);
    }

    /// Returns whether the folder has more entries than can be remembered.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.entries.len() >= MAX_ENTRIES
    }

    /// Returns whether an entry is due: it is new or has changed, and has settled.
    pub fn is_due(&mut self, path: &Path, stamp: Option<SourceStamp>) -> bool {
        let (scan, now) = (self.scan, Instant::now());
        let Some(entry) = self
            .entries
            .get_mut(path)
            .filter(|entry| entry.stamp == stamp)
        else {
            let is_settled = stamp.is_none_or(|stamp| has_aged(stamp.changed_at(), self.settle));
            if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(path) {
                // The scan ends at this entry.
                return true;
            }
            let state = if is_settled {
                EntryState::Visited
            } else {
                EntryState::Unchanged(now)
            };
            let entry = RememberedEntry { stamp, scan, state };
            self.entries.insert(path.to_owned(), entry);
            return is_settled;
        };
        entry.scan = scan;
        match &entry.state {
            EntryState::Unchanged(since) if since.elapsed() >= self.settle => {
                entry.state = EntryState::Visited;
                true
            }
            // The result was never noted, because the work was stopped.
            EntryState::Visited => true,
            EntryState::Failed { retry_at, .. } => now >= *retry_at,
            EntryState::Unchanged(_) | EntryState::Done => false,
        }
    }

    /// Remembers the result for an entry. `stamp` is the present one. Returns whether the result is
    /// another one than before. A file that is still written has no result yet.
    pub fn note(&mut self, report: &FileReport, stamp: Option<SourceStamp>) -> bool {
        let scan = self.scan;
        let (state, is_result) = match &report.outcome {
            AdoptOutcome::Refused(error) if error.is_unfinished() => {
                (EntryState::Unchanged(Instant::now()), false)
            }
            AdoptOutcome::Refused(error) if error.is_passing() => {
                let cause = error.to_string();
                let is_known = self.has_failed(&report.path, &cause);
                let retry_at = Instant::now() + RETRY_INTERVAL;
                (EntryState::Failed { cause, retry_at }, !is_known)
            }
            _ => (EntryState::Done, true),
        };
        let entry = RememberedEntry { stamp, scan, state };
        self.entries.insert(report.path.clone(), entry);
        is_result
    }

    /// Returns whether an entry has failed before by the same cause.
    fn has_failed(&self, path: &Path, cause: &str) -> bool {
        let entry = self.entries.get(path);
        entry.is_some_and(|entry| {
            matches!(&entry.state, EntryState::Failed { cause: known, .. } if known == cause)
        })
    }
}

/// Returns whether a time is so long ago. A time in the future is not.
fn has_aged(time: SystemTime, age: Duration) -> bool {
    let elapsed = SystemTime::now().duration_since(time);
    elapsed.is_ok_and(|elapsed| elapsed >= age)
}
