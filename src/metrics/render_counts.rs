//! Metric families of the ledger of facts. The main function is [`write_facts`].

use std::fmt;

use super::facts::Facts;
use super::label::{ByLabel, Label};
use super::page::{Labels, MetricFamily, MetricsPage};
use super::requests::RequestCounts;
use super::upstream::{FetchCounts, OriginCounts};
use crate::model::{Counter, EventCounts, EvictionCounts};

/// Writes all counts of the ledger.
pub fn write_facts(page: &mut MetricsPage<'_>, facts: &Facts) -> fmt::Result {
    write_requests(page, &facts.requests)?;
    write_fetches(page, &facts.fetches)?;
    write_origins(page, &facts.origin)?;
    let lookups = MetricFamily {
        name: "millpond_name_lookups",
        help: "Name lookups by result, answers from the resolver's cache included.",
    };
    page.counters(lookups, by_one("result", &facts.lookups))?;
    let bucket = MetricFamily {
        name: "millpond_bucket_requests",
        help: "Requests to the bucket by operation and result.",
    };
    page.counters(bucket, by_two(("operation", "result"), &facts.bucket))?;
    write_events(page, &facts.events)
}

fn write_requests(page: &mut MetricsPage<'_>, counts: &RequestCounts) -> fmt::Result {
    let requests = MetricFamily {
        name: "millpond_requests",
        help: "Requests of clients by endpoint and outcome, counted when the response ends.",
    };
    page.counters(requests, by_two(("endpoint", "outcome"), &counts.requests))?;
    let responses = MetricFamily {
        name: "millpond_responses",
        help: "Responses by cacheability class of the target and first digit of the status.",
    };
    page.counters(responses, by_two(("class", "status"), &counts.responses))?;
    let downloads = MetricFamily {
        name: "millpond_downloads",
        help: "Whole files that clients got by GET, by outcome. Ranges, HEAD, 304 and errors \
               do not count.",
    };
    page.counters(downloads, by_one("outcome", &counts.downloads))?;
    let sent = MetricFamily {
        name: "millpond_response_bytes",
        help: "Bytes of bodies sent to clients, by endpoint and source.",
    };
    page.counters(sent, by_two(("endpoint", "source"), &counts.sent_bytes))?;
    let ends = MetricFamily {
        name: "millpond_transfers",
        help: "Responses by the end of their transfer.",
    };
    page.counters(ends, by_one("end", &counts.ends))?;
    let first_byte = MetricFamily {
        name: "millpond_time_to_first_byte_seconds",
        help: "Time from a request to the first byte of its body, by outcome.",
    };
    let series = counts.first_byte.iter();
    page.histograms(
        first_byte,
        series.map(|(outcome, times)| (one("outcome", outcome), times.snapshot())),
    )?;
    let duration = MetricFamily {
        name: "millpond_request_duration_seconds",
        help: "Time from a request to the last byte of its response, by endpoint.",
    };
    let series = counts.duration.iter();
    page.histograms(
        duration,
        series.map(|(endpoint, times)| (one("endpoint", endpoint), times.snapshot())),
    )
}

fn write_fetches(page: &mut MetricsPage<'_>, counts: &FetchCounts) -> fmt::Result {
    let result = |text| vec![("result", text)];
    let ends = [
        (result("stored"), counts.stored.get()),
        (result("already_stored"), counts.already_stored.get()),
        (result("failed"), counts.failed_without_cause.get()),
    ];
    let fetches = MetricFamily {
        name: "millpond_fetches",
        help: "Fetches by result: stored, stored by another process, or the cause of a failure.",
    };
    page.counters(
        fetches,
        ends.into_iter().chain(by_one("result", &counts.failed)),
    )?;
    let attempts = MetricFamily {
        name: "millpond_fetch_attempts",
        help: "Attempts of fetches at a source, by kind of the source and result.",
    };
    page.counters(attempts, by_two(("source", "result"), &counts.attempts))?;
    let retries = MetricFamily {
        name: "millpond_fetch_retries",
        help: "Attempts at a source that the same fetch had tried before.",
    };
    page.counters(retries, alone(&counts.retries))?;
    let exchanges = MetricFamily {
        name: "millpond_exchanges",
        help: "Exchanges with origins about targets of class revalidate, by result.",
    };
    page.counters(exchanges, by_one("result", &counts.exchanges))?;
    let duration = MetricFamily {
        name: "millpond_fetch_duration_seconds",
        help: "Duration of fetches, from the request that began them.",
    };
    page.histograms(duration, [(Vec::new(), counts.duration.snapshot())])?;
    let size = MetricFamily {
        name: "millpond_object_size_bytes",
        help: "Sizes of the objects that fetches have stored.",
    };
    page.histograms(size, [(Vec::new(), counts.object_size.snapshot())])
}

