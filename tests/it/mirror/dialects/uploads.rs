//! Requests with a body: the check before an upload, and the upload of vcpkg.

use super::stage::{NAME, Stage};
use crate::harness::{Answer, archive};

fn check(stage: &Stage, dialect: &str, hex: &str) -> Answer {
    let form = format!("name=hello&sha512sum={hex}&filename={NAME}");
    let path = format!("/mirror/{dialect}/repo/pkgs/upload.cgi");
    let request = stage.gateway.request("POST", &path);
    let request = request.header("Content-Type", "application/x-www-form-urlencoded");
    request.body(form.as_bytes()).send()
}

#[test]
fn upload_check_says_what_is_stored() {
    let stage = Stage::new();
    stage.import();
    let hex = stage.sha512();
    // A listed file may be gone when it is needed.
    check(&stage, "fedora", &hex).assert_body(200, b"Missing");
    stage
        .get(&format!("/mirror/vcpkg/{hex}"))
        .assert_status(200);
    stage.gateway.await_stored(&stage.origin.url(&stage.path));
    // As curl sends it with -F.
    let boundary = "------------------------d74496d66958873e";
    let part = |name: &str, value: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    for dialect in ["fedora", "centos"] {
        let form = [
            part("name", "hello"),
            part("sha512sum", &hex),
            part("filename", NAME),
            format!("--{boundary}--\r\n"),
        ];
        let path = format!("/mirror/{dialect}/repo/pkgs/upload.cgi");
        let request = stage.gateway.request("POST", &path).header(
            "Content-Type",
            &format!("multipart/form-data; boundary={boundary}"),
        );
        let answer = request.body(form.concat().as_bytes()).send();
        answer.assert_body(200, b"Available");
    }
    check(&stage, "centos", &"ab".repeat(64)).assert_body(200, b"Missing");
    check(&stage, "fedora", "ab").assert_problem(400);
    check(&stage, "gentoo", &hex).assert_problem(405);
}

#[test]
fn vcpkg_upload_needs_token_and_digest() {
    let mut stage = Stage::new();
    // The target of an upload is an https URL.
    stage.gateway.restart_with(|setup| setup.port(443));
    let path = format!("/mirror/vcpkg/{}", stage.sha512());
    let put = |path: &str, body: &[u8]| {
        let request = stage.gateway.request("PUT", path);
        request.header("x-ms-blob-type", "BlockBlob").body(body)
    };
    put(&path, &stage.body).send().assert_problem(401);
    let with_token = format!("{path}?token={}", stage.gateway.token());
    put(&with_token, &archive(1, 2000))
        .send()
        .assert_problem(409);
    stage.get(&path).assert_problem(404);
    put(&with_token, &stage.body).send().assert_status(201);
    stage.get(&path).assert_body(200, &stage.body);
    let log = stage.gateway.log().text();
    assert!(
        !log.contains(&stage.gateway.token()),
        "the log has the token"
    );
    let nothing = format!("/mirror/vcpkg/x?token={}", stage.gateway.token());
    put(&nothing, &stage.body).send().assert_problem(400);
    assert_eq!(stage.origin.connections(), 0);
}
