//! `/api/v1/pins`: lists pins, pins a target to one digest, and removes pins.

use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;

use super::list_builder::{ListBuilder, ListTotals};
use super::list_filter::{ListFilter, ListedFacts};
use super::list_order::ListPart;
use super::query::{ListQuery, Query};
use super::response::{ApiResponse, ok};
use super::target_list::{MAX_PAGE_LENGTH, facts_of, sort_facts};
use super::values::{ClassName, Moment, ObjectDigest, redacted_url};
use crate::admin::{AdminError, AdminService, FullList, ListReader, Operator};
use crate::cache::ListedPins;
use crate::model::Sha256;
use crate::policy::Class;

/// Pinned target.
#[derive(Serialize, ToSchema)]
pub struct TargetPinned {
    url: String,
    pinned: ObjectDigest,
}

/// Target without its pins.
#[derive(Serialize, ToSchema)]
pub struct TargetUnpinned {
    url: String,
    /// Number of removed pins.
    unpinned: u64,
}

/// One page of the list of pinned targets.
#[derive(Serialize, ToSchema)]
pub struct PinPage {
    pins: Vec<PinEntry>,
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
    /// Totals of all pinned targets that meet the filters, for `total=true` or an order.
    total: Option<ListTotals>,
}

/// A pinned target.
#[derive(Serialize, ToSchema)]
pub struct PinEntry {
    /// URL without passwords and secret query values.
    url: String,
    class: ClassName,
    /// Digest of the newest pin, which answers for the target.
    sha256: ObjectDigest,
    /// Time of this pin.
    pinned_at: Moment,
    /// Digests of older pins, the newest first.
    others: Vec<ObjectDigest>,
    /// Length of the object that answers for the target.
    size_bytes: u64,
    /// Whether this object is on the disk.
    cached: bool,
}

/// Lists pinned targets, one page at a time
///
/// Ages are those of the newest pins. The digest of a filter may be that of an older pin.
#[utoipa::path(
    get, path = "/api/v1/pins", operation_id = "listPins", tag = "pins",
    params(ListFilter, ListPart),
    responses((status = 200, description = "A page of the list", body = PinPage)),
    security(("reader" = []), ("operator" = [])),
)]
pub async fn list(
    admin: &AdminService,
    reader: &ListReader,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let ListQuery { filter, part } = query.list(MAX_PAGE_LENGTH, SystemTime::now())?;
    query.finish()?;
    let full = part.is_full().then(|| FullList::begin(admin, reader));
    let _full = full.transpose()?;
    let start = part.start();
    let mut builder = ListBuilder::new(filter, part);
    let visit = admin.visit_pins(reader, start, |listed, class| {
        let url = redacted_url(&listed.target.record.target);
        let digests: Vec<Sha256> = listed.pins.iter().map(|pin| pin.sha256).collect();
        let facts = ListedFacts {
            digests: &digests,
            since: listed.newest.pinned_at,
            ..facts_of(&listed.target, class)
        };
        builder.visit(&facts, &sort_facts(&listed.target, &url), || {
            pin_entry(listed, class, url.clone())
        })
    });
    visit.await?;
    let page = builder.finish();
    ok(&PinPage {
        pins: page.entries,
        next: page.next,
        total: page.totals,
    })
}

fn pin_entry(listed: &ListedPins, class: Class, url: String) -> PinEntry {
    let newest = listed.newest;
    let others = listed.pins.iter().map(|pin| pin.sha256);
    PinEntry {
        url,
        class: class.into(),
        sha256: newest.sha256.into(),
        pinned_at: newest.pinned_at.into(),
        others: others
            .filter(|sha256| *sha256 != newest.sha256)
            .map(Into::into)
            .collect(),
        size_bytes: listed.target.record.size_bytes,
        cached: listed.target.is_cached,
    }
}

/// Pins a target to its active record, or to the record of one digest
#[utoipa::path(
    put, path = "/api/v1/pins", operation_id = "pinTarget", tag = "pins",
    params(
        ("url" = String, Query, format = "uri", description = "URL of the target",
         example = "https://example.org/x-1.0.tar.gz"),
        ("sha256" = Option<String>, Query, description = "Digest of one record",
         pattern = "^[0-9a-fA-F]{64}$"),
    ),
    responses((status = 200, description = "The target is pinned", body = TargetPinned)),
    security(("operator" = [])),
)]
pub async fn pin(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (target, sha256) = (query.target()?, query.sha256()?);
    query.finish()?;
    let sha256 = admin.pin(operator, &target, sha256).await?;
    ok(&TargetPinned {
        url: redacted_url(&target),
        pinned: sha256.into(),
    })
}

/// Removes the pin to one digest, or all pins of a target
#[utoipa::path(
    delete, path = "/api/v1/pins", operation_id = "unpinTarget", tag = "pins",
    params(
        ("url" = String, Query, format = "uri", description = "URL of the target",
         example = "https://example.org/x-1.0.tar.gz"),
        ("sha256" = Option<String>, Query, description = "Digest of one pin",
         pattern = "^[0-9a-fA-F]{64}$"),
    ),
    responses((status = 200, description = "The pins are removed", body = TargetUnpinned)),
    security(("operator" = [])),
)]
pub async fn unpin(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (target, sha256) = (query.target()?, query.sha256()?);
    query.finish()?;
    let unpinned = admin.unpin(operator, &target, sha256).await?;
    ok(&TargetUnpinned {
        url: redacted_url(&target),
        unpinned,
    })
}
