//! Parser of the PROXY header of a load balancer, versions 1 and 2, before the client's bytes.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread()
            .build()
            .expect("a runtime without timers and sockets"),
    );
}

fuzz_target!(|bytes: &[u8]| {
    let mut reader = bytes;
    let read = RUNTIME
        .with_borrow(|runtime| runtime.block_on(millpond::http::read_proxy_header(&mut reader)));
    let Ok(_client) = read else { return };
    let header_bytes = bytes.len() - reader.len();
    // Version 1 has at most 107 bytes. Version 2 has 16 bytes plus its length field. The parser
    // must not consume any byte of the client.
    if bytes.starts_with(b"PROXY ") {
        assert!(header_bytes <= 107 && bytes[..header_bytes].ends_with(b"\r\n"));
        let lines = bytes[..header_bytes]
            .windows(2)
            .filter(|pair| pair == b"\r\n")
            .count();
        assert_eq!(lines, 1);
    } else {
        assert!(bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n"));
        assert_eq!(
            header_bytes,
            16 + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]))
        );
    }
});
