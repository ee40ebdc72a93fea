//! Progress bars of downloads and uploads: one for each file, and a total.
//!
//! They are shown only on a terminal. The main type is [`ProgressBars`].

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{
    HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState,
    ProgressStyle,
};

use crate::cli::output::{OutputForm, Reader, print_line};
use crate::model::sanitize_line;

/// Longest file name in front of a bar, in characters.
const MAX_NAME_CHARS: usize = 32;

/// Interval at which a bar without news is drawn again.
const TICK: Duration = Duration::from_millis(200);

/// Bars of one command. They disappear when this is dropped.
pub struct ProgressBars {
    bars: MultiProgress,
    /// Counts files. Hidden if there is one file only.
    total: ProgressBar,
    total_bytes: Arc<AtomicU64>,
}

/// Bar of one file.
pub struct FileBar {
    bar: ProgressBar,
    total_bytes: Arc<AtomicU64>,
}

impl ProgressBars {
    /// Creates the bars for this number of files. They are shown if standard error is a terminal,
    /// and if the form is text.
    pub fn new(files: usize, form: OutputForm) -> Self {
        let target = match form {
            OutputForm::Text => ProgressDrawTarget::stderr(),
            OutputForm::Json => ProgressDrawTarget::hidden(),
        };
        let bars = MultiProgress::with_draw_target(target);
        let total_bytes = Arc::new(AtomicU64::new(0));
        let total = if files > 1 {
            let shown_bytes = Arc::clone(&total_bytes);
            let style = style("{pos}/{len} files  {all_bytes}  {elapsed}").with_key(
                "all_bytes",
                move |_: &ProgressState, text: &mut dyn std::fmt::Write| {
                    let bytes = shown_bytes.load(Ordering::Relaxed);
                    // The line of a bar has no way to report a failure.
                    write!(text, "{}", HumanBytes(bytes)).unwrap_or_default();
                },
            );
            let total = bars.add(ProgressBar::new(files as u64)).with_style(style);
            let total = total.with_finish(ProgressFinish::AndClear);
            if !bars.is_hidden() {
                total.enable_steady_tick(TICK);
            }
            total
        } else {
            ProgressBar::hidden()
        };
        Self {
            bars,
            total,
            total_bytes,
        }
    }

    /// Adds the bar of a file. It disappears when it is dropped.
    pub fn begin(&self, name: &str) -> FileBar {
        let bar = self.bars.insert_from_back(1, ProgressBar::no_length());
        let name: String = sanitize_line(name).chars().take(MAX_NAME_CHARS).collect();
        let bar = bar
            .with_style(style("{prefix:32} {spinner} {bytes} {bytes_per_sec}"))
            .with_prefix(name)
            .with_finish(ProgressFinish::AndClear);
        if !self.bars.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        FileBar {
            bar,
            total_bytes: Arc::clone(&self.total_bytes),
        }
    }

    /// Counts a file whose transfer has ended.
    pub fn count_file(&self) {
        self.total.inc(1);
    }

    /// Prints a line of the result above the bars.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn print_line(&self, line: &impl std::fmt::Display) -> io::Result<Reader> {
        self.suspend(|| print_line(line))
    }

    /// Runs `print` while the bars are hidden.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }
}

impl FileBar {
    /// Shows the share of `size_bytes`, of which `present_bytes` are present already.
    pub fn set_size(&self, size_bytes: u64, present_bytes: u64) {
        let bar = "{prefix:32} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        self.bar.set_style(style(bar));
        self.bar.set_length(size_bytes);
        self.bar.set_position(present_bytes);
        self.bar.reset_eta();
    }

    /// Counts bytes that were transferred.
    pub fn add(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
        self.total_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for FileBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are valid")
}
