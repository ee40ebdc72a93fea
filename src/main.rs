//! The binary. It only calls the library.

#![forbid(unsafe_code)]

mod documents;

use std::process::ExitCode;

fn main() -> ExitCode {
    millpond::ui::provide_documents(documents::FILES);
    millpond::cli::run()
}
