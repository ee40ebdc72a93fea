//! Progress bar of a download or an upload.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// Returns a progress bar for `size_bytes` bytes, or a counter if the size is unknown.
///
/// It is only shown if standard error is a terminal, and disappears when it is dropped.
pub fn bar(size_bytes: Option<u64>, is_shown: bool) -> ProgressBar {
    let target = if is_shown {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar =
        ProgressBar::with_draw_target(size_bytes, target).with_finish(ProgressFinish::AndClear);
    let template = match size_bytes {
        Some(_) => "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "{spinner} {bytes} {bytes_per_sec}",
    };
    bar.with_style(ProgressStyle::with_template(template).expect("the templates are valid"))
}
