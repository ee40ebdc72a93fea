//! `config.json` of a sparse index: the template of the URLs of crates.

use super::document::LinkPlaces;
use super::error::IndexError;
use super::json_members::JsonMembers;

/// Marker that Cargo replaces by the digest of a crate.
const DIGEST_MARKER: &str = "{sha256-checksum}";

/// All markers. Without one, Cargo appends the rest of the path.
const MARKERS: [&str; 5] = [
    "{crate}",
    "{version}",
    "{prefix}",
    "{lowerprefix}",
    DIGEST_MARKER,
];

const DEFAULT_REST: &str = "/{crate}/{version}/download";

/// Puts the gateway and the digest before the template. Other members, such as the URL of the API
/// for `cargo publish`, stay as they are.
pub fn rewrite(body: &[u8], places: LinkPlaces<'_>) -> Result<Vec<u8>, IndexError> {
    let mut config = JsonMembers::parse(body)?;
    let template: String = config.get("dl").ok_or(IndexError::NoDownloadUrl)?;
    if !template.starts_with("http://") && !template.starts_with("https://") {
        return Err(IndexError::NoDownloadUrl);
    }
    let has_marker = MARKERS.iter().any(|marker| template.contains(marker));
    let rest = if has_marker { "" } else { DEFAULT_REST };
    let rewritten = format!("{}/sha256:{DIGEST_MARKER}/{template}{rest}", places.gateway);
    config.replace("dl", &rewritten)?;
    Ok(config.to_bytes()?)
}

#[cfg(test)]
mod tests {
    use super::super::document::LinkBudget;
    use super::*;
    use crate::model::Target;

    #[test]
    fn template_is_behind_gateway_and_digest() {
        let page = Target::parse("https://index.example.org/config.json").unwrap();
        let budget = LinkBudget::default();
        let places = LinkPlaces {
            budget: &budget,
            page: &page,
            upstream: "https://index.example.org",
            gateway: "http://mill.example.org",
        };
        let rewritten = |dl: &str| {
            let body = format!(r#"{{"dl":"{dl}","api":"https://api.example.org"}}"#);
            let written = rewrite(body.as_bytes(), places)?;
            Ok::<_, IndexError>(String::from_utf8(written).unwrap())
        };
        let front = "http://mill.example.org/sha256:{sha256-checksum}/";
        for (dl, found) in [
            (
                "https://c.example.org/crates",
                "https://c.example.org/crates/{crate}/{version}/download",
            ),
            (
                "https://c.example.org/{crate}-{version}.crate",
                "https://c.example.org/{crate}-{version}.crate",
            ),
        ] {
            let wanted = format!(r#"{{"dl":"{front}{found}","api":"https://api.example.org"}}"#);
            assert_eq!(rewritten(dl).unwrap(), wanted);
        }
        assert!(rewritten("file:///x").is_err());
        assert!(rewrite(b"{}", places).is_err());
    }
}
