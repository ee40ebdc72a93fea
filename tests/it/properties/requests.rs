//! Where requests end, held against the lengths with which they were made and against the HTTP
//! library.

use actix_codec::Decoder as _;
use actix_http::ServiceConfig;
use actix_http::h1::{Codec, Message, MessageType};
use actix_web::web::BytesMut;
use millpond::http::{FramingError, MAX_HEAD_BYTES, RequestScanner};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{CASES, cases};

/// Verdict on all bytes of a connection.
#[derive(Debug, PartialEq, Eq)]
struct Scan {
    /// Where each request ended.
    ends: Vec<usize>,
    error: Option<FramingError>,
    /// Bytes that were not withheld; none after an error.
    taken_bytes: usize,
}

/// Scans `bytes`, which arrive in pieces.
fn scan(bytes: &[u8], cuts: &[Index]) -> Scan {
    let mut cuts: Vec<_> = cuts
        .iter()
        .map(|cut| cut.index(bytes.len() + 1))
        .chain([0, bytes.len()])
        .collect();
    cuts.sort_unstable();
    let (mut scanner, mut held) = (RequestScanner::default(), Vec::new());
    let mut scan = Scan {
        ends: Vec::new(),
        error: None,
        taken_bytes: 0,
    };
    for pair in cuts.windows(2) {
        held.extend_from_slice(&bytes[pair[0]..pair[1]]);
        loop {
            let count = match scanner.advance(&held) {
                Ok(count) => count,
                Err(error) => {
                    // How much of a body goes before the error depends on the pieces.
                    return Scan {
                        error: Some(error),
                        taken_bytes: 0,
                        ..scan
                    };
                }
            };
            held.drain(..count);
            scan.taken_bytes += count;
            if scanner.is_complete() {
                scan.ends.push(scan.taken_bytes);
                scanner.restart();
            } else if count == 0 {
                break;
            }
        }
    }
    scan
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

/// Whether the HTTP library reads these bytes as exactly one request.
fn is_one_request(bytes: &[u8]) -> bool {
    thread_local! {
        static RUNTIME: actix_rt::Runtime =
            actix_rt::Runtime::new().expect("a runtime can be made");
    }
    let decode = async {
        let mut codec = Codec::new(ServiceConfig::default());
        let mut buffer = BytesMut::from(&as_handed_over(bytes)[..]);
        let Ok(Some(Message::Item(_))) = codec.decode(&mut buffer) else {
            return false;
        };
        if codec.message_type() == MessageType::None {
            return buffer.is_empty();
        }
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(Message::Chunk(None))) => return buffer.is_empty(),
                Ok(Some(Message::Chunk(Some(_)))) => {}
                Ok(Some(Message::Item(_)) | None) | Err(_) => return false,
            }
        }
    };
    RUNTIME.with(|runtime| runtime.block_on(decode))
}

/// Valid requests.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let fields = "(X-[A-Za-z]{1,8}: ?[!-~]([ -~]{0,8}[!-~])?\r\n){0,3}";
    let chunk = ("[0-9a-zA-Z\r\n]{1,40}", "(;[a-z]{1,4}(=[a-z]{1,4})?)?");
    let trailers = "(X-[a-z]{1,4}: [a-z]{1,4}\r\n){0,2}";
    let body = prop_oneof![
        2 => Just(Vec::new()),
        2 => vec(any::<u8>(), 0..300).prop_map(|body| {
            [format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat()
        }),
        2 => (vec(chunk, 0..4), trailers).prop_map(|(chunks, trailers)| {
            let chunks = chunks
                .iter()
                .map(|(data, extension)| format!("{:x}{extension}\r\n{data}\r\n", data.len()));
            let chunks = chunks.collect::<Vec<_>>().concat();
            format!("transfer-encoding:Chunked\r\n\r\n{chunks}0\r\n{trailers}\r\n").into_bytes()
        }),
    ];
    let method = select(vec!["GET", "HEAD", "POST", "PUT", "OPTIONS"]);
    ("(\r\n){0,2}", method, fields, body).prop_map(|(before, method, fields, body)| {
        let head = format!("{before}{method} /x HTTP/1.1\r\nHost: x\r\n{fields}");
        [
            head.as_bytes(),
            if body.is_empty() { b"\r\n" } else { &body[..] },
        ]
        .concat()
    })
}

/// Bytes that change the framing of a request.
fn splices() -> impl Strategy<Value = &'static [u8]> {
    let splices: Vec<&'static [u8]> = vec![
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"\0",
        b":",
        b"0",
        b"5",
        b";",
        b"\x0b",
        b"\xff",
        b"\r\n\r\n",
        b"\r\n ",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: keep-alive, Upgrade\r\n",
        b"Expect: 100-continue\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Host: y\r\n",
        b"HTTP/1.0",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ];
    select(splices)
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn requests_end_where_they_were_made_to(
        requests in vec(requests(), 1..5),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let ends: Vec<_> = requests
            .iter()
            .scan(0, |end, request| { *end += request.len(); Some(*end) })
            .collect();
        let bytes = requests.concat();
        prop_assert_eq!(scan(&bytes, &cuts), Scan { ends, error: None, taken_bytes: bytes.len() });
        for request in requests {
            let text = String::from_utf8_lossy(&request);
            prop_assert!(is_one_request(&request), "{:?}", text);
        }
    }

    #[test]
    fn pieces_do_not_change_where_requests_end(
        requests in vec(requests(), 1..4),
        splices in vec((any::<Index>(), splices()), 0..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut bytes = requests.concat();
        for (at, splice) in splices {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, splice.iter().copied());
        }
        let whole = scan(&bytes, &[]);
        prop_assert_eq!(&scan(&bytes, &cuts), &whole);
        let mut start = 0;
        for end in whole.ends {
            let request = &bytes[start..end];
            prop_assert!(is_one_request(request), "{:?}", String::from_utf8_lossy(request));
            start = end;
        }
    }
}

