//! Archives of container images, and the manifests in them.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use millpond::adopt::{TarEntries, TarEntryKind};
use millpond::registry::ImageManifest;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = ImageManifest::parse(bytes) {
        for blob in manifest.blobs() {
            assert!(blob.digest.hex().len() >= 64);
        }
    }
    let Ok(mut entries) = TarEntries::new(Cursor::new(bytes)) else {
        return;
    };
    let mut last_end = 0;
    while let Ok(Some(entry)) = entries.next_entry() {
        assert!(!entry.name.starts_with('/'));
        assert!(!entry.name.split('/').any(|segment| segment == ".."));
        let end = entry.offset + entry.size_bytes;
        assert!(entry.offset >= last_end && end <= bytes.len() as u64);
        assert!(entry.kind == TarEntryKind::File || entry.size_bytes == 0);
        last_end = end;
    }
});
