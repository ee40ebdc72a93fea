//! The index as the cluster uses it. The main type is [`SharedIndex`].

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use redis::{Pipeline, RedisResult, Value};
use tokio::sync::{broadcast, watch};
use tokio::time::sleep;

use super::change_queue::{ChangeQueue, HolderChange};
use super::commands;
use super::connection::RedisConnection;
use super::error::SharedIndexError;
use super::node_entry::NodeEntry;
use super::redis_url::RedisUrl;
use super::state::RedisState;
use crate::dial::Dialer;
use crate::model::{Counter, Event, Sha256};
use crate::retry::Backoff;

/// Size from which the holders of an object are in the index. All peers are asked for a smaller
/// one.
const MIN_INDEXED_BYTES: u64 = 1 << 20;

/// Longest wait of a request for Redis. After one such wait, no request waits until Redis answers
/// again.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(200);

/// Longest wait of the tasks in the background.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two renewals of the entry of this node.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(5);

/// First and longest time between two attempts to connect.
const RECONNECT_PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// Changes that are written at once, and the pause behind them.
const BATCH: usize = 128;
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// Time for which an object that was stated is not stated again. Its entry ends after an hour.
const STATED_FOR: Duration = Duration::from_mins(30);

/// Bound on the objects that are remembered as stated.
const MAX_STATED: u64 = 65_536;

/// The index in Redis that the nodes share.
#[derive(Debug)]
pub struct SharedIndex {
    url: RedisUrl,
    own: NodeEntry,
    own_id: Arc<str>,
    dialer: Dialer,
    state: RedisState,
    nodes: watch::Sender<Vec<NodeEntry>>,
    changes: ChangeQueue,
    stated: Cache<Sha256, ()>,
    counts: IndexCounts,
}

/// Counts of the use of the index.
#[derive(Debug, Default)]
pub struct IndexCounts {
    /// Objects whose holders the index has named.
    pub named: Counter,
    /// Objects without a holder in the index.
    pub unnamed: Counter,
    /// Objects for which Redis has not answered, or was not asked.
    pub unanswered: Counter,
    /// Entries that were removed, because the node does not have the object.
    pub removed: Counter,
}

impl SharedIndex {
    /// Connects to nothing. [`SharedIndex::run`] does that. `own` is the entry of this node.
    #[must_use]
    pub fn new(url: RedisUrl, own: NodeEntry, dialer: Dialer) -> Self {
        let stated = Cache::builder()
            .max_capacity(MAX_STATED)
            .time_to_live(STATED_FOR);
        Self {
            url,
            own_id: own.id.as_str().into(),
            own,
            dialer,
            state: RedisState::new(),
            nodes: watch::Sender::new(Vec::new()),
            changes: ChangeQueue::default(),
            stated: stated.build(),
            counts: IndexCounts::default(),
        }
    }

    /// Keeps the entries of this node up to date for ever.
    pub async fn run(&self, events: broadcast::Receiver<Arc<Event>>) {
        tokio::join!(self.renew(), self.write_changes(), self.follow(events));
    }

    #[must_use]
    pub fn counts(&self) -> &IndexCounts {
        &self.counts
    }

    /// Returns why Redis cannot be used now.
    #[must_use]
    pub fn failure(&self) -> Option<SharedIndexError> {
        self.state.failure()
    }

