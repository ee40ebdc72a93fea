//! `millpond completions` and `millpond man`: files for packages, made of the arguments' own
//! definition.
//!
//! The main types are [`Completions`] and [`ManPages`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use super::exit::FailureCode;
use super::output::{OutputForm, print_text};

/// Name of the program in both.
const PROGRAM: &str = "millpond";

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond completions bash > /usr/share/bash-completion/completions/millpond")]
pub struct Completions {
    shell: Shell,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond man /usr/share/man/man1")]
pub struct ManPages {
    /// Existing folder
    folder: PathBuf,
}

impl Completions {
    /// Prints the completions.
    pub fn run(self, mut command: Command, form: OutputForm) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, PROGRAM, &mut script);
        match print_text(&String::from_utf8_lossy(&script)) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => form.fail(&error, FailureCode::Failed),
        }
    }
}

impl ManPages {
    /// Writes one page for the program, and one for each command that help shows.
    pub fn run(self, command: &Command, form: OutputForm) -> ExitCode {
        match write_pages(command, &self.folder) {
            Ok(count) => form.finish(
                &format_args!("{count} pages were written to {}", self.folder.display()),
                || serde_json::json!({ "pages": count, "folder": self.folder }),
            ),
            Err(error) => {
                let text = format!("{}: {error}", self.folder.display());
                form.fail(&text, FailureCode::Failed)
            }
        }
    }
}

/// Returns the number of pages.
fn write_pages(command: &Command, folder: &Path) -> io::Result<usize> {
    let mut built = command.clone();
    built.build();
    write_page(&built, PROGRAM, folder)?;
    let shown = built.get_subcommands().filter(|sub| !sub.is_hide_set());
    let mut count = 1;
    for sub in shown.filter(|sub| sub.get_name() != "help") {
        write_page(sub, &format!("{PROGRAM}-{}", sub.get_name()), folder)?;
        count += 1;
    }
    Ok(count)
}

fn write_page(command: &Command, name: &str, folder: &Path) -> io::Result<()> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)
}
