//! Errors of the argument parser, as one line that names the argument.
//!
//! The main function is [`report`].

use std::process::ExitCode;

use clap::Error;
use clap::error::ErrorKind;

use super::exit::FailureCode;
use super::output::OutputForm;

/// Prints a help page, or reports invalid arguments.
pub fn report(error: &Error) -> ExitCode {
    let is_page = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if is_page {
        // The library colours the page if standard output is a terminal. It honours NO_COLOR.
        return match error.print() {
            Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
                OutputForm::fail_to_print(&why)
            }
            _ => ExitCode::SUCCESS,
        };
    }
    // The arguments were not parsed, so `--json` is only known by its text.
    let form = if std::env::args_os().any(|argument| argument == "--json") {
        OutputForm::Json
    } else {
        OutputForm::Text
    };
    form.fail(&one_line(&error.to_string()), FailureCode::Usage)
}

/// Returns the first paragraph and the tips of a message of the parser, as one line.
fn one_line(message: &str) -> String {
    let message = message.trim_start_matches("error: ");
    let paragraphs = message.split("\n\n").map(|paragraph| {
        let words: Vec<_> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let (mut text, mut tips) = (String::new(), Vec::new());
    for (place, paragraph) in paragraphs.enumerate() {
        if place == 0 {
            text = paragraph;
        } else if let Some(tip) = paragraph.strip_prefix("tip: ") {
            tips.push(tip.to_owned());
        }
    }
    tips.push("see --help".to_owned());
    format!("{text}; {}", tips.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parser_message_becomes_one_line() {
        let message = "error: the following required arguments were not provided:\n  <URL>\n\n\
            Usage: millpond stat <URL>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(message),
            "the following required arguments were not provided: <URL>; see --help"
        );
        let message = "error: unexpected argument '--outptu' found\n\n  \
            tip: a similar argument exists: '--output'\n\nUsage: x\n";
        assert_eq!(
            one_line(message),
            "unexpected argument '--outptu' found; a similar argument exists: '--output'; \
             see --help"
        );
    }
}
