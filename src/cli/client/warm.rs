//! `millpond warm`: has a gateway copy the files of another node of its cluster.
//!
//! The main type is [`Warm`].

use clap::Args;
use serde_json::json;

use super::api_client::ApiClient;
use super::failure::Failure;
use super::jobs::start_and_follow;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::OutputForm;
use crate::jobs::{JobDestination, JobKind, NodeSelection};
use crate::model::FileUrl;

#[derive(Args)]
#[command(after_help = "Examples:
  millpond warm --from http://10.0.0.11:8080
  millpond warm --from http://10.0.0.11:8080 --owned
  millpond warm --from http://10.0.0.11:8080 --host example.org --no-wait

The work is a job of kind migrate in the gateway. It skips files that are stored, checks the digest
of each other one, evicts nothing, and goes on after a restart. millpond jobs cancel ends it.")]
pub struct Warm {
    /// URL of the other node, as in cluster.peers of the gateway
    #[arg(long, value_name = "URL")]
    from: String,
    /// Copy the files of this host only; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// Copy only the files that the gateway owns among the nodes that are ready
    #[arg(long)]
    owned: bool,
    /// URLs of the files; all without one
    #[arg(value_name = "URL")]
    urls: Vec<FileUrl>,
    /// Start the job, and do not wait for its end
    #[arg(long)]
    no_wait: bool,
}

impl Warm {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let urls: Vec<&str> = self.urls.iter().map(FileUrl::as_str).collect();
        let from = NodeSelection {
            peer: self.from,
            hosts: self.hosts,
            owned: self.owned,
        };
        let order = json!({
            "kind": JobKind::Migrate,
            "to": JobDestination::Disk,
            "from": from,
            "targets": urls,
        });
        start_and_follow(&api, &order, !self.no_wait).await
    }
}
