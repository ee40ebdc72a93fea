//! Output of an adoption: a line for each file, a table at the end, and progress on a terminal.
//!
//! The main type is [`AdoptPrinter`].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{
    HumanBytes, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle,
};
use serde_json::{Value, json};

use crate::adopt::{AdoptError, AdoptOutcome, FileReport};
use crate::cli::client::table::size;
use crate::cli::exit::{FailureCode, error_document};
use crate::cli::output::{OutputForm, notice, print_line};
use crate::model::{Target, sanitize_line};

/// Interval at which the progress is drawn.
const TICK: Duration = Duration::from_millis(200);

/// Text for a file without a URL.
const BY_NAME: &str = "by name and digest";

/// Files with one result.
#[derive(Debug, Default)]
struct ResultCount {
    files: u64,
    size_bytes: u64,
}

/// Prints the results of an adoption.
pub struct AdoptPrinter {
    form: OutputForm,
    bar: ProgressBar,
    /// By the word of the result and its reason.
    counts: BTreeMap<(&'static str, String), ResultCount>,
    failure: Option<FailureCode>,
    /// The first error of standard output.
    unwritable: Option<io::Error>,
}

impl AdoptPrinter {
    /// Creates a printer. The progress shows the bytes that were read.
    pub fn new(form: OutputForm, read_bytes: Arc<AtomicU64>) -> Self {
        let target = match form {
            OutputForm::Text => ProgressDrawTarget::stderr(),
            OutputForm::Json => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {pos} files  {read}  {elapsed}");
        let style = style.expect("the template is valid").with_key(
            "read",
            move |_: &ProgressState, text: &mut dyn std::fmt::Write| {
                let bytes = read_bytes.load(Ordering::Relaxed);
                // The line of a bar has no way to report a failure.
                write!(text, "{} read", HumanBytes(bytes)).unwrap_or_default();
            },
        );
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        let bar = bar.with_finish(ProgressFinish::AndClear);
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self {
            form,
            bar,
            counts: BTreeMap::new(),
            failure: None,
            unwritable: None,
        }
    }

    /// Prints the result for a file.
    pub fn show(&mut self, report: &FileReport) {
        self.bar.inc(1);
        let (word, reason) = word_and_reason(&report.outcome);
        let count = self.counts.entry((word, reason)).or_default();
        count.files += 1;
        count.size_bytes += report.size_bytes;
        let path = sanitize_line(&report.path.display().to_string());
        match (&report.outcome, self.form) {
            (AdoptOutcome::Refused(error), form) => self.show_refused(&path, error, form),
            (_, OutputForm::Text) => self.print(&file_line(word, &path, report)),
            (_, OutputForm::Json) => self.print(&file_document(word, &path, report)),
        }
    }

    /// Prints the result for an image whose parts are all stored.
    pub fn show_image(&mut self, name: &str, digest: &str) {
        match self.form {
            OutputForm::Text => self.print(&format_args!("{:<12} {digest}  {name}", "image")),
            OutputForm::Json => self.print(&json!({"image": name, "digest": digest})),
        }
    }

    fn show_refused(&mut self, path: &str, error: &AdoptError, form: OutputForm) {
        let code = if error.is_mismatch() {
            FailureCode::Corrupt
        } else {
            FailureCode::Failed
        };
        if self.failure != Some(FailureCode::Corrupt) {
            self.failure = Some(code);
        }
        match form {
            OutputForm::Text => {
                let line = format!("millpond: {path}: {}\n", sanitize_line(&error.to_string()));
                self.bar.suspend(|| notice(&line));
            }
            OutputForm::Json => {
                let mut document = error_document(error, code);
                document["file"] = path.into();
                self.print(&document);
            }
        }
    }

    /// Reports a problem that is not one of a file.
    pub fn show_problem(&mut self, text: &impl Display) {
        self.failure.get_or_insert(FailureCode::Failed);
        match self.form {
            OutputForm::Text => self
                .bar
                .suspend(|| notice(&format_args!("millpond: {text}\n"))),
            OutputForm::Json => self.print(&error_document(text, FailureCode::Failed)),
        }
    }

    /// Counts problems that were reported already.
    pub fn count_problems(&mut self, count: usize) {
        if count > 0 {
            self.failure.get_or_insert(FailureCode::Failed);
        }
    }

    /// Prints the table of all results. Returns the exit code of the command.
    pub fn finish(mut self) -> ExitCode {
        self.bar.finish_and_clear();
        match self.form {
            OutputForm::Text => {
                for line in self.table() {
                    self.print(&line);
                }
            }
            OutputForm::Json => {
                let summary = self.summary();
                self.print(&summary);
            }
        }
        if let Some(error) = &self.unwritable {
            return OutputForm::fail_to_print(error);
        }
        self.failure.map_or(ExitCode::SUCCESS, ExitCode::from)
    }

    fn table(&self) -> Vec<String> {
        let total: u64 = self.counts.values().map(|count| count.files).sum();
        let heading = format!("{total} files");
        let row = |((word, reason), count): (&(&str, String), &ResultCount)| {
            let (files, bytes) = (count.files, size(count.size_bytes));
            let row = format!("{word:<12} {files:>8}  {bytes:>12}  {reason}");
            row.trim_end().to_owned()
        };
        std::iter::once(heading)
            .chain(self.counts.iter().map(row))
            .collect()
    }

    fn summary(&self) -> Value {
        let rows = self.counts.iter().map(|((word, reason), count)| {
            json!({
                "outcome": word,
                "reason": (!reason.is_empty()).then_some(reason),
                "files": count.files,
                "size_bytes": count.size_bytes,
            })
        });
        json!({ "summary": rows.collect::<Vec<_>>() })
    }

    fn print(&mut self, line: &impl Display) {
        let printed = self.bar.suspend(|| print_line(line));
        if let Err(error) = printed {
            self.unwritable.get_or_insert(error);
        }
    }
}

/// Returns the word of a result, and its reason in the table.
fn word_and_reason(outcome: &AdoptOutcome) -> (&'static str, String) {
    match outcome {
        AdoptOutcome::Stored(how) => (how.as_str(), String::new()),
        AdoptOutcome::Present => ("present", String::new()),
        AdoptOutcome::WouldStore => ("would store", String::new()),
        AdoptOutcome::Skipped(reason) => ("skipped", reason.to_string()),
        AdoptOutcome::Refused(error) => ("refused", error.cause()),
    }
}

/// Formats a file as one line: the result, the path, the URLs and the notes.
fn file_line(word: &str, path: &str, report: &FileReport) -> String {
    if let AdoptOutcome::Skipped(reason) = &report.outcome {
        return format!("{word:<12} {path}  ({reason})");
    }
    let urls = report.targets.iter().map(Target::redacted);
    let mut urls: Vec<String> = urls.collect();
    if report.is_by_name {
        urls.pop();
        urls.push(BY_NAME.to_owned());
    }
    let mut line = format!("{word:<12} {path}  {}", urls.join("  "));
    for note in &report.notes {
        line = format!("{line}  ({note})");
    }
    sanitize_line(&line)
}

fn file_document(word: &str, path: &str, report: &FileReport) -> Value {
    let urls: Vec<String> = report.targets.iter().map(Target::redacted).collect();
    let reason = match &report.outcome {
        AdoptOutcome::Skipped(reason) => Some(reason.as_str()),
        _ => None,
    };
    json!({
        "file": path,
        "outcome": word,
        "reason": reason,
        "size_bytes": report.size_bytes,
        "sha256": report.sha256.map(|sha256| sha256.to_string()),
        "urls": urls,
        "notes": report.notes,
    })
}
