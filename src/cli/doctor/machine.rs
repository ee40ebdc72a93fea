//! Checks of the machine that a configuration is for: ports, names, nginx, bucket, certificates.
//!
//! They change nothing, and each has a bound. The main function is [`check`].

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;

use super::bounded::{output_of, within};
use super::finding::Finding;
use super::{names, nginx, ports};
use crate::bucket::Bucket;
use crate::cli::config_source::ConfigSource;
use crate::config::Config;
use crate::model::EventSink;
use crate::origin::check_certificate_store;

/// How long a request to the bucket may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the checks of a disk may take.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes all checks of this machine. `nginx_file` is the configuration of nginx, if it has another
/// place than nginx expects.
pub async fn check(
    config: Config,
    source: &ConfigSource,
    nginx_file: Option<&Path>,
) -> Vec<Finding> {
    let mut findings = ports::check(&config).await;
    findings.extend(nginx::check(&config, nginx_file).await);
    findings.extend(names::check(&config).await);
    findings.extend(folder_findings(&config, source).await);
    findings.push(certificate_finding().await);
    if config.s3.is_on() {
        findings.extend(bucket_findings(config).await);
    }
    findings
}

/// Checks the folders in a process of its own: one that waits for a hanging disk cannot end.
async fn folder_findings(config: &Config, source: &ConfigSource) -> Vec<Finding> {
    let failed = |reason: &str, advice: &str| {
        let text = format!("{}: {reason}", config.cache.dir.display());
        vec![Finding::failed("disk_space", text, advice)]
    };
    let mut own = Command::new("/proc/self/exe");
    own.args(["doctor", "--only-folders", "--json"]);
    if let Some(file) = &source.config {
        own.arg("--config").arg(file);
    }
    for setting in &source.set {
        own.args(["--set", setting]);
    }
    match output_of(own, DISK_TIMEOUT).await {
        Ok(output) => {
            let lines = output.stdout.lines();
            let findings = lines
                .map(serde_json::from_str)
                .collect::<Result<Vec<_>, _>>();
            findings.unwrap_or_else(|error| failed(&error.to_string(), "reinstall the program"))
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            let reason = format!("no answer within {} s", DISK_TIMEOUT.as_secs());
            failed(&reason, "the disk hangs: see the log of the kernel")
        }
        Err(error) => failed(&error.to_string(), "check the limits of this user"),
    }
}

async fn certificate_finding() -> Finding {
    let advice = "install the package ca-certificates, or correct SSL_CERT_FILE";
    match within(DISK_TIMEOUT, check_certificate_store).await {
        Some(Ok(())) => Finding::ok(
            "certificates",
            "the certificate store of the system is usable",
        ),
        Some(Err(error)) => Finding::failed("certificates", error.to_string(), advice),
        None => Finding::failed(
            "certificates",
            "the certificate store cannot be read",
            advice,
        ),
    }
}

async fn bucket_findings(config: Config) -> Vec<Finding> {
    let advice = "check s3.endpoint, the key and its permissions";
    let name = format!("bucket {} at {}", config.s3.bucket, config.s3.endpoint);
    let bucket = match Bucket::new(config.s3, EventSink::new()) {
        Ok(bucket) => bucket,
        Err(error) => return vec![Finding::failed("bucket", error.to_string(), advice)],
    };
    let finding = match timeout(REQUEST_TIMEOUT, bucket.probe()).await {
        Ok(Ok(())) => Finding::ok("bucket", format!("{name} answers")),
        Ok(Err(error)) => Finding::failed("bucket", format!("{name}: {error}"), advice),
        Err(_) => Finding::failed("bucket", format!("{name} does not answer"), advice),
    };
    // Each request to a replica has a short timeout of its own.
    let replicas = bucket.check_replicas().await.into_iter();
    let replicas = replicas.map(|(endpoint, checked)| match checked {
        Ok(()) => Finding::ok("replica", format!("replica at {endpoint} answers")),
        Err(error) => Finding::warning(
            "replica",
            format!("replica at {endpoint}: {error}"),
            "check s3.replicas; until then, objects are read from the bucket itself",
        ),
    });
    std::iter::once(finding).chain(replicas).collect()
}
