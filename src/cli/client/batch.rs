//! Runs a command for several files, a bounded number at the same time.
//!
//! The main function is [`run_all`].

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::failure::Failure;
use super::progress::ProgressBars;
use crate::cli::exit::FailureCode;
use crate::cli::output::{OutputForm, notice};
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
    if let ([file], OutputForm::Text) = (files, form) {
        let result = work(file).await;
        bars.count_file();
        return result;
    }
    let mut failures = BatchFailures::new(form);
    run_each(files, jobs, bars, &mut failures, work).await;
    match failures.first_code() {
        None => Ok(()),
        Some(code) if form == OutputForm::Json => Err(Failure::silent(code)),
        Some(code) => {
            let text = format!("{} of {} URLs failed", failures.of_files, files.len());
            Err(Failure::new(code, text))
        }
    }
}

/// Runs `work` for each file, at most `jobs` at a time, and reports and collects failures.
pub async fn run_each<'a, F>(
    files: &'a [WantedFile],
    jobs: u8,
    bars: &ProgressBars,
    failures: &mut BatchFailures,
    work: impl Fn(&'a WantedFile) -> F,
) where
    F: Future<Output = Result<(), Failure>>,
{
    let work = &work;
    let results = stream::iter(files.iter().enumerate())
        .map(|(place, file)| async move { (place, file, work(file).await) })
        .buffer_unordered(usize::from(jobs));
    let mut results = std::pin::pin!(results);
    while let Some((place, file, result)) = results.next().await {
        bars.count_file();
        let Err(failure) = result else { continue };
        let url = file.url.to_string();
        bars.suspend(|| failure.report_item(failures.form, "url", &url));
        failures.add(place, &url, &failure);
    }
}

/// Failures of a command, counted by their causes.
pub struct BatchFailures {
    form: OutputForm,
    /// The first file, in the order of the list, that failed.
    first: Option<(usize, FailureCode)>,
    of_files: usize,
    by_cause: BTreeMap<String, usize>,
}

impl BatchFailures {
    pub fn new(form: OutputForm) -> Self {
        Self {
            form,
            first: None,
            of_files: 0,
            by_cause: BTreeMap::new(),
        }
    }

    fn add(&mut self, place: usize, url: &str, failure: &Failure) {
        self.of_files += 1;
        if self.first.is_none_or(|(earlier, _)| place < earlier) {
            self.first = Some((place, failure.code));
        }
        // The same cause has another URL in each text.
        let host = url.split('/').nth(2).unwrap_or(url);
        let cause = failure.text.replace(url, "URL").replace(host, "HOST");
        *self.by_cause.entry(cause).or_default() += 1;
    }

    /// Reports and counts an item whose URL is not known.
    pub fn add_unknown(&mut self, item: &str, cause: &str, text: &str) {
        let failure = Failure::failed(format!("{cause}: {text}"));
        failure.report_item(self.form, "source", item);
        self.first.get_or_insert((usize::MAX, failure.code));
        *self.by_cause.entry(cause.to_owned()).or_default() += 1;
    }

    /// Returns the number of files that failed.
    pub fn of_files(&self) -> usize {
        self.of_files
    }

    /// Returns the code of the first failure.
    pub fn first_code(&self) -> Option<FailureCode> {
        self.first.map(|(_, code)| code)
    }

    /// Prints a table of the causes, the most frequent first.
    pub fn print_table(&self) {
        if self.form == OutputForm::Json || self.by_cause.is_empty() {
            return;
        }
        let mut causes: Vec<(&String, &usize)> = self.by_cause.iter().collect();
        causes.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let rows = causes
            .into_iter()
            .map(|(cause, count)| format!("{count:>6}  {cause}\n"));
        let table = rows.collect::<Vec<_>>().concat();
        notice(&format_args!("FAILED  CAUSE\n{table}"));
    }
}