    /// Whether Redis answers.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        self.state.connection().is_some()
    }

    /// Follows the other nodes in the index. Each answer of Redis is a change, and while Redis is
    /// away there is none.
    #[must_use]
    pub fn nodes(&self) -> watch::Receiver<Vec<NodeEntry>> {
        self.nodes.subscribe()
    }

    /// Returns which of the nodes the index names as holders of an object. None if Redis is away.
    pub async fn named_holders(&self, sha256: Sha256, ids: &[&str]) -> Vec<bool> {
        let mut query = commands::are_holders(sha256, ids);
        let answer = self.ask(&mut query, LOOKUP_TIMEOUT).await;
        let flags = answer.map(commands::holder_flags);
        match flags {
            Some(Ok(flags)) if flags.len() == ids.len() => {
                let is_named = flags.contains(&true);
                let count = if is_named {
                    &self.counts.named
                } else {
                    &self.counts.unnamed
                };
                count.increment();
                flags
            }
            _ => {
                self.counts.unanswered.increment();
                vec![false; ids.len()]
            }
        }
    }

    /// Removes the entry of a node that does not have an object, although the index names it.
    pub fn remove_holder(&self, sha256: Sha256, id: &str) {
        self.counts.removed.increment();
        self.changes.add(HolderChange::NotHeld(sha256, id.into()));
    }

    /// States that this node has an object, which was stored or sent. Never waits.
    pub fn state_held(&self, sha256: Sha256, size_bytes: u64) {
        if size_bytes < MIN_INDEXED_BYTES
            || !self.is_answering()
            || self.stated.contains_key(&sha256)
        {
            return;
        }
        if self
            .changes
            .add(HolderChange::Held(sha256, Arc::clone(&self.own_id)))
        {
            self.stated.insert(sha256, ());
        }
    }

    /// Renews the entry of this node, and reads those of the others.
    async fn renew(&self) {
        let (first, longest) = RECONNECT_PAUSES;
        let mut backoff = Backoff::new(first, longest);
        loop {
            match self.renew_once().await {
                Ok(nodes) => {
                    self.nodes.send_replace(nodes);
                    tokio::select! {
                        () = sleep(RENEWAL_INTERVAL) => backoff.reset(),
                        // Redis may answer this task in time, and requests too late.
                        () = self.wait_lost() => sleep(backoff.next_delay()).await,
                    }
                }
                Err((connection, error)) => {
                    self.state.set_away(connection.as_ref(), error);
                    sleep(backoff.next_delay()).await;
                }
            }
        }
    }

    async fn wait_lost(&self) {
        if let Some(connection) = self.state.connection() {
            self.state.wait_lost(&connection).await;
        }
    }

    /// Makes one round on the current connection or a new one. An error comes with the connection
    /// that was in use.
    async fn renew_once(
        &self,
    ) -> Result<Vec<NodeEntry>, (Option<Arc<RedisConnection>>, SharedIndexError)> {
        let current = self.state.connection();
        let connection = if let Some(connection) = &current {
            Arc::clone(connection)
        } else {
            let opened = RedisConnection::open(&self.dialer, &self.url, None).await;
            Arc::new(opened.map_err(|error| (None, error))?)
        };
        let nodes = self.exchange(&connection).await;
        let nodes = nodes.map_err(|error| (current.clone(), error))?;
        if current.is_none() {
            // The server may have lost everything.
            self.stated.invalidate_all();
            self.state.set_answering(connection);
        }
        Ok(nodes)
    }

    async fn exchange(
        &self,
        connection: &RedisConnection,
    ) -> Result<Vec<NodeEntry>, SharedIndexError> {
        let mut renewal = commands::renewal(&self.own);
        let answers = connection.send(&mut renewal, BACKGROUND_TIMEOUT).await?;
        let mut ids = commands::listed_ids(answers)?;
        ids.retain(|id| *id != self.own.id);
        ids.truncate(commands::MAX_NODES);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = commands::entries_of(&ids);
        let answers = connection.send(&mut query, BACKGROUND_TIMEOUT).await?;
        Ok(commands::valid_entries(&ids, answers))
    }

    /// Writes the changes that were queued. While Redis is away, they are dropped.
    async fn write_changes(&self) {
        loop {
            let mut batch = redis::pipe();
            for change in &self.changes.take(BATCH).await {
                commands::add_change(&mut batch, change);
            }
            self.ask(&mut batch, BACKGROUND_TIMEOUT).await;
            sleep(BATCH_PAUSE).await;
        }
    }

    /// States what is stored, and removes what is evicted.
    async fn follow(&self, mut events: broadcast::Receiver<Arc<Event>>) {
        loop {
            let event = match events.recv().await {
                Ok(event) => event,
                // The next use of an object states it, and a reader removes a wrong entry.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            };
            match *event {
                Event::Stored {
                    sha256, size_bytes, ..
                } => self.state_held(sha256, size_bytes),
                Event::Evicted {
                    sha256, size_bytes, ..
                } if size_bytes >= MIN_INDEXED_BYTES => {
                    self.stated.invalidate(&sha256);
                    let own = Arc::clone(&self.own_id);
                    self.changes.add(HolderChange::NotHeld(sha256, own));
                }
                _ => {}
            }
        }
    }

    /// Sends commands if Redis answers. After a failure, all that wait get `None` at once.
    async fn ask(&self, query: &mut Pipeline, limit: Duration) -> Option<Vec<RedisResult<Value>>> {
        let connection = self.state.connection()?;
        let sent = tokio::select! {
            sent = connection.send(query, limit) => sent,
            () = self.state.wait_lost(&connection) => return None,
        };
        match sent {
            Ok(answers) => Some(answers),
            Err(error) => {
                self.state.set_away(Some(&connection), error);
                None
            }
        }
    }
}
