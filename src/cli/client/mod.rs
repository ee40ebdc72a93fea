//! The commands that talk to a gateway: for everybody who builds, and for operators.

mod api_client;
mod get;
mod import;
mod progress;
mod targets;

use std::process::ExitCode;

use clap::Subcommand;

use get::{Ensure, Get};
use import::Import;
use targets::{Ls, Pin, Refresh, Rm, Stat, Unpin};

#[derive(Subcommand)]
pub enum Command {
    /// Download a file through the gateway, and check it
    Get(Get),
    /// Have the gateway fetch and keep a file, and download nothing
    Ensure(Ensure),
    /// Show all that a URL is known to have given
    Stat(Stat),
    /// List what is kept (operators)
    Ls(Ls),
    /// Remove a URL with its records and bytes, or the bytes of one digest (operators)
    Rm(Rm),
    /// Fetch a URL again; other bytes than before are kept beside the old ones (operators)
    Refresh(Refresh),
    /// Say which bytes a URL means, and keep them from eviction (operators)
    Pin(Pin),
    /// Take a pin away, or all pins of a URL (operators)
    Unpin(Unpin),
    /// Store your own copy of a file, or of a folder of files, under a URL, pinned (operators)
    Import(Import),
}

impl Command {
    pub async fn run(self) -> ExitCode {
        let done = match self {
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
        done.map_or_else(|failure| failure.show(), |()| ExitCode::SUCCESS)
    }
}
