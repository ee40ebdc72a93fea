//! Three gateways on one cache folder behind one nginx.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Body, Builder, Ended, Gateway, Nginx, Origin, Reply, archive, eventually};
use crate::nginx::requests::behind_nginx;

fn three(builder: Builder) -> [Gateway; 3] {
    let first = builder.start();
    let [second, third] = [first.sibling().start(), first.sibling().start()];
    [first, second, third]
}

fn before(gateways: &[Gateway; 3]) -> Nginx {
    let [first, second, third] = gateways;
    // These clients send more requests than the limits of nginx allow.
    let exempt = ("# 10.20.0.0/16 1;", "127.0.0.0/8 1;");
    Nginx::builder(&[first, second, third])
        .change("exempt.conf", exempt.0, exempt.1)
        .start()
}

/// Returns the targets that a gateway received.
fn asked(gateway: &Gateway) -> BTreeSet<String> {
    let events = gateway
        .log()
        .events()
        .into_iter()
        .filter(|event| event["message"] == "request");
    events
        .map(|event| event["uri"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn all_spellings_of_target_reach_one_gateway() {
    let gateways = three(
        Gateway::builder()
            .behind_nginx()
            .set("policy.allow_hosts", "[\"nobody.example\"]"),
    );
    let nginx = before(&gateways);
    let digests = ["a".repeat(64), "b".repeat(32)];
    let targets = 12;
    for number in 0..targets {
        let rest = format!("//pub/x-{number}.tar.gz?a=/b&c=https://d/e");
        for host in [
            "example.org",
            "EXAMPLE.org",
            "example.org.",
            "example.org:443",
        ] {
            let whole = format!("https://{host}{rest}");
            for spelling in [
                format!("/{whole}"),
                format!("/https:/{host}{rest}"),
                format!("/HTTPS/{host}{rest}"),
                format!("/download/{whole}"),
                format!("/sha256:{}/{whole}", digests[0]),
                format!(
                    "/SHA256:{}/md5:{}/https:/{host}{rest}",
                    digests[0], digests[1]
                ),
                format!("/download/sha256:{}/https/{host}{rest}", digests[0]),
                format!("/sha256:{}/download/{whole}", digests[0]),
                format!("{whole}#fragment"),
                whole.clone(),
            ] {
                let answer = nginx.request("GET", &spelling).send();
                assert_eq!(answer.status, 403, "{spelling}: {}", answer.text());
            }
        }
        for spelling in [
            format!("/example.org{rest}"),
            format!("/download/EXAMPLE.ORG{rest}"),
        ] {
            nginx.request("GET", &spelling).send().assert_status(403);
        }
    }
    let of_each = eventually("all requests are logged", || {
        let of_each: Vec<_> = gateways.iter().map(asked).collect();
        (of_each.iter().map(BTreeSet::len).sum::<usize>() >= targets).then_some(of_each)
    });
    let all: BTreeSet<_> = of_each.iter().flatten().collect();
    assert_eq!(
        all.len(),
        targets,
        "all spellings have the same target: {all:#?}"
    );
    let counts: Vec<_> = of_each.iter().map(BTreeSet::len).collect();
    assert_eq!(
        counts.iter().sum::<usize>(),
        targets,
        "each target belongs to one gateway: {counts:?}"
    );
    assert!(
        counts.iter().all(|&count| count > 0),
        "each gateway gets targets: {counts:?}"
    );
}

#[test]
fn object_of_one_gateway_is_served_by_all() {
    let origin = Origin::start();
    let mut gateways = three(behind_nginx(&origin));
    let nginx = before(&gateways);
    let body = archive(1, 50_000);
    origin.serve("/x-1.0.tar.gz", Reply::file(&body));
    let url = origin.url("/x-1.0.tar.gz");
    nginx.get(&url).send().assert_body(200, &body);
    eventually("the target is stored", || {
        gateways
            .iter()
            .any(|gateway| gateway.records().len() == 1)
            .then_some(())
    });
    let [first, second, _] = &mut gateways;
    for gateway in [first, second] {
        gateway.kill9();
        nginx.get(&url).send().assert_body(200, &body);
        nginx.proxied("GET", &url).send().assert_body(200, &body);
    }
    assert_eq!(origin.total(), 1);
}

/// Load that requests one target after the other until `is_over` is set.
struct Load<'a> {
    nginx: &'a Nginx,
    origin: &'a Origin,
    body: &'a Body,
    /// Odd while a gateway is being killed or restarted.
    changes: AtomicUsize,
    is_over: AtomicBool,
    done: AtomicUsize,
}

impl Load<'_> {
    /// Fetches new targets, each of them twice.
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
            // A client of the killed gateway sees a cut body. A target that moves to another
            // gateway during its fetch may be fetched twice. All other requests must succeed.
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

    /// Waits until `count` more targets are fetched.
    #[track_caller]
    fn await_more(&self, count: usize) {
        let start = self.done.load(Ordering::SeqCst);
        eventually("more targets are fetched", || {
            (self.done.load(Ordering::SeqCst) >= start + count).then_some(())
        });
    }
}

#[test]
fn killing_one_of_three_keeps_service_running() {
    const CLIENTS: usize = 8;
    let origin = Origin::start();
    let body = archive(2, 40_000);
    let mut gateways = three(
        behind_nginx(&origin)
            .set("fetch.per_host", "64")
            .set("limits.burst", "100000"),
    );
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
                gateway.restart_with(|setup| {
                    setup
                        .text("gateway.listen", &address)
                        .text("proxy.listen", &proxy)
                });
                gateway
                    .log()
                    .wait_for("a request at the restarted gateway", |event| {
                        event["message"] == "request"
                    });
            });
        }
        load.is_over.store(true, Ordering::SeqCst);
        for client in clients {
            client.join().expect("no client thread panicked");
        }
    });
    eventually("all fetches have ended", || {
        gateways[0].staged().is_empty().then_some(())
    });
}
