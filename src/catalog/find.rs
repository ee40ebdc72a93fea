//! Finds the targets that answer a query. The main function is [`find`].
//!
//! Lists often have digests without a URL, so the entries of these digests count too. Entries of
//! one name may have digests of different algorithms. Then the bytes must have all of them.

use std::collections::BTreeSet;

use super::query::{CatalogQuery, KnownFile, KnownHow};
use crate::cache::{CacheError, CatalogAccess, CatalogEntry, EntryOrigin, MAX_FOUND_ENTRIES};
use crate::model::{Digest, ExpectedDigests, Target};

/// Bound on the targets that are tried for one request.
const MAX_TARGETS: usize = 8;

/// Bound on the names of a digest whose entries count.
const MAX_NAMES: usize = 4;

/// Bound on the places at which a `MIRRORNAME` is cut to find its file name.
const MAX_CUTS: usize = 16;

/// Finds the targets that answer a query.
///
/// # Errors
/// [`CacheError`] if the catalog cannot be read.
pub async fn find(
    catalog: CatalogAccess<'_>,
    query: &CatalogQuery,
) -> Result<Vec<KnownFile>, CacheError> {
    if query.digests.is_empty() {
        find_by_name(catalog, query).await
    } else {
        find_by_digest(catalog, query).await
    }
}

/// Entries with these digests come first. Lists often have a digest without a URL, so the entries
/// of their other digests and of their names count too.
async fn find_by_digest(
    catalog: CatalogAccess<'_>,
    query: &CatalogQuery,
) -> Result<Vec<KnownFile>, CacheError> {
    let wanted = &query.digests;
    let mut found = Vec::new();
    for digest in wanted.iter() {
        found.extend(catalog.by_digest(digest.clone()).await?);
    }
    found.retain(|entry| may_have(entry, wanted));
    let names: BTreeSet<String> = found.iter().map(|entry| entry.name.clone()).collect();
    let linked = linked(catalog, &digests_of(&found), wanted).await?;
    found.extend(linked.into_iter().filter(|entry| may_have(entry, wanted)));
    for name in names.iter().take(MAX_NAMES) {
        let entries = catalog.by_name(name.clone()).await?;
        found.extend(entries.into_iter().filter(|entry| may_have(entry, wanted)));
    }
    if let Some(name) = &query.name
        && !names.contains(name.as_str())
    {
        let entries = catalog.by_name(name.as_str().to_owned()).await?;
        // No list says that the file of this name has the digest.
        let stored = entries
            .into_iter()
            .filter(|entry| entry.origin == EntryOrigin::Record && may_have(entry, wanted));
        found.extend(stored);
    }
    Ok(to_files(found, wanted))
}

/// Returns the targets of a name that stands for one content only.
async fn find_by_name(
    catalog: CatalogAccess<'_>,
    query: &CatalogQuery,
) -> Result<Vec<KnownFile>, CacheError> {
    let Some(name) = &query.name else {
        return Ok(Vec::new());
    };
    let mut found = catalog.by_name(name.as_str().to_owned()).await?;
    // A whole segment may be a name as well as a `MIRRORNAME`.
    let is_name = |mirror_name: &&String| found.is_empty() || name.as_str() != *mirror_name;
    if let Some(mirror_name) = query.mirror_name.as_ref().filter(is_name) {
        for cut in cuts(mirror_name) {
            found.extend(catalog.by_name(cut.to_owned()).await?);
        }
        found.retain(|entry| has_mirror_name(entry, mirror_name));
    }
    let Some(content) = common_digests(&found).filter(|_| are_all(&found)) else {
        return Ok(Vec::new());
    };
    let linked = linked(catalog, &content, &content).await?;
    found.extend(linked.into_iter().filter(|entry| may_have(entry, &content)));
    Ok(to_files(found, &content))
}

/// Returns the entries of digests that are not among those asked for already.
async fn linked(
    catalog: CatalogAccess<'_>,
    digests: &ExpectedDigests,
    wanted: &ExpectedDigests,
) -> Result<Vec<CatalogEntry>, CacheError> {
    let mut found = Vec::new();
    let is_by_name = digests == wanted;
    let others = digests.iter();
    for digest in others.filter(|digest| is_by_name || !wanted.iter().any(|one| one == *digest)) {
        found.extend(catalog.by_digest(digest.clone()).await?);
    }
    Ok(found)
}

fn digests_of(entries: &[CatalogEntry]) -> ExpectedDigests {
    let all = entries.iter().flat_map(|entry| entry.digests.iter());
    all.cloned().collect()
}

