//! `millpond verify`: works on the cache folder itself, beside the processes that serve it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use super::{EXIT_CORRUPT, EXIT_FAILED, EXIT_USAGE, Source, complain, finish_with};
use crate::care::{Finding, Plan, Sign, Sources, Verified, verify};
use crate::config::Config;
use crate::dial::Dialer;
use crate::fetch::{Fetcher, MAX_FLIGHTS};
use crate::model::{EventSink, Rate, one_line};
use crate::origin::Origin;
use crate::policy::Policy;
use crate::store::Store;

/// What this process is called where it fetches, unless the gateway has a name.
const NAME: &str = "millpond-verify";

/// The steps of the progress bar.
const STEPS: u64 = 1000;

#[derive(clap::Args)]
pub struct Verify {
    /// Read this share of the objects, the next ones each time; names and records are always looked at
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
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "it must be above 0 and at most 1".to_owned())
}

fn rate(text: &str) -> Result<Rate, String> {
    Rate::try_from(text.to_owned())
}

impl Verify {
    pub async fn run(self, source: &Source) -> ExitCode {
        let sources = source.load().map_err(|error| error.to_string()).and_then(open);
        let sources = match sources {
            Ok(sources) => sources,
            Err(line) => return complain(&line, EXIT_USAGE),
        };
        let code = self.verify(&sources).await;
        sources.fetcher.stop(Duration::ZERO).await;
        sources.store.leave().await;
        code
    }

    async fn verify(&self, sources: &Sources) -> ExitCode {
        let mut turn = match sources.store.begin_verification().await {
            Ok(Some(turn)) => turn,
            Ok(None) => return complain(&"another process verifies this folder now", EXIT_FAILED),
            Err(error) => return complain(&error, EXIT_FAILED),
        };
        let (began, bar) = (Instant::now(), bar(!self.json));
        let plan = Plan { share: self.share, surveys: true, is_rehearsal: self.dry_run, rate: self.rate };
        let verified = verify(sources, &mut turn, plan, &|sign| self.show(sign, &bar)).await;
        bar.finish_and_clear();
        match verified {
            Ok(verified) => {
                let code = self.sum_up(&verified, began.elapsed());
                if verified.unmended > 0 { ExitCode::from(EXIT_CORRUPT) } else { code }
            }
            Err(error) => complain(&error, EXIT_FAILED),
        }
    }

    fn show(&self, sign: &Sign<'_>, bar: &ProgressBar) {
        match sign {
            // A line that cannot be printed is reported on standard error; the exit code is that of the whole.
            Sign::Found(finding) if self.json => {
                finish_with(&serde_json::json!({ "finding": finding }));
            }
            Sign::Found(finding) => {
                bar.suspend(|| finish_with(&line(finding)));
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and STEPS")]
            #[expect(clippy::cast_precision_loss, reason = "there are few steps")]
            Sign::Done(share) => bar.set_position((share * STEPS as f64) as u64),
        }
    }

    fn sum_up(&self, verified: &Verified, duration: Duration) -> ExitCode {
        if self.json {
            return finish_with(&serde_json::json!({ "verified": verified }));
        }
        let Verified { objects, size_bytes, records, mended, unmended, noted } = verified;
        finish_with(&format_args!(
            "{objects} objects of {size_bytes} bytes are right; {records} records; {mended} mended, {unmended} not, {noted} odd, in {} s",
            duration.as_secs()
        ))
    }
}

/// One finding for people: what, where, what became of it, whose it is.
fn line(finding: &Finding) -> String {
    let Finding { flaw, name, outcome, detail, targets } = finding;
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().replace('_', " ");
    let (flaw, outcome) = (word(serde_json::json!(flaw)), word(serde_json::json!(outcome)));
    let of = if targets.is_empty() { String::new() } else { format!(" ({})", targets.join(", ")) };
    // A foreign file may have any name.
    one_line(&format!("{flaw}, {outcome}: {name}{of}: {detail}"))
}

/// The folder as a guest, and what it takes to fetch.
fn open(config: Config) -> Result<Sources, String> {
    let name = if config.gateway.name.is_empty() { NAME } else { &config.gateway.name };
    let events = EventSink::new();
    let policy = Arc::new(Policy::new(config.policy, config.rules, &config.parents, config.limits)?);
    let dialer = Dialer::new(Arc::clone(&policy), config.fetch.connect_timeout.0);
    let origin = Arc::new(Origin::new(&config.fetch.for_origin(name), Arc::clone(&policy), dialer)?);
    if !config.cache.dir.is_dir() {
        return Err(format!("cache.dir: there is no folder {}", config.cache.dir.display()));
    }
    let failure_ttl = config.cache.absent_ttl.0;
    let store = Store::visit_with_bucket(config.cache, config.s3, events.clone()).map_err(|error| error.to_string())?;
    let fetcher = Fetcher::new(config.fetch, MAX_FLIGHTS, store.clone(), origin, policy, events, failure_ttl);
    Ok(Sources { store, fetcher })
}

fn bar(is_shown: bool) -> ProgressBar {
    let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(STEPS), target).with_finish(ProgressFinish::AndClear);
    bar.with_style(ProgressStyle::with_template("{wide_bar} {percent}% {eta}").expect("this template is one"))
}
