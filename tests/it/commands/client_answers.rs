//! `get` and `ensure` against responses that do not have the file which was asked for.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    Body, Gateway, Origin, Reply, Run, Tool, archive, assert_same, files_under, millpond, sha256,
};

const URL: &str = "https://example.org/x-1.0.tar.gz";
const HISTORY: &str = "/api/v1/targets?url=https%3A%2F%2Fexample%2Eorg%2Fx%2D1%2E0%2Etar%2Egz";
const NAME: &str = "x-1.0.tar.gz";
/// Entity tag of an origin that has the form of a Millpond tag.
const FOREIGN_TAG: &str = "\"00000000000000000000000000000000000000000000000000000000000000aa\"";

struct Stage {
    origin: Origin,
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self {
            origin: Origin::start(),
            folder: tempfile::tempdir().expect("a folder can be created"),
        }
    }

    /// Runs a command whose gateway is the scripted origin.
    fn run(&self, arguments: &[&str]) -> Run {
        self.run_at(&self.origin.url(""), arguments)
    }

    fn run_at(&self, gateway: &str, arguments: &[&str]) -> Run {
        let arguments = [arguments, &["--gateway", gateway][..]].concat();
        millpond(self.folder.path(), &arguments)
    }

    fn script(&self, replies: Vec<Reply>) {
        self.origin.script(&format!("/{URL}"), replies);
    }

    fn serve_history(&self, history: &serde_json::Value) {
        let body: Body = history.to_string().into_bytes().into();
        let reply = Reply::ok(&body).header("Content-Type", "application/json");
        self.origin.serve(HISTORY, reply);
    }

    #[track_caller]
    fn assert_received(&self, body: &[u8], case: &str) {
        let path = self.folder.path().join(NAME);
        assert_same(&fs::read(&path).expect(case), body);
        assert_eq!(files_under(self.folder.path()).len(), 1, "{case}");
        fs::remove_file(path).expect("the file can be removed");
    }

    fn clear(&self) {
        for file in files_under(self.folder.path()) {
            fs::remove_file(file).expect("the file can be removed");
        }
    }
}

#[test]
fn short_part_is_no_file() {
    let stage = Stage::new();
    let body = archive(1, 100);
    let gateway = Gateway::relaying(&stage.origin);
    let url = stage.origin.url("/x-1.0.tar.gz?token=a");
    for (range, code) in [
        ("bytes 0-99/100", 0),
        ("bytes 0-99/1000", 1),
        ("bytes 0-999/1000", 1),
        ("bytes 0-9/10", 1),
        ("bytes 0-99/*", 1),
        ("bytes 5-104/105", 1),
        ("bytes 99-0/100", 1),
        ("lines 0-99/100", 1),
    ] {
        let reply = Reply::ok(&body).wrong_content_range(range);
        stage.origin.serve("/x-1.0.tar.gz?token=a", reply);
        for output in ["file", "-"] {
            let run = stage.run_at(&gateway.url(""), &["get", "-o", output, &url]);
            assert_eq!(run.code, Some(code), "{range}: {run:?}");
        }
        let kept = files_under(stage.folder.path()).len();
        assert_eq!(kept, usize::from(code == 0), "{range}");
        stage.clear();
    }
}

#[test]
fn only_the_missing_part_is_appended() {
    let stage = Stage::new();
    let (body, other) = (archive(1, 40_000), archive(2, 40_000));
    let whole = || Reply::file(&body).ranges();
    let cut = || whole().cut_at(15_000);
    let misplaced = whole().wrong_content_range("bytes 0-39999/40000");
    let other_file = Reply::file(&other).ranges_without_condition();
    let first_half: Body = body[..20_000].to_vec().into();
    let tag = format!("\"{}\"", &sha256(&body)[..16]);
    let half = Reply::ok(&first_half).header("ETag", &tag);
    let half = half.wrong_content_range("bytes 0-19999/40000");
    for (replies, wanted, case) in [
        (vec![cut(), misplaced, whole()], &body, "another place"),
        (
            vec![cut(), other_file.clone(), other_file],
            &other,
            "another file",
        ),
        (vec![half, whole()], &body, "a short part"),
    ] {
        // The requests of a URL are counted over all its scripts.
        let url = format!("https://example.org/{}.tar.gz", case.replace(' ', "-"));
        stage.origin.script(&format!("/{url}"), replies);
        let run = stage.run(&["get", "-o", NAME, &url]);
        assert_eq!(run.code, Some(0), "{case}: {run:?}");
        stage.assert_received(wanted, case);
    }
}

#[test]
fn tag_of_the_origin_is_no_digest() {
    let stage = Stage::new();
    let gateway = Gateway::relaying(&stage.origin);
    let body = archive(1, 5_000);
    for path in ["/list", "/x-1.0.tar.gz?token=a"] {
        let reply = Reply::ok(&body).header("ETag", FOREIGN_TAG).conditional();
        stage.origin.serve(path, reply);
        for request in ["miss", "hit"] {
            let url = stage.origin.url(path);
            let run = stage.run_at(&gateway.url(""), &["get", "-o", NAME, &url]);
            assert_eq!(run.code, Some(0), "{path}, {request}: {run:?}");
            stage.assert_received(&body, path);
        }
    }
}

