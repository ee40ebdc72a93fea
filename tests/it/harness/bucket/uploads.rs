//! Parts of incomplete multipart uploads. The server does not check the list of parts that a client
//! sends to complete an upload.

use std::collections::HashSet;
use std::sync::Mutex;

use super::super::lock;
use super::strict::Refusal;

/// Accepted parts by upload, number and ETag.
#[derive(Default)]
pub(super) struct Uploads {
    taken: Mutex<HashSet<[String; 3]>>,
}

impl Uploads {
    /// Records an accepted part if the query names an upload and a part number.
    pub(super) fn note(&self, query: &str, etag: &str) {
        let (upload, number) = (value(query, "uploadId"), value(query, "partNumber"));
        if !upload.is_empty() && !number.is_empty() {
            lock(&self.taken).insert([upload, number, bare(etag)]);
        }
    }

    /// Checks that the list which completes an upload names accepted parts only.
    pub(super) fn check(&self, query: &str, list: &[u8]) -> Result<(), Refusal> {
        let upload = value(query, "uploadId");
        let list = String::from_utf8_lossy(list);
        let taken = lock(&self.taken);
        let is_taken = |part: &str| {
            let named = [
                upload.clone(),
                element(part, "PartNumber"),
                bare(&element(part, "ETag")),
            ];
            taken.contains(&named)
        };
        if list.split("<Part>").skip(1).all(is_taken) {
            Ok(())
        } else {
            Err((400, "InvalidPart", "no such part was taken"))
        }
    }
}

fn value(query: &str, name: &str) -> String {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(own, _)| *own == name)
        .map(|(_, value)| value.to_owned())
        .unwrap_or_default()
}

fn element(xml: &str, name: &str) -> String {
    let rest = xml.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split_once("</"))
        .map(|(text, _)| text.to_owned())
        .unwrap_or_default()
}

/// Returns an ETag without its quotes.
fn bare(etag: &str) -> String {
    etag.replace("&quot;", "").replace('"', "")
}
