//! Writes metric families in the formats of Prometheus. Only this file and `render` know the
//! encoder. The main type is [`MetricsPage`].

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;

use super::histogram::HistogramSnapshot;

/// Name and meaning of a metric family. The encoder adds `_total` to the names of counters.
#[derive(Debug, Clone, Copy)]
pub struct MetricFamily {
    pub name: &'static str,
    pub help: &'static str,
}

/// Labels of a series.
pub type Labels<'a> = Vec<(&'static str, &'a str)>;

/// MetricsPage of metric families.
pub struct MetricsPage<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl<'a> MetricsPage<'a> {
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self { encoder }
    }

    /// Writes counters with their labels.
    ///
    /// # Errors
    /// [`fmt::Error`] if the page cannot be written.
    pub fn counters<'l>(
        &mut self,
        family: MetricFamily,
        series: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let MetricFamily { name, help } = family;
        let kind = MetricType::Counter;
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, count) in series {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, u64, f64>(&count, None)?;
        }
        Ok(())
    }

    /// Writes a counter of another unit than one.
    ///
    /// # Errors
    /// [`fmt::Error`] if the page cannot be written.
    pub fn fractional_counter(&mut self, family: MetricFamily, value: f64) -> fmt::Result {
        let MetricFamily { name, help } = family;
        let kind = MetricType::Counter;
        self.encoder
            .encode_descriptor(name, help, None, kind)?
            .encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    /// Writes gauges with their labels.
    ///
    /// # Errors
    /// [`fmt::Error`] if the page cannot be written.
    pub fn gauges<'l>(
        &mut self,
        family: MetricFamily,
        series: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let MetricFamily { name, help } = family;
        let kind = MetricType::Gauge;
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in series {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Writes a gauge with a fraction.
    ///
    /// # Errors
    /// [`fmt::Error`] if the page cannot be written.
    pub fn fractional_gauge(&mut self, family: MetricFamily, value: f64) -> fmt::Result {
        let MetricFamily { name, help } = family;
        let kind = MetricType::Gauge;
        self.encoder
            .encode_descriptor(name, help, None, kind)?
            .encode_gauge(&value)
    }

    /// Writes histograms with their labels.
    ///
    /// # Errors
    /// [`fmt::Error`] if the page cannot be written.
    pub fn histograms<'l>(
        &mut self,
        family: MetricFamily,
        series: impl IntoIterator<Item = (Labels<'l>, HistogramSnapshot)>,
    ) -> fmt::Result {
        let MetricFamily { name, help } = family;
        let kind = MetricType::Histogram;
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (
            labels,
            HistogramSnapshot {
                buckets,
                sum,
                count,
            },
        ) in series
        {
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}