#[test]
fn fragments_of_targets_are_utf8_without_tabs() {
    for (target, is_valid) in [
        (&b"/x#\xc3\xa9"[..], true),
        (b"/x#<>", true),
        (b"/x#\t", false),
        (b"/x#\xa3", false),
        (b"/x?y#\xff\xff", false),
        (b"http://h/x#\xc3", false),
    ] {
        let bytes = [b"GET ", target, b" HTTP/1.0\r\n\r\n"].concat();
        let text = String::from_utf8_lossy(target);
        assert_eq!(scan(&bytes, &[]).error.is_none(), is_valid, "{text}");
        assert!(!is_valid || is_one_request(&bytes), "{text}");
    }
}

#[test]
fn accepted_bytes_are_accepted_by_library() {
    let lines = [
        "@",
        "@ET /x HTTP/1.1",
        "G@T /x HTTP/1.1",
        "GET @ HTTP/1.1",
        "GET /@ HTTP/1.1",
        "GET /x?@ HTTP/1.1",
        "GET /x#@ HTTP/1.1",
        "GET http@//h/x HTTP/1.1",
        "GET http://@ HTTP/1.1",
        "GET http://h:@/x HTTP/1.1",
        "GET http://h@?x HTTP/1.1",
        "GET http://[::@]/x HTTP/1.1",
        "GET *@ HTTP/1.1",
        "CONNECT h:@ HTTP/1.1",
        "GET /x HTTP/1.@",
        "GET /x HTTP/1.1@",
        "GET /x HTTP/1.1\r\nX@: y",
        "GET /x HTTP/1.1\r\nX: @y@",
        "GET /x HTTP/1.1\r\nConnection: @,upgrade@",
        "GET /x HTTP/1.1\r\nExpect: @\r\nX: @",
        "PUT /x HTTP/1.1\r\nContent-Length: @",
        "PUT /x HTTP/1.1\r\nContent-Length: 1\r\n\r\n@",
        "PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1@\r\nx\r\n0",
        "PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0;@\r\n@",
    ];
    let mut accepted = 0;
    for line in lines {
        for byte in 0..=u8::MAX {
            let parts = line
                .as_bytes()
                .split(|byte| *byte == b'@')
                .collect::<Vec<_>>();
            let request = [&parts.join(&byte)[..], b"\r\nHost: h\r\n\r\n"].concat();
            let mut start = 0;
            for end in scan(&request, &[]).ends {
                let text = String::from_utf8_lossy(&request[start..end]);
                assert!(
                    is_one_request(&request[start..end]),
                    "{line}, {byte}: {text}"
                );
                start = end;
                accepted += 1;
            }
        }
    }
    assert!(accepted > 1000, "{accepted} requests were accepted");
}

#[test]
fn head_is_bounded_in_any_pieces() {
    let head = |length: usize| {
        let head = "GET /x HTTP/1.1\r\nHost: x\r\nX: ";
        format!("{head}{}\r\n\r\n", "x".repeat(length - head.len() - 4)).into_bytes()
    };
    let whole = head(MAX_HEAD_BYTES);
    let taken = Scan {
        ends: vec![MAX_HEAD_BYTES],
        error: None,
        taken_bytes: MAX_HEAD_BYTES,
    };
    assert_eq!(scan(&whole, &[]), taken);
    assert!(is_one_request(&whole));
    for bytes in [
        head(MAX_HEAD_BYTES + 1),
        b"\r\n".repeat(MAX_HEAD_BYTES),
        head(1 << 20),
    ] {
        let error = Some(FramingError::HeadTooLarge);
        assert_eq!(
            scan(&bytes, &[]),
            Scan {
                ends: Vec::new(),
                error,
                taken_bytes: 0
            }
        );
    }
}

#[test]
fn chunk_lines_and_trailers_are_bounded() {
    let head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let extension =
        |length: usize| format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(length)).into_bytes();
    let trailers = |lines: usize| format!("0\r\n{}\r\n", "X: y\r\n".repeat(lines)).into_bytes();
    for body in [extension(1000), trailers(1000)] {
        let bytes = [&head[..], &body].concat();
        assert_eq!(scan(&bytes, &[]).ends, [bytes.len()]);
    }
    for body in [
        extension(10_000),
        trailers(10_000),
        b"0".repeat(10_000),
        b"fffffffffffffffff\r\n".to_vec(),
    ] {
        let scanned = scan(&[&head[..], &body].concat(), &[]);
        assert!(
            matches!(scanned.error, Some(FramingError::Malformed(_))),
            "{scanned:?}"
        );
    }
}
