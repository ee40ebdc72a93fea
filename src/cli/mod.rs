//! Arguments and exit codes.

mod client;
mod doctor;
mod gc;
mod migrate;
mod output;
mod scrub;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::app;
use crate::config::{Config, ConfigLoadError};
use doctor::Doctor;
use gc::Gc;
use migrate::Migrate;
use output::{notice, print_line};
use scrub::Scrub;

/// Exit code for what was tried and did not work.
const EXIT_FAILED: u8 = 1;

/// Exit code for what is not there.
const EXIT_ABSENT: u8 = 3;

/// Exit code for bytes that are not what they should be.
const EXIT_CORRUPT: u8 = 4;

/// Exit code for wrong arguments and a configuration that cannot be used.
const EXIT_USAGE: u8 = 2;

/// Threads for disk work. Each waits for one disk operation at a time.
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

#[derive(clap::Args)]
struct ConfigSource {
    /// The configuration, in TOML. Without it the defaults hold
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// One value over file and environment, like cache.max_size=100GiB
    #[arg(long, value_name = "SECTION.KEY=VALUE", global = true)]
    set: Vec<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway and the proxy (also without a command)
    Serve,
    /// Say whether the configuration can be used, and run nothing
    CheckConfig,
    /// Say whether a gateway is ready
    Doctor(Doctor),
    /// Copy everything from a folder or a bucket to another one, while both are in use
    Migrate(Migrate),
    /// Read what the cache folder holds, set aside what is damaged and get it again, while the
    /// folder is served or not
    Scrub(Scrub),
    /// Remove from the bucket what no record names, and what retention does not keep
    Gc(Gc),
    #[command(flatten)]
    Client(client::Command),
}

impl ConfigSource {
    fn load(&self) -> Result<Config, ConfigLoadError> {
        Config::load(self.config.as_deref(), Config::environment(), &self.set)
    }
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let Arguments { command, source } = Arguments::parse();
    match command.unwrap_or(Command::Serve) {
        Command::CheckConfig => match source.load() {
            Ok(_) => finish_with(&"the configuration can be used"),
            Err(error) => fail(&error, EXIT_USAGE),
        },
        Command::Serve => serve(source),
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
        Err(error) => fail(&error, EXIT_FAILED),
    }
}

fn serve(source: ConfigSource) -> ExitCode {
    let config = match source.load() {
        Ok(config) => config,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    let log = match app::start_log(&config.log) {
        Ok(log) => log,
        Err(error) => return fail(&error, EXIT_FAILED),
    };
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, 1),
    };
    let reload = app::Reload {
        file: source.config,
        settings: source.set,
    };
    let served = runtime.block_on(app::serve(config, reload, log.health()));
    // Disk work that hangs must not hold up the end: what it had begun is swept at the next start.
    runtime.shutdown_background();
    // Before the complaint, which so stands behind all that led to it.
    drop(log);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(app::AppError::System(line)) => fail(&line, 1),
        Err(error) => fail(&error, EXIT_USAGE),
    }
}

/// The one line of an error.
fn fail(error: &impl std::fmt::Display, code: u8) -> ExitCode {
    notice(&format_args!("millpond: {error}\n"));
    ExitCode::from(code)
}

/// Prints the result of a command that has done its work.
fn finish_with(line: &impl std::fmt::Display) -> ExitCode {
    match print_line(line) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => fail(&error, EXIT_FAILED),
    }
}
