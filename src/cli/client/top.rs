//! `millpond top`: the traffic of a gateway, each second.
//!
//! The main type is [`Top`].

use std::num::{NonZeroU32, ParseIntError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::api_client::ApiClient;
use super::busy_hosts::{BusyHosts, HostShare, follow_stored};
use super::failure::Failure;
use super::table::{ListForm, size, size_of, text};
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, Reader, notice, print_line, print_text};
use crate::model::{lock, sanitize_line};

/// Time between two views.
const INTERVAL: Duration = Duration::from_secs(1);

/// Hosts that a view names.
const SHOWN_HOSTS: usize = 5;

/// Moves to the first column of the first line, and clears the rest of the terminal.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Counters of the API that a view compares with those of the view before.
const COUNTERS: [&str; 8] = [
    "requests",
    "downloads",
    "hits",
    "sent_bytes",
    "hit_bytes",
    "received_bytes",
    "fetches_stored",
    "fetches_failed",
];

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond top
  millpond top --gateway sources.example.org -n 10
  millpond top --json | jq .sent_bytes

The hosts need a token. They are those of the files stored in the last minute.")]
pub struct Top {
    /// End after this number of views
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = positive)]
    count: Option<u32>,
}

fn positive(text: &str) -> Result<u32, ParseIntError> {
    text.parse().map(NonZeroU32::get)
}

/// Traffic between two views.
struct TrafficView {
    length: Duration,
    stats: Value,
    /// Differences of [`COUNTERS`].
    counts: [u64; COUNTERS.len()],
    hosts: Vec<HostShare>,
}

/// State of the gateway at one time.
struct StatsSample {
    at: Instant,
    stats: Value,
}

impl Top {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = Arc::new(ApiClient::new(gateway, form)?);
        let mut last = sample(&api).await?;
        let hosts = Arc::new(Mutex::new(BusyHosts::default()));
        let follower = api
            .has_token()
            .then(|| tokio::spawn(follow_stored(Arc::clone(&api), Arc::clone(&hosts))));
        let shown = tokio::select! {
            shown = self.show_views(&api, &mut last, &hosts) => shown,
            // Without a handler for the signal, the signal itself ends the process.
            Ok(()) = tokio::signal::ctrl_c() => Ok(()),
        };
        if let Some(follower) = follower {
            follower.abort();
        }
        shown
    }

    async fn show_views(
        &self,
        api: &ApiClient,
        last: &mut StatsSample,
        hosts: &Mutex<BusyHosts>,
    ) -> Result<(), Failure> {
        if api.form == OutputForm::Text && ListForm::of_stdout() == ListForm::Pipe {
            print_line(&line_header())?;
        }
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is now.
        ticks.tick().await;
        let mut shown = 0;
        while self.count.is_none_or(|count| shown < count) {
            ticks.tick().await;
            let next = match sample(api).await {
                Ok(next) => next,
                // The gateway may be about to restart.
                Err(failure) => {
                    notice(&format_args!("millpond: {}\n", failure.text));
                    shown += 1;
                    continue;
                }
            };
            let busiest = lock(hosts).busiest(SystemTime::now(), SHOWN_HOSTS);
            let view = TrafficView::between(last, &next, busiest);
            *last = next;
            shown += 1;
            let reader = match (api.form, ListForm::of_stdout()) {
                (OutputForm::Json, _) => print_line(&view.document())?,
                (OutputForm::Text, ListForm::Pipe) => print_line(&view.line())?,
                (OutputForm::Text, ListForm::Terminal) => print_text(&view.screen())?,
            };
            if reader == Reader::Gone {
                break;
            }
        }
        Ok(())
    }
}

async fn sample(api: &ApiClient) -> Result<StatsSample, Failure> {
    let stats = api.call(Method::GET, "stats", &[]).await?;
    Ok(StatsSample {
        at: Instant::now(),
        stats,
    })
}

impl TrafficView {
    fn between(last: &StatsSample, next: &StatsSample, hosts: Vec<HostShare>) -> Self {
        let count = |sample: &StatsSample, name: &str| {
            let value = &sample.stats["since_start"][name];
            value.as_u64().unwrap_or_default()
        };
        Self {
            length: next.at.duration_since(last.at),
            stats: next.stats.clone(),
            // Counters begin with zero after a restart.
            counts: COUNTERS.map(|name| count(next, name).saturating_sub(count(last, name))),
            hosts,
        }
    }

