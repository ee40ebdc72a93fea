//! Changed content: the old content stays active, both contents have a record,
//! and an operator decides.

use serde_json::Value;

use crate::harness::{
    Body, Ended, Gate, Gateway, Origin, Reply, Scene, archive, encoded, eventually, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// A gateway that has stored `body`, and its origin, which now serves `other`.
struct Changed {
    origin: Origin,
    gateway: Gateway,
    url: String,
    body: Body,
    other: Body,
}

impl Changed {
    fn new(on_change: &str) -> Self {
        let origin = Origin::start();
        let (body, other) = (archive(1, 200_000), archive(2, 200_000));
        origin.serve(PATH, Reply::file(&body));
        let builder = Gateway::builder().origin(&origin).relay().one_attempt();
        let gateway = builder
            .text("cache.on_change", on_change)
            .text("cache.negative_ttl", "1ms")
            .start();
        let url = origin.url(PATH);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        origin.serve(PATH, Reply::file(&other));
        Self {
            origin,
            gateway,
            url,
            body,
            other,
        }
    }

    /// Removes the object, as an eviction does.
    fn evict(&self) {
        let path = format!("/api/v1/objects/sha256/{}", sha256(&self.body));
        self.gateway.operate("DELETE", &path).send().json();
    }

    #[track_caller]
    fn refresh(&self, accept: bool) -> Value {
        refresh(&self.gateway, &self.url, accept)
    }

    /// Returns the recorded digests, ordered by their dates.
    fn on_record(&self) -> Vec<String> {
        let path = format!("/api/v1/targets?url={}", encoded(&self.url));
        let shown = self.gateway.request("GET", &path).send().json();
        let records = shown["records"]
            .as_array()
            .expect("`records` is an array")
            .iter();
        let dates: Vec<_> = records
            .clone()
            .map(|record| record["first_seen"].as_str().map(str::to_owned))
            .collect();
        assert!(
            dates.is_sorted() && dates.iter().all(Option::is_some),
            "{dates:?}"
        );
        records
            .map(|record| {
                record["sha256"]
                    .as_str()
                    .expect("the record has a digest")
                    .to_owned()
            })
            .collect()
    }

    #[track_caller]
    fn assert_held(&self, body: &Body) {
        let path = format!("/api/v1/objects/sha256/{}", sha256(body));
        self.gateway
            .request("GET", &path)
            .send()
            .assert_body(200, body);
    }

    /// Waits for the incident about the change.
    fn await_alert(&self) -> Value {
        eventually("the change is an incident", || {
            let listed = self
                .gateway
                .operate("GET", "/api/v1/incidents")
                .send()
                .json();
            let incidents = listed["incidents"]
                .as_array()
                .expect("`incidents` is an array")
                .clone();
            incidents
                .into_iter()
                .find(|incident| incident["cause"] == "content_changed")
        })
    }
}

#[track_caller]
fn refresh(gateway: &Gateway, url: &str, accept: bool) -> Value {
    gateway
        .operate(
            "POST",
            &format!("/api/v1/refresh?url={}&accept={accept}", encoded(url)),
        )
        .send()
        .json()
}

#[test]
fn refresh_stores_changed_content_and_serves_old() {
    let changed = Changed::new("refuse");
    let refreshed = changed.refresh(false);
    assert_eq!(
        (&refreshed["changed"], &refreshed["accepted"]),
        (&true.into(), &false.into())
    );
    assert_eq!(refreshed["previous_sha256"], sha256(&changed.body));
    assert_eq!(refreshed["sha256"], sha256(&changed.other));
    changed
        .gateway
        .assert_serves(&changed.url, &changed.body)
        .assert_cache(&["hit"]);
    assert_eq!(
        changed.on_record(),
        [sha256(&changed.body), sha256(&changed.other)]
    );
    changed.assert_held(&changed.body);
    changed.assert_held(&changed.other);
    let incident = changed.await_alert();
    assert_eq!(incident["severity"], "alert");
    let detail = incident["detail"]
        .as_str()
        .expect("the incident has a detail");
    assert!(
        detail.contains(&sha256(&changed.body)) && detail.contains(&sha256(&changed.other)),
        "{detail}"
    );
    assert_eq!(changed.origin.count(PATH), 2);
}

#[test]
fn accepted_content_becomes_active() {
    let mut changed = Changed::new("refuse");
    let refreshed = changed.refresh(true);
    assert_eq!(
        (&refreshed["changed"], &refreshed["accepted"]),
        (&true.into(), &true.into())
    );
    changed
        .gateway
        .assert_serves(&changed.url, &changed.other)
        .assert_cache(&["hit"]);
    changed.gateway.restart();
    changed.gateway.assert_serves(&changed.url, &changed.other);
    assert_eq!(
        changed.on_record(),
        [sha256(&changed.body), sha256(&changed.other)]
    );
    changed.assert_held(&changed.body);
}

#[test]
fn refresh_without_change_adds_nothing() {
    let changed = Changed::new("refuse");
    changed.origin.serve(PATH, Reply::file(&changed.body));
    let refreshed = changed.refresh(true);
    assert_eq!(
        (&refreshed["changed"], &refreshed["accepted"]),
        (&false.into(), &false.into())
    );
    assert_eq!(changed.on_record(), [sha256(&changed.body)]);
    assert_eq!(
        changed.origin.count(PATH),
        2,
        "the target was fetched again"
    );
}

#[test]
fn refresh_checks_digest_and_file_type() {
    let changed = Changed::new("refuse");
    let path = format!("/api/v1/refresh?url={}&accept=true", encoded(&changed.url));
    let expecting = changed
        .gateway
        .operate("POST", &path)
        .header("X-Expected-Sha256", &sha256(&changed.body));
    expecting.send().assert_problem(409);
    changed.origin.serve(PATH, Reply::html());
    changed
        .gateway
        .operate("POST", &path)
        .send()
        .assert_problem(502);
    assert_eq!(changed.on_record(), [sha256(&changed.body)]);
    changed.gateway.assert_serves(&changed.url, &changed.body);
}

#[test]
fn refresh_continues_after_operator_disconnects() {
    let changed = Changed::new("refuse");
    let gate = Gate::new();
    changed
        .origin
        .serve(PATH, Reply::file(&changed.other).gate_at(100_000, &gate));
    let path = format!("/api/v1/refresh?url={}", encoded(&changed.url));
    let waiting = changed.gateway.operate("POST", &path).start();
    gate.await_reached(1);
    drop(waiting);
    // Other requests do not wait for the refresh.
    changed
        .gateway
        .assert_serves(&changed.url, &changed.body)
        .assert_cache(&["hit"]);
    gate.open();
    changed
        .gateway
        .log()
        .wait_for_many("the second fetch", 2, |event| event["message"] == "fetch");
    assert_eq!(
        changed.on_record(),
        [sha256(&changed.body), sha256(&changed.other)]
    );
}

#[test]
fn refresh_fetches_unstored_target() {
    let (origin, gateway, body, _) = Scene::relaying(PATH, archive(3, 20_000));
    let refreshed = refresh(&gateway, &origin.url(PATH), false);
    assert_eq!(
        (&refreshed["previous_sha256"], &refreshed["changed"]),
        (&Value::Null, &false.into())
    );
    gateway
        .assert_serves(&origin.url(PATH), &body)
        .assert_cache(&["hit"]);
    let signed = origin.url("/x-1.0.tar.gz?token=a");
    let passed = format!("/api/v1/refresh?url={}", encoded(&signed));
    gateway.operate("POST", &passed).send().assert_problem(400);
}

#[test]
fn changed_content_after_eviction_is_refused_until_accepted() {
    let changed = Changed::new("refuse");
    changed.evict();
    let refused = changed.gateway.get(&changed.url).send();
    assert!(
        refused.status == 409 || refused.ended == Ended::Cut,
        "{}",
        refused.status
    );
    changed.await_alert();
    changed
        .gateway
        .get(&changed.url)
        .range("bytes=0-9")
        .send()
        .assert_problem(409);
    assert_eq!(
        changed.on_record(),
        [sha256(&changed.body), sha256(&changed.other)]
    );
    changed.assert_held(&changed.other);
    assert_eq!(changed.refresh(true)["accepted"], true);
    changed
        .gateway
        .assert_serves(&changed.url, &changed.other)
        .assert_cache(&["hit"]);
}

#[test]
fn alert_mode_serves_changed_content_after_eviction() {
    let changed = Changed::new("alert");
    changed.gateway.assert_serves(&changed.url, &changed.body);
    changed.evict();
    changed.gateway.assert_serves(&changed.url, &changed.other);
    changed
        .gateway
        .proxied("GET", &changed.url)
        .send()
        .assert_body(200, &changed.other);
    changed.await_alert();
    changed
        .gateway
        .assert_serves(&changed.url, &changed.other)
        .assert_cache(&["hit"]);
    assert_eq!(
        changed.origin.count(PATH),
        2,
        "stored content is not fetched again"
    );
    assert_eq!(
        changed.on_record(),
        [sha256(&changed.body), sha256(&changed.other)]
    );
    // A request with an expected digest gets matching content or an error.
    let expecting = changed
        .gateway
        .get(&changed.url)
        .header("X-Expected-Sha256", &sha256(&changed.body));
    expecting.range("bytes=0-9").send().assert_problem(409);
}

#[test]
fn lost_pinned_content_is_never_replaced() {
    let changed = Changed::new("alert");
    let path = format!("/api/v1/pins?url={}", encoded(&changed.url));
    changed.gateway.operate("PUT", &path).send().json();
    std::fs::remove_file(changed.gateway.object_path(&changed.body)).expect("the object exists");
    changed
        .gateway
        .get(&changed.url)
        .range("bytes=0-9")
        .send()
        .assert_problem(409);
    changed.origin.serve(PATH, Reply::file(&changed.body));
    let back = eventually("the old content is restored", || {
        let answer = changed.gateway.get(&changed.url).send();
        (answer.status == 200).then_some(answer)
    });
    back.assert_body(200, &changed.body);
}

#[test]
fn changing_target_does_not_fill_disk() {
    let changed = Changed::new("refuse");
    changed.evict();
    for seed in 10..22 {
        changed
            .origin
            .serve(PATH, Reply::file(&archive(seed, 10_000)));
        let before = changed.origin.count(PATH);
        // The negative cache keeps the failure for a moment.
        eventually("the origin is asked again", || {
            changed
                .gateway
                .get(&changed.url)
                .range("bytes=0-9")
                .send()
                .assert_problem(409);
            (changed.origin.count(PATH) > before).then_some(())
        });
    }
    assert_eq!(changed.on_record().len(), 8);
}
