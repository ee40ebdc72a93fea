//! `/api/v1/catalog`: finds entries by name or digest, imports lists and removes them.

use std::collections::BTreeMap;

use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt as _};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::Query;
use super::response::{ApiResponse, ok};
use super::values::{ObjectDigest, redacted_url};
use crate::admin::{AdminError, AdminService, ListReader, Operator};
use crate::cache::{CatalogEntry, EntryOrigin};
use crate::catalog::ListFormat;
use crate::gateway::RequestError;
use crate::model::{Digest, Sha256};

/// Bound on a list, in bytes.
const MAX_LIST_BYTES: usize = 16 << 20;

/// Entries of the catalog.
#[derive(Serialize, ToSchema)]
pub struct CatalogPage {
    entries: Vec<CatalogItem>,
    /// Number of all entries of the catalog, if neither a name nor a digest is stated.
    known: Option<u64>,
    /// Imported lists, if neither a name nor a digest is stated.
    lists: Option<Vec<ListItem>>,
}

/// Imported list of the catalog.
#[derive(Serialize, ToSchema)]
pub struct ListItem {
    /// Digest that names the list.
    list: ObjectDigest,
    /// Number of its entries.
    entries: u64,
}

/// A file that the catalog knows.
#[derive(Serialize, ToSchema)]
pub struct CatalogItem {
    /// File name.
    name: String,
    /// URL without passwords and secret query values. Null if none is known.
    url: Option<String>,
    size_bytes: Option<u64>,
    /// Known digests in hexadecimal, by algorithm.
    digests: BTreeMap<String, String>,
    /// `record`: the bytes were stored; `import`: a list names them.
    origin: &'static str,
}

/// Imported list.
#[derive(Serialize, ToSchema)]
pub struct CatalogImported {
    /// Number of entries.
    entries: usize,
    /// Digest that names the list. The same list again replaces itself.
    list: ObjectDigest,
}

/// List that was removed.
#[derive(Serialize, ToSchema)]
pub struct CatalogListRemoved {
    /// Digest that named the list.
    list: ObjectDigest,
}

/// Finds files by name or by digest
///
/// Without a name and a digest, the response counts the entries and names the imported lists.
#[utoipa::path(
    get, path = "/api/v1/catalog", operation_id = "searchCatalog", tag = "catalog",
    params(
        ("name" = Option<String>, Query, description = "File name without folders",
         example = "x-1.0.tar.gz"),
        ("digest" = Option<String>, Query, description = "Digest like `sha256:<hex>`"),
    ),
    responses((status = 200, description = "At most 64 entries of stored files, and 64 of lists",
         body = CatalogPage)),
    security(("reader" = []), ("operator" = [])),
)]
pub async fn search(
    admin: &AdminService,
    reader: &ListReader,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let (name, digest) = (query.text("name")?, query.text("digest")?);
    query.finish()?;
    let bad = |text: String| RequestError::BadRequest(text);
    let catalog = admin.catalog();
    let is_overview = name.is_none() && digest.is_none();
    let entries = match (name, digest) {
        (Some(name), None) => catalog.of_name(reader, &name).await?,
        (None, Some(digest)) => {
            let digest = Digest::parse_named(&digest);
            let digest = digest.map_err(|error| bad(format!("digest {error}")))?;
            catalog.of_digest(reader, &digest).await?
        }
        (None, None) => Vec::new(),
        (Some(_), Some(_)) => {
            let reason = "name and digest cannot be stated both";
            return Err(bad(reason.to_owned()).into());
        }
    };
    let mut page = CatalogPage {
        entries: entries.iter().map(catalog_item).collect(),
        known: None,
        lists: None,
    };
    if is_overview {
        page.known = Some(catalog.count(reader).await?);
        let lists = catalog.lists(reader).await?.into_iter();
        let items = lists.map(|(list, entries)| ListItem {
            list: list.into(),
            entries,
        });
        page.lists = Some(items.collect());
    }
    ok(&page)
}

fn catalog_item(entry: &CatalogEntry) -> CatalogItem {
    let digests = entry.digests.iter();
    CatalogItem {
        name: entry.name.clone(),
        url: entry.target.as_ref().map(redacted_url),
        size_bytes: entry.size_bytes,
        digests: digests
            .map(|digest| (digest.algorithm().as_str().to_owned(), digest.hex()))
            .collect(),
        origin: match entry.origin {
            EntryOrigin::Record => "record",
            EntryOrigin::Import => "import",
        },
    }
}

/// Imports a list of files
///
/// A list with a bad line is refused as a whole. The error names the line and the reason.
#[utoipa::path(
    put, path = "/api/v1/catalog", operation_id = "importCatalog", tag = "catalog",
    params(
        ("format" = Option<String>, Query,
         description = "Format of the list: `sums` (the default), `fedora-sources`, \
                        `gentoo-manifest`, `buildroot-hash`, `distinfo`, `conandata` or \
                        `nix-fetchurl`"),
    ),
    request_body(content = String, content_type = "text/plain", description = "The list"),
    responses((status = 200, description = "The list is imported", body = CatalogImported)),
    security(("operator" = [])),
)]
pub async fn import(
    admin: &AdminService,
    operator: &Operator,
    body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let bad = |text: String| RequestError::BadRequest(text);
    let format = query.text("format")?;
    query.finish()?;
    let format: ListFormat = match format {
        None => ListFormat::Sums,
        Some(name) => name.parse().map_err(|error| bad(format!("{error}")))?,
    };
    let text = read_list(body).await?;
    let entries = format.parse(&text);
    let entries = entries.map_err(|error| bad(error.to_string()))?;
    if entries.is_empty() {
        return Err(bad("the list has no file; nothing was imported".to_owned()).into());
    }
    let count = entries.len();
    let list = admin.catalog().import(operator, entries).await?;
    ok(&CatalogImported {
        entries: count,
        list: list.into(),
    })
}

/// Removes an imported list
#[utoipa::path(
    delete, path = "/api/v1/catalog", operation_id = "removeCatalogList", tag = "catalog",
    params(("list" = String, Query, description = "Digest that names the list, in hexadecimal")),
    responses(
        (status = 200, description = "The list and its entries are removed",
         body = CatalogListRemoved),
    ),
    security(("operator" = [])),
)]
pub async fn remove(
    admin: &AdminService,
    operator: &Operator,
    mut query: Query<'_>,
) -> Result<ApiResponse, AdminError> {
    let bad = |text: String| RequestError::BadRequest(text);
    let list = query.text("list")?;
    query.finish()?;
    let list = list.ok_or_else(|| bad("list must be the digest of a list".to_owned()))?;
    let list: Sha256 = list
        .parse()
        .map_err(|error| bad(format!("list: {error}")))?;
    admin.catalog().remove_list(operator, list).await?;
    ok(&CatalogListRemoved { list: list.into() })
}

async fn read_list(
    mut body: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
) -> Result<String, RequestError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| RequestError::BadRequest(error.to_string()))?;
        if bytes.len() + chunk.len() > MAX_LIST_BYTES {
            let reason = format!("a list has at most {MAX_LIST_BYTES} bytes");
            return Err(RequestError::BadRequest(reason));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| RequestError::BadRequest("the list is no text".to_owned()))
}
