//! `millpond spec list`: all sources and patches with their URLs.

use std::path::Path;

use serde_json::{Value, json};

use super::found::{FoundSpecs, SpecArgs};
use crate::cli::client::failure::Failure;
use crate::cli::output::{OutputForm, notice, print_line};
use crate::model::sanitize_line;
use crate::spec::{SpecSource, SpecSources};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond spec list x.spec
  millpond spec list specs/ --json
  millpond spec list x.spec -D 'dist .fc42' --registry cargo=https://crates.example.org/v1")]
pub struct ListSpecs {
    #[command(flatten)]
    specs: SpecArgs,
}

/// Numbers of a list.
#[derive(Default)]
struct ListCounts {
    specs: usize,
    urls: usize,
    unresolved: usize,
    local: usize,
}

impl ListSpecs {
    /// Runs the command.
    pub fn run(self, form: OutputForm) -> Result<(), Failure> {
        let mut found: FoundSpecs = self.specs.find(form)?;
        let mut counts = ListCounts::default();
        found.for_each(|path, _, listed| counts.print(path, &listed, form))?;
        if form == OutputForm::Text {
            notice(&format_args!(
                "millpond: {} specs: {} URLs, {} unresolved, {} local files\n",
                counts.specs, counts.urls, counts.unresolved, counts.local
            ));
        }
        found.problems.finish()
    }
}

impl ListCounts {
    fn print(
        &mut self,
        path: &Path,
        listed: &SpecSources,
        form: OutputForm,
    ) -> Result<(), Failure> {
        self.specs += 1;
        for source in &listed.sources {
            self.urls += source.urls.len();
            self.local += usize::from(source.local.is_some());
            self.unresolved += usize::from(source.urls.is_empty() && source.local.is_none());
            match form {
                OutputForm::Json => drop(print_line(&document(path, listed, source))?),
                OutputForm::Text => {
                    let place = format!("{}:{}", path.display(), source.line);
                    for line in lines(source) {
                        print_line(&format_args!("{place}  {}  {line}", tag(source)))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns the tag of a source, such as `Source0`.
pub fn tag(source: &SpecSource) -> String {
    let kind = source.kind.as_str();
    format!(
        "{}{}{}",
        kind[..1].to_uppercase(),
        &kind[1..],
        source.number
    )
}

/// Returns the macros of a source that keep its URL from being known.
pub fn unresolved_text(source: &SpecSource) -> String {
    let notes = source.unresolved.iter().map(ToString::to_string);
    let notes: Vec<String> = notes.collect();
    let text = if notes.is_empty() {
        format!("{}: no URL of http, https or ftp", source.raw)
    } else {
        notes.join("; ")
    };
    sanitize_line(&text)
}

fn lines(source: &SpecSource) -> Vec<String> {
    if let Some(local) = &source.local {
        return vec![format!("local file {}", sanitize_line(local))];
    }
    if source.urls.is_empty() {
        return vec![format!("unresolved: {}", unresolved_text(source))];
    }
    let urls = source.urls.iter().map(|url| {
        let branch = if url.in_other_branch {
            "  (other branch)"
        } else {
            ""
        };
        format!("{}{branch}", sanitize_line(&url.url))
    });
    urls.collect()
}

fn document(path: &Path, listed: &SpecSources, source: &SpecSource) -> Value {
    let urls = source.urls.iter().map(|url| {
        json!({
            "url": url.url,
            "file": url.file,
            "other_branch": url.in_other_branch,
        })
    });
    let unresolved = source
        .unresolved
        .iter()
        .map(|note| json!({ "macro": note.name, "line": note.line, "reason": note.reason }));
    json!({
        "spec": path.display().to_string(),
        "name": listed.name,
        "version": listed.version,
        "line": source.line,
        "tag": tag(source),
        "raw": source.raw,
        "urls": urls.collect::<Vec<_>>(),
        "local": source.local,
        "unresolved": unresolved.collect::<Vec<_>>(),
    })
}
