//! `millpond spec ensure`: has the gateway store all sources of specs.

use std::path::{Path, PathBuf};

use reqwest::header::HeaderMap;

use super::found::SpecArgs;
use super::list::{tag, unresolved_text};
use super::stated::NamedDigests;
use crate::cli::client::api_client::ApiClient;
use crate::cli::client::batch::{BatchFailures, run_each};
use crate::cli::client::ensure::ensure_file;
use crate::cli::client::failure::Failure;
use crate::cli::client::progress::ProgressBars;
use crate::cli::exit::FailureCode;
use crate::cli::gateway_args::GatewayArgs;
use crate::cli::output::{OutputForm, notice};
use crate::model::{ExpectedDigests, FileUrl, Target, WantedFile};
use crate::spec::SpecSources;

/// Cause of sources whose URL needs a macro that is not known.
const NOT_RESOLVED: &str = "the URL is not known";

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond spec ensure x.spec
  millpond spec ensure specs/ --jobs 16 --checksums SHA256SUMS

Digests in a file named sources beside the spec are stated. A repeated command asks upstream only
for what is not stored.")]
pub struct EnsureSpecs {
    #[command(flatten)]
    specs: SpecArgs,
    /// Number of files at the same time
    #[arg(short, long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// File with digests of sources by their names, as sha256sum writes it
    #[arg(long, value_name = "FILE")]
    checksums: Vec<PathBuf>,
}

/// Files of all specs.
struct SpecFiles {
    /// In front of URLs that were rewritten.
    gateway_prefix: String,
    checksums: Vec<NamedDigests>,
    files: Vec<WantedFile>,
    failures: BatchFailures,
}

impl EnsureSpecs {
    /// Runs the command.
    pub async fn run(self, gateway: &GatewayArgs, form: OutputForm) -> Result<(), Failure> {
        let api = ApiClient::new(gateway, form)?;
        let checksums = self.checksums.iter().map(|path| NamedDigests::read(path));
        let mut wanted = SpecFiles {
            gateway_prefix: format!("{}/", api.public_base()),
            checksums: checksums.collect::<Result<_, _>>()?,
            files: Vec::new(),
            failures: BatchFailures::new(form),
        };
        let mut found = self.specs.find(form)?;
        found.for_each(|path, _, listed| wanted.add(path, &listed))?;
        let files = WantedFile::merge(wanted.files);
        let bars = ProgressBars::new(files.len(), form);
        let (headers, failures) = (HeaderMap::new(), &mut wanted.failures);
        run_each(&files, self.jobs, &bars, failures, |file| {
            ensure_file(&api, &headers, file, &bars)
        })
        .await;
        drop(bars);
        failures.print_table();
        if form == OutputForm::Text {
            let stored = files.len() - failures.of_files();
            let of = files.len();
            notice(&format_args!(
                "millpond: {stored} of {of} files are stored\n"
            ));
        }
        match (failures.first_code(), found.problems.count) {
            (Some(code), _) => Err(Failure::silent(code)),
            (None, 0) => Ok(()),
            (None, _) => Err(Failure::silent(FailureCode::Failed)),
        }
    }
}

impl SpecFiles {
    fn add(&mut self, path: &Path, listed: &SpecSources) -> Result<(), Failure> {
        let beside = NamedDigests::beside(path)?;
        for source in &listed.sources {
            if source.urls.is_empty() && source.local.is_none() {
                let place = format!("{}:{} {}", path.display(), source.line, tag(source));
                self.failures
                    .add_unknown(&place, NOT_RESOLVED, &unresolved_text(source));
            }
            for url in &source.urls {
                let text = url
                    .url
                    .strip_prefix(&self.gateway_prefix)
                    .unwrap_or(&url.url);
                match text.parse::<FileUrl>() {
                    Ok(parsed) => self.files.push(WantedFile {
                        url: parsed,
                        expected: self.digests_of(&beside, &url.file),
                    }),
                    Err(error) => {
                        let place = format!("{}:{}", path.display(), source.line);
                        let text = format!("{}: {error}", Target::redact(text));
                        self.failures
                            .add_unknown(&place, "the URL is invalid", &text);
                    }
                }
            }
        }
        Ok(())
    }

    fn digests_of(&self, beside: &NamedDigests, file: &str) -> ExpectedDigests {
        let mut expected = beside.of(file);
        for checksums in &self.checksums {
            expected.extend(checksums.of(file).iter().cloned());
        }
        expected
    }
}
