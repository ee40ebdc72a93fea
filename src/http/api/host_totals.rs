//! Totals of the stored targets of each host. The main function is [`totals_by_host`].

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::ControlFlow;

use serde::Serialize;
use utoipa::ToSchema;

use super::list_builder::ListTotals;
use super::target_list::facts_of;
use crate::admin::{AdminError, AdminService, FullList, ListReader, ListStart};

/// Bound on the groups of one response.
pub const MAX_GROUPS: usize = 1000;

/// Hosts that are counted. Targets of further hosts do not count, which needs a host for each
/// target of a large cache.
const MAX_HOSTS: usize = 100_000;

/// Totals of the stored targets of one host.
#[derive(Serialize, ToSchema)]
pub struct HostTotals {
    host: String,
    #[serde(flatten)]
    totals: ListTotals,
}

/// Returns the hosts with most cached bytes, at most `limit`.
///
/// # Errors
/// [`AdminError`] if the cache cannot be read, or too many full lists are being read.
pub async fn totals_by_host(
    admin: &AdminService,
    reader: &ListReader,
    limit: usize,
) -> Result<Vec<HostTotals>, AdminError> {
    let _full = FullList::begin(admin, reader)?;
    let mut by_host: HashMap<String, ListTotals> = HashMap::new();
    let visit = admin.visit_targets(reader, ListStart::ALL, |listed, class| {
        let record = &listed.record;
        let host = record.target.host();
        if !by_host.contains_key(host) && by_host.len() < MAX_HOSTS {
            by_host.insert(host.to_owned(), ListTotals::default());
        }
        if let Some(totals) = by_host.get_mut(host) {
            totals.add(&facts_of(listed, class), record.size_bytes);
        }
        ControlFlow::Continue(())
    });
    visit.await?;
    let hosts = by_host.into_iter();
    let mut hosts: Vec<HostTotals> = hosts
        .map(|(host, totals)| HostTotals { host, totals })
        .collect();
    hosts.sort_by(|a, b| {
        let order = |hosts: &HostTotals| Reverse((hosts.totals.cached_bytes, hosts.totals.targets));
        order(a).cmp(&order(b)).then_with(|| a.host.cmp(&b.host))
    });
    hosts.truncate(limit);
    Ok(hosts)
}
