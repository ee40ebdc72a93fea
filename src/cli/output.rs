//! Text for standard output and standard error. The macros of the standard library panic where it
//! cannot be written.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// Whether standard output is still read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Present,
    /// As `head` does once it has what it wants.
    Gone,
}

/// Prints a line of a command's result.
///
/// # Errors
/// If standard output cannot be written, such as a file on a full disk. A reader that has gone is
/// no error.
pub fn print_line(line: &impl Display) -> io::Result<Reader> {
    match writeln!(io::stdout().lock(), "{line}") {
        Ok(()) => Ok(Reader::Present),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("standard output: {error}"),
        )),
    }
}

/// Prints text that no result depends on: progress, and the reason of a failure.
pub fn notice(text: &impl Display) {
    // There is no other place to report to.
    drop(write!(io::stderr().lock(), "{text}"));
}
