//! Commands that use the API of a gateway. Some are for all users, the others for operators.
//!
//! The main type is [`ClientCommand`].

mod answer_head;
mod api_client;
mod batch;
mod busy_hosts;
mod catalog;
mod download;
mod drain;
mod ensure;
mod events;
pub mod failure;
mod fetches;
mod file_request;
mod get;
mod image;
mod import;
mod incidents;
mod jobs;
mod ls;
mod ls_images;
mod part_file;
mod piece_download;
mod progress;
mod rm;
pub mod spec;
mod stat;
mod status;
pub mod table;
mod targets;
mod top;
pub mod url_list;
mod warm;

use std::process::ExitCode;

use clap::Subcommand;

use super::gateway_args::GatewayArgs;
use super::output::OutputForm;
use catalog::ManageCatalog;
use drain::Drain;
use ensure::Ensure;
use events::ShowEvents;
use fetches::ListFetches;
use get::Get;
use import::Import;
use incidents::ListIncidents;
use jobs::ManageJobs;
use ls::Ls;
use rm::Rm;
use spec::ManageSpecs;
use stat::Stat;
use status::Status;
use targets::{PinTarget, Refresh, UnpinTarget};
use top::Top;
use warm::Warm;

/// Command that uses the API of a gateway.
#[derive(Subcommand)]
pub enum ClientCommand {
    /// Download files through the gateway, and verify them
    Get(Get),
    /// Have the gateway fetch and store files, without a download
    Ensure(Ensure),
    /// Show all records of a URL, and its class
    Stat(Stat),
    /// List stored files (operators and readers)
    Ls(Ls),
    /// Remove a URL with its records and objects, or one object (operators)
    Rm(Rm),
    /// Fetch a URL again; changed bytes are stored beside the old ones (operators)
    Refresh(Refresh),
    /// Pin the bytes of a URL: they are served for it, and not evicted (operators)
    Pin(PinTarget),
    /// Remove one pin or all pins of a URL (operators)
    Unpin(UnpinTarget),
    /// Store your own copy of a file, or of a folder of files, under a URL, pinned (operators)
    Import(Import),
    /// List, store, rewrite and import the sources of spec files
    Spec(ManageSpecs),
    /// Import lists of files by name and digest, and search them, for build systems whose mirror
    /// requests have no URL
    Catalog(ManageCatalog),
    /// List incidents: failing hosts, changed files, trouble of the gateway itself
    Incidents(ListIncidents),
    /// List, start, show and cancel jobs: lists of URLs to fetch, refresh or evict (operators)
    Jobs(ManageJobs),
    /// Move what only the gateway has to the other nodes, before it is taken away (operators)
    Drain(Drain),
    /// Copy the files of another node of the cluster to the gateway (operators)
    Warm(Warm),
    /// List the fetches that the gateway runs now (operators and readers)
    Fetches(ListFetches),
    /// Show the recent events of the gateway, or follow them (operators and readers)
    Events(ShowEvents),
    /// Show version, readiness, disk, in-flight fetches and incidents of the gateway
    Status(Status),
    /// Show requests, hits, bytes and fetches of the gateway each second
    Top(Top),
}

impl ClientCommand {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> ExitCode {
        let result = match self {
            Self::Get(get) => get.run(gateway, form).await,
            Self::Ensure(ensure) => ensure.run(gateway, form).await,
            Self::Stat(stat) => stat.run(gateway, form).await,
            Self::Ls(ls) => ls.run(gateway, form).await,
            Self::Rm(rm) => rm.run(gateway, form).await,
            Self::Refresh(refresh) => refresh.run(gateway, form).await,
            Self::Pin(pin) => pin.run(gateway, form).await,
            Self::Unpin(unpin) => unpin.run(gateway, form).await,
            Self::Import(import) => import.run(gateway, form).await,
            Self::Spec(specs) => specs.run(gateway, form).await,
            Self::Catalog(catalog) => catalog.run(gateway, form).await,
            Self::Incidents(incidents) => incidents.run(gateway, form).await,
            Self::Jobs(jobs) => jobs.run(gateway, form).await,
            Self::Drain(drain) => drain.run(gateway, form).await,
            Self::Warm(warm) => warm.run(gateway, form).await,
            Self::Fetches(fetches) => fetches.run(gateway, form).await,
            Self::Events(events) => events.run(gateway, form).await,
            Self::Status(status) => status.run(gateway, form).await,
            Self::Top(top) => top.run(gateway, form).await,
        };
        result.map_or_else(|failure| failure.report(form), |()| ExitCode::SUCCESS)
    }
}
