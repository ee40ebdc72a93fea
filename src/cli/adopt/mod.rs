//! `millpond adopt`: takes the files of a folder into the cache folder, also while other processes
//! serve it.
//!
//! The main type is [`Adopt`].

mod images;
mod known_lists;
mod printer;
mod stop_signal;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::client::failure::Failure;
use super::config_source::ConfigSource;
use super::error::CliError;
use super::exit::FailureCode;
use super::file_rights;
use super::output::OutputForm;
use crate::adopt::{
    AdoptMode, AdoptOptions, AdoptServices, Adopter, ExcludedFiles, FolderError, FolderScan,
    ImageFiles, KnownSources, ScanEnd, StopFlag, WatchMemory,
};
use crate::cache::{Cache, OpenMode};
use crate::config::Config;
use crate::model::{EventSink, HumanDuration};
use images::{ImageArgs, adopt_images};
use known_lists::{KnownLists, ListArgs};
use printer::AdoptPrinter;
use stop_signal::StopSignal;

/// Files that are adopted at the same time. Each needs a processor for its digests.
const DEFAULT_JOBS: u8 = 2;

/// Bound on `--jobs`.
const MAX_JOBS: i64 = 64;

/// A scan takes at most this part of the time of a watching command, so that a large folder does
/// not keep the disk busy.
const REST_PER_SCAN: u32 = 9;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond adopt ~/rpmbuild/SOURCES --specs ~/rpmbuild/SPECS --config millpond.toml
  millpond adopt /var/cache/distfiles --list /var/db/repos/gentoo --dry-run
  millpond adopt /srv/dl --list /srv/buildroot/package --watch
  millpond adopt app.tar --image registry.example.org/mill/app:1.0

The command works on the cache folder of this machine (cache.dir), beside the processes that serve
it. Files are copied, or share their blocks where the file system can do so (btrfs, XFS). They are
pinned, and never replace stored bytes. A file without a URL is found by its name and its digests
below /mirror/, and as an object of the API.

A folder with the file oci-layout, and a tar archive of docker save or skopeo, are container images.
Their parts are stored as those of a registry of the configuration, and pulled below /v2/.

Exit codes: 0 all files are stored or skipped, 1 some could not be taken, 4 the bytes of some are
not those that a list states or that are stored. A watch that a signal ends exits with 0.")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Adopt {
    /// Folder with the files, or layout or archive of container images
    folder: PathBuf,
    #[command(flatten)]
    lists: ListArgs,
    #[command(flatten)]
    images: ImageArgs,
    /// Follow the folder until SIGINT or SIGTERM, and take new files once they are complete
    #[arg(long)]
    watch: bool,
    /// Link the files instead of copying their bytes; only files that no other user can change
    #[arg(long)]
    link: bool,
    /// Do not pin the files, so that they can be evicted
    #[arg(long)]
    no_pin: bool,
    /// Take also files whose first or last bytes are not those of their formats
    #[arg(long)]
    force: bool,
    /// Only report what would be taken, and store nothing
    #[arg(long)]
    dry_run: bool,
    /// Files that are read at the same time
    #[arg(long, short, value_name = "COUNT", default_value_t = DEFAULT_JOBS,
        value_parser = clap::value_parser!(u8).range(1..=MAX_JOBS))]
    jobs: u8,
    /// Pause between two scans of a watched folder
    #[arg(long, value_name = "DURATION", default_value = "5s", requires = "watch",
        value_parser = parse_duration)]
    interval: HumanDuration,
    /// Time for which a file of a watched folder must not change before it is taken
    #[arg(long, value_name = "DURATION", default_value = "10s", requires = "watch",
        value_parser = parse_duration)]
    settle: HumanDuration,
}

/// Error returned for a folder that cannot be adopted.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", folder.display())]
struct AdoptFolderError {
    folder: PathBuf,
    why: FolderError,
}

fn parse_duration(text: &str) -> Result<HumanDuration, crate::model::ParseUnitError> {
    HumanDuration::try_from(text.to_owned())
}

