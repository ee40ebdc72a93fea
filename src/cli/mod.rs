//! Command line: parses the arguments and runs the command.
//!
//! The main function is [`run`].

mod adopt;
mod ca;
mod check_config;
mod client;
mod config_source;
mod doctor;
mod error;
mod exit;
mod explain;
mod file_rights;
mod gateway_args;
mod gateway_url;
mod gc;
mod generate;
mod migrate;
mod output;
mod render_config;
mod scrub;
mod usage;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime::Builder;

use crate::app::{self, AppError};
use adopt::Adopt;
use ca::CertificateAuthorityCommand;
use check_config::CheckConfig;
use client::ClientCommand;
use config_source::ConfigSource;
use doctor::Doctor;
use exit::FailureCode;
use explain::Explain;
use gateway_args::GatewayArgs;
use gc::Gc;
use generate::{Completions, ManPages};
use migrate::Migrate;
use output::OutputForm;
use render_config::RenderConfig;
use scrub::Scrub;

/// Maximum number of threads for blocking operations. Each runs one disk operation at a time.
const MAX_BLOCKING_THREADS: usize = 256;

#[derive(Parser)]
#[command(
    name = "millpond",
    version,
    about = "A caching gateway for upstream source tarballs",
    after_help = "Examples:
  millpond --config /etc/millpond/millpond.toml
  millpond get https://example.org/x-1.0.tar.gz
  millpond status --gateway sources.example.org

Exit codes: 0 success, 1 failure, 2 invalid arguments or configuration, 3 not found, 4 other bytes
than expected. With --json, each line of standard output is a document, and errors have the form
{\"error\": {\"code\": ..., \"exit_code\": ..., \"message\": ...}}."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: ConfigSource,
    /// Print JSON, one document a line, errors included, and no progress
    #[arg(long, global = true)]
    json: bool,
    // The heading of these arguments applies to what follows.
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway and the proxy (the default command)
    #[command(after_help = "Examples:
  millpond serve --config /etc/millpond/millpond.toml
  millpond serve --set cache.max_size=200GiB")]
    Serve,
    /// Check the configuration, and run nothing
    CheckConfig(CheckConfig),
    /// Explain how the configuration treats a URL, without any connection
    Explain(Explain),
    /// Find out what is wrong with a gateway, and with the machine that it runs on
    Doctor(Doctor),
    /// Print what to put where, so that a client uses the gateway
    RenderConfig(RenderConfig),
    /// Copy all objects and records from a folder or bucket to another, while both are in use
    Migrate(Migrate),
    /// Verify the cache folder, quarantine damaged objects and fetch them again, also while the
    /// folder is in use
    Scrub(Scrub),
    /// Take the files of a folder of sources into the cache folder, with their URLs and digests
    Adopt(Adopt),
    /// Remove objects from the bucket that no record refers to, or that retention does not keep
    Gc(Gc),
    /// Make and show the certificate authority of intercepted hosts
    Ca(CertificateAuthorityCommand),
    /// Print the completions of a shell
    #[command(hide = true)]
    Completions(Completions),
    /// Write the manual pages to a folder
    #[command(hide = true)]
    Man(ManPages),
    #[command(flatten)]
    Client(ClientCommand),
}

impl Command {
    /// Whether `--gateway` and `--token-file` have an effect.
    fn uses_gateway(&self) -> bool {
        matches!(
            self,
            Self::Client(_) | Self::Doctor(_) | Self::RenderConfig(_)
        )
    }
}

/// Runs the program.
#[must_use]
pub fn run() -> ExitCode {
    let Arguments {
        command,
        source,
        gateway,
        json,
    } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage::report(&error),
    };
    let form = if json {
        OutputForm::Json
    } else {
        OutputForm::Text
    };
    let command = command.unwrap_or(Command::Serve);
    if !command.uses_gateway()
        && let Err(error) = gateway.reject()
    {
        return form.fail(&error, FailureCode::Usage);
    }
    match command {
        Command::CheckConfig(check) => check.run(&source, form),
        Command::Serve => serve(source, form),
        Command::Explain(explain) => explain.run(&source, form),
        Command::Doctor(doctor) => examine(doctor.run(&gateway, &source, form), form),
        Command::RenderConfig(render) => render.run(&gateway, form),
        Command::Migrate(migrate) => block_on(migrate.run(&source, form), form),
        Command::Scrub(scrub) => block_on(scrub.run(&source, form), form),
        Command::Adopt(adopt) => block_on(adopt.run(&source, form), form),
        Command::Gc(gc) => block_on(gc.run(&source, form), form),
        Command::Ca(command) => command.run(&source, form),
        Command::Completions(completions) => completions.run(Arguments::command(), form),
        Command::Man(pages) => pages.run(&Arguments::command(), form),
        Command::Client(command) => block_on(command.run(&gateway, form), form),
    }
}

fn block_on(command: impl Future<Output = ExitCode>, form: OutputForm) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => form.fail(&error, FailureCode::Failed),
    }
}

/// Runs a command that only looks at things. Look-ups and disk operations that hang do not delay
/// its end.
fn examine(command: impl Future<Output = ExitCode>, form: OutputForm) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            runtime.shutdown_background();
            code
        }
        Err(error) => form.fail(&error, FailureCode::Failed),
    }
}

fn serve(source: ConfigSource, form: OutputForm) -> ExitCode {
    let config = match source.load() {
        Ok(config) => config,
        Err(error) => return form.fail(&error, FailureCode::Usage),
    };
    file_rights::set_umask();
    let log = match app::start_log(&config.log) {
        Ok(log) => log,
        Err(error) => return form.fail(&error, FailureCode::Failed),
    };
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(MAX_BLOCKING_THREADS)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return form.fail(&error, FailureCode::Failed),
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
            form.fail(&error, FailureCode::Usage)
        }
        Err(error @ AppError::System(_)) => form.fail(&error, FailureCode::Failed),
    }
}
