//! `millpond gc`: removes objects from the bucket that no record refers to, or that retention does
//! not keep.
//!
//! The main type is [`Gc`].

use std::process::ExitCode;

use super::config_source::ConfigSource;
use super::exit::FailureCode;
use super::output::OutputForm;
use crate::bucket::{GcMode, GcReport};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millpond gc --config millpond.toml --dry-run
  millpond gc --config millpond.toml --json")]
pub struct Gc {
    /// Only report what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    /// Runs the command.
    pub async fn run(self, source: &ConfigSource, form: OutputForm) -> ExitCode {
        let bucket = match source.open_bucket() {
            Ok(bucket) => bucket,
            Err(line) => return form.fail(&line, FailureCode::Usage),
        };
        let mode = if self.dry_run {
            GcMode::DryRun
        } else {
            GcMode::Apply
        };
        match bucket.garbage_collector(mode).collect().await {
            Ok(report) => form.finish(&summary(&report, mode), || serde_json::json!(report)),
            Err(error) => form.fail(&error, FailureCode::Failed),
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
