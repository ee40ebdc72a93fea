//! Parser of record files, which may be corrupt or forged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::model::{MAX_RECORD_BYTES, Record, Target};

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::parse(bytes) else {
        return;
    };
    assert!(bytes.len() <= MAX_RECORD_BYTES);
    let uri = record.target.as_str();
    assert_eq!(
        Target::parse(uri)
            .expect("a canonical string is a target")
            .as_str(),
        uri
    );
    let headers = &record.headers;
    for value in [
        &headers.last_modified,
        &headers.content_type,
        &headers.content_disposition,
        &headers.etag,
    ] {
        // No value from a file can split a response.
        assert!(
            value
                .iter()
                .all(|value| value.bytes().all(|byte| (0x20..0x7f).contains(&byte))),
            "{value:?}"
        );
    }
    // A file has millisecond precision, so the record is stable from the second write on.
    let written = record.to_bytes();
    if let Ok(again) = Record::parse(&written) {
        assert_eq!(again.to_bytes(), written);
        assert_eq!(
            (again.sha256, again.size_bytes, &again.target),
            (record.sha256, record.size_bytes, &record.target)
        );
    } else {
        // Escapes and indentation can make the file longer than the limit.
        assert!(written.len() > MAX_RECORD_BYTES);
    }
});
