//! The operator's file of digests, which may have been cut or written by a tool that nobody knows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::policy::Pins;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Pins::parse(text) {
        Ok(pins) => {
            assert!(pins.len() <= text.lines().count());
            // What is said twice is said, and a comment says nothing.
            let twice = Pins::parse(&format!("{text}\n# again\n{text}\n")).expect("each of its lines can be read");
            assert_eq!(twice, pins);
        }
        Err(error) => assert!((1..=text.lines().count()).contains(&error.line), "{error}"),
    }
});
