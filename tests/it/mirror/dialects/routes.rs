//! Paths below `/mirror/` that lead to no file.

use crate::harness::{Gateway, Origin};

/// The names of all dialects.
const NAMES: [&str; 18] = [
    "alpine",
    "buildroot",
    "centos",
    "conan",
    "crosstool-ng",
    "easybuild",
    "fedora",
    "freebsd",
    "gentoo",
    "guix",
    "homebrew",
    "nix",
    "opam",
    "openwrt",
    "spack",
    "vcpkg",
    "void",
    "yocto",
];

#[test]
fn unknown_dialect_lists_dialects() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for path in ["/mirror", "/mirror/", "/mirror/portage/x-1.0.tar.gz"] {
        let answer = gateway.request("GET", path).send();
        answer.assert_problem(404);
        let text = answer.text();
        for name in NAMES {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn unknown_file_is_not_found() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    for name in NAMES {
        let path = format!("/mirror/{name}/x-1.0.tar.gz");
        gateway.request("GET", &path).send().assert_problem(404);
        gateway.request("HEAD", &path).send().assert_status(404);
        let query = format!("{path}?sv=1");
        gateway.request("GET", &query).send().assert_problem(404);
    }
    gateway.log().wait_for("the request", |event| {
        event["message"] == "request" && event["endpoint"] == "mirror" && event["status"] == 404
    });
    assert_eq!(origin.connections(), 0);
}
