//! Progress of a job: its state, its counts and its first failures.
//!
//! The same type is the file `end.json` of a job that has ended. This file reads no disk. Its main
//! type is [`Progress`].

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Bound on the failures that are kept for one job. All of them are counted.
pub const MAX_FAILURES: usize = 1000;

/// Bound on the text of these failures, in bytes. Two hundred jobs are kept in memory.
const MAX_FAILURE_BYTES: usize = 512 << 10;

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Other jobs run first.
    Pending,
    Running,
    /// Each target is done.
    Succeeded,
    /// Each target was tried, and at least one failed.
    Failed,
    Cancelled,
}

impl JobState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    #[must_use]
    pub fn has_ended(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// Result of one target, as a line of the file `results`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetResult {
    /// Position of the target in the job, from 0.
    pub at: usize,
    /// URL without its secrets, or the part of the folder.
    pub url: String,
    /// Bytes that were fetched, freed or read, also if the target failed after that.
    pub bytes: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Outcome of the work on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Changed,
    /// Nothing had to be done.
    Unchanged,
    /// The bytes were stored, although the directives of the origin forbid it.
    DespiteDirectives,
    Failed {
        error: String,
    },
}

impl Outcome {
    /// Returns the outcome of a target that failed. The text has no secret and no local path.
    pub fn failed(error: &dyn fmt::Display) -> Self {
        Self::Failed {
            error: error.to_string(),
        }
    }
}

/// Target of a job that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// URL without its secrets. Empty if the job itself failed.
    pub url: String,
    pub error: String,
}

/// Progress of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub state: JobState,
    pub ended_at: Option<SystemTime>,
    /// Targets that are done, failures included.
    pub done: usize,
    /// Targets for which nothing had to be done.
    pub unchanged: usize,
    /// Targets that were stored, although the directives of the origin forbid it.
    pub despite_directives: usize,
    pub failed: usize,
    /// Bytes that were fetched, freed or read.
    pub bytes: u64,
    /// The first failures, in the order in which they happened.
    pub failures: Vec<JobFailure>,
}

impl Progress {
    /// Returns the progress of a job that has not begun.
    #[must_use]
    pub fn pending() -> Self {
        Self {
            state: JobState::Pending,
            ended_at: None,
            done: 0,
            unchanged: 0,
            despite_directives: 0,
            failed: 0,
            bytes: 0,
            failures: Vec::new(),
        }
    }

    /// Returns the progress with its first failures. All of them may be long.
    #[must_use]
    pub fn with_failures(&self, count: usize) -> Self {
        let kept = count.min(self.failures.len());
        Self {
            failures: self.failures[..kept].to_vec(),
            ..*self
        }
    }

    /// Counts the result of a target.
    pub fn add(&mut self, result: &TargetResult) {
        self.done += 1;
        self.bytes += result.bytes;
        match &result.outcome {
            Outcome::Changed => {}
            Outcome::Unchanged => self.unchanged += 1,
            Outcome::DespiteDirectives => self.despite_directives += 1,
            Outcome::Failed { error } => {
                self.failed += 1;
                self.add_failure(result.url.clone(), error.clone());
            }
        }
    }

    /// Keeps a failure, unless too many are kept.
    pub fn add_failure(&mut self, url: String, error: String) {
        let bytes = |failure: &JobFailure| failure.url.len() + failure.error.len();
        let kept_bytes: usize = self.failures.iter().map(bytes).sum();
        let is_full = self.failures.len() >= MAX_FAILURES;
        if !is_full && kept_bytes + url.len() + error.len() <= MAX_FAILURE_BYTES {
            self.failures.push(JobFailure { url, error });
        }
    }

    /// Ends a job that was cancelled.
    pub fn cancel(&mut self, now: SystemTime) {
        self.end(JobState::Cancelled, now);
    }

    /// Ends a job of this number of targets. The state follows from the counts.
    pub fn finish(&mut self, targets: usize, now: SystemTime) {
        let state = if self.failed > 0 || self.done < targets {
            JobState::Failed
        } else {
            JobState::Succeeded
        };
        self.end(state, now);
    }

    fn end(&mut self, state: JobState, now: SystemTime) {
        self.state = state;
        self.ended_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_failures_are_bounded() {
        let mut progress = Progress::pending();
        for at in 0..=MAX_FAILURES {
            progress.add(&TargetResult {
                at,
                url: format!("https://example.org/{at}"),
                bytes: 1,
                outcome: Outcome::Failed {
                    error: "not found".to_owned(),
                },
            });
        }
        assert_eq!(progress.failures.len(), MAX_FAILURES);
        assert_eq!(progress.failures[0].url, "https://example.org/0");
        assert_eq!((progress.failed, progress.bytes), (1001, 1001));
        assert_eq!(progress.with_failures(3).failures, progress.failures[..3]);
        assert_eq!(progress.with_failures(0).failed, 1001);
    }

    #[test]
    fn text_of_failures_is_bounded() {
        let mut progress = Progress::pending();
        for _ in 0..MAX_FAILURES {
            progress.add_failure("u".repeat(4000), "e".repeat(4000));
        }
        assert_eq!(progress.failures.len(), MAX_FAILURE_BYTES / 8000);
        progress.add_failure("u".to_owned(), "e".to_owned());
        assert_eq!(progress.failures.len(), MAX_FAILURE_BYTES / 8000 + 1);
    }
}
