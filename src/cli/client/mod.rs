//! Commands that use the API of a gateway. Some are for all users, the others for operators.

mod api_client;
mod get;
mod import;
mod progress;
mod targets;

use std::process::ExitCode;

use clap::Subcommand;

use get::{Ensure, Get};
use import::Import;
use targets::{Ls, PinTarget, Refresh, Rm, Stat, UnpinTarget};

/// Command that uses the API of a gateway.
#[derive(Subcommand)]
pub enum ClientCommand {
    /// Download a file through the gateway, and verify it
    Get(Get),
    /// Have the gateway fetch and store a file, without a download
    Ensure(Ensure),
    /// Show all records of a URL, and its class
    Stat(Stat),
    /// List stored files (operators)
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
}

impl ClientCommand {
    /// Runs the command.
    pub async fn run(self) -> ExitCode {
        let result = match self {
            Self::Get(get) => get.run().await,
            Self::Ensure(ensure) => ensure.run().await,
            Self::Stat(stat) => stat.run().await,
            Self::Ls(ls) => ls.run().await,
            Self::Rm(rm) => rm.run().await,
            Self::Refresh(refresh) => refresh.run().await,
            Self::Pin(pin) => pin.run().await,
            Self::Unpin(unpin) => unpin.run().await,
            Self::Import(import) => import.run().await,
        };
        result.map_or_else(|failure| failure.report(), |()| ExitCode::SUCCESS)
    }
}
