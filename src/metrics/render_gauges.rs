//! Metric families of the present state. The main function is [`write_gauges`].

use std::fmt;

use super::gauges::{Gauges, IndexGauges, PeerTrafficCounts, Pool, PoolGauges, StorageGauges};
use super::label::Label as _;
use super::page::{Labels, MetricFamily, MetricsPage};
use super::process::ProcessGauges;

/// Writes the state of the process.
pub fn write_gauges(page: &mut MetricsPage<'_>, gauges: &Gauges) -> fmt::Result {
    let build = MetricFamily {
        name: "millpond_build_info",
        help: "Version of Millpond. The value is always 1.",
    };
    let version = vec![("version", env!("CARGO_PKG_VERSION"))];
    page.gauges(build, [(version, 1)])?;
    let ready = MetricFamily {
        name: "millpond_ready",
        help: "Whether /readyz answers 200.",
    };
    page.gauges(ready, alone(u64::from(gauges.is_ready)))?;
    let fetches = MetricFamily {
        name: "millpond_in_flight_fetches",
        help: "Fetches that have begun and not ended.",
    };
    page.gauges(fetches, alone(gauges.in_flight_fetches))?;
    write_pools(page, &gauges.pools)?;
    let circuits = MetricFamily {
        name: "millpond_open_circuits",
        help: "Hosts that are not asked: failing ones, registries that limit requests, and the \
               bucket.",
    };
    let series = gauges.circuits.iter();
    page.gauges(
        circuits,
        series.map(|(circuit, count)| (vec![("of", circuit.as_str())], *count)),
    )?;
    let incidents = MetricFamily {
        name: "millpond_open_incidents",
        help: "Incidents that have not ended, by severity.",
    };
    let of = |severity, count| (vec![("severity", severity)], count);
    page.gauges(
        incidents,
        [
            of("alert", gauges.open_alerts),
            of("notice", gauges.open_notices),
        ],
    )?;
    let lost = MetricFamily {
        name: "millpond_lost_log_lines",
        help: "Log lines that were lost because the log was not written.",
    };
    page.counters(lost, alone(gauges.lost_log_lines))?;
    write_peers(page, gauges)?;
    if let Some(index) = &gauges.index {
        write_index(page, index)?;
    }
    if let Some(storage) = &gauges.storage {
        write_storage(page, storage)?;
    }
    let round = MetricFamily {
        name: "millpond_scrub_round_age_seconds",
        help: "Time since the scrub of the service began its round.",
    };
    page.gauges(round, alone(gauges.scrub_round_age_seconds))?;
    match &gauges.process {
        Some(process) => write_process(page, process),
        None => Ok(()),
    }
}

