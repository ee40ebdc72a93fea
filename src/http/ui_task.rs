//! The task behind the operators' page: reads the state of all modules once a second for all
//! viewers, and records events.
//!
//! The main function is [`run_page`].

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use super::builtin_pages::readiness;
use super::metrics_page::{read_gauges, read_round, read_usage};
use super::state::HttpService;
use crate::admin::{AdminService, ListReader};
use crate::cache::{PinnedUse, RecordStatus};
use crate::fetch::OpenCircuit;
use crate::jobs::{JobState, JobView, Jobs};
use crate::model::{Event, Standing, Target};
use crate::registry::ContainerImages;
use crate::ui::{
    BucketFacts, ChangedTarget, EventNotes, KnownImages, LiveFeed, MAX_JOB_FAILURES, OtherBytes,
    ShownImage, Snapshot,
};

/// Interval of the snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);

/// Age at which changed targets and pins are read again from the disk.
const REREAD_INTERVAL: Duration = Duration::from_secs(5);

/// Age at which the images are read again. All files of known tags are read for them.
const IMAGES_INTERVAL: Duration = Duration::from_secs(10);

/// Rows of a table that may have many.
const MAX_ROWS: usize = 20;

/// Keeps the page up to date. Ends with the events, or when the task is aborted.
pub async fn run_page(service: Arc<HttpService>, feed: LiveFeed, events: Receiver<Arc<Event>>) {
    let notes = feed.recorder();
    tokio::select! {
        () = record_events(notes, events) => {}
        () = publish_snapshots(service, feed) => {}
    }
}

async fn record_events(notes: EventNotes, mut events: Receiver<Arc<Event>>) {
    loop {
        match events.recv().await {
            Ok(event) => notes.record(&event),
            // The page shows recent failures only.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn publish_snapshots(service: Arc<HttpService>, mut feed: LiveFeed) {
    let mut ticks = interval(SNAPSHOT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut slow, mut images) = (SlowFacts::default(), SlowImages::default());
    let mut saving: Option<JoinHandle<()>> = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = feed.woken() => {}
        }
        // The series goes on without viewers.
        let (periods, since_start) = feed.sample();
        // A disk that hangs delays the file, and never the page.
        if saving.as_ref().is_none_or(JoinHandle::is_finished)
            && let Some(save) = feed.due_save()
        {
            saving = Some(spawn_blocking(save));
        }
        let Some(reader) = feed.reader() else {
            feed.clear();
            continue;
        };
        if feed.index().is_due(Instant::now()) {
            tokio::spawn(read_index(Arc::clone(&service), Arc::clone(&reader)));
        }
        if !feed.has_viewers() {
            feed.clear();
            continue;
        }
        slow.update(&service.operators.admin, &feed, &reader).await;
        let mut snapshot = read_snapshot(&service, &feed, &reader).await;
        snapshot.periods = periods;
        snapshot.since_start = since_start;
        snapshot.changed.clone_from(&slow.shown);
        snapshot.pinned = slow.pinned;
        snapshot.images = images.read(&service.images).await;
        feed.publish(&snapshot);
    }
}

async fn read_index(service: Arc<HttpService>, reader: Arc<ListReader>) {
    let index = service.reports.page.index();
    index.read(&service.operators.admin, &reader).await;
}

/// Reads the state of all modules. The caller adds sums of traffic and [`SlowFacts`].
async fn read_snapshot(service: &HttpService, feed: &LiveFeed, reader: &ListReader) -> Snapshot {
    let usage = read_usage(service).await;
    let gauges = read_gauges(service, usage.as_ref()).await;
    let (failures, mismatches) = {
        let log = feed.failures();
        (log.hosts(MAX_ROWS), log.mismatches())
    };
    let operators = &service.operators;
    let costs = &service.reports.facts.requests.costs;
    Snapshot {
        name: service.name.as_str().to_owned(),
        started_at: feed.started_at(),
        traffic_since: feed.known_since(),
        readiness: readiness(service).map_err(str::to_owned),
        incidents: operators.incidents.newest_first(),
        gauges,
        periods: Vec::new(),
        since_start: service.reports.facts.totals(),
        fetches: operators.admin.fetches(reader),
        failures,
        circuits: open_circuits(service, reader),
        disk: usage,
        pinned: None,
        bucket: bucket_facts(service),
        changed: Vec::new(),
        mismatches,
        hosts: costs.hosts(MAX_ROWS),
        clients: costs.clients(MAX_ROWS),
        scrub: read_round(service).await,
        peers: service.cluster.peers(),
        jobs: read_jobs(&operators.jobs, reader),
        images: None,
    }
}

