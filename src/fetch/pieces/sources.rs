//! The sources of a file: which of them may be asked, and which were dropped.
//!
//! The main type is [`PieceSources`].

use std::time::Duration;

use tokio::time::Instant;

use crate::model::Target;

/// Connections to one source at the same time. Many origins refuse more.
const MAX_PER_SOURCE: usize = 4;

/// Failures in a row after which a source is dropped.
const MAX_FAILURES: u32 = 3;

/// Pause of a source after its first failure. It doubles with each failure in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A source of a file.
#[derive(Debug)]
pub struct PieceSource {
    pub url: String,
    /// Bytes of the pieces that it has sent.
    pub size_bytes: u64,
    /// Reason why it is not asked any more.
    pub dropped: Option<String>,
    connections: usize,
    failures: u32,
    paused_until: Option<Instant>,
}

/// Next step of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum NextSource {
    /// The number of a source. A connection of it is counted.
    Ask(usize),
    WaitUntil(Instant),
    /// All sources are dropped, or have enough connections.
    Nothing,
}

/// Failure of a request to a source.
#[derive(Debug)]
pub enum SourceFailure {
    /// Another request may succeed.
    Passing(String),
    /// The source is of no use for this file.
    Lasting(String),
}

/// Sources of one file, the best first.
#[derive(Debug)]
pub struct PieceSources(Vec<PieceSource>);

impl PieceSources {
    pub fn new(urls: impl IntoIterator<Item = String>) -> Self {
        let source = |url| PieceSource {
            url,
            size_bytes: 0,
            dropped: None,
            connections: 0,
            failures: 0,
            paused_until: None,
        };
        Self(urls.into_iter().map(source).collect())
    }

    /// Returns the sources for reports.
    #[must_use]
    pub fn into_all(self) -> Vec<PieceSource> {
        self.0
    }

    /// Returns the URL of a source without credentials.
    #[must_use]
    pub fn shown_url(&self, at: usize) -> String {
        self.0[at].shown_url()
    }

    #[must_use]
    pub fn url(&self, at: usize) -> &str {
        &self.0[at].url
    }

    /// Counts a connection to a source that was opened before.
    pub fn begin(&mut self, at: usize) {
        self.0[at].connections += 1;
    }

    /// Chooses the source with the fewest connections, and of those the best.
    pub fn next(&mut self, now: Instant) -> NextSource {
        let is_usable =
            |source: &PieceSource| source.dropped.is_none() && source.connections < MAX_PER_SOURCE;
        let is_paused = |source: &PieceSource| source.paused_until.is_some_and(|end| end > now);
        let usable = self.0.iter().filter(|source| is_usable(source));
        let waits_until = usable.filter_map(|source| source.paused_until).min();
        let ready = self.0.iter_mut().enumerate();
        let ready = ready.filter(|(_, source)| is_usable(source) && !is_paused(source));
        match (
            ready.min_by_key(|(_, source)| source.connections),
            waits_until,
        ) {
            (Some((at, source)), _) => {
                source.connections += 1;
                NextSource::Ask(at)
            }
            (None, Some(until)) => NextSource::WaitUntil(until),
            (None, None) => NextSource::Nothing,
        }
    }

    /// Records a piece that a source has sent.
    pub fn note_piece(&mut self, at: usize, size_bytes: usize) {
        self.0[at].size_bytes += size_bytes as u64;
        self.0[at].failures = 0;
    }

    /// Records the end of a connection. Returns the reason if the source is dropped by it.
    pub fn end(
        &mut self,
        at: usize,
        ended: Result<(), SourceFailure>,
        now: Instant,
    ) -> Option<&str> {
        let source = &mut self.0[at];
        source.connections -= 1;
        let reason = match ended {
            Ok(()) => return None,
            Err(SourceFailure::Lasting(reason)) => reason,
            Err(SourceFailure::Passing(reason)) => {
                source.paused_until = Some(now + FIRST_PAUSE * 2_u32.pow(source.failures));
                source.failures += 1;
                if source.failures < MAX_FAILURES {
                    return None;
                }
                reason
            }
        };
        if source.dropped.is_some() {
            // Another connection has reported it.
            return None;
        }
        source.dropped = Some(reason);
        source.dropped.as_deref()
    }
}

impl PieceSource {
    /// Returns the URL without credentials.
    #[must_use]
    pub fn shown_url(&self) -> String {
        Target::redact(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> PieceSources {
        PieceSources::new(["http://a/x", "http://b/x"].map(str::to_owned))
    }

    #[test]
    fn connections_are_spread_over_sources() {
        let (mut sources, now) = (sources(), Instant::now());
        let order: Vec<_> = (0..9).map(|_| sources.next(now)).collect();
        let expected = [0, 1, 0, 1, 0, 1, 0, 1].map(NextSource::Ask);
        assert_eq!(order[..8], expected);
        assert_eq!(order[8], NextSource::Nothing);
    }

    #[test]
    fn failing_source_pauses_and_is_dropped() {
        let (mut sources, mut now) = (sources(), Instant::now());
        for failure in 1..=3 {
            assert_eq!(sources.next(now), NextSource::Ask(0));
            let ended = Err(SourceFailure::Passing("no answer".to_owned()));
            let dropped = sources.end(0, ended, now);
            assert_eq!(dropped.is_some(), failure == 3, "{failure}");
            assert_eq!(sources.next(now), NextSource::Ask(1));
            sources.end(1, Ok(()), now);
            now += Duration::from_secs(10);
        }
        assert_eq!(sources.next(now), NextSource::Ask(1));
        let ended = Err(SourceFailure::Lasting("404 Not Found".to_owned()));
        assert_eq!(sources.end(1, ended, now), Some("404 Not Found"));
        assert_eq!(sources.next(now), NextSource::Nothing);
    }

    #[test]
    fn paused_sources_are_awaited() {
        let (mut sources, now) = (sources(), Instant::now());
        for at in 0..2 {
            assert_eq!(sources.next(now), NextSource::Ask(at));
            sources.end(at, Err(SourceFailure::Passing(String::new())), now);
        }
        assert_eq!(sources.next(now), NextSource::WaitUntil(now + FIRST_PAUSE));
        assert_eq!(sources.next(now + FIRST_PAUSE), NextSource::Ask(0));
    }
}