fn write_origins(page: &mut MetricsPage<'_>, counts: &OriginCounts) -> fmt::Result {
    let requests = MetricFamily {
        name: "millpond_origin_requests",
        help: "Requests to origins, by result and host. Only hosts named in a rule have a label.",
    };
    page.counters(
        requests,
        counts.iter().flat_map(|(host, counts)| {
            let results = counts.requests.iter();
            results.map(move |(result, count)| {
                let labels = vec![("host", host), ("result", result.as_str())];
                (labels, count.get())
            })
        }),
    )?;
    let received = MetricFamily {
        name: "millpond_origin_bytes",
        help: "Bytes of bodies received from origins, by host.",
    };
    page.counters(
        received,
        counts.iter().map(|(host, counts)| {
            let labels = vec![("host", host)];
            (labels, counts.received_bytes.get())
        }),
    )
}

fn write_events(page: &mut MetricsPage<'_>, counts: &EventCounts) -> fmt::Result {
    let failures = MetricFamily {
        name: "millpond_failures",
        help: "Failures that were reported for incidents, by cause.",
    };
    page.counters(
        failures,
        counts
            .failures()
            .map(|(cause, count)| (vec![("cause", cause.as_str())], count)),
    )?;
    let totals = [
        (
            "millpond_stored_objects",
            "Objects that were stored, imports included.",
            &counts.stored_objects,
        ),
        (
            "millpond_stored_bytes",
            "Bytes of the objects that were stored.",
            &counts.stored_bytes,
        ),
    ];
    for (name, help, count) in totals {
        page.counters(MetricFamily { name, help }, alone(count))?;
    }
    let evicted = |count: fn(&EvictionCounts) -> u64| {
        let reasons = counts.evicted();
        reasons.map(move |(reason, counts)| (vec![("reason", reason.as_str())], count(counts)))
    };
    let objects = MetricFamily {
        name: "millpond_evicted_objects",
        help: "Objects that were removed from the disk, by reason.",
    };
    page.counters(objects, evicted(|counts| counts.objects.get()))?;
    let bytes = MetricFamily {
        name: "millpond_evicted_bytes",
        help: "Bytes of the objects that were removed from the disk, by reason.",
    };
    page.counters(bytes, evicted(|counts| counts.bytes.get()))
}

/// Returns a counter without labels.
fn alone(counter: &Counter) -> [(Labels<'static>, u64); 1] {
    [(Vec::new(), counter.get())]
}

/// Returns one label of a series.
fn one<L: Label>(name: &'static str, label: L) -> Labels<'static> {
    vec![(name, label.as_str())]
}

/// Returns the series of counts by one label.
fn by_one<L: Label>(
    name: &'static str,
    counts: &ByLabel<L>,
) -> impl Iterator<Item = (Labels<'static>, u64)> {
    counts
        .iter()
        .map(move |(label, count)| (one(name, label), count.get()))
}

/// Returns the series of counts by two labels.
fn by_two<A: Label, B: Label>(
    (first, second): (&'static str, &'static str),
    counts: &ByLabel<A, ByLabel<B>>,
) -> impl Iterator<Item = (Labels<'static>, u64)> {
    counts.iter().flat_map(move |(a, inner)| {
        inner.iter().map(move |(b, count)| {
            let labels = vec![(first, a.as_str()), (second, b.as_str())];
            (labels, count.get())
        })
    })
}
