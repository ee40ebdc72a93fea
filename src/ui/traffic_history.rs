//! Samples of traffic that survive a restart, as a small file in `gateway.state_dir`.
//!
//! A damaged file is ignored, and replaced by the next one. The main types are [`TrafficHistory`],
//! for the samples, and [`HistoryFile`], which reads and writes them. Its functions block.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::metrics::TrafficTotals;

const FILE_NAME: &str = "traffic.json";

/// Version of the file. Files of other versions are ignored.
const VERSION: u32 = 1;

/// Samples of the last day that the file has, one for ten minutes.
pub const MAX_DAY_POINTS: usize = 24 * 6 + 1;

/// Samples of the last 30 days that the file has, one an hour.
const MAX_MONTH_POINTS: usize = 30 * 24 + 1;

/// Bound on the file, far above that of all samples.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Bound on each sum, so that no addition of two overflows.
const MAX_SUM: u64 = 1 << 60;

const FILE_MODE: u32 = 0o640;

/// Sums of all traffic that is known, up to one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSample {
    /// Seconds since 1970.
    pub unix_seconds: u64,
    #[serde(flatten)]
    pub totals: TrafficTotals,
}

/// Samples of earlier processes and of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficHistory {
    version: u32,
    /// Sums when the file was written.
    pub newest: StoredSample,
    /// Samples of the last day, the oldest first.
    pub day: Vec<StoredSample>,
    /// Samples of the last 30 days, the oldest first.
    pub month: Vec<StoredSample>,
}

impl TrafficHistory {
    #[must_use]
    pub fn new(newest: StoredSample, day: Vec<StoredSample>, month: Vec<StoredSample>) -> Self {
        Self {
            version: VERSION,
            newest,
            day,
            month,
        }
    }

    /// Returns what is wrong with a history that was read.
    fn defect(&self) -> Option<&'static str> {
        if self.version != VERSION {
            return Some("it belongs to another version");
        }
        if self.day.len() > MAX_DAY_POINTS || self.month.len() > MAX_MONTH_POINTS {
            return Some("it has too many samples");
        }
        for samples in [&self.day, &self.month] {
            let all = || samples.iter().chain([&self.newest]);
            if all().any(|sample| !sample.totals.is_at_most(MAX_SUM)) {
                return Some("a sum is too large");
            }
            let mut pairs = all().zip(all().skip(1));
            if !pairs.all(|(earlier, later)| later.totals.covers(&earlier.totals)) {
                return Some("its sums are out of order");
            }
        }
        None
    }
}

/// The file of the history.
#[derive(Debug, Clone)]
pub struct HistoryFile {
    path: PathBuf,
}

impl HistoryFile {
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self {
            path: state_dir.join(FILE_NAME),
        }
    }

    /// Reads the history. A file that cannot be read is logged.
    #[must_use]
    pub fn load(&self) -> Option<TrafficHistory> {
        match self.read() {
            Ok(history) => Some(history),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the traffic of earlier processes cannot be read");
                None
            }
        }
    }

    fn read(&self) -> io::Result<TrafficHistory> {
        let mut bytes = Vec::new();
        let file = fs::File::open(&self.path)?;
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        let history: TrafficHistory = serde_json::from_slice(&bytes)?;
        match history.defect() {
            Some(defect) => Err(io::Error::other(defect)),
            None => Ok(history),
        }
    }

    /// Replaces the file as a whole. A failure is logged.
    pub fn save(&self, history: &TrafficHistory) {
        if let Err(error) = self.write(history) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the traffic of this process was not written");
        }
    }

    fn write(&self, history: &TrafficHistory) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true);
        let mut file = options.mode(FILE_MODE).open(&draft)?;
        file.write_all(&serde_json::to_vec(history)?)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(unix_seconds: u64, downloads: u64) -> StoredSample {
        StoredSample {
            unix_seconds,
            totals: TrafficTotals {
                downloads,
                ..TrafficTotals::default()
            },
        }
    }

    fn history(newest: u64, day: &[u64]) -> TrafficHistory {
        let samples = day.iter().map(|count| sample(*count, *count)).collect();
        TrafficHistory::new(sample(newest, newest), samples, Vec::new())
    }

    #[test]
    fn written_history_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = HistoryFile::new(folder.path());
        assert_eq!(file.load(), None);
        for newest in [7, 9] {
            let history = history(newest, &[1, 3, 7]);
            file.save(&history);
            assert_eq!(file.load(), Some(history));
        }
        let names = fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 1, "no draft stays");
    }

    #[test]
    fn damaged_history_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let file = HistoryFile::new(folder.path());
        let whole = serde_json::to_vec(&history(7, &[1, 3])).unwrap();
        let many: Vec<u64> = (0..=MAX_DAY_POINTS as u64).collect();
        let text = |history: &TrafficHistory| serde_json::to_vec(history).unwrap();
        for damaged in [
            Vec::new(),
            whole[..whole.len() - 1].to_vec(),
            vec![0; 4096],
            b"[]".to_vec(),
            text(&history(7, &[3, 1])),
            text(&history(2, &[1, 3])),
            text(&history(u64::MAX, &[])),
            text(&history(100_000, &many)),
            text(&TrafficHistory {
                version: 2,
                ..history(7, &[])
            }),
        ] {
            fs::write(&file.path, &damaged).unwrap();
            let shown = String::from_utf8_lossy(&damaged[..damaged.len().min(80)]);
            assert_eq!(file.load(), None, "{shown}");
        }
    }
}
