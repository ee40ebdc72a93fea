//! A record file, which may come from a damaged disk or from somebody else's hand.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::model::{MAX_RECORD_BYTES, Record, Target};

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::parse(bytes) else { return };
    assert!(bytes.len() <= MAX_RECORD_BYTES);
    let uri = record.target.as_str();
    assert_eq!(Target::parse(uri).expect("a canonical string is a target").as_str(), uri);
    let headers = &record.headers;
    for value in [&headers.last_modified, &headers.content_type, &headers.content_disposition, &headers.etag] {
        // Nothing in a file can split an answer.
        assert!(value.iter().all(|value| value.bytes().all(|byte| (0x20..0x7f).contains(&byte))), "{value:?}");
    }
    // A file keeps milliseconds: what is read back is the same from the second time on.
    let written = record.to_bytes();
    if let Ok(again) = Record::parse(&written) {
        assert_eq!(again.to_bytes(), written);
        assert_eq!((again.sha256, again.size_bytes, &again.target), (record.sha256, record.size_bytes, &record.target));
    } else {
        // Only escapes and indentation can make it longer than a file may be.
        assert!(written.len() > MAX_RECORD_BYTES);
    }
});