/// Returns whether a look-up returned all entries. Others may have other digests.
fn are_all(entries: &[CatalogEntry]) -> bool {
    [EntryOrigin::Record, EntryOrigin::Import]
        .into_iter()
        .all(|origin| {
            let of_origin = entries.iter().filter(|entry| entry.origin == origin);
            of_origin.count() < MAX_FOUND_ENTRIES
        })
}

/// Returns all digests of the entries, or `None` if the entries stand for different bytes.
fn common_digests(entries: &[CatalogEntry]) -> Option<ExpectedDigests> {
    let all = digests_of(entries);
    let differs = |one: &Digest| {
        let mut others = all.iter();
        others.any(|other| other.algorithm() == one.algorithm() && other != one)
    };
    let sizes = entries.iter().filter_map(|entry| entry.size_bytes);
    let has_one_size = sizes.clone().min() == sizes.max();
    (has_one_size && !all.iter().any(differs)).then_some(all)
}

/// Returns whether no digest of an entry differs from the wanted ones.
fn may_have(entry: &CatalogEntry, wanted: &ExpectedDigests) -> bool {
    wanted.iter().all(|digest| {
        let mut own = entry.digests.iter();
        own.all(|own| own.algorithm() != digest.algorithm() || own == digest)
    })
}

/// Returns the targets of entries, stored ones first.
fn to_files(mut entries: Vec<CatalogEntry>, expected: &ExpectedDigests) -> Vec<KnownFile> {
    entries.sort_by_key(|entry| how_known(entry, expected));
    let mut files: Vec<KnownFile> = Vec::new();
    for entry in entries {
        let how = how_known(&entry, expected);
        let Some(target) = entry.target else { continue };
        if files.len() < MAX_TARGETS && !files.iter().any(|file| file.target == target) {
            files.push(KnownFile {
                target,
                expected: expected.clone(),
                how,
            });
        }
    }
    files
}

fn how_known(entry: &CatalogEntry, wanted: &ExpectedDigests) -> KnownHow {
    let has_one = || {
        let mut own = entry.digests.iter();
        own.any(|own| wanted.iter().any(|digest| digest == own))
    };
    match entry.origin {
        EntryOrigin::Import => KnownHow::Listed,
        EntryOrigin::Record if has_one() => KnownHow::Stored,
        EntryOrigin::Record => KnownHow::StoredUnderName,
    }
}

/// Returns the file names with which a `MIRRORNAME` may end.
fn cuts(mirror_name: &str) -> impl Iterator<Item = &str> {
    let dots = mirror_name.match_indices('.');
    dots.map(|(at, _)| &mirror_name[at + 1..])
        .filter(|name| !name.is_empty())
        .take(MAX_CUTS)
}

fn has_mirror_name(entry: &CatalogEntry, mirror_name: &str) -> bool {
    let target = entry.target.as_ref();
    target.is_some_and(|target| to_mirror_name(target) == mirror_name)
}

/// Returns host and path of a target in one segment, as the fetcher of Yocto writes them.
fn to_mirror_name(target: &Target) -> String {
    let port = target.url().port().map(|port| format!(".{port}"));
    let path = percent_encoding::percent_decode_str(target.path()).decode_utf8_lossy();
    let path = path.replace(['/', '*'], ".").replace([' ', '(', ')'], "_");
    [target.host(), port.as_deref().unwrap_or_default(), &path].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirror_name_joins_host_and_path() {
        let target = Target::parse("https://ftp.example.org/pub/hello/hello-2.10.tar.gz").unwrap();
        let name = "ftp.example.org.pub.hello.hello-2.10.tar.gz";
        assert_eq!(to_mirror_name(&target), name);
        assert!(cuts(name).any(|cut| cut == "hello-2.10.tar.gz"));
    }

    #[test]
    fn different_contents_have_no_common_digests() {
        let entry = |digest: &str| CatalogEntry {
            name: "x".to_owned(),
            target: None,
            size_bytes: None,
            digests: ExpectedDigests::from_iter([Digest::parse_named(digest).unwrap()]),
            origin: EntryOrigin::Import,
        };
        let (one, other) = ("ab".repeat(16), "cd".repeat(16));
        let md5 = |hex: &str| entry(&format!("md5:{hex}"));
        let sha1 = entry(&format!("sha1:{}", "ab".repeat(20)));
        assert_eq!(common_digests(&[md5(&one), md5(&other)]), None);
        let common = common_digests(&[md5(&one), sha1]).unwrap();
        assert_eq!(common.iter().count(), 2);
    }
}
