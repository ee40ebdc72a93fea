//! Files of the page, which are part of the binary or made once. The main type is [`Asset`].

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// Length from which a file is also kept in gzip, in bytes.
const MIN_GZIP_BYTES: usize = 4 << 10;

/// Bytes of the digest in an entity tag.
const TAG_BYTES: usize = 8;

/// Encoding in which a client gets a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetForm {
    Plain,
    Gzip,
}

/// One file of the page.
#[derive(Debug)]
pub struct Asset {
    pub name: &'static str,
    pub content_type: &'static str,
    plain: Cow<'static, [u8]>,
    /// `None` if the file is small.
    gzip: Option<Vec<u8>>,
    /// Version of Millpond, and the beginning of the digest.
    tag: String,
}

static ASSETS: LazyLock<[Asset; 6]> = LazyLock::new(|| {
    [
        Asset::new(
            "page.js",
            "text/javascript; charset=utf-8",
            include_str!("assets/page.js").as_bytes(),
        ),
        Asset::new(
            "page.css",
            "text/css; charset=utf-8",
            include_str!("assets/page.css").as_bytes(),
        ),
        Asset::new(
            "docs.css",
            "text/css; charset=utf-8",
            include_str!("assets/docs.css").as_bytes(),
        ),
        Asset::new(
            "uplot.js",
            "text/javascript; charset=utf-8",
            include_str!("assets/uplot/uPlot.iife.min.js").as_bytes(),
        ),
        Asset::new(
            "uplot.css",
            "text/css; charset=utf-8",
            include_str!("assets/uplot/uPlot.min.css").as_bytes(),
        ),
        Asset::new(
            "icon.svg",
            "image/svg+xml",
            include_str!("assets/icon.svg").as_bytes(),
        ),
    ]
});

impl Asset {
    /// Returns the file with a name, if there is one.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.name == name)
    }

    /// Makes a file of its bytes.
    pub(super) fn new(
        name: &'static str,
        content_type: &'static str,
        plain: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let plain = plain.into();
        let digest = Sha256::digest(&plain);
        let version = env!("CARGO_PKG_VERSION");
        Self {
            name,
            content_type,
            gzip: (plain.len() >= MIN_GZIP_BYTES).then(|| compress(&plain)),
            plain,
            tag: format!("{version}-{}", hex::encode(&digest[..TAG_BYTES])),
        }
    }

    /// Returns the best form for a client, as `Accept-Encoding` states it.
    #[must_use]
    pub fn form_for(&self, accepted: &str) -> AssetForm {
        let accepts_gzip = accepted.split(',').any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
            let is_refused = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
            name.trim().eq_ignore_ascii_case("gzip") && !is_refused
        });
        if accepts_gzip && self.gzip.is_some() {
            AssetForm::Gzip
        } else {
            AssetForm::Plain
        }
    }

    /// Returns the entity tag (RFC 9110, section 8.8.3). Each form has its own.
    #[must_use]
    pub fn entity_tag(&self, form: AssetForm) -> String {
        match form {
            AssetForm::Plain => format!("\"{}\"", self.tag),
            AssetForm::Gzip => format!("\"{}-gzip\"", self.tag),
        }
    }

    /// Returns the bytes of a form that [`Asset::form_for`] has returned.
    #[must_use]
    pub fn bytes(&'static self, form: AssetForm) -> &'static [u8] {
        match (form, &self.gzip) {
            (AssetForm::Gzip, Some(gzip)) => gzip,
            _ => &self.plain,
        }
    }
}

fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.expect("memory takes all bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_have_smaller_form() {
        let plot = Asset::find("uplot.js").unwrap();
        let plain = plot.bytes(AssetForm::Plain).len();
        assert_eq!(plot.form_for("br, GZIP;q=0.5"), AssetForm::Gzip);
        assert!(plot.bytes(AssetForm::Gzip).len() * 2 < plain);
        for refused in ["", "br", "gzip;q=0"] {
            assert_eq!(plot.form_for(refused), AssetForm::Plain, "{refused}");
        }
        let tags = [AssetForm::Plain, AssetForm::Gzip].map(|form| plot.entity_tag(form));
        assert_ne!(tags[0], tags[1]);
        let icon = Asset::find("icon.svg").unwrap();
        assert_eq!(icon.form_for("gzip"), AssetForm::Plain);
    }
}
