//! Torrent files with web seeds (BEP 3, BEP 19): a file, the SHA-1 of its pieces, and its sources.
//!
//! This module must not know which sources there are. There is no tracker, and Millpond sends
//! pieces to no client of BitTorrent. Its main type is [`Torrent`].

use crate::model::{PIECE_BYTES, PieceSha1};

/// Media type of a torrent file.
pub const MEDIA_TYPE: &str = "application/x-bittorrent";

/// Description of one file for clients of BitTorrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torrent<'a> {
    /// Name of the file, without folders.
    pub name: &'a str,
    pub size_bytes: u64,
    /// SHA-1 of pieces of [`PIECE_BYTES`].
    pub pieces: &'a [PieceSha1],
    /// Text for people.
    pub comment: String,
    /// URLs of the file.
    pub web_seeds: Vec<String>,
}

impl Torrent<'_> {
    /// Returns the file, bencoded. The keys of each dictionary are sorted.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut file = b"d".to_vec();
        text(&mut file, b"comment");
        text(&mut file, self.comment.as_bytes());
        text(&mut file, b"created by");
        let version = env!("CARGO_PKG_VERSION");
        text(&mut file, format!("Millpond/{version}").as_bytes());
        text(&mut file, b"info");
        file.push(b'd');
        text(&mut file, b"length");
        number(&mut file, self.size_bytes);
        text(&mut file, b"name");
        text(&mut file, self.name.as_bytes());
        text(&mut file, b"piece length");
        number(&mut file, PIECE_BYTES);
        text(&mut file, b"pieces");
        text(&mut file, self.pieces.as_flattened());
        text(&mut file, b"private");
        number(&mut file, 0);
        file.push(b'e');
        text(&mut file, b"url-list");
        file.push(b'l');
        for url in &self.web_seeds {
            text(&mut file, url.as_bytes());
        }
        file.extend(b"ee");
        file
    }
}

fn number(file: &mut Vec<u8>, value: u64) {
    file.extend(format!("i{value}e").as_bytes());
}

fn text(file: &mut Vec<u8>, bytes: &[u8]) {
    file.extend(format!("{}:", bytes.len()).as_bytes());
    file.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_form_of_bep_3() {
        let torrent = Torrent {
            name: "x-1.0.tar.gz",
            size_bytes: PIECE_BYTES + 1,
            pieces: &[[b'a'; 20], [b'b'; 20]],
            comment: "c".to_owned(),
            web_seeds: vec!["http://a.example.org/x".to_owned()],
        };
        let version = env!("CARGO_PKG_VERSION");
        let program = format!("Millpond/{version}");
        let length = program.len();
        let wanted = format!(
            "d7:comment1:c10:created by{length}:{program}4:infod6:lengthi1048577e\
             4:name12:x-1.0.tar.gz12:piece lengthi1048576e\
             6:pieces40:{}{}7:privatei0ee8:url-listl22:http://a.example.org/xee",
            "a".repeat(20),
            "b".repeat(20)
        );
        assert_eq!(String::from_utf8(torrent.render()).unwrap(), wanted);
    }
}
