//! `millpond migrate`: copies objects and records between folders and buckets.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::output::notice;
use super::{ConfigSource, EXIT_CORRUPT, EXIT_FAILED, EXIT_USAGE, fail, finish_with};
use crate::bucket::Bucket;
use crate::cache::{Cache, OpenMode};
use crate::config::Config;
use crate::migrate::{MigrationEndpoint, MigrationProgress, migrate};
use crate::model::{EventSink, Size};

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
    pub async fn run(self, source: &ConfigSource) -> ExitCode {
        let endpoints =
            endpoint(&self.from, source).and_then(|from| Ok((from, endpoint(&self.to, source)?)));
        let (from, to) = match endpoints {
            Ok(places) => places,
            Err(line) => return fail(&line, EXIT_USAGE),
        };
        let mut shown = ProgressPrinter::new(self.json);
        let migrated = migrate(&from, &to, &self.scratch, |progress| shown.show(progress)).await;
        for endpoint in [&from, &to] {
            if let MigrationEndpoint::Folder(cache) = endpoint {
                cache.close().await;
            }
        }
        match migrated {
            Ok(progress) => {
                let code = shown.end(&progress);
                if progress.damaged > 0 {
                    let line = format!(
                        "{} objects are damaged and were not copied",
                        progress.damaged
                    );
                    return fail(&line, EXIT_CORRUPT);
                }
                code
            }
            Err(error) => fail(&error, EXIT_FAILED),
        }
    }
}

/// Opens a folder for maintenance, so that the processes that serve it reindex afterwards, or a
/// bucket.
fn endpoint(path: &Path, source: &ConfigSource) -> Result<MigrationEndpoint, String> {
    if path.is_file() {
        return bucket(Some(path), source).map(MigrationEndpoint::Bucket);
    }
    let mut config = source.load().map_err(|error| error.to_string())?;
    if !path.is_dir() {
        return Err(format!(
            "{} is neither a folder nor a configuration file",
            path.display()
        ));
    }
    path.clone_into(&mut config.cache.dir);
    let opened = Cache::open(&config.cache, None, OpenMode::Maintenance, EventSink::new());
    opened
        .map(MigrationEndpoint::Folder)
        .map_err(|error| error.to_string())
}

pub fn bucket(file: Option<&Path>, source: &ConfigSource) -> Result<Bucket, String> {
    let config = match file {
        // What the environment says is about the gateway's own bucket.
        Some(file) => Config::load(Some(file), [], &[]),
        None => source.load(),
    };
    let config = config.map_err(|error| error.to_string())?;
    if !config.s3.is_on() {
        return Err("the configuration names no bucket: s3.bucket is empty".to_owned());
    }
    Bucket::new(config.s3, EventSink::new()).map_err(|error| error.to_string())
}

/// MigrationProgress as a person or a log sees it.
struct ProgressPrinter {
    interval: Option<Duration>,
    is_terminal: bool,
    json: bool,
    began: Instant,
    last: Instant,
}

impl ProgressPrinter {
    fn new(json: bool) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let interval = if is_terminal {
            TERMINAL_INTERVAL
        } else {
            LOG_INTERVAL
        };
        Self {
            interval: (!json).then_some(interval),
            is_terminal,
            json,
            began: Instant::now(),
            last: Instant::now(),
        }
    }

    fn show(&mut self, progress: &MigrationProgress) {
        if self
            .interval
            .is_some_and(|interval| self.last.elapsed() >= interval)
        {
            self.last = Instant::now();
            if self.is_terminal {
                notice(&format_args!("\r\x1b[K{}", line(progress)));
            } else {
                notice(&format_args!("{}\n", line(progress)));
            }
        }
    }

    fn end(&self, progress: &MigrationProgress) -> ExitCode {
        if self.json {
            return finish_with(&serde_json::json!(progress));
        }
        if self.is_terminal {
            notice(&"\r\x1b[K");
        }
        finish_with(&format_args!(
            "{}, in {} s",
            line(progress),
            self.began.elapsed().as_secs()
        ))
    }
}

fn line(progress: &MigrationProgress) -> String {
    let MigrationProgress {
        records,
        present,
        copied,
        copied_bytes,
        without_object,
        damaged,
    } = progress;
    let size = Size {
        bytes: copied_bytes >> 20 << 20,
    };
    let size = if size.bytes == 0 {
        format!("{copied_bytes}B")
    } else {
        size.to_string()
    };
    let done = progress.done();
    format!(
        "{done} of {records}: {copied} copied ({size}), {present} there already, {without_object} without an object, {damaged} damaged"
    )
}
