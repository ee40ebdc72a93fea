//! Documents of npm registries: all versions of a package, abbreviated or not, or one version.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::{RawValue, to_raw_value};

use super::document::LinkPlaces;
use super::error::IndexError;
use super::json_members::JsonMembers;
use crate::model::{Algorithm, Digest};

/// Rewrites the URLs of all tarballs.
pub fn rewrite(body: &[u8], places: LinkPlaces<'_>) -> Result<Vec<u8>, IndexError> {
    let mut package = JsonMembers::parse(body)?;
    rewrite_dist(&mut package, places)?;
    let versions = package.value("versions").map(JsonMembers::of_value);
    if let Some(mut versions) = versions.transpose()?.flatten() {
        versions.change_each(|version| rewrite_version(version, places))?;
        let versions = to_raw_value(&versions)?;
        package.replace("versions", &versions)?;
    }
    Ok(package.to_bytes()?)
}

fn rewrite_version(
    version: &RawValue,
    places: LinkPlaces<'_>,
) -> serde_json::Result<Option<Box<RawValue>>> {
    let Some(mut version) = JsonMembers::of_value(version)? else {
        return Ok(None);
    };
    rewrite_dist(&mut version, places)?;
    to_raw_value(&version).map(Some)
}

/// Rewrites the member `dist` of a version.
fn rewrite_dist(version: &mut JsonMembers<'_>, places: LinkPlaces<'_>) -> serde_json::Result<()> {
    let dist = version.value("dist").map(JsonMembers::of_value);
    let Some(mut dist) = dist.transpose()?.flatten() else {
        return Ok(());
    };
    let Some(link) = link_of(&dist, places) else {
        return Ok(());
    };
    dist.replace("tarball", &link)?;
    let dist = to_raw_value(&dist)?;
    version.replace("dist", &dist)
}

/// Returns the URL of a tarball behind that of the gateway and its digest. A client needs an
/// absolute URL.
fn link_of(dist: &JsonMembers<'_>, places: LinkPlaces<'_>) -> Option<String> {
    if places.budget.is_spent() {
        return None;
    }
    let tarball: String = dist.get("tarball")?;
    let target = places.page.join(&tarball).ok()?;
    let integrity = dist.get::<String>("integrity");
    let digest = integrity
        .and_then(|integrity| strongest(&integrity))
        .or_else(|| {
            let shasum: String = dist.get("shasum")?;
            Digest::parse(Algorithm::Sha1, &shasum).ok()
        });
    let digest = digest.map_or_else(String::new, |digest| format!("{digest}/"));
    let link = format!("{}/{digest}{}", places.gateway, target.as_str());
    places.budget.take(link)
}

/// Returns the strongest digest of subresource integrity that Millpond computes.
fn strongest(integrity: &str) -> Option<Digest> {
    ["sha512-", "sha256-", "sha1-"]
        .into_iter()
        .find_map(|prefix| {
            let mut words = integrity.split_ascii_whitespace();
            let value = words.find_map(|word| word.strip_prefix(prefix))?;
            let value = value.split('?').next().unwrap_or_default();
            let bytes = BASE64_STANDARD.decode(value).ok()?;
            let algorithm = prefix.trim_end_matches('-').parse().ok()?;
            Digest::parse(algorithm, &hex::encode(bytes)).ok()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::document::LinkBudget;
    use super::*;
    use crate::model::Target;

    fn rewritten(body: &str) -> Value {
        let page = Target::parse("https://npm.example.org/tiny").unwrap();
        let budget = LinkBudget::default();
        let places = LinkPlaces {
            budget: &budget,
            page: &page,
            upstream: "https://npm.example.org",
            gateway: "http://mill.example.org",
        };
        serde_json::from_slice(&rewrite(body.as_bytes(), places).unwrap()).unwrap()
    }

    #[test]
    fn tarballs_are_behind_gateway_and_digest() {
        let sha512 = BASE64_STANDARD.encode([0xab; 64]);
        let json = rewritten(&format!(
            r#"{{"name":"tiny","versions":{{
            "1.0.0":{{"dist":{{"integrity":"sha1-AAAA sha512-{sha512}?x","shasum":"00",
                "tarball":"https://files.example.org/tiny-1.0.0.tgz","fileCount":3}}}},
            "1.1.0":{{"dist":{{"tarball":"/tiny/-/tiny-1.1.0.tgz","shasum":"{}"}}}},
            "1.2.0":{{"dist":{{"tarball":"/t.tgz","integrity":"sha384-AAAA"}}}},
            "1.3.0":{{"dist":{{"tarball":"file:///etc/passwd"}}}},"1.4.0":null}},"a":1}}"#,
            "cd".repeat(20)
        ));
        let tarball = |version: &str| json["versions"][version]["dist"]["tarball"].clone();
        let gateway = "http://mill.example.org";
        let files = "https://files.example.org/tiny-1.0.0.tgz";
        assert_eq!(
            tarball("1.0.0"),
            format!("{gateway}/sha512:{}/{files}", "ab".repeat(64))
        );
        let file = "https://npm.example.org/tiny/-/tiny-1.1.0.tgz";
        assert_eq!(
            tarball("1.1.0"),
            format!("{gateway}/sha1:{}/{file}", "cd".repeat(20))
        );
        assert_eq!(
            tarball("1.2.0"),
            format!("{gateway}/https://npm.example.org/t.tgz")
        );
        assert_eq!(tarball("1.3.0"), "file:///etc/passwd");
        assert_eq!(json["versions"]["1.0.0"]["dist"]["fileCount"], 3);
        assert_eq!(json["a"], 1);
    }

    #[test]
    fn one_version_is_rewritten_too() {
        let json = rewritten(r#"{"version":"1.0.0","dist":{"tarball":"/t.tgz"}}"#);
        let tarball = json["dist"]["tarball"].as_str().unwrap();
        assert_eq!(
            tarball,
            "http://mill.example.org/https://npm.example.org/t.tgz"
        );
    }
}
