//! Content of a gzip file, as far as its first bytes show it.
//!
//! Some servers apply the content coding gzip to an error page, and send it for a compressed file.

use std::io::Read as _;

use flate2::bufread::GzDecoder;

use super::markup::FILE_TYPE_SNIFF_BYTES;

/// Returns the first bytes of the content, at most [`FILE_TYPE_SNIFF_BYTES`]. Fewer if the head is
/// short, and none if it is damaged.
pub fn first_content_bytes(head: &[u8]) -> Vec<u8> {
    let mut content = vec![0; FILE_TYPE_SNIFF_BYTES];
    let mut decoder = GzDecoder::new(head);
    let mut size_bytes = 0;
    // An error means that the head ends here.
    while let Ok(count @ 1..) = decoder.read(&mut content[size_bytes..]) {
        size_bytes += count;
    }
    content.truncate(size_bytes);
    content
}
