//! `millpond jobs`: orders, lists, shows and cancels jobs of a gateway.
//!
//! The main type is [`ManageJobs`].

use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::table::{ListForm, counted, size_of, text};
use super::url_list::{PlatformArgs, UrlArgs};
use crate::cli::exit::FailureCode;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, Reader, print_line};
use crate::jobs::{
    InvalidJobId, JobDestination, JobId, JobKind, JobState, KeyShare, ReceivingNode,
};
use crate::model::{FileUrl, WantedFile};

/// How often the gateway is asked for the state of a job.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Args)]
#[command(after_help = "Examples:
  millpond jobs
  millpond jobs start fetch -i sources.txt --wait
  millpond jobs scrub
  millpond jobs migrate disk --wait
  millpond jobs migrate node --peer http://10.0.0.12:8080 --host example.org --wait
  millpond jobs show 0193a5b1c2d34e5f
  millpond jobs cancel 0193a5b1c2d34e5f

A job runs in the gateway, and goes on after a restart of it.")]
pub struct ManageJobs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// List all jobs, the newest first (the default)
    List,
    /// Start a job for a list of URLs
    Start(StartJob),
    /// Start a job that reads stored files, all of them without URLs, and repairs corrupt ones
    Scrub(ScrubJob),
    /// Start a job that copies stored files, all of them without URLs, to the disk, the bucket or
    /// other nodes
    Migrate(MigrateJob),
    /// Show a job and the URLs that failed
    Show(OneJob),
    /// Cancel a job; what it has stored stays
    Cancel(OneJob),
}

#[derive(Args)]
struct StartJob {
    /// Work on each URL
    kind: JobKind,
    #[command(flatten)]
    files: UrlArgs,
    #[command(flatten)]
    images: PlatformArgs,
    /// Wait for the end of the job; the exit code says whether each URL is done
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
struct ScrubJob {
    /// URLs of the files
    #[arg(value_name = "URL")]
    urls: Vec<FileUrl>,
    /// Wait for the end of the job; the exit code says whether all files are intact
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
struct MigrateJob {
    /// Copy what this one lacks
    to: JobDestination,
    #[command(flatten)]
    node: NodeArgs,
    /// URLs of the files
    #[arg(value_name = "URL")]
    urls: Vec<FileUrl>,
    /// Wait for the end of the job; the exit code says whether all files are copied
    #[arg(long)]
    wait: bool,
}

/// Node that copies, and the files.
#[derive(Args)]
struct NodeArgs {
    /// URL of the node, as in cluster.peers of the gateway
    #[arg(long, value_name = "URL", required_if_eq("to", "node"))]
    peer: Option<String>,
    /// Only the files of this host; may be repeated
    #[arg(long = "host", value_name = "HOST", requires = "peer")]
    hosts: Vec<String>,
    /// Only this share of all files, such as 1/4
    #[arg(long, value_name = "PART/PARTS", requires = "peer")]
    share: Option<KeyShare>,
}

impl NodeArgs {
    fn order(self) -> Option<ReceivingNode> {
        Some(ReceivingNode {
            peer: self.peer?,
            hosts: self.hosts,
            share: self.share,
        })
    }
}

#[derive(Args)]
struct OneJob {
    /// Identity of the job
    #[arg(value_name = "ID")]
    id: JobId,
}

impl ValueEnum for JobKind {
    fn value_variants<'a>() -> &'a [Self] {
        // The job of kind migrate has a command of its own, since it needs a destination.
        &[Self::Fetch, Self::Refresh, Self::Evict, Self::Scrub]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Fetch => "Fetch what is not stored",
            Self::Refresh => "Fetch again; changed bytes are stored beside the old ones",
            Self::Evict => "Remove the bytes, and keep the records",
            Self::Scrub => "Read the bytes, and repair corrupt ones",
            Self::Migrate => "Copy to the disk or the bucket",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

impl ValueEnum for JobDestination {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Disk, Self::Bucket, Self::Owners, Self::Node]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Disk => PossibleValue::new("disk").help("The cache folder of the gateway"),
            Self::Bucket => PossibleValue::new("bucket").help("The bucket of its section [s3]"),
            Self::Owners => {
                PossibleValue::new("owners").help("The next owner of each file among the peers")
            }
            Self::Node => PossibleValue::new("node").help("The peer of --peer"),
        })
    }
}