#[test]
fn stated_digest_of_the_file_is_checked() {
    let stage = Stage::new();
    let (body, other) = (archive(1, 5_000), archive(2, 5_000));
    let record = |class: &str, tagged: &[u8]| {
        let record = json!({ "sha256": sha256(tagged), "active": true });
        json!({ "class": class, "records": [record], "observations": [] })
    };
    let plain = || Reply::ok(&body);
    let own_tag = |bytes: &[u8]| plain().header("ETag", &format!("\"{}\"", sha256(bytes)));
    let repr_digest = "sha-512=:AA==:, sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    for (class, recorded, reply, code) in [
        ("immutable", &body, plain(), 0),
        ("immutable", &other, plain(), 4),
        ("immutable", &body, plain().header("ETag", FOREIGN_TAG), 0),
        (
            "immutable",
            &body,
            plain().header("Repr-Digest", repr_digest),
            4,
        ),
        (
            "immutable",
            &other,
            plain().header("Cache-Status", "m; fwd=bypass"),
            0,
        ),
        ("revalidate", &other, plain(), 0),
        ("revalidate", &other, own_tag(&other), 4),
        ("revalidate", &body, own_tag(&body), 0),
    ] {
        stage.serve_history(&record(class, recorded));
        stage.script(vec![reply]);
        let run = stage.run(&["get", URL]);
        assert_eq!(run.code, Some(code), "{class}: {run:?}");
        let kept = files_under(stage.folder.path()).len();
        assert_eq!(kept, usize::from(code == 0), "{class}: {run:?}");
        stage.clear();
    }
}

#[test]
fn ensure_names_the_file_it_ensured() {
    let stage = Stage::new();
    let gateway = Gateway::relaying(&stage.origin);
    let (active, variant) = (archive(1, 5_000), archive(2, 6_000));
    let path = "/pub/x-1.0.tar.gz";
    let url = stage.origin.url(path);
    stage.origin.serve(path, Reply::file(&active));
    gateway.assert_serves(&url, &active);
    gateway.await_stored(&url);
    stage.origin.serve(path, Reply::file(&variant));
    let digest = |algorithm: &str, body: &[u8]| {
        fs::write(stage.folder.path().join("body"), body).expect("the folder can be written");
        let tool = format!("{algorithm}sum");
        let run = Tool::new(&tool, "coreutils", stage.folder.path())
            .arg("body")
            .run();
        let hex = run.stdout.split(' ').next().expect("a digest comes first");
        format!("{algorithm}:{hex}")
    };
    for (expected, wanted) in [
        (Some(digest("sha256", &variant)), &variant),
        (Some(digest("sha512", &variant)), &variant),
        (Some(digest("sha256", &active)), &active),
        (Some(digest("md5", &active)), &active),
        (None, &active),
    ] {
        let mut arguments = vec!["ensure", &url];
        if let Some(expected) = &expected {
            arguments.extend(["--digest", expected]);
        }
        let run = stage.run_at(&gateway.url(""), &arguments);
        let line = format!("{}  {url}\n", sha256(wanted));
        assert_eq!(run.stdout, line, "{expected:?}: {run:?}");
    }
    let index = Reply::ok(&active).header("ETag", "\"1\"").conditional();
    stage.origin.serve("/list", index);
    let (url, expected) = (stage.origin.url("/list"), digest("sha512", &active));
    for request in ["miss", "hit"] {
        let arguments = ["ensure", "--digest", &expected, &url];
        let run = stage.run_at(&gateway.url(""), &arguments);
        let line = format!("{}  {url}\n", sha256(&active));
        assert_eq!(run.stdout, line, "{request}: {run:?}");
    }
}

#[test]
fn ensure_waits_for_the_new_response() {
    let stage = Stage::new();
    let (old, new) = (archive(1, 5_000), archive(2, 6_000));
    let history = |bodies: &[&Body]| {
        let stored = bodies.iter().map(|body| json!({ "sha256": sha256(body) }));
        let observations: Vec<_> = stored.collect();
        let class = json!({ "class": "revalidate", "records": [], "observations": observations });
        let body: Body = class.to_string().into_bytes().into();
        Reply::ok(&body).header("Content-Type", "application/json")
    };
    let passed = Reply::ok(&new).header("Cache-Status", "m; fwd=bypass");
    stage.script(vec![passed, Reply::ok(&new)]);
    let histories = vec![history(&[&old]), history(&[&old, &new])];
    stage.origin.script(HISTORY, histories);
    let run = stage.run(&["ensure", URL]);
    assert_eq!(run.stdout, format!("{}  {URL}\n", sha256(&new)), "{run:?}");
}
