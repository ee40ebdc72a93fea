//! Event about the start: what starts, by which configuration, and with which sizes.
//!
//! The main function is [`log_start`].

use super::reload::Reload;
use crate::config::Config;
use crate::intercept::Interceptor;
use crate::limits::FdBudget;

/// Logs the version, the source of the configuration, and the sizes that are in force. Some of them
/// depend on the limit of open files.
pub fn log_start(
    config: &Config,
    source: &Reload,
    name: &str,
    budget: &FdBudget,
    interceptor: Option<&Interceptor>,
) {
    let file = source.file.as_ref();
    let file = file.map_or_else(String::new, |file| file.display().to_string());
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        instance = name,
        config = file,
        cache_dir = %config.cache.dir.display(),
        state_dir = %config.gateway.state_dir.display(),
        max_size = String::from(config.cache.max_size),
        min_free = String::from(config.cache.min_free),
        bucket = config.s3.bucket,
        max_connections = budget.admission.connections,
        max_responses = budget.admission.responses,
        max_fetches = budget.fetches,
        max_in_flight = budget.in_flight,
        "starting"
    );
    if let Some(interceptor) = interceptor {
        log_interceptor(interceptor);
    }
}

/// Logs that hosts are intercepted, and by which certificate authority.
fn log_interceptor(interceptor: &Interceptor) {
    let authority = interceptor.authority();
    tracing::info!(
        hosts = interceptor.host_count(),
        certificate = %authority.certificate_file.display(),
        sha256 = authority.sha256,
        not_after = %humantime::format_rfc3339_seconds(authority.not_after),
        "the TLS of intercept.hosts is ended"
    );
    let unlisted: Vec<_> = interceptor.unlisted_hosts().collect();
    if !unlisted.is_empty() {
        tracing::warn!(
            unlisted = unlisted.join(", "),
            "the certificate authority also covers hosts that intercept.hosts does not list"
        );
    }
}
