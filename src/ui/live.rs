//! The live part of the page: blocks of markup that are made once a second for all viewers.
//!
//! No block is made while there is no viewer. A viewer gets only the blocks that have changed. The
//! main types are [`LivePage`], for the server, and [`LiveFeed`], for the task that fills it.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::blocks::render_blocks;
use super::failure_log::FailureLog;
use super::series::{Period, TrafficSeries};
use super::snapshot::Snapshot;
use super::target_index::TargetIndex;
use super::traffic_history::HistoryFile;
use crate::admin::ListReader;
use crate::metrics::{Facts, TrafficTotals};
use crate::model::{Event, lock};

/// Viewers at the same time.
const MAX_VIEWERS: usize = 32;

/// Silence after which a viewer gets an empty line, so that the loss of a client is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Age at which a view ends. The script opens a new one, for which the token is checked again.
const MAX_VIEW_AGE: Duration = Duration::from_mins(10);

/// Time after the last request of an operator for which the index of targets is kept.
const INDEX_KEPT_FOR: Duration = Duration::from_mins(5);

/// Time between two writings of the history. So much of it is lost if the process is killed.
const SAVE_INTERVAL: Duration = Duration::from_mins(10);

/// Rights of a viewer. The page hides actions that the API would refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageRights {
    Read,
    Operate,
}

/// A block of the page.
#[derive(Debug, Clone)]
struct Block {
    id: &'static str,
    html: Arc<str>,
    /// Number of the snapshot in which it changed.
    changed_in: u64,
}

/// Proof of a reader token, with the time of the last request.
type LastReader = Option<(Arc<ListReader>, Instant)>;

/// State that the server and the feed share.
struct PageState {
    facts: Arc<Facts>,
    started_at: SystemTime,
    viewers: Arc<Semaphore>,
    reader: Mutex<LastReader>,
    /// Notified when a viewer has come or a search needs the index.
    wake: Notify,
    series: Mutex<TrafficSeries>,
    history: HistoryFile,
    failures: Mutex<FailureLog>,
    index: TargetIndex,
}

/// Handle to the page. Cheap to clone.
#[derive(Clone)]
pub struct LivePage {
    state: Arc<PageState>,
    blocks: watch::Receiver<Vec<Block>>,
}

/// The side of the task that reads the state. Dropping it ends all views.
pub struct LiveFeed {
    state: Arc<PageState>,
    blocks: watch::Sender<Vec<Block>>,
    snapshots: u64,
    saved_at: Instant,
}

/// One view of the page. Dropping it gives its place to another viewer.
pub struct Viewer {
    blocks: watch::Receiver<Vec<Block>>,
    seen: u64,
    ends_at: Instant,
    _permit: OwnedSemaphorePermit,
}

/// Next line for a viewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageLine {
    /// One line of JSON: `{"blocks": {id: markup}}`.
    Blocks(String),
    /// Nothing has changed.
    Nothing,
    End,
}

impl LivePage {
    /// Creates the page and its feed, with the traffic of earlier processes. Blocks.
    #[must_use]
    pub fn new(facts: Arc<Facts>, history: HistoryFile) -> (Self, LiveFeed) {
        let stored = history.load();
        let series = TrafficSeries::new(Instant::now(), SystemTime::now(), stored.as_ref());
        let state = Arc::new(PageState {
            facts,
            started_at: SystemTime::now(),
            viewers: Arc::new(Semaphore::new(MAX_VIEWERS)),
            reader: Mutex::default(),
            wake: Notify::new(),
            series: Mutex::new(series),
            history,
            failures: Mutex::default(),
            index: TargetIndex::default(),
        });
        let (sender, receiver) = watch::channel(Vec::new());
        let feed = LiveFeed {
            state: Arc::clone(&state),
            blocks: sender,
            snapshots: 0,
            saved_at: Instant::now(),
        };
        let page = Self {
            state,
            blocks: receiver,
        };
        (page, feed)
    }

    /// Opens a view. Returns `None` if there are too many.
    #[must_use]
    pub fn open(&self, reader: ListReader) -> Option<Viewer> {
        let permit = Arc::clone(&self.state.viewers).try_acquire_owned().ok()?;
        self.note_reader(reader);
        Some(Viewer {
            blocks: self.blocks.clone(),
            seen: 0,
            ends_at: Instant::now() + MAX_VIEW_AGE,
            _permit: permit,
        })
    }

    /// Makes the feed read what an operator needs.
    pub fn note_reader(&self, reader: ListReader) {
        *lock(&self.state.reader) = Some((Arc::new(reader), Instant::now()));
        self.state.wake.notify_one();
    }

    /// Returns the index of stored targets.
    #[must_use]
    pub fn index(&self) -> &TargetIndex {
        &self.state.index
    }

    /// Writes the traffic up to now, for a later process. Blocks.
    pub fn save_history(&self) {
        self.state.save_history();
    }

    /// Returns the columns of the chart of a period.
    #[must_use]
    pub fn chart(&self, period: Period) -> Value {
        let totals = self.state.facts.totals();
        lock(&self.state.series).chart(period, Instant::now(), totals)
    }
}

