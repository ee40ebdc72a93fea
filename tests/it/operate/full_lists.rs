//! Lists that look at all targets: three of a client may run at the same time.

use std::thread;

use crate::harness::{Answer, Disk, Gateway, Origin, Reply, Trouble, archive, eventually};

/// Lists of all kinds that look at all targets.
const FULL: [&str; 5] = [
    "objects?sort=url",
    "targets?total=true",
    "pins?sort=size",
    "stats?by=host",
    "objects?sort=-last_used&total=true",
];

#[test]
fn fourth_full_list_is_refused_at_once() {
    let disk = Disk::mount();
    let origin = Origin::start();
    let body = archive(1, 5000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let builder = Gateway::builder().origin(&origin).relay().one_attempt();
    let builder = builder.cache_in(disk.folder());
    let gateway = builder.text("cache.disk_timeout", "3s").start();
    let url = origin.url("/x-1.0.tar.gz");
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    let ask = |list: &str| gateway.operate("GET", &format!("/api/v1/{list}")).send();
    for list in FULL {
        ask(list).assert_status(200);
    }
    // Three of them wait for the disk until their time is over, and hold their places.
    disk.set(Trouble::Hangs);
    let answers: Vec<Answer> = thread::scope(|scope| {
        let asked = FULL.map(|list| scope.spawn(move || ask(list)));
        asked
            .into_iter()
            .map(|request| request.join().expect("no panic"))
            .collect()
    });
    let (mut refused, mut failed) = (0, 0);
    for answer in answers {
        answer.assert_problem(503);
        if answer.text().contains("too many requests are in progress") {
            refused += 1;
        } else {
            failed += 1;
        }
    }
    assert_eq!((refused, failed), (2, 3));
    disk.set(Trouble::Nothing);
    for list in FULL {
        eventually("the list is there again", || {
            (ask(list).status == 200).then_some(())
        });
    }
}
