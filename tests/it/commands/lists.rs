//! Commands for several URLs: lists, parallel downloads, resumed downloads, and outputs.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Body, Gate, Gateway, Origin, Reply, Run, Tool, archive, assert_same, files_under, millpond,
    sha256,
};

struct Farm {
    origin: Origin,
    gateway: Gateway,
    folder: TempDir,
}

impl Farm {
    fn new() -> Self {
        let origin = Origin::start();
        let gateway = Gateway::relaying(&origin);
        let folder = tempfile::tempdir().expect("a folder can be created");
        Self {
            origin,
            gateway,
            folder,
        }
    }

    /// Serves a file, and returns its URL.
    fn file(&self, number: u64) -> (String, Body) {
        let body = archive(number, 30_000);
        let path = format!("/pub/x-{number}.tar.gz");
        self.origin.serve(&path, Reply::file(&body));
        (self.origin.url(&path), body)
    }

    fn run(&self, arguments: &[&str]) -> Run {
        // The address without a scheme means http.
        let address = self.gateway.addr().to_string();
        let gateway = ["--gateway", &address];
        millpond(self.folder.path(), &[arguments, &gateway[..]].concat())
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("the folder can be written");
    }

    fn names(&self) -> Vec<String> {
        names_in(self.folder.path())
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = files_under(folder)
        .iter()
        .map(|file| {
            file.file_name()
                .expect("a file has a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn get_takes_arguments_list_and_stdin() {
    let farm = Farm::new();
    let files: Vec<_> = (1..=5).map(|number| farm.file(number)).collect();
    let url = |number: usize| files[number - 1].0.as_str();
    let digest = sha256(&files[2].1);
    farm.write(
        "list.txt",
        &format!(
            "# sources\n\n{}\n{digest}  {}\n{}\n",
            url(2),
            url(3),
            url(1)
        ),
    );
    let run = farm.run(&["get", "-i", "list.txt", url(1), "-j", "2"]);
    run.assert_success();
    assert_eq!(run.stdout.lines().count(), 3, "each URL once: {run:?}");
    for (number, (_, body)) in files.iter().take(3).enumerate() {
        let path = farm.folder.path().join(format!("x-{}.tar.gz", number + 1));
        assert_same(&fs::read(path).expect("the file exists"), body);
    }
    // Standard input, and a folder as output.
    fs::create_dir(farm.folder.path().join("out")).expect("a folder can be created");
    farm.write("stdin", &format!("{}\n{}\n", url(4), url(5)));
    let command = format!(
        "\"$0\" get - -o out --json --gateway {} < stdin",
        farm.gateway.addr()
    );
    let run = Tool::new("sh", "dash", farm.folder.path())
        .args(&["-c", &command, env!("CARGO_BIN_EXE_millpond")])
        .run();
    run.assert_success();
    let shown = run.documents();
    assert_eq!(shown.len(), 2, "{run:?}");
    for document in shown {
        let file = document["file"].as_str().expect("the file is named");
        let bytes = fs::read(farm.folder.path().join(file)).expect("the file exists");
        assert_eq!(document["sha256"], sha256(&bytes));
        assert_eq!(document["size_bytes"], bytes.len());
    }
    assert_eq!(names_in(&farm.folder.path().join("out")).len(), 2);
}

#[test]
fn downloads_run_at_the_same_time() {
    let farm = Farm::new();
    let gate = Gate::new();
    let urls: Vec<_> = (1..=4)
        .map(|number| {
            let body = archive(number, 30_000);
            let path = format!("/pub/slow-{number}.tar.gz");
            let reply = Reply::file(&body).gate_before_head(&gate);
            farm.origin.serve(&path, reply);
            farm.origin.url(&path)
        })
        .collect();
    let arguments: Vec<_> = ["ensure"]
        .into_iter()
        .chain(urls.iter().map(String::as_str))
        .collect();
    std::thread::scope(|scope| {
        let ensured = scope.spawn(|| farm.run(&arguments));
        crate::harness::eventually("all four are asked for", || {
            (farm.origin.total() == 4).then_some(())
        });
        gate.open();
        let run = ensured.join().expect("the command ends");
        run.assert_success();
        assert_eq!(run.stdout.lines().count(), 4, "{run:?}");
    });
}

#[test]
fn one_failure_does_not_stop_the_others() {
    let farm = Farm::new();
    let (first, _) = farm.file(1);
    let (second, _) = farm.file(2);
    let gone = farm.origin.url("/gone-1.0.tar.gz");
    farm.write(
        "list",
        &format!("{}  {second}\n{first}\n{gone}\n", "0".repeat(64)),
    );
    for command in ["get", "ensure"] {
        let run = farm.run(&[command, "-i", "list"]);
        assert_eq!(run.code, Some(4), "the code of the first failure: {run:?}");
        assert!(run.stdout.contains(&first[first.len() - 10..]), "{run:?}");
        for part in [second.as_str(), &gone, "2 of 3 URLs failed"] {
            assert!(run.stderr.contains(part), "{part}: {run:?}");
        }
        let run = farm.run(&[command, "-i", "list", "--json"]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(4), ""), "{run:?}");
        let shown = run.documents();
        let code_of = |url: &str| {
            let of_url = shown.iter().find(|document| document["url"] == url);
            of_url.expect("each URL has a document")["error"]["code"].clone()
        };
        assert_eq!(code_of(&second), "mismatch", "{run:?}");
        assert_eq!(code_of(&gone), "not_found", "{run:?}");
        assert_eq!(code_of(&first), Value::Null, "{run:?}");
    }
    assert_eq!(farm.names(), ["list", "x-1.tar.gz"], "no part is left");
}

#[test]
fn invalid_arguments_are_named_and_change_nothing() {
    let farm = Farm::new();
    let (url, _) = farm.file(1);
    farm.write("wrong.txt", &format!("{url}\ngopher://example.org/x\n"));
    farm.write("two.txt", &format!("{url}\n{url}?a=b\n"));
    farm.write("empty.txt", "# nothing\n");
    let digest = format!("{}:{}", "sha256", "0".repeat(64));
    let wrong_digest = "sha256:12";
    for (arguments, named) in [
        (vec!["get", "-i", "wrong.txt"], "wrong.txt:2"),
        (vec!["get", "-i", "missing.txt"], "missing.txt"),
        (vec!["get", "-i", "empty.txt"], "no URL"),
        (
            vec!["get", "-i", "two.txt", "--digest", &digest],
            "--digest",
        ),
        (vec!["get", "-i", "two.txt", "-o", "x"], "--output"),
        (vec!["get", "-i", "two.txt"], "x-1.tar.gz"),
        (vec!["get", "--json", "-o", "-", &url], "--output"),
        (vec!["get", "--digest", wrong_digest, &url], "--digest"),
        (vec!["get", "--digest", "crc32:00", &url], "--digest"),
        (
            vec!["get", "--header", "Range: bytes=0-1", &url],
            "--header",
        ),
        (vec!["get", "--header", "nonsense", &url], "--header"),
        (vec!["ensure", "--jobs", "0", &url], "--jobs"),
        (vec!["ensure"], "<URL>"),
        (vec!["ensure", "gopher://example.org/x"], "gopher"),
        (vec!["stat", "gopher://example.org/x"], "<URL>"),
        (vec!["rm", &url], "--yes"),
        (vec!["ls", "--class", "mutable"], "--class"),
        (vec!["ls", "--older-than", "soon"], "--older-than"),
        (vec!["pin", &url, "--sha256", "12"], "--sha256"),
        (vec!["get", "--outptu", "x", &url], "--output"),
        (vec!["frobnicate"], "frobnicate"),
    ] {
        let run = farm.run(&arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:?}");
        let is_json = arguments.contains(&"--json");
        let line = if is_json { &run.stdout } else { &run.stderr };
        assert_eq!(line.trim_end().lines().count(), 1, "{arguments:?}: {run:?}");
        assert!(line.contains(named), "{named} in {arguments:?}: {run:?}");
        if is_json {
            assert_eq!(run.documents()[0]["error"]["exit_code"], 2, "{run:?}");
        }
    }
    assert_eq!(farm.origin.total(), 0, "nothing was fetched");
    assert_eq!(farm.names(), ["empty.txt", "two.txt", "wrong.txt"]);
}

#[test]
fn interrupted_download_is_resumed_and_verified() {
    let farm = Farm::new();
    let (url, body) = farm.file(1);
    farm.run(&["ensure", &url]).assert_success();
    let part = "x-1.tar.gz.millpond.part";
    let right = &body[..10_000];
    let wrong = vec![b'x'; 10_000];
    let longer = [&body[..], b"more"].concat();
    for (bytes, sent) in [
        (right, &[20_000][..]),
        (&wrong[..], &[20_000, 30_000]),
        (&body[..], &[0]),
        (&longer[..], &[0, 30_000]),
        (&[][..], &[30_000]),
    ] {
        fs::write(farm.folder.path().join(part), bytes).expect("the folder can be written");
        let before = farm.gateway.log().events().len();
        farm.run(&["get", &url]).assert_success();
        let file = farm.folder.path().join("x-1.tar.gz");
        assert_same(&fs::read(&file).expect("the file exists"), &body);
        assert_eq!(farm.names(), ["x-1.tar.gz"], "{} bytes", bytes.len());
        fs::remove_file(file).expect("the file can be removed");
        crate::harness::eventually("the requests are logged", || {
            let events = farm.gateway.log().events();
            let of_file = events[before..].iter().filter(|event| event["uri"] == url);
            let found: Vec<_> = of_file
                .filter(|event| event["status"] != 416)
                .filter_map(|event| event["sent_bytes"].as_u64())
                // The last byte, of which `ensure` asks.
                .filter(|sent_bytes| *sent_bytes > 1)
                .collect();
            let wanted: Vec<u64> = sent.iter().copied().filter(|bytes| *bytes > 0).collect();
            (found == wanted).then_some(())
        });
    }
    assert_eq!(farm.origin.total(), 1);
}

#[test]
fn broken_transfer_goes_on_by_itself() {
    let fake = Origin::start();
    let folder = tempfile::tempdir().expect("a folder can be created");
    let body = archive(7, 40_000);
    let target = "/https://example.org/x-1.0.tar.gz";
    let whole = || Reply::file(&body).ranges();
    fake.script(target, vec![whole().cut_at(15_000), whole()]);
    let gateway = fake.url("");
    let url = "https://example.org/x-1.0.tar.gz";
    let digest = sha256(&body);
    let arguments = ["get", "--gateway", &gateway, "--sha256", &digest, url];
    millpond(folder.path(), &arguments).assert_success();
    let asked = fake.requests(target);
    let etag = asked[1].header("if-range").unwrap_or_default();
    assert!(etag.starts_with('"'), "a strong entity tag: {etag}");
    assert_eq!(asked[1].header("range"), Some("bytes=15000-"));
    assert_same(
        &fs::read(folder.path().join("x-1.0.tar.gz")).expect("the file exists"),
        &body,
    );
    assert_eq!(names_in(folder.path()), ["x-1.0.tar.gz"]);
    // Bytes of another digest are never given the name.
    fs::remove_file(folder.path().join("x-1.0.tar.gz")).expect("the file can be removed");
    let other = archive(8, 40_000);
    fake.script(target, vec![Reply::file(&other)]);
    let run = millpond(folder.path(), &arguments);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert!(names_in(folder.path()).is_empty(), "{run:?}");
}

#[test]
fn foreign_part_file_is_not_followed() {
    let farm = Farm::new();
    let (url, _) = farm.file(1);
    farm.write("precious", "precious");
    let part = farm.folder.path().join("x-1.tar.gz.millpond.part");
    std::os::unix::fs::symlink("precious", &part).expect("a link can be made");
    let run = farm.run(&["get", &url]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(
        fs::read(farm.folder.path().join("precious")).expect("the file exists"),
        b"precious"
    );
    fs::remove_file(&part).expect("the link can be removed");
    // Another download of the same file holds the lock.
    let locked = fs::File::create(&part).expect("the folder can be written");
    locked.lock().expect("the file can be locked");
    let run = farm.run(&["get", &url]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("another download"), "{run:?}");
}

#[test]
fn ensure_names_what_is_not_stored_at_once() {
    let farm = Farm::new();
    let origin = &farm.origin;
    let (_, body) = farm.file(1);
    origin.serve("/x-1.0.tar.gz?token=a", Reply::file(&body));
    let uncacheable = Reply::ok(&Body::from(&b"{}"[..])).header("Cache-Control", "no-store");
    origin.serve("/status", uncacheable);
    origin.serve("/page-1.0", Reply::html());
    for path in ["/x-1.0.tar.gz?token=a", "/status", "/page-1.0"] {
        let began = std::time::Instant::now();
        let run = farm.run(&["ensure", &origin.url(path)]);
        assert_eq!(run.code, Some(1), "{path}: {run:?}");
        assert!(
            run.stderr.contains("passes this URL through"),
            "{path}: {run:?}"
        );
        // The polls for a record would take ten seconds.
        assert!(began.elapsed().as_secs() < 8, "{path} was waited for");
    }
    // A stored response of class `revalidate` counts.
    let index = Reply::ok(&Body::from(&b"index"[..])).header("ETag", "\"1\"");
    origin.serve("/list", index);
    let run = farm.run(&["ensure", "--json", &origin.url("/list")]);
    run.assert_success();
    assert_eq!(run.documents()[0]["sha256"], sha256(b"index"), "{run:?}");
}

#[test]
fn digests_and_header_fields_are_sent() {
    let farm = Farm::new();
    let (url, body) = farm.file(1);
    farm.write("body", "");
    fs::write(farm.folder.path().join("body"), &*body).expect("the folder can be written");
    for algorithm in ["sha512", "sha1", "md5"] {
        let sum = Tool::new(&format!("{algorithm}sum"), "coreutils", farm.folder.path())
            .arg("body")
            .run();
        let hex = sum.stdout.split(' ').next().expect("a digest comes first");
        let right = format!("{algorithm}:{hex}");
        farm.run(&["get", "--digest", &right, "-o", "x", &url])
            .assert_success();
        let wrong = format!("{algorithm}:{}", "0".repeat(hex.len()));
        let run = farm.run(&["get", "--digest", &wrong, "-o", "x", &url]);
        assert_eq!(run.code, Some(4), "{algorithm}: {run:?}");
    }
    let fake = Origin::start();
    let target = "/https://example.org/x-1.0.tar.gz";
    fake.serve(target, Reply::file(&body));
    let arguments = [
        "get",
        "--header",
        "X-Job: 17",
        "https://example.org/x-1.0.tar.gz",
    ];
    let gateway = fake.url("");
    millpond(
        farm.folder.path(),
        &[&arguments[..], &["--gateway", &gateway]].concat(),
    )
    .assert_success();
    assert_eq!(fake.requests(target)[0].header("x-job"), Some("17"));
}
