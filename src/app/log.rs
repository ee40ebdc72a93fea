//! Starts the log on standard error.
//!
//! The main function is [`start_log`].

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd as _;

use super::logfmt::LogfmtFormat;
use crate::config::{LogConfig, LogFormat, LogLevel};
use crate::logging::{LogWriter, log_panics};

/// Starts the log on standard error.
///
/// Only events of Millpond are logged. The HTTP libraries also log each client that disconnects.
///
/// # Errors
/// The system's error, if no descriptor or thread is available.
pub fn start_log(config: &LogConfig) -> io::Result<LogWriter> {
    // The log has its own descriptor. A blocked write must not hold the standard library's lock on
    // standard error.
    let writer = LogWriter::start(File::from(io::stderr().as_fd().try_clone_to_owned()?))?;
    let level = match config.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = format!("off,millpond={level}");
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer.sink())
        .log_internal_errors(false);
    match config.format {
        LogFormat::Text => {
            let shows_colours = shows_colours(&io::stderr());
            log.with_ansi(shows_colours)
                .event_format(LogfmtFormat { shows_colours })
                .init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    log_panics();
    Ok(writer)
}

/// Returns whether `output` may have colours: it is a terminal, `NO_COLOR` is unset or empty, and
/// `TERM` is not `dumb`.
#[must_use]
pub fn shows_colours(output: &impl IsTerminal) -> bool {
    let is_forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    output.is_terminal() && !is_forbidden
}
