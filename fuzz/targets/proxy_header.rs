//! The PROXY header of a balancer, versions 1 and 2, in front of whatever the client sends.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().build().expect("a runtime without timers and sockets"));
}

fuzz_target!(|bytes: &[u8]| {
    let mut reader = bytes;
    let read = RUNTIME.with_borrow(|runtime| runtime.block_on(millpond::http::read_proxy_header(&mut reader)));
    let Ok(_client) = read else { return };
    let header_bytes = bytes.len() - reader.len();
    // Version 1 is at most 107 bytes; version 2 is 16 bytes and as much as its length says. Not one byte of the
    // client's own may be taken away.
    if bytes.starts_with(b"PROXY ") {
        assert!(header_bytes <= 107 && bytes[..header_bytes].ends_with(b"\r\n"));
        let lines = bytes[..header_bytes].windows(2).filter(|pair| pair == b"\r\n").count();
        assert_eq!(lines, 1);
    } else {
        assert!(bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
        assert_eq!(header_bytes, 16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]])));
    }
});