fn alone(value: u64) -> [(Labels<'static>, u64); 1] {
    [(Vec::new(), value)]
}

/// Writes the families of a cluster. Other gateways have none.
fn write_peers(page: &mut MetricsPage<'_>, gauges: &Gauges) -> fmt::Result {
    if gauges.peers.is_empty() {
        return Ok(());
    }
    let peers = MetricFamily {
        name: "millpond_cluster_peers",
        help: "Peers, by the state that the last poll found.",
    };
    let series = gauges.peers.iter();
    page.gauges(
        peers,
        series.map(|(state, count)| (vec![("state", *state)], *count)),
    )?;
    let refusals = MetricFamily {
        name: "millpond_cluster_refusals",
        help: "Requests whose mark of a peer was refused, by reason.",
    };
    let series = gauges.peer_refusals.iter();
    page.counters(
        refusals,
        series.map(|(reason, count)| (vec![("reason", *reason)], *count)),
    )?;
    let traffic = |value: fn(&PeerTrafficCounts) -> u64| {
        let counts = gauges.peer_traffic.iter();
        counts.map(move |peer| (vec![("peer", peer.peer.as_str())], value(peer)))
    };
    let received = MetricFamily {
        name: "millpond_cluster_received_bytes",
        help: "Bytes of bodies that each peer has sent to this node.",
    };
    page.counters(received, traffic(|peer| peer.received_bytes))?;
    let sent = MetricFamily {
        name: "millpond_cluster_sent_bytes",
        help: "Bytes of bodies that this node has sent to each peer.",
    };
    page.counters(sent, traffic(|peer| peer.sent_bytes))
}

/// Writes the families of the index that nodes of a cluster share.
fn write_index(page: &mut MetricsPage<'_>, index: &IndexGauges) -> fmt::Result {
    let up = MetricFamily {
        name: "millpond_cluster_redis_up",
        help: "Whether Redis answers (1) or is not used (0).",
    };
    page.gauges(up, alone(u64::from(index.is_answering)))?;
    let lookups = MetricFamily {
        name: "millpond_cluster_redis_lookups",
        help: "Lookups of the nodes that have an object, by what Redis has answered.",
    };
    let series = index.lookups.iter();
    page.counters(
        lookups,
        series.map(|(result, count)| (vec![("result", *result)], *count)),
    )?;
    let removed = MetricFamily {
        name: "millpond_cluster_redis_wrong_entries",
        help: "Entries that were removed, because the node did not have the object.",
    };
    page.counters(removed, alone(index.removed))
}

fn write_pools(page: &mut MetricsPage<'_>, pools: &[(Pool, PoolGauges)]) -> fmt::Result {
    let of = |value: fn(&PoolGauges) -> u64| {
        let labelled = move |(pool, gauges): &(Pool, PoolGauges)| {
            (vec![("pool", pool.as_str())], value(gauges))
        };
        pools.iter().map(labelled)
    };
    let size = MetricFamily {
        name: "millpond_pool_size",
        help: "Permits of each pool.",
    };
    page.gauges(size, of(|pool| pool.size))?;
    let used = MetricFamily {
        name: "millpond_pool_used",
        help: "Permits of each pool that are in use.",
    };
    page.gauges(used, of(|pool| pool.taken))?;
    let waiting = MetricFamily {
        name: "millpond_pool_waiting",
        help: "Requests that wait for a permit of each pool.",
    };
    page.gauges(waiting, of(|pool| pool.waiting))?;
    let rejections = MetricFamily {
        name: "millpond_pool_rejections",
        help: "Requests that got no permit of each pool.",
    };
    page.counters(rejections, of(|pool| pool.rejected))
}

fn write_storage(page: &mut MetricsPage<'_>, storage: &StorageGauges) -> fmt::Result {
    let gauges = [
        (
            "millpond_store_bytes",
            "Bytes of the objects on the disk, by the ledger.",
            storage.cached_bytes,
        ),
        (
            "millpond_store_revalidate_bytes",
            "Bytes of the objects of class revalidate, which are part of millpond_store_bytes.",
            storage.revalidate_bytes,
        ),
        (
            "millpond_store_capacity_bytes",
            "Bound on millpond_store_bytes (cache.max_size).",
            storage.max_size_bytes,
        ),
        (
            "millpond_disk_free_bytes",
            "Bytes of the file system that Millpond may still use.",
            storage.free_bytes,
        ),
        (
            "millpond_disk_free_inodes",
            "Files that the file system can still hold.",
            storage.free_inodes,
        ),
        (
            "millpond_upload_queue",
            "Objects that wait for their upload to the bucket.",
            storage.queued_uploads,
        ),
        (
            "millpond_upload_queue_oldest_seconds",
            "How long the oldest of these objects has waited.",
            storage.oldest_upload_seconds,
        ),
    ];
    for (name, help, value) in gauges {
        page.gauges(MetricFamily { name, help }, alone(value))?;
    }
    Ok(())
}

fn write_process(page: &mut MetricsPage<'_>, process: &ProcessGauges) -> fmt::Result {
    let cpu = MetricFamily {
        name: "process_cpu_seconds",
        help: "CPU time of the process, in user and kernel mode.",
    };
    page.fractional_counter(cpu, process.cpu_seconds)?;
    let start = MetricFamily {
        name: "process_start_time_seconds",
        help: "Start of the process, in seconds since 1970.",
    };
    page.fractional_gauge(start, process.start_time_seconds)?;
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            process.resident_bytes,
        ),
        (
            "process_virtual_memory_bytes",
            "Address space of the process.",
            process.virtual_bytes,
        ),
        (
            "process_open_fds",
            "Open file descriptors of the process.",
            process.open_files,
        ),
    ];
    for (name, help, value) in gauges {
        page.gauges(MetricFamily { name, help }, alone(value))?;
    }
    Ok(())
}
