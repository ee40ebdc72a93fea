//! Parser of the checksum file, which may be truncated or written by any tool.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::policy::ChecksumList;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match ChecksumList::parse(text) {
        Ok(pins) => {
            assert!(pins.len() <= text.lines().count());
            // Duplicate lines and comments change nothing.
            let twice = ChecksumList::parse(&format!("{text}\n# again\n{text}\n"))
                .expect("each line was parsed before");
            assert_eq!(twice, pins);
        }
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line), "{error}"),
    }
});
