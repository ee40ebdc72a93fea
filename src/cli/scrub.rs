//! `millpond scrub`: verifies and repairs the cache folder, also while other processes serve it.
//!
//! The main type is [`Scrub`].

use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::config_source::ConfigSource;
use super::error::CliError;
use super::exit::FailureCode;
use super::file_rights;
use super::output::OutputForm;
use crate::cache::OpenMode;
use crate::cluster::NodeIdentity;
use crate::config::Config;
use crate::disk::LAYOUT_VERSION;
use crate::limits::{DialLimits, MAX_IN_FLIGHT};
use crate::model::{EventSink, ParseUnitError, Rate, sanitize_line};
use crate::scrub::{
    RepairSources, ScrubEvent, ScrubFinding, ScrubLock, ScrubOptions, ScrubReport, scrub,
};
use crate::services::{FetchLimits, Services};

/// Name of this process towards origins if the configuration has no gateway name.
const NAME: &str = "millpond-scrub";

/// Number of steps of the progress bar.
const STEPS: u64 = 1000;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond scrub --config millpond.toml
  millpond scrub --config millpond.toml --share 0.1 --rate 20MiB
  millpond scrub --config millpond.toml --dry-run --json")]
pub struct Scrub {
    /// Share of the objects to read, the next ones at each run; names and records are always
    /// checked
    #[arg(long, value_name = "FRACTION", default_value = "1", value_parser = parse_share)]
    share: f64,
    /// Maximum number of bytes to read per second; "" means no limit
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = parse_rate)]
    rate: Rate,
    /// Only report defects, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Error returned for a share outside its bounds.
#[derive(Debug, thiserror::Error)]
#[error("the share must be above 0 and at most 1")]
struct ShareError;

fn parse_share(text: &str) -> Result<f64, ShareError> {
    let share = text
        .parse()
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or(ShareError)
}

fn parse_rate(text: &str) -> Result<Rate, ParseUnitError> {
    Rate::try_from(text.to_owned())
}

impl Scrub {
    /// Runs the command.
    pub async fn run(self, source: &ConfigSource, form: OutputForm) -> ExitCode {
        let sources = source
            .load()
            .map_err(CliError::from)
            .and_then(|config| open(&config));
        let sources = match sources {
            Ok(sources) => sources,
            Err(error) => return form.fail(&error, FailureCode::Usage),
        };
        let code = self.scrub(&sources, form).await;
        sources.fetcher.stop(Duration::ZERO).await;
        sources.cache.close().await;
        code
    }

    async fn scrub(&self, sources: &RepairSources, form: OutputForm) -> ExitCode {
        let mut lock = match ScrubLock::acquire(&sources.cache).await {
            Ok(Some(lock)) => lock,
            Ok(None) => {
                return form.fail(&"another process scrubs this folder", FailureCode::Failed);
            }
            Err(error) => return form.fail(&error, FailureCode::Failed),
        };
        let (started, bar) = (Instant::now(), bar(form));
        let options = ScrubOptions {
            share: self.share,
            checks_metadata: true,
            is_dry_run: self.dry_run,
            rate: self.rate,
        };
        let report = scrub(sources, &mut lock, options, &|event| {
            show(event, &bar, form);
        })
        .await;
        bar.finish_and_clear();
        match report {
            Ok(report) => {
                let code = print_summary(&report, started.elapsed(), form);
                if report.unrepaired > 0 {
                    ExitCode::from(FailureCode::Corrupt)
                } else {
                    code
                }
            }
            Err(error) => form.fail(&error, FailureCode::Failed),
        }
    }
}

fn show(event: &ScrubEvent<'_>, bar: &ProgressBar, form: OutputForm) {
    match event {
        // If a line cannot be printed, that is reported on standard error. The exit code is that
        // of the whole scrub.
        ScrubEvent::Found(finding) => {
            bar.suspend(|| {
                form.finish(&line(finding), || serde_json::json!({ "finding": finding }))
            });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the product is between 0 and STEPS"
        )]
        #[expect(clippy::cast_precision_loss, reason = "there are few steps")]
        ScrubEvent::Done(share) => bar.set_position((share * STEPS as f64) as u64),
    }
}

fn print_summary(report: &ScrubReport, duration: Duration, form: OutputForm) -> ExitCode {
    let ScrubReport {
        objects,
        size_bytes,
        records,
        repaired,
        unrepaired,
        warnings,
    } = report;
    let summary = format!(
        "{objects} objects of {size_bytes} bytes are intact; {records} records; \
         {repaired} repaired, {unrepaired} unrepaired, {warnings} warnings, in {} s",
        duration.as_secs()
    );
    form.finish(&summary, || serde_json::json!({ "report": report }))
}

/// Formats a finding: the defect, the outcome, the file, its targets and the details.
fn line(finding: &ScrubFinding) -> String {
    let ScrubFinding {
        defect,
        name,
        outcome,
        detail,
        targets,
    } = finding;
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().replace('_', " ");
    let (defect, outcome) = (
        word(serde_json::json!(defect)),
        word(serde_json::json!(outcome)),
    );
    let targets = if targets.is_empty() {
        String::new()
    } else {
        format!(" ({})", targets.join(", "))
    };
    // An unknown file may have any name.
    sanitize_line(&format!("{defect}, {outcome}: {name}{targets}: {detail}"))
}

/// Opens the cache folder for maintenance, with a fetcher for repairs.
fn open(config: &Config) -> Result<RepairSources, CliError> {
    let name = if config.gateway.name.is_empty() {
        NAME.to_owned()
    } else {
        config.gateway.name.clone()
    };
    if !config.cache.dir.is_dir() {
        return Err(CliError::NoFolder(config.cache.dir.clone()));
    }
    file_rights::set_umask();
    file_rights::take_on_owner(&config.cache.dir)?;
    let limits = FetchLimits {
        held_objects: 0,
        concurrency: config.fetch.concurrency,
        in_flight: MAX_IN_FLIGHT,
        dial: DialLimits::MAX,
    };
    // A command asks no peer.
    let node = NodeIdentity {
        id: String::new(),
        run: String::new(),
        name,
        version: env!("CARGO_PKG_VERSION"),
        layout: LAYOUT_VERSION,
        space_bytes: config.cache.max_size.bytes,
        folder: String::new(),
        bucket: String::new(),
    };
    let services = Services::build(
        config,
        node,
        OpenMode::Maintenance,
        &limits,
        EventSink::new(),
    )?;
    Ok(services.repair_sources())
}

fn bar(form: OutputForm) -> ProgressBar {
    let target = match form {
        OutputForm::Text => ProgressDrawTarget::stderr(),
        OutputForm::Json => ProgressDrawTarget::hidden(),
    };
    let bar =
        ProgressBar::with_draw_target(Some(STEPS), target).with_finish(ProgressFinish::AndClear);
    bar.with_style(
        ProgressStyle::with_template("{wide_bar} {percent}% {eta}").expect("the template is valid"),
    )
}
