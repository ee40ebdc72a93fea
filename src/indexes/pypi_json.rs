//! Simple indexes as JSON (PEP 691, PEP 714, PEP 740).

use std::collections::HashMap;

use serde_json::value::{RawValue, to_raw_value};

use super::document::LinkPlaces;
use super::error::IndexError;
use super::json_members::{JsonItems, JsonMembers};
use super::pypi_link::{FileDigests, provenance_link, read_digest};
use crate::model::Digest;

/// Members that describe the metadata of a file. The first one that is there counts.
const METADATA_MEMBERS: [&str; 2] = ["core-metadata", "dist-info-metadata"];

/// Rewrites the files of a project. The list of all projects has none.
pub fn rewrite(body: &[u8], places: LinkPlaces<'_>) -> Result<Vec<u8>, IndexError> {
    let mut project = JsonMembers::parse(body)?;
    let files = match project.value("files") {
        Some(files) => rewrite_files(files, places)?,
        None => None,
    };
    if let Some(files) = files {
        project.replace("files", &files)?;
    }
    Ok(project.to_bytes()?)
}

/// Returns the rewritten list, or `None` if it is no list.
fn rewrite_files(
    files: &RawValue,
    places: LinkPlaces<'_>,
) -> Result<Option<Box<RawValue>>, IndexError> {
    let Some(mut files) = JsonItems::of_value(files)? else {
        return Ok(None);
    };
    files.change_each(|file| rewrite_file(file, places))?;
    Ok(Some(to_raw_value(&files)?))
}

fn rewrite_file(
    file: &RawValue,
    places: LinkPlaces<'_>,
) -> serde_json::Result<Option<Box<RawValue>>> {
    let file = JsonMembers::of_value(file)?.filter(|_| !places.budget.is_spent());
    let Some(mut file) = file else {
        return Ok(None);
    };
    if let Some(link) = link_of(&file, places) {
        file.replace("url", &link)?;
    }
    let provenance = file.get::<String>("provenance");
    if let Some(target) = provenance.and_then(|url| places.page.join(&url).ok()) {
        let link = provenance_link(&target, places.gateway);
        file.replace("provenance", &places.budget.take(link))?;
    }
    to_raw_value(&file).map(Some)
}

fn link_of(file: &JsonMembers<'_>, places: LinkPlaces<'_>) -> Option<String> {
    let url: String = file.get("url")?;
    let target = places.page.join(&url).ok()?;
    let metadata = METADATA_MEMBERS
        .iter()
        .find(|name| file.value(name).is_some());
    let digests = FileDigests {
        file: strongest(file, "hashes"),
        metadata: metadata.and_then(|name| strongest(file, name)),
    };
    places.budget.take(digests.link(&target))
}

/// Returns the strongest digest of a member with digests by their algorithms.
fn strongest(file: &JsonMembers<'_>, name: &str) -> Option<Digest> {
    let hashes: HashMap<String, String> = file.get(name)?;
    ["sha256", "sha512", "sha1", "md5"]
        .into_iter()
        .find_map(|algorithm| read_digest(&format!("{algorithm}={}", hashes.get(algorithm)?)))
}

#[cfg(test)]
mod tests {
    use super::super::document::LinkBudget;
    use super::*;
    use crate::model::Target;

    #[test]
    fn links_state_digests_of_files_and_metadata() {
        let page = Target::parse("https://pypi.example.org/simple/tiny/").unwrap();
        let budget = LinkBudget::default();
        let places = LinkPlaces {
            budget: &budget,
            page: &page,
            upstream: "https://pypi.example.org/simple",
            gateway: "http://mill.example.org",
        };
        let (file, metadata) = ("ab".repeat(32), "cd".repeat(32));
        let body = format!(
            r#"{{"meta":{{"api-version":"1.1"}},"name":"tiny","files":[
            {{"filename":"a.whl","url":"../../f/a.whl","hashes":{{"md5":"00","sha256":"{file}"}},
            "core-metadata":{{"sha256":"{metadata}"}},"dist-info-metadata":false,"size":1,
            "provenance":"https://pypi.example.org/integrity/a.whl/provenance"}},
            {{"filename":"b.whl","url":"https://f.example.org/b.whl","hashes":{{}},
            "core-metadata":true,"provenance":null}},{{"url":"javascript:x","hashes":{{}}}}]}}"#
        );
        let written = rewrite(body.as_bytes(), places).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&written).unwrap();
        let url = |index: usize| json["files"][index]["url"].as_str().unwrap().to_owned();
        assert_eq!(
            url(0),
            format!(
                "/mirror/pypi/files/sha256-{file}/sha256-{metadata}\
                 /https://pypi.example.org/f/a.whl"
            )
        );
        assert_eq!(url(1), "/mirror/pypi/files/-/-/https://f.example.org/b.whl");
        assert_eq!(url(2), "javascript:x");
        assert_eq!(json["files"][0]["size"], 1);
        assert_eq!(
            json["files"][0]["provenance"],
            "http://mill.example.org/mirror/pypi/files/-/-\
             /https://pypi.example.org/integrity/a.whl/provenance"
        );
        assert!(json["files"][1]["provenance"].is_null());
        assert_eq!(json["name"], "tiny");
        let projects = br#"{"meta":{},"projects":[{"name":"tiny"}]}"#;
        assert_eq!(rewrite(projects, places).unwrap(), projects);
    }
}
