//! Each command with missing, huge and hostile arguments: one clear line, and nothing has changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::{Gateway, Origin, Reply, Run, archive, files_under, millpond};

const PATH: &str = "/x-1.0.tar.gz";

/// Longest argument that the kernel takes is 128 KiB.
const LONG_ARGUMENT_BYTES: usize = 100_000;

struct Desk {
    gateway: Gateway,
    _origin: Origin,
    url: String,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let origin = Origin::start();
        let body = archive(1, 5000);
        origin.serve(PATH, Reply::file(&body));
        let gateway = Gateway::relaying(&origin);
        let url = origin.url(PATH);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::write(folder.path().join("token"), gateway.token()).expect("it can be written");
        fs::write(folder.path().join("own.tar.gz"), &*body).expect("it can be written");
        Self {
            gateway,
            _origin: origin,
            url,
            folder,
        }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let gateway = self.gateway.url("");
        let own = ["--gateway", &gateway, "--token-file", "token"];
        millpond(self.folder.path(), &[arguments, &own].concat())
    }

    /// Returns the files of the folder and of the cache.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let cache = self.gateway.cache();
        let folders = ["objects", "records", "pins", "observations"].map(|name| cache.join(name));
        let own = self.folder.path();
        let all = folders.iter().map(|folder| &**folder).chain([own]);
        let files = all
            .filter(|folder: &&Path| folder.is_dir())
            .flat_map(files_under);
        files
            .map(|file| {
                let bytes = fs::read(&file).expect("the file can be read");
                (file.display().to_string(), bytes)
            })
            .collect()
    }
}

/// Asserts that a command was refused with text for a person, without control characters.
#[track_caller]
fn assert_refused(run: &Run, arguments: &[&str]) {
    let shown: Vec<_> = arguments
        .iter()
        .map(|text| text.get(..60).unwrap_or(text))
        .collect();
    assert!(matches!(run.code, Some(1..=4)), "{shown:?}: {:?}", run.code);
    let text = run.stderr.trim_end();
    assert!(!text.is_empty(), "{shown:?} has no message");
    assert_eq!(text.lines().count(), 1, "{shown:?}: {text}");
    assert!(!text.contains(char::is_control), "{shown:?}: {text:?}");
    assert!(!text.contains("panicked"), "{shown:?}: {text}");
}

#[test]
fn hostile_urls_are_refused_by_commands() {
    let desk = Desk::new();
    let before = desk.files();
    let long = format!("https://example.org/{}", "a".repeat(LONG_ARGUMENT_BYTES));
    let urls = [
        "",
        " ",
        "://",
        "http://",
        "http://[::1",
        "http://a:99999/x-1.0.tar.gz",
        "http://a b/x-1.0.tar.gz",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "gopher://example.org/x-1.0.tar.gz",
        "https://exa\nmple.org/x-1.0.tar.gz",
        "https://example.org\u{0007}/x-1.0.tar.gz",
        "https://exa\u{1b}[31mmple.org/x-1.0.tar.gz",
        long.as_str(),
    ];
    for url in urls {
        for arguments in [
            &["get", url][..],
            &["get", &desk.url, url],
            &["ensure", url],
            &["stat", url],
            &["rm", "--yes", url],
            &["refresh", url],
            &["pin", url],
            &["unpin", url],
            &["import", "own.tar.gz", "--url", url],
            &["jobs", "start", "evict", url],
            &["doctor", url],
        ] {
            assert_refused(&desk.run(arguments), arguments);
        }
        let arguments = ["explain", url];
        assert_refused(&millpond(desk.folder.path(), &arguments), &arguments);
    }
    assert!(desk.files() == before, "a command has changed something");
    let jobs = desk.gateway.operate("GET", "/api/v1/jobs").send().json();
    assert_eq!(jobs["total"], 0, "{jobs}");
}

/// Commands for several files have a line for each, and a summary.
#[test]
fn unreadable_specs_are_refused() {
    let desk = Desk::new();
    let before = desk.files();
    for arguments in [
        &["spec", "list", "absent.spec"][..],
        &["spec", "ensure", "absent.spec"],
        &["spec", "rewrite", "absent.spec"],
        &["spec", "import", "absent.spec"],
        &["spec", "list", "/dev/zero"],
        &["spec", "ensure", "own.tar.gz"],
    ] {
        let run = desk.run(arguments);
        assert!(matches!(run.code, Some(1..=4)), "{arguments:?}: {run:?}");
        let mut lines = run.stderr.lines();
        assert!(
            lines.all(|line| !line.contains(char::is_control)),
            "{run:?}"
        );
        assert!(run.stderr.contains(arguments[2]), "{run:?}");
        assert!(!run.stderr.contains("panicked"), "{run:?}");
    }
    assert!(desk.files() == before, "a command has changed something");
}

