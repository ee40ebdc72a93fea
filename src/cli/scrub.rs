//! `millpond scrub`: works on the cache folder itself, beside the processes that serve it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::{ConfigSource, EXIT_CORRUPT, EXIT_FAILED, EXIT_USAGE, fail, finish_with};
use crate::cache::OpenMode;
use crate::config::Config;
use crate::limits::MAX_IN_FLIGHT;
use crate::model::{EventSink, ParseUnitError, Rate, sanitize_line};
use crate::scrub::{
    RepairSources, ScrubEvent, ScrubFinding, ScrubLock, ScrubOptions, ScrubReport, scrub,
};
use crate::services::{FetchLimits, Services};

/// What this process is called where it fetches, unless the gateway has a name.
const NAME: &str = "millpond-scrub";

/// The steps of the progress bar.
const STEPS: u64 = 1000;

#[derive(clap::Args)]
pub struct Scrub {
    /// Read this share of the objects, the next ones each time; names and records are always looked
    /// at
    #[arg(long, value_name = "FRACTION", default_value = "1", value_parser = share)]
    share: f64,
    /// Bytes to read a second at most; "" means no limit
    #[arg(long, value_name = "SIZE", default_value = "100MiB", value_parser = rate)]
    rate: Rate,
    /// Change and fetch nothing, only say what is wrong
    #[arg(long)]
    dry_run: bool,
    /// Say in JSON what is found, a line each, and what it came to in the last line
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "it must be above 0 and at most 1".to_owned())
}

fn rate(text: &str) -> Result<Rate, ParseUnitError> {
    Rate::try_from(text.to_owned())
}

impl Scrub {
    pub async fn run(self, source: &ConfigSource) -> ExitCode {
        let sources = source
            .load()
            .map_err(|error| error.to_string())
            .and_then(|config| open(&config));
        let sources = match sources {
            Ok(sources) => sources,
            Err(line) => return fail(&line, EXIT_USAGE),
        };
        let code = self.scrub(&sources).await;
        sources.fetcher.stop(Duration::ZERO).await;
        sources.cache.close().await;
        code
    }

    async fn scrub(&self, sources: &RepairSources) -> ExitCode {
        let mut lock = match ScrubLock::acquire(&sources.cache).await {
            Ok(Some(lock)) => lock,
            Ok(None) => return fail(&"another process scrubs this folder now", EXIT_FAILED),
            Err(error) => return fail(&error, EXIT_FAILED),
        };
        let (began, bar) = (Instant::now(), bar(!self.json));
        let options = ScrubOptions {
            share: self.share,
            checks_metadata: true,
            is_dry_run: self.dry_run,
            rate: self.rate,
        };
        let report = scrub(sources, &mut lock, options, &|event| self.show(event, &bar)).await;
        bar.finish_and_clear();
        match report {
            Ok(report) => {
                let code = self.print_summary(&report, began.elapsed());
                if report.unrepaired > 0 {
                    ExitCode::from(EXIT_CORRUPT)
                } else {
                    code
                }
            }
            Err(error) => fail(&error, EXIT_FAILED),
        }
    }

    fn show(&self, event: &ScrubEvent<'_>, bar: &ProgressBar) {
        match event {
            // A line that cannot be printed is reported on standard error; the exit code is that of
            // the whole.
            ScrubEvent::Found(finding) if self.json => {
                finish_with(&serde_json::json!({ "finding": finding }));
            }
            ScrubEvent::Found(finding) => {
                bar.suspend(|| finish_with(&line(finding)));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is between 0 and STEPS"
            )]
            #[expect(clippy::cast_precision_loss, reason = "there are few steps")]
            ScrubEvent::Done(share) => bar.set_position((share * STEPS as f64) as u64),
        }
    }

    fn print_summary(&self, report: &ScrubReport, duration: Duration) -> ExitCode {
        if self.json {
            return finish_with(&serde_json::json!({ "report": report }));
        }
        let ScrubReport {
            objects,
            size_bytes,
            records,
            repaired,
            unrepaired,
            warnings,
        } = report;
        finish_with(&format_args!(
            "{objects} objects of {size_bytes} bytes are intact; {records} records; {repaired} repaired, {unrepaired} unrepaired, {warnings} warnings, in {} s",
            duration.as_secs()
        ))
    }
}

/// One finding for people: what, where, what became of it, whose it is.
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
    let of = if targets.is_empty() {
        String::new()
    } else {
        format!(" ({})", targets.join(", "))
    };
    // A foreign file may have any name.
    sanitize_line(&format!("{defect}, {outcome}: {name}{of}: {detail}"))
}

/// Opens the folder for maintenance, with a fetcher for repairs.
fn open(config: &Config) -> Result<RepairSources, String> {
    let name = if config.gateway.name.is_empty() {
        NAME.to_owned()
    } else {
        config.gateway.name.clone()
    };
    if !config.cache.dir.is_dir() {
        return Err(format!(
            "cache.dir: there is no folder {}",
            config.cache.dir.display()
        ));
    }
    let limits = FetchLimits {
        concurrency: config.fetch.concurrency,
        in_flight: MAX_IN_FLIGHT,
    };
    let services = Services::build(
        config,
        &name,
        OpenMode::Maintenance,
        &limits,
        EventSink::new(),
    )
    .map_err(|error| error.to_string())?;
    Ok(services.repair_sources())
}

fn bar(is_shown: bool) -> ProgressBar {
    let target = if is_shown {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar =
        ProgressBar::with_draw_target(Some(STEPS), target).with_finish(ProgressFinish::AndClear);
    bar.with_style(
        ProgressStyle::with_template("{wide_bar} {percent}% {eta}").expect("this template is one"),
    )
}
