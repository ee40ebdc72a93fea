//! Lists of stored targets, as `/objects` and `/targets` show them. The main function is
//! [`read_page`].

use serde::Serialize;
use utoipa::ToSchema;

use super::list_builder::{BuiltPage, ListBuilder};
use super::list_filter::ListedFacts;
use super::list_order::SortFacts;
use super::query::ListQuery;
use super::values::{ClassName, Moment, ObjectDigest, redacted_url};
use crate::admin::{AdminError, AdminService, FullList, ListReader};
use crate::cache::ListedTarget;
use crate::policy::Class;

/// Bound on the targets of one page.
pub const MAX_PAGE_LENGTH: usize = 1000;

/// A stored target with the object that answers for it.
#[derive(Serialize, ToSchema)]
pub struct ListedObject {
    /// URL without passwords and secret query values.
    url: String,
    class: ClassName,
    sha256: ObjectDigest,
    size_bytes: u64,
    /// Where the bytes came from: a URL, or `import`.
    source: String,
    first_seen: Moment,
    /// Last access of the object, if it is known.
    last_used: Option<Moment>,
    /// Whether the object is on the disk.
    cached: bool,
    pinned: bool,
}

/// Reads one page of the list.
///
/// # Errors
/// [`AdminError`] if the cache cannot be read, or too many full lists are being read.
pub async fn read_page(
    admin: &AdminService,
    reader: &ListReader,
    query: ListQuery,
) -> Result<BuiltPage<ListedObject>, AdminError> {
    let full = query.part.is_full().then(|| FullList::begin(admin, reader));
    let _full = full.transpose()?;
    let start = query.part.start();
    let mut builder = ListBuilder::new(query.filter, query.part);
    let visit = admin.visit_targets(reader, start, |listed, class| {
        let url = redacted_url(&listed.record.target);
        builder.visit(&facts_of(listed, class), &sort_facts(listed, &url), || {
            listed_object(listed, class, url.clone())
        })
    });
    visit.await?;
    Ok(builder.finish())
}

/// Returns the facts that a filter compares.
pub fn facts_of(listed: &ListedTarget, class: Class) -> ListedFacts<'_> {
    ListedFacts {
        target: &listed.record.target,
        digests: std::slice::from_ref(&listed.record.sha256),
        class,
        since: listed.record.first_seen,
        is_cached: listed.is_cached,
        is_pinned: listed.is_pinned,
    }
}

/// Returns the values that decide about a place.
pub fn sort_facts<'a>(listed: &ListedTarget, url: &'a str) -> SortFacts<'a> {
    SortFacts {
        key: listed.key,
        url,
        size_bytes: listed.record.size_bytes,
        first_seen: listed.record.first_seen,
        last_used: listed.last_used,
    }
}

fn listed_object(listed: &ListedTarget, class: Class, url: String) -> ListedObject {
    ListedObject {
        url,
        class: class.into(),
        sha256: listed.record.sha256.into(),
        size_bytes: listed.record.size_bytes,
        source: listed.record.source.clone(),
        first_seen: listed.record.first_seen.into(),
        last_used: listed.last_used.map(Into::into),
        cached: listed.is_cached,
        pinned: listed.is_pinned,
    }
}
