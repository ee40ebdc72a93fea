//! Events and log line of a finished fetch. The main type is [`FetchReport`].

use std::sync::Arc;
use std::time::Duration;

use super::FetchError;
use crate::metrics::FetchEnd;
use crate::model::{Cause, ClientNet, Event, EventSink, Record, Sha256, Target};
use crate::origin::OriginError;
use crate::policy::{Admitted, Source};

/// Causes that are reported although another source has the target: the source returned wrong
/// bytes. A missing file or an unreachable host is not reported then.
const BAD_SOURCE_CAUSES: [Cause; 4] = [
    Cause::ContentChanged,
    Cause::WrongFileType,
    Cause::ChecksumMismatch,
    Cause::InvalidResponse,
];

/// Facts of a fetch that are reported at its end.
#[derive(Default)]
pub struct FetchReport {
    /// Number of requests to sources.
    pub attempts: u32,
    /// Client that began the fetch.
    client: Option<ClientNet>,
    /// Digest that the target had before, if its object was evicted.
    pub on_record: Option<Sha256>,
    /// Digest that the target had before, if the fetch published other bytes.
    pub differs_from: Option<Sha256>,
    bad_sources: Vec<BadSource>,
}

/// Source that returned wrong bytes.
struct BadSource {
    target: Target,
    cause: Cause,
    detail: String,
}

impl FetchReport {
    /// Begins the report of a fetch.
    pub fn new(admitted: &Admitted) -> Self {
        Self {
            client: admitted.pool_client().shared_net(),
            ..Self::default()
        }
    }

    /// Records the last error of a source that is not tried again.
    pub fn record_bad_source(&mut self, source: &Source, error: &FetchError) {
        if let Some(cause) = error
            .cause(self.on_record)
            .filter(|cause| BAD_SOURCE_CAUSES.contains(cause))
        {
            self.bad_sources.push(BadSource {
                target: source.target().clone(),
                cause,
                detail: error.to_string(),
            });
        }
    }

    /// Returns the end of a fetch as it is counted.
    pub fn end_of(&self, outcome: &Result<Arc<Record>, FetchError>) -> FetchEnd {
        match outcome {
            Ok(_) if self.attempts == 0 => FetchEnd::AlreadyStored,
            Ok(record) => FetchEnd::Stored {
                size_bytes: record.size_bytes,
            },
            Err(error) => FetchEnd::Failed(error.cause(self.on_record)),
        }
    }

    /// Emits the events of a finished fetch, then logs its result. A reader of the log can rely on
    /// this order.
    pub fn publish(
        &self,
        events: &EventSink,
        target: &Target,
        outcome: &Result<Arc<Record>, FetchError>,
        duration: Duration,
    ) {
        let attempts = self.attempts;
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Ok(record) if attempts == 0 => tracing::info!(
                uri = %target,
                outcome = "already_stored",
                size_bytes = record.size_bytes,
                sha256 = %record.sha256,
                attempts,
                duration_ms,
                "fetch"
            ),
            Ok(record) => {
                self.emit_stored(events, target, record);
                tracing::info!(
                    uri = %target,
                    outcome = "stored",
                    size_bytes = record.size_bytes,
                    sha256 = %record.sha256,
                    source = record.source,
                    attempts,
                    duration_ms,
                    "fetch"
                );
            }
            Err(error) => {
                self.emit_failed(events, target, error);
                tracing::warn!(
                    uri = %target,
                    outcome = "failed",
                    cause = %error,
                    attempts,
                    duration_ms,
                    "fetch"
                );
            }
        }
    }

    fn emit_stored(&self, events: &EventSink, target: &Target, record: &Record) {
        let sha256 = record.sha256;
        events.emit(Event::Stored {
            target: target.clone(),
            sha256,
            size_bytes: record.size_bytes,
        });
        if let Some(previous) = self.differs_from {
            events.emit(Event::FetchFailed {
                target: target.clone(),
                cause: Cause::ContentChanged,
                detail: format!(
                    "the target returned sha256:{sha256}; sha256:{previous} stays the answer until \
                     an operator accepts the change"
                ),
                client: self.client,
            });
        }
        // These follow `Event::Stored`, which closes the incidents of the target.
        self.emit_bad_sources(events, |bad| Some(bad.cause));
    }

    fn emit_failed(&self, events: &EventSink, target: &Target, error: &FetchError) {
        if let Some(cause) = error
            .cause(self.on_record)
            .filter(|cause| self.should_report(error, *cause))
        {
            events.emit(Event::FetchFailed {
                target: target.clone(),
                cause,
                detail: error.to_string(),
                client: self.client,
            });
        }
        // The failure of the target itself was reported above.
        self.emit_bad_sources(events, |bad| (bad.target != *target).then_some(bad.cause));
    }

    /// Emits an event for each bad source for which `cause_of` returns a cause.
    fn emit_bad_sources(&self, events: &EventSink, cause_of: impl Fn(&BadSource) -> Option<Cause>) {
        for source in &self.bad_sources {
            if let Some(cause) = cause_of(source) {
                events.emit(Event::FetchFailed {
                    target: source.target.clone(),
                    cause,
                    detail: source.detail.clone(),
                    client: self.client,
                });
            }
        }
    }

    /// Whether this process reports a failed fetch. If another process asked the origin, that
    /// process reports the failure.
    fn should_report(&self, error: &FetchError, cause: Cause) -> bool {
        let is_circuit_open = matches!(error, FetchError::Origin(OriginError::CircuitOpen { .. }));
        self.attempts > 0 || is_circuit_open || matches!(cause, Cause::NoSpace | Cause::StoreFailed)
    }
}
