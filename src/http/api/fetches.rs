//! `GET /api/v1/fetches`: the fetches that run now. Readers may see them, since they name the
//! targets of other clients.

use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::redacted_url;
use crate::admin::{AdminError, AdminService, ListReader};
use crate::fetch::{ByteOrigin, FetchAim, FetchView};
use crate::policy::SourceKind;

/// Bound on the fetches of one page.
const MAX_PAGE_LENGTH: usize = 1000;

/// One page of the fetches that run now.
#[derive(Serialize, ToSchema)]
pub struct FetchPage {
    /// The oldest first.
    fetches: Vec<FetchEntry>,
    /// Number of all fetches that meet the filters.
    total: usize,
    /// Value of `after` for the next page. Null on the last page.
    next: Option<u64>,
}

/// A fetch that runs now.
#[derive(Serialize, ToSchema)]
pub struct FetchEntry {
    /// Number of the fetch since the start of the process.
    id: u64,
    /// URL without passwords and secret query values.
    url: String,
    aim: FetchAimName,
    /// Null before the first request to a source.
    source: Option<SourceName>,
    received_bytes: u64,
    /// Length of the body, if the source has stated it.
    size_bytes: Option<u64>,
    /// Speed over the last seconds. Of a promotion, since its begin.
    bytes_per_second: u64,
    /// Requests that read the body or wait for it.
    readers: usize,
    age_seconds: f64,
}

/// Purpose of a fetch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FetchAimName {
    /// The bytes that answer for the target.
    Answer,
    /// Other bytes than the answer, whose digest a client has stated.
    OtherBytes,
    /// A stored target is fetched again for an operator or a job.
    Refresh,
    /// A request for a target of class `revalidate`.
    Revalidation,
    /// An object that only the bucket has is copied to the disk.
    Promotion,
}

/// Source of the bytes of a fetch.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    Origin,
    Mirror,
    /// Another gateway.
    Parent,
    Archive,
    /// A node of the cluster, which fetches the target.
    Peer,
    /// Another process of the same cache folder, which fetches the target.
    OtherProcess,
    Bucket,
}

/// Filter and part of the list of fetches.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FetchQuery {
    /// Only fetches from this host
    host: Option<String>,
    /// Only fetches whose URL begins with this text
    prefix: Option<String>,
    /// Only fetches behind this one, which is `next` of the page before
    after: Option<u64>,
    /// Number of fetches on a page
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000)]
    limit: usize,
}

/// Lists the fetches that run now, the oldest first
#[utoipa::path(
    get, path = "/api/v1/fetches", operation_id = "listFetches", tag = "fetches",
    params(FetchQuery),
    responses((status = 200, description = "A page of the list", body = FetchPage)),
    security(("reader" = []), ("operator" = [])),
)]
pub fn list(
    admin: &AdminService,
    reader: &ListReader,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let wanted = FetchQuery {
        host: query.host()?,
        prefix: query.text("prefix")?,
        after: query.number("after")?,
        limit: query.limit(MAX_PAGE_LENGTH)?,
    };
    query.finish()?;
    let mut fetches = admin.fetches(reader);
    fetches.retain(|fetch| wanted.accepts(fetch));
    let total = fetches.len();
    fetches.retain(|fetch| wanted.after.is_none_or(|after| fetch.number.get() > after));
    let has_more = fetches.len() > wanted.limit;
    fetches.truncate(wanted.limit);
    let last = fetches.last().map(|fetch| fetch.number.get());
    ok(&FetchPage {
        fetches: fetches.iter().map(Into::into).collect(),
        total,
        next: last.filter(|_| has_more),
    })
}

impl FetchQuery {
    fn accepts(&self, fetch: &FetchView) -> bool {
        let has_host = |host: &String| fetch.target.host() == host.as_str();
        let has_prefix = |prefix: &String| fetch.target.as_str().starts_with(prefix.as_str());
        self.host.as_ref().is_none_or(has_host) && self.prefix.as_ref().is_none_or(has_prefix)
    }
}

impl From<&FetchView> for FetchEntry {
    fn from(fetch: &FetchView) -> Self {
        let reading = &fetch.reading;
        Self {
            id: fetch.number.get(),
            url: redacted_url(&fetch.target),
            aim: match fetch.aim {
                FetchAim::Answer => FetchAimName::Answer,
                FetchAim::OtherBytes => FetchAimName::OtherBytes,
                FetchAim::Refresh => FetchAimName::Refresh,
                FetchAim::Revalidation => FetchAimName::Revalidation,
                FetchAim::Promotion => FetchAimName::Promotion,
            },
            source: reading.origin.map(|origin| match origin {
                ByteOrigin::Source(SourceKind::Origin) => SourceName::Origin,
                ByteOrigin::Source(SourceKind::Mirror) => SourceName::Mirror,
                ByteOrigin::Source(SourceKind::Parent) => SourceName::Parent,
                ByteOrigin::Source(SourceKind::Archive) => SourceName::Archive,
                ByteOrigin::Source(SourceKind::Peer) => SourceName::Peer,
                ByteOrigin::OtherProcess => SourceName::OtherProcess,
                ByteOrigin::Bucket => SourceName::Bucket,
            }),
            received_bytes: reading.received_bytes,
            size_bytes: reading.length,
            bytes_per_second: reading.bytes_per_second,
            readers: reading.readers,
            age_seconds: fetch.age.as_secs_f64(),
        }
    }
}