impl Adopt {
    /// Runs the command.
    pub async fn run(self, source: &ConfigSource, form: OutputForm) -> ExitCode {
        let config = match source.load() {
            Ok(config) => config,
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        let cache = match open(&config) {
            Ok(cache) => cache,
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        let code = self.adopt(&config, &cache, form).await;
        cache.close().await;
        code.unwrap_or_else(|failure| failure.report(form))
    }

    async fn adopt(
        self,
        config: &Config,
        cache: &Cache,
        form: OutputForm,
    ) -> Result<ExitCode, Failure> {
        let policy = config.build_policy();
        let policy = policy.map_err(|error| Failure::usage(error.to_string()))?;
        let (is_image, options) = (self.check_images()?, self.options());
        let (stop, read_bytes) = (Arc::new(StopFlag::default()), Arc::new(AtomicU64::new(0)));
        let signal = StopSignal::register(Arc::clone(&stop))?;
        if is_image {
            let printer = AdoptPrinter::new(form, Arc::clone(&read_bytes));
            let services = AdoptServices {
                cache: cache.clone(),
                policy: Arc::new(policy),
                sources: KnownSources::default(),
                stop,
                read_bytes,
            };
            let services = (services, options);
            return adopt_images(&self.folder, &self.images, config, services, printer).await;
        }
        let (root, cache_folder) = resolve(&self.folder, &config.cache.dir)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let KnownLists {
            sources,
            excluded,
            problems,
        } = self.lists.read(config.gateway.public_base(), form)?;
        let mut printer = AdoptPrinter::new(form, Arc::clone(&read_bytes));
        printer.count_problems(problems.count);
        let services = AdoptServices {
            cache: cache.clone(),
            policy: Arc::new(policy),
            sources,
            stop,
            read_bytes,
        };
        let memory = || Arc::new(Mutex::new(WatchMemory::new(self.settle.0)));
        let scan = FolderScan {
            root: root.clone(),
            excluded: ExcludedFiles {
                cache_folder: Some(cache_folder),
                ..excluded
            },
            jobs: self.jobs.into(),
            memory: self.watch.then(memory),
        };
        let adopter = Arc::new(Adopter::new(services, options, root));
        let work = AdoptWork {
            scan,
            adopter,
            cache,
            signal,
        };
        if self.watch {
            Ok(work.watch(self.interval.0, printer).await)
        } else {
            Ok(work.once(printer).await)
        }
    }
}

impl Adopt {
    fn options(&self) -> AdoptOptions {
        AdoptOptions {
            mode: match (self.dry_run, self.link) {
                (true, _) => AdoptMode::DryRun,
                (false, true) => AdoptMode::Link,
                (false, false) => AdoptMode::Copy,
            },
            pin: !self.no_pin,
            force: self.force,
        }
    }

    /// Returns whether container images are adopted, and checks that the options fit.
    fn check_images(&self) -> Result<bool, Failure> {
        let is_image = ImageFiles::is_image(&self.folder);
        let text = match (is_image, self.images.is_used()) {
            (true, _) if self.watch || self.link => {
                "--watch and --link are for folders of files, not for container images"
            }
            (false, true) => "it is neither a layout of OCI nor an archive of container images",
            _ => return Ok(is_image),
        };
        Err(Failure::usage(format!("{}: {text}", self.folder.display())))
    }
}

/// The parts of a running command.
struct AdoptWork<'a> {
    scan: FolderScan,
    adopter: Arc<Adopter>,
    cache: &'a Cache,
    signal: StopSignal,
}

impl AdoptWork<'_> {
    async fn once(self, mut printer: AdoptPrinter) -> ExitCode {
        match self.run_scan(&mut printer).await {
            Ok(ScanEnd::Stopped) => printer.show_problem(&"stopped before all files were read"),
            Ok(_) => {}
            Err(error) => printer.show_problem(&error),
        }
        printer.finish()
    }

    /// Scans the folder until the stop is requested. A folder that cannot be read is reported once,
    /// and scanned again.
    async fn watch(self, interval: Duration, mut printer: AdoptPrinter) -> ExitCode {
        let mut last_problem = None;
        loop {
            let began = Instant::now();
            match self.run_scan(&mut printer).await {
                Ok(ScanEnd::Stopped) => break,
                Ok(ScanEnd::TooManyEntries) => {
                    printer.show_problem(&"the folder has too many entries to be watched");
                    return printer.finish();
                }
                Ok(ScanEnd::Complete) => last_problem = None,
                Err(error) => {
                    let problem = Some(error.to_string());
                    if last_problem != problem {
                        printer.show_problem(&error);
                        last_problem = problem;
                    }
                }
            }
            let pause = interval.max(began.elapsed() * REST_PER_SCAN);
            tokio::select! {
                () = sleep(pause) => {}
                () = self.signal.requested() => break,
            }
        }
        printer.finish();
        ExitCode::SUCCESS
    }

    async fn run_scan(&self, printer: &mut AdoptPrinter) -> Result<ScanEnd, FolderError> {
        let scan = self.scan.run(&self.adopter, |report| printer.show(&report));
        let end = scan.await;
        if let Err(error) = self.cache.own_files().complete_indexes().await {
            printer.show_problem(&format_args!(
                "the index may lack files, will retry: {error}"
            ));
        }
        end
    }
}

/// Resolves the folder, and returns it with the identity of the cache folder.
fn resolve(folder: &Path, cache: &Path) -> Result<(PathBuf, (u64, u64)), AdoptFolderError> {
    let failed = |why: FolderError| AdoptFolderError {
        folder: folder.to_owned(),
        why,
    };
    let root = folder
        .canonicalize()
        .map_err(|error| failed(error.into()))?;
    // A file and a folder without permission are reported before anything is done.
    std::fs::read_dir(&root).map_err(|error| failed(error.into()))?;
    let cache = cache.canonicalize().map_err(|error| failed(error.into()))?;
    if root.starts_with(&cache) {
        return Err(failed(FolderError::InCache));
    }
    let metadata = std::fs::metadata(&cache).map_err(|error| failed(error.into()))?;
    Ok((root, (metadata.dev(), metadata.ino())))
}

/// Opens the cache folder for maintenance, as its owner.
fn open(config: &Config) -> Result<Cache, CliError> {
    if !config.cache.dir.is_dir() {
        return Err(CliError::NoFolder(config.cache.dir.clone()));
    }
    file_rights::set_umask();
    file_rights::take_on_owner(&config.cache.dir)?;
    let bucket = config.s3.is_on().then(|| config.s3.clone());
    let share = config.build_policy()?.client_share();
    let events = EventSink::new();
    Ok(Cache::open(
        &config.cache,
        bucket,
        OpenMode::Maintenance,
        &share,
        events,
    )?)
}
