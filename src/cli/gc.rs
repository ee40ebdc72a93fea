//! `millpond gc`: removes objects from the bucket that no record refers to, or that retention does
//! not keep.

use std::process::ExitCode;

use super::config_source::ConfigSource;
use super::exit::{FailureCode, fail, finish_with};
use crate::bucket::{GcMode, GcReport};

#[derive(clap::Args)]
pub struct Gc {
    /// Only report what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print the report in JSON
    #[arg(long)]
    json: bool,
}

impl Gc {
    /// Runs the command.
    pub async fn run(self, source: &ConfigSource) -> ExitCode {
        let bucket = match source.open_bucket() {
            Ok(bucket) => bucket,
            Err(line) => return fail(&line, FailureCode::Usage),
        };
        let mode = if self.dry_run {
            GcMode::DryRun
        } else {
            GcMode::Apply
        };
        match bucket.garbage_collector(mode).collect().await {
            Ok(report) if self.json => finish_with(&serde_json::json!(report)),
            Ok(report) => finish_with(&summary(&report, mode)),
            Err(error) => fail(&error, FailureCode::Failed),
        }
    }
}

fn summary(report: &GcReport, mode: GcMode) -> String {
    let removed = match mode {
        GcMode::DryRun => "would remove",
        GcMode::Apply => "removed",
    };
    format!(
        "{} objects, {} bytes; {removed}: {} that no record names, {} unused, \
         {} abandoned uploads; {} bytes freed",
        report.objects,
        report.size_bytes,
        report.unreferenced,
        report.unused,
        report.abandoned_uploads,
        report.removed_bytes,
    )
}