/// Returns the images whose tags were checked last.
async fn read_images(images: &ContainerImages) -> Option<KnownImages> {
    let mut listed = images.list().await.ok()?;
    let total = listed.len();
    listed.sort_by_key(|image| Reverse(image.checked_at));
    let mut newest = Vec::new();
    for image in listed.into_iter().take(MAX_ROWS) {
        let platforms = images.platforms(&image).await.into_iter().map(|listed| {
            let platform = listed.platform.as_ref().map(ToString::to_string);
            (platform.unwrap_or_default(), listed.size_bytes)
        });
        newest.push(ShownImage {
            platforms: platforms.collect(),
            digest: image.digest.to_string(),
            checked_at: image.checked_at,
            name: image.name,
        });
    }
    Some(KnownImages { total, newest })
}

/// Returns the newest jobs, with as many failures as the page shows.
fn read_jobs(jobs: &Jobs, reader: &ListReader) -> Vec<JobView> {
    let newest = jobs.list(reader).into_iter().take(MAX_ROWS);
    let whole = newest.map(|job| {
        let progress = &job.progress;
        if progress.failed == 0 && progress.state != JobState::Failed {
            return job;
        }
        // A job that was forgotten since is shown a last time.
        jobs.get_part(reader, &job.id, MAX_JOB_FAILURES)
            .unwrap_or(job)
    });
    whole.collect()
}

fn bucket_facts(service: &HttpService) -> Option<BucketFacts> {
    let bucket = service.gateway.bucket()?;
    Some(BucketFacts {
        id: bucket.id(),
        last_error: bucket.last_error(),
        is_failing_reads: bucket.is_failing(),
        is_failing_writes: bucket.is_failing_writes(),
    })
}

/// Images that were read a short while ago.
#[derive(Default)]
struct SlowImages {
    known: Option<KnownImages>,
    read_at: Option<Instant>,
}

impl SlowImages {
    async fn read(&mut self, images: &ContainerImages) -> Option<KnownImages> {
        let is_recent = |read_at: Instant| read_at.elapsed() < IMAGES_INTERVAL;
        if !self.read_at.is_some_and(is_recent) {
            self.known = read_images(images).await;
            self.read_at = Some(Instant::now());
        }
        self.known.clone()
    }
}

/// Facts that are read from the disk less often than once a second.
#[derive(Default)]
struct SlowFacts {
    pinned: Option<PinnedUse>,
    /// Targets that have changed.
    targets: Vec<Target>,
    read_at: Option<Instant>,
    /// Those of them about which no operator has decided.
    shown: Vec<ChangedTarget>,
}

impl SlowFacts {
    async fn update(&mut self, admin: &AdminService, feed: &LiveFeed, reader: &ListReader) {
        let targets = feed.failures().changed();
        let is_recent = self
            .read_at
            .is_some_and(|read_at| read_at.elapsed() < REREAD_INTERVAL);
        if targets == self.targets && is_recent {
            return;
        }
        self.pinned = admin.pinned_use(reader).await.ok();
        self.shown.clear();
        for target in &targets {
            // A target that was removed, or cannot be read now, is not shown.
            if let Ok((records, _)) = admin.stored(target).await {
                self.shown.extend(undecided(target, &records));
            }
        }
        self.targets = targets;
        self.read_at = Some(Instant::now());
    }
}

/// Returns a target with both digests, unless an operator has decided with a pin.
fn undecided(target: &Target, records: &[RecordStatus]) -> Option<ChangedTarget> {
    let is_decided = records.iter().any(|status| status.pinned_at.is_some());
    let bytes = |status: &RecordStatus| OtherBytes {
        sha256: status.record.sha256,
        size_bytes: status.record.size_bytes,
        first_seen: status.record.first_seen,
        source: status.record.source.clone(),
    };
    let active = records.iter().find(|status| status.is_active);
    let others = records
        .iter()
        .filter(|status| !status.is_active && status.record.standing == Standing::Witnessed);
    let mut others: Vec<_> = others.map(bytes).collect();
    others.sort_by_key(|other| Reverse(other.first_seen));
    (!is_decided && !others.is_empty()).then(|| ChangedTarget {
        url: target.redacted(),
        active: active.map(bytes),
        others,
    })
}

/// Returns the hosts that are not asked: those that fail, and registries that limit requests.
fn open_circuits(service: &HttpService, reader: &ListReader) -> Vec<OpenCircuit> {
    let failing = service.operators.admin.open_circuits(reader, MAX_ROWS);
    let limited = service
        .images
        .rate_limits()
        .into_iter()
        .filter_map(|limit| {
            let seconds = limit.pause()?.as_secs() + 1;
            Some(OpenCircuit {
                site: limit.registry,
                is_open_for_all: true,
                error: format!("the registry limits requests; the next one is sent in {seconds} s"),
            })
        });
    failing.into_iter().chain(limited.take(MAX_ROWS)).collect()
}
