//! The cache disk and the bucket.

use maud::{Markup, html};

use crate::cache::{DiskUsage, PinnedUse};
use crate::ui::shown;
use crate::ui::snapshot::Snapshot;

/// Shows the use of the disk.
pub fn disk(snapshot: &Snapshot) -> Markup {
    html! {
        @match &snapshot.disk {
            Some(usage) => (usage_of(usage, snapshot.pinned)),
            None => p { span.badge.bad { "no answer" } " The disk of the cache does not answer." },
        }
    }
}

fn usage_of(usage: &DiskUsage, pinned: Option<PinnedUse>) -> Markup {
    let of_max = |bytes| shown::share(bytes, usage.max_size_bytes);
    let row = |name: &str, bytes: u64| {
        html! { tr { td { (name) } td.number { (shown::bytes(bytes)) } } }
    };
    html! {
        meter min="0" max="100" low=(of_max(usage.low_watermark_bytes))
            high=(of_max(usage.high_watermark_bytes)) optimum="0"
            value=(of_max(usage.used_bytes)) aria-label="used part of cache.max_size" {}
        p {
            (shown::bytes(usage.used_bytes)) " of " (shown::bytes(usage.max_size_bytes)) " used ("
            (of_max(usage.used_bytes)) " %)"
        }
        div.scroll { table id="disk-use" { tbody {
            (row("objects", usage.cached_bytes))
            (row("of them of class revalidate", usage.observed_bytes))
            @if let Some(pinned) = pinned {
                (row(&format!("pinned ({})", shown::count(pinned.objects)), pinned.bytes))
            }
            (row("reserved for unfinished bodies", usage.reserved_bytes))
            (row("records and other small files", usage.metadata_bytes))
            (row("free on the file system", usage.free_bytes))
            (row("eviction begins at", usage.high_watermark_bytes))
            (row("eviction ends at", usage.low_watermark_bytes))
            tr { td { "inodes used" } td.number { (shown::count(usage.used_inodes)) } }
            tr { td { "inodes free" } td.number { (shown::count(usage.free_inodes)) } }
        } } }
    }
}

/// Shows the state of the bucket.
pub fn bucket(snapshot: &Snapshot) -> Markup {
    let usage = snapshot.disk.as_ref();
    html! {
        @match &snapshot.bucket {
            None => p { "No bucket is configured." },
            Some(bucket) => {
                p.url { bdi { (shown::visible(&bucket.id)) } }
                p {
                    (state("reads", bucket.is_failing_reads)) " "
                    (state("writes", bucket.is_failing_writes))
                }
                @if let Some(error) = &bucket.last_error { p.bad { (shown::visible(error)) } }
                @if let Some(usage) = usage {
                    p {
                        (shown::count(usage.queued_uploads)) " objects wait for their upload."
                        @if let Some(oldest) = usage.oldest_upload {
                            " The oldest has waited since " (shown::time(oldest)) "."
                        }
                    }
                }
            }
        }
    }
}

fn state(name: &str, is_failing: bool) -> Markup {
    html! {
        @if is_failing { span.badge.bad { (name) " fail" } }
        @else { span.badge.good { (name) " work" } }
    }
}
