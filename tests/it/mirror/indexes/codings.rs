//! Indexes that an origin sends with a content coding, although Millpond asks for none.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::stage::{IndexStage, document};

const PACKAGE: &str = r#"{"dist":{"tarball":"/npm/tiny/-/tiny-1.0.0.tgz"}}"#;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

#[test]
fn packed_index_is_unpacked() {
    let stage = IndexStage::new();
    for (path, body, label) in [
        ("/npm/plain", PACKAGE.as_bytes().to_vec(), "identity"),
        ("/npm/packed", gzip(PACKAGE.as_bytes()), "gzip"),
        ("/npm/old", gzip(PACKAGE.as_bytes()), "x-gzip"),
        ("/npm/mislabelled", PACKAGE.as_bytes().to_vec(), "gzip"),
    ] {
        let reply = document("application/json", &body).header("Content-Encoding", label);
        stage.origin.serve(path, reply);
        for _ in 0..2 {
            let answer = stage.get(&format!("/mirror{path}"));
            answer.assert_status(200);
            assert_eq!(answer.header("content-encoding"), None, "{path}");
            let tarball = answer.json()["dist"]["tarball"].clone();
            let wanted = stage
                .gateway
                .rewritten(&stage.origin.url("/npm/tiny/-/tiny-1.0.0.tgz"));
            assert_eq!(tarball, wanted, "{path}");
        }
    }
}

#[test]
fn unreadable_coding_is_error_of_upstream() {
    let stage = IndexStage::new();
    let mut broken = gzip(PACKAGE.as_bytes());
    broken.truncate(broken.len() - 4);
    let bomb = gzip(&vec![b' '; 80 << 20]);
    for (path, body, label) in [
        ("/npm/broken", broken, "gzip"),
        ("/npm/bomb", bomb, "gzip"),
        ("/npm/twice", gzip(&gzip(PACKAGE.as_bytes())), "gzip, gzip"),
        ("/npm/other", vec![0xff; 100], "br"),
    ] {
        let reply = document("application/json", &body).header("Content-Encoding", label);
        stage.origin.serve(path, reply);
        stage.get(&format!("/mirror{path}")).assert_problem(502);
    }
}