impl PageState {
    fn save_history(&self) {
        let (now, totals) = (Instant::now(), self.facts.totals());
        let history = lock(&self.series).history(now, SystemTime::now(), totals);
        self.history.save(&history);
    }
}

impl LiveFeed {
    /// Returns a function that writes the history, if that is due. It blocks.
    pub fn due_save(&mut self) -> Option<impl FnOnce() + Send + use<>> {
        if self.saved_at.elapsed() < SAVE_INTERVAL {
            return None;
        }
        self.saved_at = Instant::now();
        let state = Arc::clone(&self.state);
        Some(move || state.save_history())
    }

    /// Returns since when the traffic is known.
    #[must_use]
    pub fn known_since(&self) -> SystemTime {
        lock(&self.state.series).known_since()
    }

    /// Returns the proof that a viewer or a recent search has given.
    #[must_use]
    pub fn reader(&self) -> Option<Arc<ListReader>> {
        let mut reader = lock(&self.state.reader);
        let is_over = reader
            .as_ref()
            .is_some_and(|(_, asked)| asked.elapsed() > INDEX_KEPT_FOR);
        if is_over && !self.has_viewers() {
            *reader = None;
            self.state.index.clear();
        }
        reader.as_ref().map(|(reader, _)| Arc::clone(reader))
    }

    #[must_use]
    pub fn has_viewers(&self) -> bool {
        self.state.viewers.available_permits() < MAX_VIEWERS
    }

    /// Waits until a viewer has come, or a search needs the index.
    pub async fn woken(&self) {
        self.state.wake.notified().await;
    }

    /// Returns what records events. It is apart, so that no event waits for a snapshot.
    #[must_use]
    pub fn recorder(&self) -> EventNotes {
        EventNotes {
            state: Arc::clone(&self.state),
        }
    }

    #[must_use]
    pub fn started_at(&self) -> SystemTime {
        self.state.started_at
    }

    #[must_use]
    pub fn index(&self) -> &TargetIndex {
        &self.state.index
    }

    pub fn failures(&self) -> MutexGuard<'_, FailureLog> {
        lock(&self.state.failures)
    }

    /// Samples the ledger if that is due. Returns the traffic of all periods, and of all time.
    #[must_use]
    pub fn sample(&self) -> (Vec<super::PeriodTraffic>, TrafficTotals) {
        let (now, totals) = (Instant::now(), self.state.facts.totals());
        let mut series = lock(&self.state.series);
        series.add(now, SystemTime::now(), totals);
        let traffic = |period| series.traffic(period, now, totals);
        (Period::ALL.into_iter().map(traffic).collect(), totals)
    }

    /// Renders a snapshot for all viewers.
    pub fn publish(&mut self, snapshot: &Snapshot) {
        self.snapshots += 1;
        let rendered = render_blocks(snapshot).into_iter();
        let old = self.blocks.borrow().clone();
        let blocks = rendered.map(|(id, html)| {
            let known = old.iter().find(|block| block.id == id);
            match known.filter(|block| *block.html == *html) {
                Some(block) => block.clone(),
                None => Block {
                    id,
                    html: html.into(),
                    changed_in: self.snapshots,
                },
            }
        });
        self.blocks.send_replace(blocks.collect());
    }

    /// Forgets the last snapshot, so that a later viewer sees no old state.
    pub fn clear(&mut self) {
        if !self.blocks.borrow().is_empty() {
            self.blocks.send_replace(Vec::new());
        }
    }
}

/// Records events for the page.
pub struct EventNotes {
    state: Arc<PageState>,
}

impl EventNotes {
    /// Records an event.
    pub fn record(&self, event: &Event) {
        lock(&self.state.failures).record(event, SystemTime::now());
        self.state.index.record(event);
    }
}

impl Viewer {
    /// Waits for changed blocks, for a bounded time.
    pub async fn next(&mut self) -> PageLine {
        let until = Instant::now() + HEARTBEAT;
        loop {
            if Instant::now() >= self.ends_at {
                return PageLine::End;
            }
            if let Some(line) = self.changed() {
                return PageLine::Blocks(line);
            }
            let wait = until.min(self.ends_at);
            let wait = wait.saturating_duration_since(Instant::now());
            match timeout(wait, self.blocks.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return PageLine::End,
                Err(_) => return PageLine::Nothing,
            }
        }
    }

    /// Returns the blocks that have changed since the last call, as one line.
    fn changed(&mut self) -> Option<String> {
        let blocks = self.blocks.borrow_and_update();
        let changed = blocks.iter().filter(|block| block.changed_in > self.seen);
        let markup: Map<String, Value> = changed
            .map(|block| (block.id.to_owned(), json!(&*block.html)))
            .collect();
        self.seen = blocks
            .iter()
            .map(|block| block.changed_in)
            .fold(self.seen, u64::max);
        (!markup.is_empty()).then(|| format!("{}\n", json!({ "blocks": markup })))
    }
}
