//! Tests of exhausted or stuck resources: a hanging disk, unchangeable records and objects, file
//! descriptors, slow clients.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    DEADLINE, Gate, Gateway, Origin, Reply, Scene, archive, assert_same, eventually, sha256,
};

/// Bound for an immediate exit, with a reserve for a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Takes every lock that publishing takes, so that a publish blocks as on a hung disk.
fn hold_all_locks(gateway: &Gateway) -> Vec<File> {
    let lock = |number: u32| {
        let file = File::create(gateway.cache().join(format!("locks/{number:02x}")))
            .expect("a lock can be opened");
        file.lock().expect("a lock can be taken");
        file
    };
    (0..256).map(lock).collect()
}

#[test]
fn second_signal_exits_despite_hanging_publish() {
    let (_origin, mut gateway, body, url) = Scene::of("/x-1.0.tar.gz", archive(1, 200_000))
        .gateway(|builder| builder.relay().text("gateway.shutdown_grace", "1h"))
        .start();
    let locks = hold_all_locks(&gateway);
    // The client has the whole body, but the object is not published yet.
    gateway.assert_serves(&url, &body);
    gateway.signal("TERM");
    let addresses = [gateway.addr(), gateway.proxy_addr()];
    eventually("both ports are closed", || {
        addresses
            .iter()
            .all(|address| TcpStream::connect(address).is_err())
            .then_some(())
    });
    let signalled = Instant::now();
    gateway.signal("TERM");
    gateway.await_exit();
    assert!(signalled.elapsed() < AT_ONCE, "{:?}", signalled.elapsed());
    assert!(
        gateway.records().is_empty(),
        "a hanging publish leaves no record"
    );
    drop(locks);
    gateway.restart();
    assert!(gateway.staged().is_empty(), "{:?}", gateway.staged());
    gateway.assert_serves(&url, &body);
}

#[test]
fn failed_publish_releases_its_space() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("cache.max_size", "1MiB")
        .start();
    // These are four targets whose records lie in four folders.
    let mut folders = Vec::new();
    let mut paths = Vec::new();
    for path in (0..).map(|number| format!("/x-{number}.tar.gz")) {
        let folder = sha256(origin.url(&path).as_bytes())[..2].to_owned();
        if !folders.contains(&folder) {
            folders.push(folder);
            paths.push(path);
        }
        if paths.len() == 4 {
            break;
        }
    }
    let last = paths.pop().expect("there are four");
    for (number, path) in paths.iter().enumerate() {
        fs::write(
            gateway.cache().join("records").join(&folders[number]),
            b"no folder",
        )
        .expect("the file can be written");
        let body = archive(10 + number as u64, 300_000);
        origin.serve(path, Reply::file(&body));
        gateway.assert_serves(&origin.url(path), &body);
        assert_ne!(gateway.await_fetch(&origin.url(path))["outcome"], "stored");
    }
    eventually("nothing is staged any more", || {
        gateway.staged().is_empty().then_some(())
    });
    let body = archive(20, 300_000);
    origin.serve(&last, Reply::file(&body));
    gateway.assert_serves(&origin.url(&last), &body);
    gateway.await_stored(&origin.url(&last));
    gateway
        .assert_serves(&origin.url(&last), &body)
        .assert_cache(&["hit"]);
}

#[test]
fn low_open_file_limit_is_raised() {
    let gate = Gate::new();
    let (origin, gateway, body, url) = Scene::of("/x-1.0.tar.gz", archive(2, 100_000))
        .reply(|file| file.gate_at(50_000, &gate))
        .gateway(|builder| builder.relay().descriptors(256))
        .start();
    let open = || gateway.get(&url).open();
    let downloads: Vec<_> = (0..300).map(|_| open()).collect();
    gate.open();
    for download in downloads {
        download.finish().assert_body(200, &body);
    }
    assert_eq!(origin.count("/x-1.0.tar.gz"), 1);
}

#[test]
fn unremovable_object_does_not_block_eviction() {
    let origin = Origin::start();
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .text("cache.max_size", "1MiB")
        .start();
    for number in 0..9 {
        let path = format!("/x-{number}.tar.gz");
        let body = archive(30 + number, 200_000);
        origin.serve(&path, Reply::file(&body));
        gateway.assert_serves(&origin.url(&path), &body);
        gateway.await_stored(&origin.url(&path));
        if number == 0 {
            // The oldest object is the first candidate for eviction.
            let object = gateway.object_path(&body);
            fs::remove_file(&object).expect("the object exists");
            fs::create_dir(&object).expect("a folder can replace the object");
            fs::write(object.join("x"), b"x").expect("the folder can be written");
        }
    }
    assert!(
        gateway
            .objects()
            .contains(&gateway.object_path(&archive(38, 200_000))),
        "the newest object is stored"
    );
}

#[test]
fn upload_may_take_longer_than_idle_timeout() {
    let origin = Origin::start();
    origin.serve("/upload", Reply::ok(&b"taken\n".to_vec().into()));
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let gateway = builder.text("fetch.idle_timeout", "1s").start();
    let sent = archive(3, 25_000);
    let mut client =
        TcpStream::connect(gateway.proxy_addr()).expect("the gateway accepts the connection");
    client
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        origin.url("/upload"),
        origin.address(),
        sent.len()
    );
    client
        .write_all(head.as_bytes())
        .expect("the gateway reads the head");
    for piece in sent.chunks(1000) {
        client.write_all(piece).expect("the gateway reads the body");
        thread::sleep(Duration::from_millis(100));
    }
    let mut answer = String::new();
    client
        .read_to_string(&mut answer)
        .expect("the gateway answers");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("taken\n"),
        "{answer}"
    );
    assert_same(&origin.request("/upload").body, &sent);
}

#[test]
fn aborted_upload_never_reaches_origin_as_complete() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf",
        origin.url("/upload")
    );
    let mut client =
        TcpStream::connect(gateway.proxy_addr()).expect("the gateway accepts the connection");
    client
        .write_all(head.as_bytes())
        .expect("the gateway reads the head");
    eventually("the origin is asked", || {
        (origin.connections() == 1).then_some(())
    });
    drop(client);
    gateway.log().wait_for("the request", |event| {
        event["message"] == "request" && event["method"] == "POST"
    });
    assert_eq!(origin.total(), 0, "the origin never got a complete request");
}
