//! Output to standard output and standard error. The macros of the standard library panic if a
//! write fails.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

/// State of the reader of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Present,
    /// The reader has closed the pipe, as `head` does after its last line.
    Gone,
}

/// Prints a line of a command's result.
///
/// # Errors
/// If the write to standard output fails, such as to a file on a full disk. A closed pipe is not
/// an error.
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

/// Prints text that is not a result: progress, or the reason of a failure.
pub fn notice(text: &impl Display) {
    // If standard error fails too, the error cannot be reported anywhere.
    drop(write!(io::stderr().lock(), "{text}"));
}
