//! `GET /api/v1/targets`: the history of a target, and the list of all. The removal of a target is
//! here too.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::list_builder::ListTotals;
use super::list_filter::ListFilter;
use super::list_order::ListPart;
use super::query::Query;
use super::response::{ApiResponse, ok};
use super::target_list::{ListedObject, MAX_PAGE_LENGTH, read_page};
use super::values::{ClassName, Moment, ObjectDigest, digests, redacted_url};
use crate::admin::{AdminError, AdminService, ListReader, Operator, Permission};
use crate::cache::{PinnedTarget, RecordStatus};
use crate::freshness::{Completeness, Observation};
use crate::model::Standing;

/// The target that the client has named, or a page of the list.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum FoundTargets {
    History(TargetHistory),
    Page(TargetPage),
}

/// One page of the list of stored targets.
#[derive(Serialize, ToSchema)]
pub struct TargetPage {
    targets: Vec<ListedObject>,
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
    /// Totals of all targets that meet the filters, for `total=true` or an order.
    total: Option<ListTotals>,
}

/// All that is on record of a target.
#[derive(Serialize, ToSchema)]
pub struct TargetHistory {
    /// URL without passwords and secret query values.
    url: String,
    class: ClassName,
    /// Digest that the operator's checksum file requires.
    required_sha256: Option<ObjectDigest>,
    /// Records, those that answer first.
    records: Vec<RecordEntry>,
    /// Stored responses of class `revalidate`, the newest first.
    observations: Vec<ObservationEntry>,
}

/// One record: the target returned these bytes.
#[derive(Serialize, ToSchema)]
pub struct RecordEntry {
    sha256: ObjectDigest,
    /// All known digests in hexadecimal, by algorithm.
    digests: BTreeMap<String, String>,
    size_bytes: u64,
    /// Number that orders the records of a target, from 1.
    generation: Option<u64>,
    standing: StandingName,
    first_seen: Moment,
    /// Time of the last request that got the object. Null if it is not on the disk.
    last_used: Option<Moment>,
    /// Where the bytes came from: a URL, or `import`.
    source: String,
    /// Whether the object is on the disk.
    cached: bool,
    /// Time of the pin.
    pinned: Option<Moment>,
    /// Whether the target is answered with these bytes.
    active: bool,
}

/// Whether a record may answer for its target.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StandingName {
    /// The origin gave these bytes before any others, or an operator accepted them.
    Established,
    /// The origin gave these bytes after others.
    Witnessed,
}

/// One stored response of class `revalidate`.
#[derive(Serialize, ToSchema)]
pub struct ObservationEntry {
    sha256: ObjectDigest,
    size_bytes: u64,
    /// Status of the response.
    status: u16,
    received_at: Moment,
    /// URL that the response came from.
    source: String,
    /// Names and values of the request fields that select this response.
    vary: Vec<Vec<String>>,
    completeness: CompletenessName,
    /// Earlier digests, the newest first.
    history: Vec<ObjectDigest>,
}

/// Knowledge about the end of a body.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompletenessName {
    Confirmed,
    /// Only the connection ended.
    Unconfirmed,
}

/// Removed target.
#[derive(Serialize, ToSchema)]
pub struct TargetRemoved {
    url: String,
    /// Number of removed records.
    records: u64,
    freed_bytes: u64,
}

/// Shows one target, or lists stored targets
///
/// With `url`, the response has the class of this target, its records and stored responses, and the
/// digest that the checksum file requires. It needs no token. Without `url`, the response is a page
/// of the list of stored targets, and needs a token.
#[utoipa::path(
    get, path = "/api/v1/targets", operation_id = "findTargets", tag = "targets",
    params(
        ("url" = Option<String>, Query, format = "uri",
         description = "URL of one target. No other parameter is allowed then"),
        ListFilter,
        ListPart,
    ),
    responses((status = 200, description = "The target, or a page of the list",
               body = FoundTargets)),
    security((), ("reader" = []), ("operator" = [])),
)]
pub async fn find(
    admin: &AdminService,
    permission: Permission,
    query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let found = if query.has_url() {
        FoundTargets::History(history(admin, query).await?)
    } else {
        FoundTargets::Page(list(admin, &permission.into_reader()?, query).await?)
    };
    ok(&found)
}

async fn list(
    admin: &AdminService,
    reader: &ListReader,
    mut query: Query<'_>,
) -> Result<TargetPage, AdminError> {
    let wanted = query.list(MAX_PAGE_LENGTH, SystemTime::now())?;
    query.finish()?;
    let page = read_page(admin, reader, wanted).await?;
    Ok(TargetPage {
        targets: page.entries,
        next: page.next,
        total: page.totals,
    })
}

async fn history(admin: &AdminService, mut query: Query<'_>) -> Result<TargetHistory, AdminError> {
    let target = query.target()?;
    query.finish()?;
    let (records, observations) = admin.stored(&target).await?;
    Ok(TargetHistory {
        url: redacted_url(&target),
        class: admin.class(&target).into(),
        required_sha256: admin.required_sha256(&target).map(Into::into),
        records: records.iter().map(record_entry).collect(),
        observations: observations.iter().map(observation_entry).collect(),
    })
}

/// Removes a target with its records and objects
#[utoipa::path(
    delete, path = "/api/v1/objects", operation_id = "removeTarget", tag = "targets",
    params(
        ("url" = String, Query, format = "uri", description = "URL of the target",
         example = "https://example.org/x-1.0.tar.gz"),
        ("keep_pinned" = Option<bool>, Query, description = "Whether a pinned target is an error"),
    ),
    responses((status = 200, description = "The target is removed", body = TargetRemoved)),
    security(("operator" = [])),
)]
pub async fn remove(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let target = query.target()?;
    let pinned = if query.flag("keep_pinned")? {
        PinnedTarget::Keep
    } else {
        PinnedTarget::Remove
    };
    query.finish()?;
    let removed = admin.remove_target(operator, &target, pinned).await?;
    ok(&TargetRemoved {
        url: redacted_url(&target),
        records: removed.records,
        freed_bytes: removed.freed_bytes,
    })
}

fn record_entry(status: &RecordStatus) -> RecordEntry {
    let record = &status.record;
    RecordEntry {
        sha256: record.sha256.into(),
        digests: digests(record),
        size_bytes: record.size_bytes,
        generation: record.generation.map(Into::into),
        standing: match record.standing {
            Standing::Established => StandingName::Established,
            Standing::Witnessed => StandingName::Witnessed,
        },
        first_seen: record.first_seen.into(),
        last_used: status.last_used.map(Into::into),
        source: record.source.clone(),
        cached: status.is_cached,
        pinned: status.pinned_at.map(Into::into),
        active: status.is_active,
    }
}

fn observation_entry(observation: &Observation) -> ObservationEntry {
    let vary = observation.vary.fields();
    let vary = vary.map(|(name, value)| vec![name.to_owned(), value.to_owned()]);
    ObservationEntry {
        sha256: observation.sha256.into(),
        size_bytes: observation.size_bytes,
        status: observation.status,
        received_at: observation.received_at.into(),
        source: observation.source.clone(),
        vary: vary.collect(),
        completeness: match observation.completeness {
            Completeness::Confirmed => CompletenessName::Confirmed,
            Completeness::Unconfirmed => CompletenessName::Unconfirmed,
        },
        history: observation
            .history
            .iter()
            .copied()
            .map(Into::into)
            .collect(),
    }
}