impl ManageJobs {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let files = match &self.action {
            Some(Action::Start(start)) => start.files.files_and_images()?,
            _ => Vec::new(),
        };
        let api = ApiClient::new(gateway, form)?;
        match self.action {
            None | Some(Action::List) => list(&api).await,
            Some(Action::Start(job)) => start_and_follow(&api, &job.order(&files), job.wait).await,
            Some(Action::Scrub(scrub)) => {
                let urls: Vec<&str> = scrub.urls.iter().map(FileUrl::as_str).collect();
                let order = json!({"kind": JobKind::Scrub, "targets": urls});
                start_and_follow(&api, &order, scrub.wait).await
            }
            Some(Action::Migrate(migrate)) => {
                let urls: Vec<&str> = migrate.urls.iter().map(FileUrl::as_str).collect();
                let mut order =
                    json!({"kind": JobKind::Migrate, "to": migrate.to, "targets": urls});
                // An older gateway does not know the field.
                if let Some(node) = migrate.node.order() {
                    order["node"] = json!(node);
                }
                start_and_follow(&api, &order, migrate.wait).await
            }
            Some(Action::Show(job)) => {
                let job = api.call(Method::GET, &resource_of(&job.id), &[]).await?;
                show(&api, &job)
            }
            Some(Action::Cancel(job)) => {
                let job = api.call(Method::DELETE, &resource_of(&job.id), &[]).await?;
                show(&api, &job)
            }
        }
    }
}

/// Starts a job, and waits for its end if `waits` is set. Then shows it.
pub async fn start_and_follow(api: &ApiClient, order: &Value, waits: bool) -> Result<(), Failure> {
    let mut job = api.send("jobs", order).await?;
    if !waits {
        return show(api, &job);
    }
    job = follow(api, job).await?;
    show(api, &job)?;
    if has_succeeded(&job)? {
        Ok(())
    } else {
        Err(Failure::silent(FailureCode::Failed))
    }
}

/// Waits for the end of a job.
pub async fn follow(api: &ApiClient, mut job: Value) -> Result<Value, Failure> {
    let id = text(&job["id"]).parse();
    let id = id.map_err(|error: InvalidJobId| Failure::failed(error.to_string()))?;
    while !state_of(&job)?.has_ended() {
        sleep(POLL_INTERVAL).await;
        job = api.call(Method::GET, &resource_of(&id), &[]).await?;
    }
    Ok(job)
}

/// Returns whether each target of a job is done.
pub fn has_succeeded(job: &Value) -> Result<bool, Failure> {
    Ok(state_of(job)? == JobState::Succeeded)
}

impl StartJob {
    fn order(&self, files: &[WantedFile]) -> Value {
        let mut lines = Vec::new();
        for file in files {
            let url = file.url.as_str();
            if file.expected.is_empty() {
                lines.push(url.to_owned());
            }
            let digests = file.expected.iter();
            lines.extend(digests.map(|digest| format!("{digest} {url}")));
        }
        let mut order = json!({
            "kind": self.kind,
            "targets": lines,
            "concurrency": self.files.jobs,
        });
        // An older gateway does not know the field.
        if !self.images.platform.is_empty() {
            order["platforms"] = json!(self.images.platform);
        }
        order
    }
}

fn resource_of(id: &JobId) -> String {
    format!("jobs/{id}")
}

fn state_of(job: &Value) -> Result<JobState, Failure> {
    JobState::deserialize(&job["state"])
        .map_err(|_| Failure::failed("the gateway has sent a job without a known state"))
}

async fn list(api: &ApiClient) -> Result<(), Failure> {
    let page = api.call(Method::GET, "jobs", &[]).await?;
    let jobs: Vec<&Value> = page["jobs"].as_array().into_iter().flatten().collect();
    let form = ListForm::of_stdout();
    if form == ListForm::Terminal && api.form == OutputForm::Text {
        if jobs.is_empty() {
            print_line(&"there is no job")?;
        } else {
            print_line(&format_args!(
                "{:<16}  {:<7}  {:<9}  {:>7}  {:>15}  {:>6}  {:>10}",
                "ID", "KIND", "STATE", "CREATED", "DONE", "FAILED", "SIZE"
            ))?;
        }
    }
    for job in jobs {
        let reader = match api.form {
            OutputForm::Json => print_line(job)?,
            OutputForm::Text => print_line(&line_of(job, form))?,
        };
        if reader == Reader::Gone {
            break;
        }
    }
    Ok(())
}

/// Prints a job, and a line for each URL that failed.
pub fn show(api: &ApiClient, job: &Value) -> Result<(), Failure> {
    match api.form {
        OutputForm::Json => print_line(job)?,
        OutputForm::Text => {
            let mut lines = vec![line_of(job, ListForm::of_stdout())];
            let despite = &job["despite_directives"];
            if despite.as_u64().is_some_and(|count| count > 0) {
                let urls = counted(despite, "URL");
                lines.push(format!("  {urls} stored although the origin forbids it"));
            }
            let failures = job["failures"].as_array().into_iter().flatten();
            lines.extend(failures.map(|failure| {
                format!("  {}: {}", text(&failure["url"]), text(&failure["error"]))
            }));
            print_line(&lines.join("\n"))?
        }
    };
    Ok(())
}

fn line_of(job: &Value, form: ListForm) -> String {
    let done = format!("{}/{}", job["done"], job["targets"]);
    format!(
        "{:<16}  {:<7}  {:<9}  {:>7}  {done:>15}  {:>6}  {:>10}",
        text(&job["id"]),
        text(&job["kind"]),
        text(&job["state"]),
        form.time(&job["created"]),
        job["failed"],
        size_of(&job["bytes"]),
    )
}
