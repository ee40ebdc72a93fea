//! Starts the log on standard error.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

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
            let is_terminal = io::stderr().is_terminal();
            log.with_target(false).with_ansi(is_terminal).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    log_panics();
    Ok(writer)
}
