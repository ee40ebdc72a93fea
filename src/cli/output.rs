//! Output to standard output and standard error. The macros of the standard library panic if a
//! write fails.
//!
//! This file knows no command. Its main type is [`OutputForm`].

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};

use crate::app::shows_colours;

/// Form of the results and errors of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// Lines for people.
    Text,
    /// One JSON document a line, errors included, on standard output.
    Json,
}

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
    print_text(&format_args!("{line}\n"))
}

/// Prints text of several lines, as [`print_line`] does.
///
/// # Errors
/// As [`print_line`].
pub fn print_text(text: &impl Display) -> io::Result<Reader> {
    let mut output = io::stdout().lock();
    match write!(output, "{text}").and_then(|()| output.flush()) {
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

/// Colour of a word on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
}

/// Returns a word for standard output. It has the colour if standard output is a terminal and the
/// environment does not forbid colours.
pub fn paint(word: &str, colour: Colour) -> String {
    if shows_colours(&io::stdout()) {
        format!("\x1b[{}m{word}\x1b[0m", colour as u8)
    } else {
        word.to_owned()
    }
}
