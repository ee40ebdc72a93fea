//! A progress bar, on a terminal only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// A bar over `size_bytes`, or a count where that is not known. It shows nothing where standard
/// error is no terminal, and is gone when it is dropped.
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
    bar.with_style(ProgressStyle::with_template(template).expect("the templates above are ones"))
}
