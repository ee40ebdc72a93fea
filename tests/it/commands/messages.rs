//! Messages of commands: each names the cause, and what to do.

mod hostile;

use crate::harness::{Gateway, Origin, Reply, archive, millpond};

const PATH: &str = "/x-1.0.tar.gz";

#[test]
fn failed_commands_name_cause_and_remedy() {
    let origin = Origin::start();
    origin.serve(PATH, Reply::file(&archive(1, 5000)));
    let gateway = Gateway::relaying(&origin);
    let (url, address) = (origin.url(PATH), gateway.addr().to_string());
    gateway.assert_serves(&url, &archive(1, 5000));
    gateway.await_stored(&url);
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, token) in [("wrong", "w".repeat(40)), ("right", gateway.token())] {
        std::fs::write(folder.path().join(name), token).expect("the file can be written");
    }
    // Nothing listens on this port.
    let away = "127.0.0.1:1";
    let cannot_connect = "cannot connect to the gateway http://127.0.0.1:1";
    let cases: [(&[&str], i32, &[&str]); 9] = [
        (
            &["status", "--gateway", away],
            1,
            &[cannot_connect, "MILLPOND_URL"],
        ),
        (&["get", &url, "--gateway", away], 1, &[cannot_connect]),
        (&["ensure", &url, "--gateway", away], 1, &[cannot_connect]),
        (&["stat", &url, "--gateway", away], 1, &[cannot_connect]),
        (
            &["pin", &url, "--gateway", &address],
            1,
            &["this needs the operator token", "--token-file"],
        ),
        (
            &["pin", &url, "--gateway", &address, "--token-file", "wrong"],
            1,
            &["the token is neither", "--token-file"],
        ),
        (
            &["pin", &url, "--gateway", &address, "--token-file", "none"],
            2,
            &["--token-file: none: No such file"],
        ),
        (
            &["pin", &url, "--gateway", &address, "--token-file", "right"],
            0,
            &[&url],
        ),
        (
            &[
                "unpin",
                &url,
                "--gateway",
                &address,
                "--token-file",
                "right",
            ],
            0,
            &["removed 1 pin\n"],
        ),
    ];
    for (args, code, texts) in cases {
        let run = millpond(folder.path(), args);
        assert_eq!(run.code, Some(code), "{args:?}: {run:?}");
        for text in texts {
            let said = format!("{}{}", run.stdout, run.stderr);
            assert!(said.contains(text), "{args:?}: {said}");
        }
    }
    let status = millpond(folder.path(), &["status", "--gateway", &address]);
    assert!(
        status.stdout.contains("0 alerts and 0 notices open"),
        "{}",
        status.stdout
    );
}
