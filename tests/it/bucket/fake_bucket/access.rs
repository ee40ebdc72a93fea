//! Access to the test bucket: presigned URLs, virtual hosts, and a public bucket.

use std::time::Duration;

use super::stage::{KEY, Stage, md5};
use super::{DAY, status_and_code};
use crate::harness::{Bucket, Tool, assert_same};

#[test]
fn presigned_url_works_until_it_expires() {
    let stage = Stage::new();
    stage
        .put(KEY, &stage.body)
        .expect("the bucket accepts the write");
    let folder = tempfile::tempdir().expect("a folder can be created");
    let url = stage.presigned(Duration::ZERO);
    Tool::wget(folder.path())
        .args(&["-O", "w", &url])
        .run()
        .assert_success();
    Tool::curl(folder.path())
        .args(&["--fail", "-D", "head", "-o", "c", &url])
        .run()
        .assert_success();
    for file in ["w", "c"] {
        assert_same(
            &std::fs::read(folder.path().join(file)).expect("the file exists"),
            &stage.body,
        );
    }
    let head = std::fs::read_to_string(folder.path().join("head"))
        .expect("the file exists")
        .to_lowercase();
    assert!(
        head.contains("content-disposition: attachment; filename=\"y-1.0.tar.gz\"\r\n"),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/gzip\r\n"),
        "{head}"
    );
    stage.bucket.assert_nothing_refused();
    let part = stage
        .ask("GET", &stage.target(&url))
        .range("bytes=5-")
        .send();
    part.assert_status(206);
    assert_same(&part.body, &stage.body[5..]);
    let old = stage.target(&stage.presigned(DAY));
    stage.ask("GET", &old).send().assert_status(403);
    stage
        .ask("HEAD", &stage.target(&url))
        .send()
        .assert_status(403);
    stage
        .ask("GET", &stage.target(&url).replace("x-1.0", "x-1.1"))
        .send()
        .assert_status(403);
}

#[test]
fn virtual_host_bucket_rejects_path_style_requests() {
    let stage = Stage::on(Bucket::virtual_host());
    stage.bucket.write(KEY, &stage.body);
    let folder = tempfile::tempdir().expect("a folder can be created");
    let url = stage.presigned(Duration::ZERO);
    assert!(url.starts_with(&stage.bucket.base_url()), "{url}");
    let wget = stage
        .bucket
        .resolver()
        .iter()
        .fold(Tool::wget(folder.path()), |tool, (name, value)| {
            tool.env(name, value)
        });
    wget.args(&["-O", "w", &url]).run().assert_success();
    assert_same(
        &std::fs::read(folder.path().join("w")).expect("the file exists"),
        &stage.body,
    );
    stage.bucket.assert_nothing_refused();
    let in_path = stage.ask("GET", &format!("/mill/{KEY}")).send();
    assert_eq!(
        status_and_code(&in_path),
        (400, "VirtualHostDomainRequired".to_owned())
    );
    assert_eq!(stage.bucket.refused().len(), 1);
}

#[test]
fn public_bucket_is_readable_but_not_writable_unsigned() {
    let stage = Stage::new();
    stage.bucket.make_public();
    stage.put(KEY, &stage.body).expect("the owner can write");
    let target = stage.target(&format!("{}{KEY}", stage.bucket.base_url()));
    assert_same(&stage.ask("GET", &target).send().body, &stage.body);
    stage.bucket.assert_nothing_refused();
    let put = stage
        .ask("PUT", &target)
        .body(b"x")
        .header("content-md5", &md5(b"x"));
    put.send().assert_status(403);
    assert_same(&stage.bucket.wait_for(KEY), &stage.body);
}
