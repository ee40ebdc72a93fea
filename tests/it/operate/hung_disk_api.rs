//! Anonymous API requests while the cache disk hangs.

use std::fs;
use std::thread;

use crate::harness::{Disk, Gateway, Origin, Reply, Trouble, archive, encoded, eventually};

/// Requests that one loop of a client can have open.
const REQUESTS: usize = 600;

/// Threads of the process in all: 225 for the disk, and a few for the rest.
const MAX_THREADS: usize = 300;

fn threads(gateway: &Gateway) -> usize {
    fs::read_dir(format!("/proc/{}/task", gateway.pid()))
        .expect("the process lives")
        .count()
}

#[test]
fn api_requests_end_while_disk_hangs() {
    let disk = Disk::mount();
    let origin = Origin::start();
    let body = archive(1, 100_000);
    origin.serve("/kept-1.0.tar.gz", Reply::file(&body));
    origin.serve("/page.html", Reply::ok(&b"page".to_vec().into()));
    let builder = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .cache_in(disk.folder());
    let gateway = builder.text("cache.disk_timeout", "1s").start();
    let url = origin.url("/kept-1.0.tar.gz");
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);

    disk.set(Trouble::Hangs);
    disk.forget_contents(&gateway.object_path(&body));
    let path = format!("/api/v1/targets?url={}", encoded(&url));
    let statuses: Vec<_> = thread::scope(|scope| {
        let ask = || gateway.request("GET", &path).send().status;
        let asked: Vec<_> = (0..REQUESTS).map(|_| scope.spawn(ask)).collect();
        asked
            .into_iter()
            .map(|request| request.join().expect("no panic"))
            .collect()
    });
    assert_eq!(statuses, vec![503; REQUESTS]);
    assert!(
        threads(&gateway) <= MAX_THREADS,
        "{} threads",
        threads(&gateway)
    );

    // Needs a name look-up, which must find a thread.
    let page = origin.url("/page.html").replace("127.0.0.1", "localhost");
    gateway.get(&page).send().assert_body(200, b"page");
    eventually("the node is not ready", || {
        (gateway.request("GET", "/readyz").send().status == 503).then_some(())
    });
    assert_eq!(gateway.request("GET", &path).send().status, 503);

    disk.set(Trouble::Nothing);
    eventually("the API answers", || {
        (gateway.request("GET", &path).send().status == 200).then_some(())
    });
}
