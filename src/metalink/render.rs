//! Renders a document.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::Metalink;
use crate::model::{PIECE_BYTES, PieceList};

/// Bytes of a line with the digest of a piece.
const PIECE_LINE_BYTES: usize = "      <hash></hash>\n".len() + 64;

impl Metalink {
    /// Returns the document.
    #[must_use]
    pub fn render(&self) -> String {
        let pieces = self.pieces.iter().flat_map(PieceList::digests);
        let mut text = String::with_capacity(4096 + pieces.clone().count() * PIECE_LINE_BYTES);
        text += "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        text += "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n";
        let version = env!("CARGO_PKG_VERSION");
        let (name, size_bytes, sha256) = (escape(&self.name), self.size_bytes, self.sha256);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "  <generator>Millpond/{version}</generator>\n  <file name=\"{name}\">\n    \
             <size>{size_bytes}</size>\n    <hash type=\"sha-256\">{sha256}</hash>\n"
        );
        if self.pieces.is_some() {
            let _ = writeln!(
                text,
                "    <pieces length=\"{PIECE_BYTES}\" type=\"sha-256\">"
            );
            for piece in pieces {
                let _ = writeln!(text, "      <hash>{piece}</hash>");
            }
            text += "    </pieces>\n";
        }
        for source in &self.urls {
            let (url, priority) = (escape(&source.url), source.priority);
            let _ = writeln!(text, "    <url priority=\"{priority}\">{url}</url>");
        }
        text += "  </file>\n</metalink>\n";
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metalink::MetalinkUrl;
    use crate::model::Sha256;

    #[test]
    fn document_has_form_of_rfc_5854() {
        let digest = |byte| Sha256::from_bytes([byte; 32]);
        let document = Metalink {
            name: "x & \"y\".tar.gz".to_owned(),
            size_bytes: PIECE_BYTES + 1,
            sha256: digest(1),
            pieces: PieceList::new(PIECE_BYTES + 1, vec![digest(2), digest(3)]),
            urls: vec![MetalinkUrl {
                url: "https://h/?a=1&b='2'".to_owned(),
                priority: 1,
            }],
        };
        let [one, two, three] = ["01", "02", "03"].map(|byte| byte.repeat(32));
        let expected = format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<metalink xmlns="urn:ietf:params:xml:ns:metalink">
  <generator>Millpond/{}</generator>
  <file name="x &amp; &quot;y&quot;.tar.gz">
    <size>1048577</size>
    <hash type="sha-256">{one}</hash>
    <pieces length="1048576" type="sha-256">
      <hash>{two}</hash>
      <hash>{three}</hash>
    </pieces>
    <url priority="1">https://h/?a=1&amp;b=&apos;2&apos;</url>
  </file>
</metalink>
"#,
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(document.render(), expected);
    }
}
