//! `millpond spec`: the sources of spec files: listed, stored, rewritten to the gateway, imported.
//!
//! The main type is [`ManageSpecs`].

mod ensure;
mod found;
mod import;
mod list;
mod rewrite;
mod stated;
mod whole_write;

use clap::{Args, Subcommand};

use super::failure::Failure;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::OutputForm;
use ensure::EnsureSpecs;
use import::ImportSpecs;
use list::ListSpecs;
use rewrite::RewriteSpecs;

pub use found::{SpecArgs, SpecProblems};
pub use stated::NamedDigests;

#[derive(Args)]
#[command(after_help = "Examples:
  millpond spec list x.spec
  millpond spec ensure specs/ --jobs 16
  millpond spec rewrite specs/ --gateway https://sources.example.org
  millpond spec import x.spec --token-file token

Lua and shell commands of a spec never run. A URL that needs one is reported with the macro.")]
pub struct ManageSpecs {
    #[command(subcommand)]
    action: SpecAction,
}

#[derive(Subcommand)]
enum SpecAction {
    /// List all sources and patches with their URLs, without any connection
    List(ListSpecs),
    /// Have the gateway fetch and store all sources and patches
    Ensure(EnsureSpecs),
    /// Put the gateway in front of all URLs of sources and patches
    Rewrite(RewriteSpecs),
    /// Store the files beside a spec under their URLs, pinned (operators)
    Import(ImportSpecs),
}

impl ManageSpecs {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        match self.action {
            SpecAction::List(list) => list.run(form),
            SpecAction::Ensure(ensure) => ensure.run(gateway, form).await,
            SpecAction::Rewrite(rewrite) => rewrite.run(gateway, form),
            SpecAction::Import(import) => import.run(gateway, form).await,
        }
    }
}