    /// Returns the difference of a counter.
    fn count(&self, name: &str) -> u64 {
        let counters = COUNTERS.iter().zip(self.counts);
        let found = counters.into_iter().find(|(own, _)| **own == name);
        found.map_or(0, |(_, count)| count)
    }

    /// Returns a counter as a rate, such as `1.2 MiB`.
    fn bytes_per_second(&self, name: &str) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is positive, and its fraction is not shown"
        )]
        let bytes = self.per_second(name) as u64;
        size(bytes)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate is shown with few digits"
    )]
    fn per_second(&self, name: &str) -> f64 {
        self.count(name) as f64 / self.length.as_secs_f64().max(f64::EPSILON)
    }

    /// Returns a share in percent, or `-` without a whole.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share is shown with few digits"
    )]
    fn percent(&self, part: &str, whole: &str) -> String {
        match self.count(whole) {
            0 => "-".to_owned(),
            whole => format!("{:.1} %", self.count(part) as f64 * 100.0 / whole as f64),
        }
    }

    fn document(&self) -> Value {
        let mut document = json!({
            "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            "interval_seconds": self.length.as_secs_f64(),
            "name": self.stats["name"],
            "ready": self.stats["ready"],
            "in_flight": self.stats["in_flight"],
            "incidents": self.stats["incidents"],
            "hosts": self.hosts.iter().map(|share| json!({
                "host": share.host,
                "stored": share.files,
                "stored_bytes": share.bytes,
            })).collect::<Vec<_>>(),
        });
        for (name, count) in COUNTERS.iter().zip(self.counts) {
            document[*name] = count.into();
        }
        document
    }

    /// Formats the view as one line, for other programs.
    fn line(&self) -> String {
        let host = self.hosts.first().map_or("-", |share| &share.host);
        sanitize_line(&format!(
            "{:<8}  {:>7.1}  {:>7}  {:>7}  {:>10}  {:>10}  {:>7}  {host}",
            time_of_day(),
            self.per_second("requests"),
            self.percent("hits", "downloads"),
            self.percent("hit_bytes", "sent_bytes"),
            self.bytes_per_second("sent_bytes"),
            self.bytes_per_second("received_bytes"),
            self.stats["in_flight"],
        ))
    }

    /// Formats the view for a terminal, in place of the one before.
    fn screen(&self) -> String {
        let stats = &self.stats;
        let readiness = match stats["ready"].as_bool() {
            Some(true) => "ready",
            _ => "not ready",
        };
        let name = text(&stats["name"]);
        let mut lines = vec![
            format!("{name}  {}  {readiness}", time_of_day()),
            format!("requests   {:.1}/s", self.per_second("requests")),
            format!(
                "hits       {} of downloads, {} of bytes",
                self.percent("hits", "downloads"),
                self.percent("hit_bytes", "sent_bytes")
            ),
            format!("sent       {}/s", self.bytes_per_second("sent_bytes")),
            format!("received   {}/s", self.bytes_per_second("received_bytes")),
            format!(
                "fetches    {} running, {} stored, {} failed",
                stats["in_flight"],
                self.count("fetches_stored"),
                self.count("fetches_failed")
            ),
        ];
        let disk = &stats["disk"];
        if !disk.is_null() {
            let (used, limit) = (&disk["cached_bytes"], &disk["max_size_bytes"]);
            lines.push(format!(
                "cache      {} of {}",
                size_of(used),
                size_of(limit)
            ));
        }
        let incidents = &stats["incidents"];
        lines.push(format!(
            "incidents  {} alerts, {} notices",
            incidents["alerts"], incidents["notices"]
        ));
        if !self.hosts.is_empty() {
            lines.push(String::new());
            lines.push(format!("{:>6}  {:>10}  HOST", "FILES", "STORED"));
        }
        for HostShare { host, files, bytes } in &self.hosts {
            lines.push(format!("{files:>6}  {:>10}  {host}", size(*bytes)));
        }
        let lines: Vec<String> = lines.iter().map(|line| sanitize_line(line)).collect();
        format!("{CLEAR}{}\n", lines.join("\n"))
    }
}

/// Returns the header of the lines of [`TrafficView::line`].
fn line_header() -> String {
    format!(
        "{:<8}  {:>7}  {:>7}  {:>7}  {:>10}  {:>10}  {:>7}  HOST",
        "TIME", "REQ/S", "HITS", "BYTES", "OUT/S", "IN/S", "FETCHES"
    )
}

/// Returns the time in UTC, such as `13:05:59`.
fn time_of_day() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let time = now.split(['T', 'Z']).nth(1);
    time.unwrap_or_default().to_owned()
}
