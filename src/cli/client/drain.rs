//! `millpond drain`: has a gateway own no targets any more, and moves what only it has.
//!
//! The main type is [`Drain`].

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::api_client::ApiClient;
use super::failure::Failure;
use super::jobs::{follow, has_succeeded, show};
use super::table::text;
use crate::cli::exit::FailureCode;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, print_line};
use crate::jobs::{JobDestination, JobKind};

/// Bound on the jobs that follow each other, because fetches of before have ended meanwhile.
const MAX_JOBS: usize = 5;

/// Line about responses that no job moves. The number of remaining objects leaves them out.
const NOT_MOVED: &str = "not looked at: responses of class revalidate, and parts of images that \
    needed a credential";

#[derive(Args)]
#[command(after_help = "Examples:
  millpond drain --gateway http://10.0.0.11:8080
  millpond drain --no-wait
  millpond drain --cancel

The gateway goes on to serve what it has, and the other nodes ask it for nothing else. A job of kind
migrate has the next owners copy what they lack. Each confirms the digest of each object. The exit
code is 0 if no object remains on this node only. The state survives a restart until --cancel.")]
pub struct Drain {
    /// Have the gateway own its targets again, and cancel the job
    #[arg(long, conflicts_with = "no_wait")]
    cancel: bool,
    /// Start the job, and do not wait for its end
    #[arg(long)]
    no_wait: bool,
}

impl Drain {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        if self.cancel {
            return cancel(&api).await;
        }
        let before = api.call(Method::GET, "node", &[]).await?;
        api.call(Method::PUT, "node/draining", &[]).await?;
        let order = json!({"kind": JobKind::Migrate, "to": JobDestination::Owners});
        let mut job = match api.send("jobs", &order).await {
            Ok(job) => job,
            Err(failure) => {
                // A node that cannot move anything goes on to own its targets. Without an answer,
                // the job may run, and a node that was draining before has moved a part.
                let is_refused = failure
                    .status
                    .is_some_and(|status| status.is_client_error());
                if is_refused && before["draining"] == false {
                    drop(api.call(Method::DELETE, "node/draining", &[]).await);
                }
                return Err(failure);
            }
        };
        if self.no_wait {
            return show(&api, &job);
        }
        job = follow(&api, job).await?;
        for _ in 1..MAX_JOBS {
            if job["bytes"] == 0 || !has_succeeded(&job)? {
                break;
            }
            job = follow(&api, api.send("jobs", &order).await?).await?;
        }
        show(&api, &job)?;
        if !has_succeeded(&job)? {
            return Err(Failure::silent(FailureCode::Failed));
        }
        if api.form == OutputForm::Text {
            print_line(&NOT_MOVED)?;
            print_line(&"0 objects remain on this node only")?;
        }
        Ok(())
    }
}

/// Ends the draining, and cancels its jobs.
async fn cancel(api: &ApiClient) -> Result<(), Failure> {
    let node = api.call(Method::DELETE, "node/draining", &[]).await?;
    let page = api
        .call(Method::GET, "jobs", &[("kind", "migrate")])
        .await?;
    let jobs = page["jobs"].as_array().into_iter().flatten();
    let is_meant =
        |job: &&Value| job["to"] == JobDestination::Owners.as_str() && job["ended"].is_null();
    for job in jobs.filter(is_meant) {
        let resource = format!("jobs/{}", text(&job["id"]));
        api.call(Method::DELETE, &resource, &[]).await?;
    }
    match api.form {
        OutputForm::Json => print_line(&node)?,
        OutputForm::Text => print_line(&"the node owns its targets again")?,
    };
    Ok(())
}
