//! Adopts one file, from top to bottom: reads it, finds its targets, and stores it.
//!
//! The main type is [`Adopter`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::error::AdoptError;
use super::folder_walk::FoundFile;
use super::known_sources::KnownSources;
use super::open_writers::OpenWriters;
use super::publish_target::{TargetState, publish, state_of};
use super::read_source::{ReadSource, read_source};
use super::report::{AdoptOutcome, FileReport, StoredHow};
use super::skipped::SkipReason;
use super::stage_source::{StageServices, stage_source};
use super::stop_flag::StopFlag;
use super::target_choice::{ChosenTargets, TargetChoice};
use crate::cache::Cache;
use crate::fetch::{FormatEnd, find_format_end};
use crate::model::{Record, RecordSource, StoredHeaders, Target};
use crate::policy::{Admitted, Policy};

/// Source in the records of adopted files.
pub const ADOPT_SOURCE: &str = "adopt";

/// Files that are stored at the same time have different first digits of their digests. So a file
/// with two names is stored once.
const TURNS: usize = 16;

/// How files are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptMode {
    /// Only report, and store nothing.
    DryRun,
    /// Store copies. They share the blocks of the files if the file system can do so.
    Copy,
    /// Link files that only this user can change, if their blocks cannot be shared.
    Link,
}

/// Options of an adoption.
#[derive(Debug, Clone, Copy)]
pub struct AdoptOptions {
    pub mode: AdoptMode,
    pub pin: bool,
    /// Take also files whose first or last bytes are not those of their formats.
    pub force: bool,
}

/// The parts that an adoption uses.
pub struct AdoptServices {
    pub cache: Cache,
    pub policy: Arc<Policy>,
    pub sources: KnownSources,
    pub stop: Arc<StopFlag>,
    /// Counts the bytes that are read.
    pub read_bytes: Arc<AtomicU64>,
}

/// Adopts the files of a folder.
pub struct Adopter {
    services: AdoptServices,
    options: AdoptOptions,
    /// Path of the folder, without symbolic links.
    root: PathBuf,
    writers: Arc<OpenWriters>,
    turns: [Mutex<()>; TURNS],
}

impl Adopter {
    #[must_use]
    pub fn new(services: AdoptServices, options: AdoptOptions, root: PathBuf) -> Self {
        Self {
            services,
            options,
            root,
            writers: Arc::default(),
            turns: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    /// Returns whether the stop was requested.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.services.stop.is_set()
    }

    /// Adopts one file.
    pub async fn adopt(&self, found: &FoundFile) -> FileReport {
        let mut report = FileReport::new(found.path.clone(), AdoptOutcome::Present);
        report.size_bytes = found.stamp.size_bytes;
        let outcome = self.try_adopt(found, &mut report).await;
        report.outcome = outcome.unwrap_or_else(AdoptOutcome::Refused);
        report
    }

    async fn try_adopt(
        &self,
        found: &FoundFile,
        report: &mut FileReport,
    ) -> Result<AdoptOutcome, AdoptError> {
        if found.stamp.size_bytes == 0 {
            return Ok(AdoptOutcome::Skipped(SkipReason::Empty));
        }
        let policy = &self.services.policy;
        policy.admit_upload(Some(found.stamp.size_bytes))?;
        let read = self.read(found).await?;
        report.sha256 = Some(read.digests.sha256);
        let folder = found.path.parent().unwrap_or(Path::new(""));
        let choice = TargetChoice {
            policy,
            cache: &self.services.cache,
            sources: &self.services.sources,
            folder: &self.root.join(folder),
        };
        let chosen = choice.choose(found, &read).await?;
        report.targets = chosen.targets().cloned().collect();
        report.is_by_name = chosen.has_own;
        report.notes.clone_from(&chosen.notes);
        if !self.options.force {
            self.check_format(found, &read, &chosen).await?;
        }
        self.store(found, &read, &chosen).await
    }

    /// Reads the file, unless it is still written.
    async fn read(&self, found: &FoundFile) -> Result<ReadSource, AdoptError> {
        let (file, stamp) = (Arc::clone(&found.file), found.stamp);
        let (writers, stop) = (Arc::clone(&self.writers), Arc::clone(&self.services.stop));
        let counted_bytes = Arc::clone(&self.services.read_bytes);
        let read = spawn_blocking(move || {
            if writers.has(&stamp) {
                return Err(AdoptError::BeingWritten);
            }
            read_source(&file, &stamp, &counted_bytes, &stop)
        });
        read.await
            .unwrap_or_else(|panic| Err(AdoptError::Unreadable(std::io::Error::other(panic))))
    }

    /// Checks the first bytes, and the end of a file whose digest no list states.
    async fn check_format(
        &self,
        found: &FoundFile,
        read: &ReadSource,
        chosen: &ChosenTargets,
    ) -> Result<(), AdoptError> {
        let mut types = chosen.admitted.iter().map(Admitted::file_type);
        if !types.all(|file_type| file_type.matches(&read.head)) {
            return Err(AdoptError::WrongFileType);
        }
        if chosen.is_confirmed {
            return Ok(());
        }
        let (file, size_bytes) = (Arc::clone(&found.file), found.stamp.size_bytes);
        let end = spawn_blocking(move || find_format_end(&file, size_bytes)).await;
        let end = end.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        match end.map_err(AdoptError::Unreadable)? {
            FormatEnd::Missing => Err(AdoptError::Truncated),
            FormatEnd::Complete | FormatEnd::Unknown => Ok(()),
        }
    }

    /// Stores the file under all its targets, or under none if one of them has other bytes.
    async fn store(
        &self,
        found: &FoundFile,
        read: &ReadSource,
        chosen: &ChosenTargets,
    ) -> Result<AdoptOutcome, AdoptError> {
        let sha256 = read.digests.sha256;
        let turn = usize::from(sha256.as_bytes()[0]) % TURNS;
        let _turn = self.turns[turn].lock().await;
        let (cache, pin) = (&self.services.cache, self.options.pin);
        let mut absent = Vec::new();
        for target in chosen.targets() {
            match state_of(cache, target, sha256, pin).await? {
                TargetState::Present => {}
                TargetState::Absent => absent.push(target),
            }
        }
        if absent.is_empty() {
            return Ok(AdoptOutcome::Present);
        }
        if self.options.mode == AdoptMode::DryRun {
            return Ok(AdoptOutcome::WouldStore);
        }
        let mut how = StoredHow::Recorded;
        for target in absent {
            let record = record_of(target, found, read);
            if publish(cache, None, record.clone(), pin).await? {
                continue;
            }
            let services = StageServices {
                cache: &self.services.cache,
                writers: &self.writers,
                stop: &self.services.stop,
                link: self.options.mode == AdoptMode::Link,
            };
            let (sealed, staged_how) = stage_source(services, found, sha256).await?;
            publish(cache, Some(sealed), record, pin).await?;
            how = staged_how;
        }
        Ok(AdoptOutcome::Stored(how))
    }
}

fn record_of(target: &Target, found: &FoundFile, read: &ReadSource) -> Record {
    let source = RecordSource {
        source: ADOPT_SOURCE.to_owned(),
        headers: StoredHeaders::default(),
    };
    let size_bytes = found.stamp.size_bytes;
    let now = SystemTime::now();
    Record::new(target, read.digests.clone(), size_bytes, now, source)
}
