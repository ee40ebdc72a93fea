//! Command line: parses the arguments and runs the command.

mod client;
mod config_source;
mod doctor;
mod error;
mod exit;
mod explain;
mod gc;
mod migrate;
mod output;
mod scrub;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::app::{self, AppError};
use client::ClientCommand;
use config_source::ConfigSource;
use doctor::Doctor;
use exit::{FailureCode, fail, finish_with};
use explain::Explain;
use gc::Gc;
use migrate::Migrate;
use scrub::Scrub;

/// Maximum number of threads for blocking operations. Each runs one disk operation at a time.
const MAX_BLOCKING_THREADS: usize = 256;

#[derive(Parser)]
#[command(
    name = "millpond",
    version,
    about = "A caching gateway for upstream source tarballs"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: ConfigSource,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway and the proxy (the default command)
    Serve,
    /// Check the configuration, and run nothing
    CheckConfig,
    /// Explain how the configuration treats a URL, without any connection
    Explain(Explain),
    /// Check whether a gateway is ready
    Doctor(Doctor),
    /// Copy all objects and records from a folder or bucket to another, while both are in use
    Migrate(Migrate),
    /// Verify the cache folder, quarantine damaged objects and fetch them again, also while the
    /// folder is in use
    Scrub(Scrub),
    /// Remove objects from the bucket that no record refers to, or that retention does not keep
    Gc(Gc),
    #[command(flatten)]
    Client(ClientCommand),
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let Arguments { command, source } = Arguments::parse();
    match command.unwrap_or(Command::Serve) {
        Command::CheckConfig => match source.load() {
            Ok(_) => finish_with(&"the configuration is valid"),
            Err(error) => fail(&error, FailureCode::Usage),
        },
        Command::Serve => serve(source),
        Command::Explain(explain) => explain.run(&source),
        Command::Doctor(doctor) => block_on(doctor.run()),
        Command::Migrate(migrate) => block_on(migrate.run(&source)),
        Command::Scrub(scrub) => block_on(scrub.run(&source)),
        Command::Gc(gc) => block_on(gc.run(&source)),
        Command::Client(command) => block_on(command.run()),
    }
}

fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => fail(&error, FailureCode::Failed),
    }
}

fn serve(source: ConfigSource) -> ExitCode {
    let config = match source.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, FailureCode::Usage),
    };
    let log = match app::start_log(&config.log) {
        Ok(log) => log,
        Err(error) => return fail(&error, FailureCode::Failed),
    };
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, FailureCode::Failed),
    };
    let reload = app::Reload {
        file: source.config,
        settings: source.set,
    };
    let served = runtime.block_on(app::serve(config, reload, log.health()));
    // A hanging disk operation must not delay the exit. The next start cleans up behind it.
    runtime.shutdown_background();
    // Write the queued log lines first, so that the error is the last line.
    drop(log);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ (AppError::Configuration(_) | AppError::Services(_))) => {
            fail(&error, FailureCode::Usage)
        }
        Err(error @ AppError::System(_)) => fail(&error, FailureCode::Failed),
    }
}