#[test]
fn wrong_arguments_are_refused_by_commands() {
    let desk = Desk::new();
    let before = desk.files();
    let url = desk.url.as_str();
    let long = "a".repeat(LONG_ARGUMENT_BYTES);
    for arguments in [
        &["get"][..],
        &["get", url, "--jobs", "0"],
        &["get", url, "--jobs", "-1"],
        &["get", url, "--jobs", "18446744073709551616"],
        &["get", url, "--digest", "sha256:zz"],
        &["get", url, "--digest", "crc:00"],
        &["get", url, "--header", "no field"],
        &["get", url, "--header", "X: a\r\nY: b"],
        &["get", url, "-o", "/proc/nowhere/x"],
        &["get", "-i", "absent"],
        &["get", "-i", "."],
        &["ensure"],
        &["ensure", "-i", "own.tar.gz"],
        &["stat"],
        &["stat", url, url],
        &["ls", "--sort", "nonsense"],
        &["ls", "--class", "nonsense"],
        &["ls", "--older-than", "soon"],
        &["ls", "--older-than", "-1h"],
        &["ls", "--sha256", "abc"],
        &["ls", "extra"],
        &["rm"],
        &["rm", "--sha256", "abc", "--yes"],
        &["rm", url],
        &["refresh"],
        &["pin"],
        &["pin", url, "--sha256", &long],
        &["unpin", url, "--sha256", "/etc/passwd"],
        &["import", "own.tar.gz"],
        &["import", "absent", "--url", url],
        &["import", "/dev/zero", "--url", url],
        &["incidents", "--nonsense"],
        &["jobs", "start"],
        &["jobs", "start", "migrate", url],
        &["jobs", "start", "evict"],
        &["jobs", "start", "evict", url, "--jobs", "65"],
        &["jobs", "show"],
        &["jobs", "show", "../../etc/passwd"],
        &["jobs", "show", &long],
        &["jobs", "cancel", "0123456789abcdef"],
        &["jobs", "scrub", "file:///etc/passwd"],
        &["jobs", "migrate"],
        &["jobs", "migrate", "nowhere"],
        &["jobs", "migrate", "disk", "--wait"],
        &["jobs", "migrate", "bucket", "http://"],
        &["catalog", "import"],
        &["catalog", "import", "absent"],
        &["catalog", "import", "own.tar.gz"],
        &["catalog", "import", "/dev/zero"],
        &["catalog", "import", "own.tar.gz", "--format", "nonsense"],
        &["catalog", "search"],
        &["catalog", "search", "sha256:zz"],
        &["fetches", "extra"],
        &["ensure", "--lockfile", "absent"],
        &["ensure", "--lockfile", "own.tar.gz"],
        &["events", "--nonsense"],
        &["top", "-n", "x"],
        &["doctor", "--nginx", "absent"],
        &["status", "extra"],
    ] {
        assert_refused(&desk.run(arguments), arguments);
    }
    for arguments in [
        &["nonsense"][..],
        &[long.as_str()],
        &["explain"],
        &["check-config", "--config", "absent"],
        &["check-config", "--config", "/dev/null/x"],
        &["check-config", "--config", "."],
        &["check-config", "--set", "nonsense"],
        &["check-config", "--set", "cache.max_size=-1"],
        &["check-config", "--set", &long],
        &["migrate"],
        &["migrate", "absent", "absent"],
        &["scrub", "--share", "2"],
        &["scrub", "--share", "NaN"],
        &["scrub", "--rate", "0"],
        &["scrub", "--set", "cache.dir=/proc/nowhere"],
        &["gc", "--config", "absent"],
        &["completions", "tcsh"],
        &["render-config", "nonsense"],
        &["render-config", &long],
        &["ca", "show", "--config", "absent"],
        &["ca", "init", "--config", "absent"],
        &["catalog", "search", "x", "--gateway", "ftp://example.org"],
        &["man", "/proc/nowhere"],
        &["status", "--gateway", "ftp://example.org"],
        &["status", "--gateway", &long],
        &["ls", "--token-file", "absent"],
        &["ls", "--token-file", "/dev/zero"],
    ] {
        assert_refused(&millpond(desk.folder.path(), arguments), arguments);
    }
    assert!(desk.files() == before, "a command has changed something");
}
