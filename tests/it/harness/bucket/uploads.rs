//! The parts of uploads that are not complete yet. The server does not compare what a client says of them at the end.

use std::collections::HashSet;
use std::sync::Mutex;

use super::super::lock;
use super::strict::Refusal;

/// Each part by its upload, its number and its ETag.
#[derive(Default)]
pub(super) struct Uploads {
    taken: Mutex<HashSet<[String; 3]>>,
}

impl Uploads {
    /// Notes a part that was taken, if the query says that it is one.
    pub(super) fn note(&self, query: &str, etag: &str) {
        let (upload, number) = (value(query, "uploadId"), value(query, "partNumber"));
        if !upload.is_empty() && !number.is_empty() {
            lock(&self.taken).insert([upload, number, bare(etag)]);
        }
    }

    /// Holds the list of parts that completes an upload against those that were taken.
    pub(super) fn check(&self, query: &str, list: &[u8]) -> Result<(), Refusal> {
        let upload = value(query, "uploadId");
        let list = String::from_utf8_lossy(list);
        let taken = lock(&self.taken);
        let is_taken = |part: &str| {
            let named = [upload.clone(), element(part, "PartNumber"), bare(&element(part, "ETag"))];
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
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

fn element(xml: &str, name: &str) -> String {
    let rest = xml.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split_once("</")).map(|(text, _)| text.to_owned()).unwrap_or_default()
}

/// An ETag without its quotes.
fn bare(etag: &str) -> String {
    etag.replace("&quot;", "").replace('"', "")
}
