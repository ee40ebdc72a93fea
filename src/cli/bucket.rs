//! `millpond migrate` and `millpond gc`: work on a bucket that needs no gateway.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::output::notice;
use super::{EXIT_CORRUPT, EXIT_FAILED, EXIT_USAGE, Source, complain, finish_with};
use crate::care::{Place, Progress, migrate};
use crate::config::Config;
use crate::model::{EventSink, Size};
use crate::store::{Bucket, Collection, Store};

/// How often progress is shown on a terminal, and elsewhere.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
const LOG_INTERVAL: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Migrate {
    /// A cache folder, or a configuration file whose [s3] names a bucket
    from: PathBuf,
    /// The same
    to: PathBuf,
    /// Where objects lie on their way from bucket to bucket
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
    /// Say in JSON what it came to
    #[arg(long)]
    json: bool,
}

impl Migrate {
    pub async fn run(self, source: &Source) -> ExitCode {
        let places = place(&self.from, source).and_then(|from| Ok((from, place(&self.to, source)?)));
        let (from, to) = match places {
            Ok(places) => places,
            Err(line) => return complain(&line, EXIT_USAGE),
        };
        let mut shown = Shown::new(self.json);
        let migrated = migrate(&from, &to, &self.scratch, |progress| shown.show(progress)).await;
        for place in [&from, &to] {
            if let Place::Folder(store) = place {
                store.leave().await;
            }
        }
        match migrated {
            Ok(progress) => {
                let code = shown.end(&progress);
                if progress.damaged > 0 {
                    let line = format!("{} objects are damaged and were not copied", progress.damaged);
                    return complain(&line, EXIT_CORRUPT);
                }
                code
            }
            Err(error) => complain(&error, EXIT_FAILED),
        }
    }
}

/// A folder is visited: whoever serves it looks through it afterwards.
fn place(path: &Path, source: &Source) -> Result<Place, String> {
    if path.is_file() {
        return bucket(Some(path), source).map(Place::Bucket);
    }
    let mut config = source.load().map_err(|error| error.to_string())?;
    if !path.is_dir() {
        return Err(format!("{} is neither a folder nor a configuration file", path.display()));
    }
    path.clone_into(&mut config.cache.dir);
    Store::visit(config.cache, EventSink::new()).map(Place::Folder).map_err(|error| error.to_string())
}

fn bucket(file: Option<&Path>, source: &Source) -> Result<Bucket, String> {
    let config = match file {
        // What the environment says is about the gateway's own bucket.
        Some(file) => Config::load(Some(file), [], &[]),
        None => source.load(),
    };
    let config = config.map_err(|error| error.to_string())?;
    if !config.s3.is_on() {
        return Err("the configuration names no bucket: s3.bucket is empty".to_owned());
    }
    Bucket::new(config.s3, EventSink::new())
}

/// Progress as a person or a log sees it.
struct Shown {
    interval: Option<Duration>,
    is_terminal: bool,
    json: bool,
    began: Instant,
    last: Instant,
}

impl Shown {
    fn new(json: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let interval = if is_terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
        Self { interval: (!json).then_some(interval), is_terminal, json, began: Instant::now(), last: Instant::now() }
    }

    fn show(&mut self, progress: &Progress) {
        if self.interval.is_some_and(|interval| self.last.elapsed() >= interval) {
            self.last = Instant::now();
            if self.is_terminal {
                notice(&format_args!("\r\x1b[K{}", line(progress)));
            } else {
                notice(&format_args!("{}\n", line(progress)));
            }
        }
    }

    fn end(&self, progress: &Progress) -> ExitCode {
        if self.json {
            return finish_with(&serde_json::json!(progress));
        }
        if self.is_terminal {
            notice(&"\r\x1b[K");
        }
        finish_with(&format_args!("{}, in {} s", line(progress), self.began.elapsed().as_secs()))
    }
}

fn line(progress: &Progress) -> String {
    let Progress { records, present, copied, copied_bytes, without_object, damaged } = progress;
    let size = Size { bytes: copied_bytes >> 20 << 20 };
    let size = if size.bytes == 0 { format!("{copied_bytes}B") } else { size.to_string() };
    let done = progress.done();
    format!(
        "{done} of {records}: {copied} copied ({size}), {present} there already, {without_object} without an object, {damaged} damaged"
    )
}

#[derive(clap::Args)]
pub struct Gc {
    /// Remove nothing, only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Say in JSON what it came to
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub async fn run(self, source: &Source) -> ExitCode {
        let bucket = match bucket(None, source) {
            Ok(bucket) => bucket,
            Err(line) => return complain(&line, EXIT_USAGE),
        };
        let collection = if self.dry_run { Collection::Rehearsal } else { Collection::Real };
        match bucket.collect(collection).await {
            Ok(collected) if self.json => finish_with(&serde_json::json!(collected)),
            Ok(collected) => finish_with(&format_args!(
                "{} objects, {} bytes; {}{} that no record names, {} unused, {} abandoned uploads; {} bytes freed",
                collected.objects,
                collected.size_bytes,
                if self.dry_run { "would remove: " } else { "removed: " },
                collected.unreferenced,
                collected.unused,
                collected.abandoned_uploads,
                collected.removed_bytes,
            )),
            Err(error) => complain(&error, EXIT_FAILED),
        }
    }
}
