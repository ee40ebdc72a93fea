//! The bytes of a connection in any pieces, and each request in them as the HTTP library reads it.

#![no_main]

use actix_codec::Decoder as _;
use actix_http::ServiceConfig;
use actix_http::h1::{Codec, Message, MessageType};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use millpond::http::{FramingError, RequestScanner};

thread_local! {
    static RUNTIME: actix_rt::Runtime =
        actix_rt::Runtime::new().expect("a runtime without sockets");
    /// One for all inputs: each starts a task for the date, which only a running runtime ends.
    static SERVICE: ServiceConfig = RUNTIME.with(|runtime| {
        runtime.block_on(async { ServiceConfig::default() })
    });
}

/// Returns where each request ends, and the error behind the last one.
fn scan(bytes: &[u8], piece_bytes: usize) -> (Vec<usize>, Option<FramingError>) {
    let (mut scanner, mut held) = (RequestScanner::default(), Vec::new());
    let (mut ends, mut taken) = (Vec::new(), 0);
    for piece in bytes.chunks(piece_bytes) {
        held.extend_from_slice(piece);
        loop {
            let count = match scanner.advance(&held) {
                Ok(count) => count,
                Err(error) => return (ends, Some(error)),
            };
            assert!(count <= held.len());
            held.drain(..count);
            taken += count;
            if scanner.is_complete() {
                ends.push(taken);
                scanner.restart();
            } else if count == 0 {
                break;
            }
        }
    }
    (ends, None)
}

/// Returns a scanned request as the HTTP library gets it.
fn as_handed_over(request: &[u8]) -> Vec<u8> {
    let mut scanner = RequestScanner::default();
    scanner
        .advance(request)
        .expect("the request was scanned before");
    let end = scanner.take_ended_head();
    let rewritten = end.and_then(|end| Some((end.rewritten(request)?, end.length_bytes)));
    match rewritten {
        Some((head, length_bytes)) => [&head, &request[length_bytes..]].concat(),
        None => request.to_vec(),
    }
}

/// Asserts that the library reads these bytes as exactly one request.
fn assert_one_request(request: &[u8], service: &ServiceConfig) {
    let mut codec = Codec::new(service.clone());
    let mut buffer = BytesMut::from(&as_handed_over(request)[..]);
    match codec.decode(&mut buffer) {
        Ok(Some(Message::Item(_))) => {}
        Ok(_) => panic!("the library waits for more of the head"),
        Err(error) => panic!("the library refuses the head: {error}"),
    }
    if codec.message_type() != MessageType::None {
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(Message::Chunk(None))) => break,
                Ok(Some(Message::Chunk(Some(_)))) => {}
                Ok(_) => panic!("the library waits for more of the body"),
                Err(error) => panic!("the library refuses the body: {error}"),
            }
        }
    }
    assert!(
        buffer.is_empty(),
        "the library reads the end of a request as the next one"
    );
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece_bytes, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = scan(bytes, bytes.len().max(1));
    assert_eq!(scan(bytes, usize::from(piece_bytes).max(1)), whole);
    let service = SERVICE.with(ServiceConfig::clone);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let mut start = 0;
            for end in whole.0 {
                assert_one_request(&bytes[start..end], &service);
                start = end;
            }
        });
    });
});
