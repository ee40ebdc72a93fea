//! Three gateways on one cache folder behind one nginx.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Body, Builder, Ended, Gateway, Nginx, Origin, Reply, archive, eventually};
use crate::nginx::behind_nginx;

fn three(builder: Builder) -> [Gateway; 3] {
    let first = builder.start();
    let [second, third] = [first.sibling().start(), first.sibling().start()];
    [first, second, third]
}

fn before(gateways: &[Gateway; 3]) -> Nginx {
    let [first, second, third] = gateways;
    // These clients are in more of a hurry than any network of builders.
    let exempt = ("# 10.20.0.0/16 1;", "127.0.0.0/8 1;");
    Nginx::builder(&[first, second, third]).change("exempt.conf", exempt.0, exempt.1).start()
}

/// The targets that a gateway was asked for.
fn asked(gateway: &Gateway) -> BTreeSet<String> {
    let events = gateway.log().events().into_iter().filter(|event| event["message"] == "request");
    events.map(|event| event["uri"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_target_is_one_gateways_in_all_its_spellings() {
    let gateways = three(Gateway::builder().behind_nginx().set("policy.allow_hosts", "[\"nobody.example\"]"));
    let nginx = before(&gateways);
    let digests = ["a".repeat(64), "b".repeat(32)];
    let targets = 12;
    for number in 0..targets {
        let rest = format!("//pub/x-{number}.tar.gz?a=/b&c=https://d/e");
        for host in ["example.org", "EXAMPLE.org", "example.org.", "example.org:443"] {
            let whole = format!("https://{host}{rest}");
            for spelling in [
                format!("/{whole}"),
                format!("/https:/{host}{rest}"),
                format!("/HTTPS/{host}{rest}"),
                format!("/download/{whole}"),
                format!("/sha256:{}/{whole}", digests[0]),
                format!("/SHA256:{}/md5:{}/https:/{host}{rest}", digests[0], digests[1]),
                format!("/download/sha256:{}/https/{host}{rest}", digests[0]),
                format!("/sha256:{}/download/{whole}", digests[0]),
                format!("{whole}#fragment"),
                whole.clone(),
            ] {
                let answer = nginx.request("GET", &spelling).send();
                assert_eq!(answer.status, 403, "{spelling}: {}", answer.text());
            }
        }
        for spelling in [format!("/example.org{rest}"), format!("/download/EXAMPLE.ORG{rest}")] {
            nginx.request("GET", &spelling).send().assert_status(403);
        }
    }
    let of_each = eventually("all requests are told of", || {
        let of_each: Vec<_> = gateways.iter().map(asked).collect();
        (of_each.iter().map(BTreeSet::len).sum::<usize>() >= targets).then_some(of_each)
    });
    let all: BTreeSet<_> = of_each.iter().flatten().collect();
    assert_eq!(all.len(), targets, "each spelling means its target: {all:#?}");
    let counts: Vec<_> = of_each.iter().map(BTreeSet::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), targets, "no target is two gateways': {counts:?}");
    assert!(counts.iter().all(|&count| count > 0), "each has its share: {counts:?}");
}

#[test]
fn what_one_has_stored_all_serve() {
    let origin = Origin::start();
    let mut gateways = three(behind_nginx(&origin));
    let nginx = before(&gateways);
    let body = archive(1, 50_000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let url = origin.url("/x-1.0.tar.gz");
    nginx.get(&url).send().assert_body(200, &body);
    eventually("it is stored", || gateways.iter().any(|gateway| gateway.records().len() == 1).then_some(()));
    let [first, second, _] = &mut gateways;
    for gateway in [first, second] {
        gateway.kill9();
        nginx.get(&url).send().assert_body(200, &body);
        nginx.proxied("GET", &url).send().assert_body(200, &body);
    }
    assert_eq!(origin.total(), 1);
}

/// Asks for one target after the other until it is told to stop.
struct Load<'a> {
    nginx: &'a Nginx,
    origin: &'a Origin,
    body: &'a Body,
    /// Odd while a gateway is being killed, or comes back.
    changes: AtomicUsize,
    is_over: AtomicBool,
    done: AtomicUsize,
}

impl Load<'_> {
    /// Fetches new targets, and each of them a second time.
    fn ask(&self, client: usize) {
        for number in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let path = format!("/{client}/x-{number}.tar.gz");
            self.origin.serve(&path, Reply::file(self.body));
            let before = self.changes.load(Ordering::SeqCst);
            let answers = [0, 1].map(|_| self.nginx.get(&self.origin.url(&path)).send());
            let after = self.changes.load(Ordering::SeqCst);
            // Whose bytes are on their way from the one that is killed sees it, and a target that changes hands in the
            // middle may be fetched by both. Whoever asks then is served.
            let is_excused = before != after || before % 2 == 1;
            for answer in answers {
                if is_excused && answer.status == 200 && answer.ended == Ended::Cut {
                    continue;
                }
                answer.assert_body(200, self.body);
            }
            let asked = self.origin.count(&path);
            assert!(asked == 1 || is_excused, "{path} was fetched {asked} times");
            self.done.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn change(&self, change: impl FnOnce()) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        change();
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until so many more targets have come.
    #[track_caller]
    fn await_more(&self, count: usize) {
        let start = self.done.load(Ordering::SeqCst);
        eventually("the load goes on", || (self.done.load(Ordering::SeqCst) >= start + count).then_some(()));
    }
}

#[test]
fn any_one_of_three_may_be_killed_under_load() {
    const CLIENTS: usize = 8;
    let origin = Origin::start();
    let body = archive(2, 40_000);
    let mut gateways = three(behind_nginx(&origin).set("fetch.per_host", "64").set("limits.burst", "100000"));
    let nginx = before(&gateways);
    let load = Load {
        nginx: &nginx,
        origin: &origin,
        body: &body,
        changes: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
        done: AtomicUsize::new(0),
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let load = &load;
                scope.spawn(move || load.ask(client))
            })
            .collect();
        for gateway in &mut gateways {
            load.await_more(5 * CLIENTS);
            let (address, proxy) = (gateway.addr().to_string(), gateway.proxy_addr().to_string());
            load.change(|| gateway.kill9());
            load.await_more(5 * CLIENTS);
            load.change(|| {
                gateway.restart_with(|setup| setup.text("gateway.listen", &address).text("proxy.listen", &proxy));
                gateway.log().wait_for("its share", |event| event["message"] == "request");
            });
        }
        load.is_over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("no client fails");
        }
    });
    eventually("all fetches have ended", || gateways[0].staged().is_empty().then_some(()));
}
