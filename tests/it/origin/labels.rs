//! Labels of origins that contradict the first bytes: content codings and media types.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::harness::{Body, Builder, Gateway, Origin, Reply, archive, gzip, marked};

/// Labels that name no coding, or one that these files do not have.
const IGNORED: [&str; 9] = [
    "",
    "identity",
    "none",
    "binary",
    "utf-8",
    "ISO-8859-1",
    "aws-chunked",
    "8bit",
    "text/plain",
];

const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----\n\niQIzBAABCAAdFiEE\n";

fn builder(origin: &Origin) -> Builder {
    Gateway::builder().origin(origin).relay().one_attempt()
}

fn body(bytes: &[u8]) -> Body {
    bytes.to_vec().into()
}

fn text() -> Vec<u8> {
    (0..3000)
        .flat_map(|number| format!("line {number} of a text\n").into_bytes())
        .collect()
}

#[test]
fn content_encoding_loses_against_first_bytes() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let (tar_gz, plain) = (gzip(&text()), body(&text()));
    let xz = marked(b"\xfd7zXZ\0", 1, 9000);
    let mut cases: Vec<(&str, &str, Body)> = vec![
        ("x-1.0.tar.gz", "x-gzip", tar_gz.clone()),
        ("x-1.0.tgz", "gzip, identity", tar_gz.clone()),
        ("x-1.0.tar.gz", "br", tar_gz.clone()),
        ("x-1.0.tar.gz", "tar", tar_gz.clone()),
        ("x-1.0.tar.bz2", "bzip2", marked(b"BZh9", 2, 9000)),
        ("x-1.0.tar.xz", "x-xz", xz.clone()),
        ("x-1.0.tar.xz", "gzip", xz),
        (
            "x-1.0.tar.Z",
            "x-compress",
            marked(b"\x1f\x9d\x90", 3, 5000),
        ),
        ("x-1.0.tar.gz.asc", "x-gzip", body(SIGNATURE.as_bytes())),
        ("x-1.0.tar.gz.sig", "gzip", marked(b"\x88\x5d", 4, 400)),
        ("x-1.0.apk", "gzip", tar_gz.clone()),
        ("x-1.0.txt", "gzip", plain.clone()),
        ("x-1.0.txt", "br", plain.clone()),
        ("x-1.0.patch", "deflate", body(b"--- a/x\n+++ b/x\n")),
    ];
    for label in IGNORED {
        cases.push(("x-1.0.tar.gz", label, tar_gz.clone()));
        cases.push(("x-1.0.txt", label, plain.clone()));
    }
    for (number, (name, label, body)) in cases.into_iter().enumerate() {
        let path = format!("/{number}/{name}");
        origin.serve(&path, Reply::file(&body).header("Content-Encoding", label));
        let url = origin.url(&path);
        for request in [gateway.get(&url), gateway.proxied("GET", &url)] {
            let answer = request.send();
            assert_eq!(answer.status, 200, "{path} {label}: {}", answer.text());
            answer.assert_body(200, &body);
            assert_eq!(answer.header("content-encoding"), None, "{path} {label}");
            gateway.await_stored(&url);
        }
        assert_eq!(origin.count(&path), 1, "{path}");
    }
}

#[test]
fn coded_body_is_refused() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let coded = gzip(&text());
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(&text()).expect("memory takes all");
    let zlib: Body = zlib.finish().expect("memory takes all").into();
    for (number, (name, label, body)) in [
        ("x-1.0.txt", "gzip", &coded),
        ("x-1.0.txt", "identity, x-gzip", &coded),
        ("x-1.0.patch", "gzip", &coded),
        ("x-1.0.tar.gz", "gzip", &gzip(&coded)),
        ("x-1.0.txt", "deflate", &zlib),
        ("x-1.0.txt", "br", &archive(5, 900)),
        ("x-1.0.txt", "x-secret", &body(&text())),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}/{name}");
        for reply in [Reply::file(body), Reply::file(body).chunked()] {
            let path = format!("{path}?{}", origin.total());
            origin.serve(&path, reply.header("Content-Encoding", label));
            let answer = gateway.get(&origin.url(&path)).send();
            answer.assert_problem(502);
            let error = answer.wants("proxy-status").to_owned();
            assert!(error.contains("http_response_content_coding"), "{error}");
        }
    }
    gateway.assert_nothing_stored();
}

#[test]
fn recording_label_costs_no_source() {
    let origin = Origin::start();
    let gateway = builder(&origin).start();
    let (source, tar_gz) = (body(b"source text\n"), archive(6, 9000));
    for (path, label, body) in [
        ("/po/x_de-1.0.ts", "video/mp2t", &source),
        ("/dts/board-1.0.dts", "audio/vnd.dts", &source),
        ("/x/model-1.0.mod", "audio/x-mod", &source),
        ("/v1.0/raw/x.tsx", "video/mp2t", &source),
        ("/x-1.0.c", "Video/x", &source),
        ("/latest/x.ts", "video/mp2t", &source),
        ("/x-1.0.tar.gz", "video/x-unknown", &tar_gz),
    ] {
        origin.serve(path, Reply::file(body).header("Content-Type", label));
        gateway.assert_serves(&origin.url(path), body);
        let proxied = gateway.proxied("GET", &origin.url(path)).send();
        proxied.assert_body(200, body);
    }
    for (path, label) in [
        ("/x-1.0.mp3", "audio/mpeg"),
        ("/x-1.0.bin", "video/mp4"),
        ("/latest/x.webm", "video/webm"),
    ] {
        origin.serve(path, Reply::file(&tar_gz).header("Content-Type", label));
        gateway.get(&origin.url(path)).send().assert_problem(403);
    }
}

#[test]
fn other_denied_types_hold_for_archives() {
    let origin = Origin::start();
    let gateway = builder(&origin)
        .set("policy.deny_content_types", "[\"text/\", \"video/\"]")
        .start();
    let path = "/x-1.0.tar.gz";
    origin.serve(
        path,
        Reply::file(&archive(7, 900)).header("Content-Type", "text/html"),
    );
    gateway.get(&origin.url(path)).send().assert_problem(403);
}
