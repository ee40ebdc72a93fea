//! Renders facts and gauges as the page that Prometheus scrapes. The main function is [`render`].

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use super::facts::Facts;
use super::gauges::Gauges;
use super::page::MetricsPage;
use super::render_counts::write_facts;
use super::render_gauges::write_gauges;

/// Text format of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFormat {
    /// Version 0.0.4, which every scraper reads.
    Prometheus,
    OpenMetrics,
}

impl MetricsFormat {
    /// Returns the format for a value of `Accept`. A client without a preference gets that of
    /// Prometheus.
    #[must_use]
    pub fn accepted_by(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// Returns the value of `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Content of one page.
#[derive(Debug)]
struct Scrape {
    facts: Arc<Facts>,
    gauges: Gauges,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = MetricsPage::new(encoder);
        write_facts(&mut page, &self.facts)?;
        write_gauges(&mut page, &self.gauges)
    }
}

/// Renders the page.
///
/// # Errors
/// [`fmt::Error`] if a value cannot be written, which is a mistake in this module.
pub fn render(
    facts: &Arc<Facts>,
    gauges: Gauges,
    format: MetricsFormat,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        facts: Arc::clone(facts),
        gauges,
    }));
    let mut page = String::new();
    match format {
        MetricsFormat::Prometheus => prometheus_text::encode(&mut page, &registry)?,
        MetricsFormat::OpenMetrics => text::encode(&mut page, &registry)?,
    }
    Ok(page)
}
