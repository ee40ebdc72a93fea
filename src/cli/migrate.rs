//! `millpond migrate`: copies objects and records between folders and buckets.
//!
//! The main type is [`Migrate`].

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::config_source::{ConfigSource, load_bucket_file, open_bucket};
use super::error::CliError;
use super::exit::FailureCode;
use super::file_rights;
use super::output::{OutputForm, notice};
use crate::cache::{Cache, OpenMode};
use crate::config::Config;
use crate::disk::Layout;
use crate::limits::ClientShare;
use crate::migrate::{MigrationEndpoint, MigrationProgress, migrate};
use crate::model::{EventSink, Size};

/// Interval of the progress line on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// Interval of the progress lines in a log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Folder of a new file system of ext4.
const LOST_AND_FOUND: &str = "lost+found";

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond migrate /var/lib/millpond/cache bucket.toml
  millpond migrate /var/lib/millpond/cache /srv/cache
  millpond migrate old.toml new.toml --json

A migration that was interrupted continues when it is started again.")]
pub struct Migrate {
    /// Source: a cache folder, or a configuration file whose [s3] section names a bucket
    from: PathBuf,
    /// Destination, likewise
    to: PathBuf,
    /// Folder for objects on their way from bucket to bucket
    #[arg(long, value_name = "FOLDER", default_value_os_t = std::env::temp_dir())]
    scratch: PathBuf,
}

impl Migrate {
    /// Runs the command.
    pub async fn run(self, source: &ConfigSource, form: OutputForm) -> ExitCode {
        let (from, to) = match self.open(source) {
            Ok(endpoints) => endpoints,
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        let mut printer = ProgressPrinter::new(form);
        let migrated = migrate(&from, &to, &self.scratch, |progress| printer.show(progress)).await;
        for endpoint in [&from, &to] {
            if let MigrationEndpoint::Folder(cache) = endpoint {
                cache.close().await;
            }
        }
        match migrated {
            Ok(progress) => {
                let code = printer.finish(&progress);
                if progress.damaged > 0 && form == OutputForm::Json {
                    // The summary has the number.
                    return FailureCode::Corrupt.into();
                }
                if progress.damaged > 0 {
                    let line = format!(
                        "{} objects are damaged and were not copied",
                        progress.damaged
                    );
                    return form.fail(&line, FailureCode::Corrupt);
                }
                code
            }
            Err(error) => form.fail(&error, FailureCode::Failed),
        }
    }

    /// Opens the source and the destination.
    fn open(
        &self,
        source: &ConfigSource,
    ) -> Result<(MigrationEndpoint, MigrationEndpoint), CliError> {
        let (from, to) = (&self.from, &self.to);
        check_folders(from, to)?;
        // Only the superuser may be able to read the configuration.
        let (from_config, to_config) = (load(from, source)?, load(to, source)?);
        file_rights::set_umask();
        file_rights::take_on_common_owner(from, to, is_empty)?;
        Ok((endpoint(from, from_config)?, endpoint(to, to_config)?))
    }
}

/// Checks that the folders among both paths are caches apart from each other. Opening another
/// folder would make a cache of it.
fn check_folders(from: &Path, to: &Path) -> Result<(), CliError> {
    if let (Ok(from), Ok(to)) = (from.canonicalize(), to.canonicalize())
        && from.is_dir()
    {
        if from == to {
            return Err(CliError::SameFolder);
        }
        if from.starts_with(&to) || to.starts_with(&from) && to.is_dir() {
            return Err(CliError::NestedFolders);
        }
    }
    if from.is_dir() && !Layout::new(from).has_cache() {
        return Err(CliError::NoCache(from.to_owned()));
    }
    if to.is_dir() && !Layout::new(to).has_cache() && !is_empty(to) {
        return Err(CliError::OtherFolder(to.to_owned()));
    }
    Ok(())
}

/// Returns whether a folder has nothing but what its file system has put there. One that cannot be
/// read is reported when it is opened.
fn is_empty(folder: &Path) -> bool {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    names
        .filter(|entry| entry.file_name() != LOST_AND_FOUND)
        .count()
        == 0
}

/// Loads the configuration with the bucket of a path, or with the settings for its folder.
fn load(path: &Path, source: &ConfigSource) -> Result<Config, CliError> {
    if path.is_file() {
        return Ok(load_bucket_file(path)?);
    }
    let mut config = source.load()?;
    if !path.is_dir() {
        return Err(CliError::NoEndpoint(path.to_owned()));
    }
    path.clone_into(&mut config.cache.dir);
    Ok(config)
}

/// Opens a bucket, or a folder. The folder is opened for maintenance, so that processes that serve
/// it reindex it later.
fn endpoint(path: &Path, config: Config) -> Result<MigrationEndpoint, CliError> {
    if !path.is_dir() {
        return open_bucket(config).map(MigrationEndpoint::Bucket);
    }
    let (share, events) = (ClientShare::default(), EventSink::new());
    let cache = Cache::open(&config.cache, None, OpenMode::Maintenance, &share, events)?;
    Ok(MigrationEndpoint::Folder(cache))
}

/// Form of the output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ProgressForm {
    /// One line that is overwritten.
    Terminal,
    /// One line after another.
    Log,
    /// No progress, and a summary in JSON.
    Json,
}

/// Prints the progress and the summary of a migration.
struct ProgressPrinter {
    form: ProgressForm,
    started: Instant,
    last_shown: Instant,
}

impl ProgressPrinter {
    fn new(form: OutputForm) -> Self {
        let form = if form == OutputForm::Json {
            ProgressForm::Json
        } else if std::io::stderr().is_terminal() {
            ProgressForm::Terminal
        } else {
            ProgressForm::Log
        };
        Self {
            form,
            started: Instant::now(),
            last_shown: Instant::now(),
        }
    }

    fn show(&mut self, progress: &MigrationProgress) {
        let (interval, start, end) = match self.form {
            ProgressForm::Terminal => (TERMINAL_INTERVAL, "\r\x1b[K", ""),
            ProgressForm::Log => (LOG_INTERVAL, "", "\n"),
            ProgressForm::Json => return,
        };
        if self.last_shown.elapsed() >= interval {
            self.last_shown = Instant::now();
            notice(&format_args!("{start}{}{end}", line(progress)));
        }
    }

    fn finish(&self, progress: &MigrationProgress) -> ExitCode {
        match self.form {
            ProgressForm::Json | ProgressForm::Log => {}
            ProgressForm::Terminal => notice(&"\r\x1b[K"),
        }
        let seconds = self.started.elapsed().as_secs();
        let form = match self.form {
            ProgressForm::Json => OutputForm::Json,
            ProgressForm::Terminal | ProgressForm::Log => OutputForm::Text,
        };
        let summary = format!(
            "{}, in {seconds} s; responses of class revalidate are not copied",
            line(progress)
        );
        form.finish(&summary, || serde_json::json!(progress))
    }
}

fn line(progress: &MigrationProgress) -> String {
    let MigrationProgress {
        records,
        present,
        copied,
        copied_bytes,
        other_bytes,
        without_object,
        pins_not_copied,
        damaged,
    } = progress;
    let whole_mebibytes = Size {
        bytes: copied_bytes >> 20 << 20,
    };
    let size = if whole_mebibytes.bytes == 0 {
        format!("{copied_bytes}B")
    } else {
        whole_mebibytes.to_string()
    };
    let done = progress.done();
    format!(
        "{done} of {records}: {copied} copied ({size}), {present} already present, \
         {other_bytes} with other bytes than the destination has, {without_object} without an \
         object, {pins_not_copied} pins not copied, {damaged} damaged"
    )
}
