//! Runs a command for several files, a bounded number at the same time.
//!
//! The main function is [`run_all`].

use futures_util::StreamExt as _;
use futures_util::stream;

use super::failure::Failure;
use super::progress::ProgressBars;
use crate::cli::exit::FailureCode;
use crate::cli::output::OutputForm;
use crate::model::WantedFile;

/// Runs `work` for each file, at most `jobs` at a time. If one fails, the others go on.
///
/// # Errors
/// [`Failure`] with the code of the first file, in the order of the list, that failed.
pub async fn run_all<'a, F>(
    files: &'a [WantedFile],
    jobs: u8,
    bars: &ProgressBars,
    form: OutputForm,
    work: impl Fn(&'a WantedFile) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let work = &work;
    let results = stream::iter(files.iter().enumerate())
        .map(|(place, file)| async move { (place, file, work(file).await) })
        .buffer_unordered(usize::from(jobs));
    let mut results = std::pin::pin!(results);
    let (mut first, mut failed) = (None::<(usize, FailureCode)>, 0_usize);
    while let Some((place, file, result)) = results.next().await {
        bars.count_file();
        let Err(failure) = result else { continue };
        if files.len() == 1 && form == OutputForm::Text {
            return Err(failure);
        }
        bars.suspend(|| failure.report_item(form, "url", &file.url.to_string()));
        failed += 1;
        if first.is_none_or(|(earlier, _)| place < earlier) {
            first = Some((place, failure.code));
        }
    }
    match first {
        None => Ok(()),
        Some((_, code)) if form == OutputForm::Json => Err(Failure::silent(code)),
        Some((_, code)) => {
            let text = format!("{failed} of {} URLs failed", files.len());
            Err(Failure::new(code, text))
        }
    }
}
