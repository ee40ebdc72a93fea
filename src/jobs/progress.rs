//! Progress of a job: its state, its counts and its first failures.
//!
//! This file reads no disk. Its main type is [`Progress`].

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::job::{JobCounts, JobFailure, JobState};
use super::work::Outcome;

/// Bound on the failures that are kept for one job. All of them are counted.
const MAX_FAILURES: usize = 1000;

/// Result of one target, as a line of the file `results`.
#[derive(Debug, Serialize, Deserialize)]
pub struct TargetResult {
    /// Position of the target in the job, from 0.
    pub at: usize,
    /// URL without its secrets.
    pub url: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Progress of a job.
#[derive(Debug, Clone)]
pub struct Progress {
    pub state: JobState,
    pub ended_at: Option<SystemTime>,
    pub counts: JobCounts,
    failures: Vec<JobFailure>,
}

impl Progress {
    /// Returns the progress of a job that has not begun.
    #[must_use]
    pub fn new(targets: usize) -> Self {
        Self {
            state: JobState::Pending,
            ended_at: None,
            counts: JobCounts {
                targets,
                ..JobCounts::default()
            },
            failures: Vec::new(),
        }
    }

    /// Counts the result of a target.
    pub fn add(&mut self, result: &TargetResult) {
        self.counts.done += 1;
        match &result.outcome {
            Outcome::Changed { bytes } => self.counts.bytes += bytes,
            Outcome::Unchanged => self.counts.unchanged += 1,
            Outcome::Failed { error } => {
                self.counts.failed += 1;
                self.add_failure(result.url.clone(), error.clone());
            }
        }
    }

    /// Keeps a failure, unless too many are kept.
    pub fn add_failure(&mut self, url: String, error: String) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(JobFailure { url, error });
        }
    }

    #[must_use]
    pub fn failures(&self) -> &[JobFailure] {
        &self.failures
    }

    /// Returns the failures as pairs of URL and error.
    #[must_use]
    pub fn failure_pairs(&self) -> Vec<(String, String)> {
        let pair = |failure: &JobFailure| (failure.url.clone(), failure.error.clone());
        self.failures.iter().map(pair).collect()
    }

    /// Sets the failures from pairs of URL and error.
    pub fn set_failures(&mut self, pairs: Vec<(String, String)>) {
        for (url, error) in pairs {
            self.add_failure(url, error);
        }
    }

    /// Ends the job. The state follows from the counts unless it was cancelled.
    pub fn end(&mut self, now: SystemTime, is_cancelled: bool) {
        self.ended_at = Some(now);
        self.state = match self.counts {
            _ if is_cancelled => JobState::Cancelled,
            counts if counts.failed > 0 || counts.done < counts.targets => JobState::Failed,
            _ => JobState::Succeeded,
        };
    }
}
