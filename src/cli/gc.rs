//! `millpond gc`: removes from the bucket what no record names, and what retention does not keep.

use std::process::ExitCode;

use super::migrate::bucket;
use super::{ConfigSource, EXIT_FAILED, EXIT_USAGE, fail, finish_with};
use crate::bucket::GcMode;

#[derive(clap::Args)]
pub struct Gc {
    /// Remove nothing, only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Say in JSON what it came to
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub async fn run(self, source: &ConfigSource) -> ExitCode {
        let bucket = match bucket(None, source) {
            Ok(bucket) => bucket,
            Err(line) => return fail(&line, EXIT_USAGE),
        };
        let mode = if self.dry_run {
            GcMode::DryRun
        } else {
            GcMode::Apply
        };
        match bucket.garbage_collector(mode).collect().await {
            Ok(report) if self.json => finish_with(&serde_json::json!(report)),
            Ok(report) => finish_with(&format_args!(
                "{} objects, {} bytes; {}{} that no record names, {} unused, {} abandoned uploads; {} bytes freed",
                report.objects,
                report.size_bytes,
                if self.dry_run {
                    "would remove: "
                } else {
                    "removed: "
                },
                report.unreferenced,
                report.unused,
                report.abandoned_uploads,
                report.removed_bytes,
            )),
            Err(error) => fail(&error, EXIT_FAILED),
        }
    }
}
