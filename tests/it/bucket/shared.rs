//! Tests of instances that share a bucket and nothing else.

use crate::harness::{
    Body, Bucket, Builder, Fault, Gate, Gateway, Origin, Reply, archive, assert_same, eventually,
    object_key, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

fn with(bucket: &Bucket, origin: &Origin) -> Builder {
    bucket
        .configure(Gateway::builder().origin(origin).relay(), "shared/")
        .text("cache.negative_ttl", "1s")
}

/// Orders bodies by their digests. Among records of one generation the smallest digest answers.
fn by_digest(mut bodies: [Body; 2]) -> [Body; 2] {
    bodies.sort_by_key(|body| sha256(body));
    bodies
}

#[test]
fn object_of_one_instance_is_hit_on_others() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(1, 300_000);
    origin.serve(PATH, Reply::file(&body));
    let (one, two, three) = (
        with(&bucket, &origin).start(),
        with(&bucket, &origin).start(),
        with(&bucket, &origin).start(),
    );
    one.assert_serves(&origin.url(PATH), &body);
    one.await_uploaded(&origin.url(PATH));
    for other in [&two, &three] {
        other
            .proxied("GET", &origin.url(PATH))
            .send()
            .assert_body(200, &body);
        assert_eq!(
            other.records_of(&origin.url(PATH)).len(),
            1,
            "the record was imported"
        );
    }
    assert_eq!(origin.count(PATH), 1);
}

#[test]
fn failed_target_is_found_after_another_instance_uploads() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(2, 300_000);
    origin.script(PATH, vec![Reply::status(404), Reply::file(&body)]);
    let (one, two) = (
        with(&bucket, &origin).start(),
        with(&bucket, &origin).start(),
    );
    one.get(&origin.url(PATH)).send().assert_problem(404);
    two.assert_serves(&origin.url(PATH), &body);
    two.await_uploaded(&origin.url(PATH));
    eventually("the other instance finds the object in the bucket", || {
        let answer = one.proxied("GET", &origin.url(PATH)).send();
        (answer.status == 200).then(|| answer.assert_body(200, &body))
    });
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn concurrent_uploads_of_one_target_leave_one_object() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(3, 300_000);
    origin.serve(PATH, Reply::file(&body));
    let gate = Gate::new();
    bucket.fault(|seen| seen.method == "HEAD", Fault::Stall(gate.clone()));
    let (one, two) = (
        with(&bucket, &origin).start(),
        with(&bucket, &origin).start(),
    );
    for gateway in [&one, &two] {
        gateway.assert_serves(&origin.url(PATH), &body);
    }
    // Both instances have seen that the bucket lacks the object.
    gate.await_reached(2);
    bucket.heal();
    gate.open();
    for gateway in [&one, &two] {
        gateway.await_uploaded(&origin.url(PATH));
    }
    let key = format!("shared/{}", object_key(&body));
    assert_eq!(bucket.keys("shared/objects/"), std::slice::from_ref(&key));
    assert_same(&bucket.read(&key).expect("the object exists"), &body);
    let third = with(&bucket, &origin).start();
    third
        .proxied("GET", &origin.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!(origin.count(PATH), 2);
}

#[test]
fn conflicting_instances_all_serve_same_bytes() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let [first, second] = by_digest([archive(4, 200_000), archive(5, 200_000)]);
    origin.script(PATH, vec![Reply::file(&first), Reply::file(&second)]);
    let gate = Gate::new();
    bucket.fault(
        |seen| seen.key.starts_with("shared/records/"),
        Fault::Refuse(503, "SlowDown"),
    );
    bucket.fault(|seen| seen.method == "PUT", Fault::Stall(gate.clone()));
    let [one, two] = [(); 2].map(|()| {
        with(&bucket, &origin)
            .text("cache.maintenance_interval", "1s")
            .start()
    });
    one.assert_serves(&origin.url(PATH), &first);
    two.assert_serves(&origin.url(PATH), &second);
    bucket.heal();
    gate.open();
    for gateway in [&one, &two] {
        eventually("both instances serve the same bytes", || {
            let answer = gateway.proxied("GET", &origin.url(PATH)).send();
            (answer.status == 200 && answer.body == first[..]).then_some(())
        });
    }
    // The instance that uploads its record second finds the other one.
    let is_report = |line: &str| line.contains("\"incident\"") && line.contains("other bytes");
    eventually("an instance reports the change", || {
        let mut gateways = [&one, &two].into_iter();
        let has_report = |gateway: &Gateway| gateway.log().text().lines().any(is_report);
        gateways.any(has_report).then_some(())
    });
}

#[test]
fn known_targets_need_few_bucket_requests() {
    const COUNT: u64 = 300;
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let one = with(&bucket, &origin)
        .set("limits.requests_per_second", "100000")
        .start();
    let bodies: Vec<_> = (0..COUNT).map(|seed| archive(seed, 2_000)).collect();
    let path = |number: usize| format!("/pub/y-{number}.tar.gz");
    for (number, body) in bodies.iter().enumerate() {
        origin.serve(&path(number), Reply::file(body));
        one.assert_serves(&origin.url(&path(number)), body);
    }
    bucket.wait_for_keys("shared/records/", bodies.len());
    one.log()
        .wait_for_many("the uploads", bodies.len(), |event| {
            event["message"] == "uploaded"
        });
    for body in &bodies {
        std::fs::remove_file(one.object_path(body)).expect("the object exists");
    }
    // The restarted process and its index have no information about the bucket yet.
    let mut one = one;
    one.stop();
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        drop(std::fs::remove_file(one.cache().join(name)));
    }
    one.restart_with(|builder| builder.text("cache.maintenance_interval", "10days"));
    let before = bucket.total();
    for number in 0..bodies.len() {
        one.get(&origin.url(&path(number)))
            .wget_agent()
            .send()
            .assert_status(302);
    }
    let asked = bucket.total() - before;
    assert!(asked <= 10, "{asked} requests for {COUNT} targets");
}

#[test]
fn object_missing_from_bucket_is_uploaded_again() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let body = archive(6, 300_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = with(&bucket, &origin)
        .text("cache.maintenance_interval", "1s")
        .start();
    gateway.assert_serves(&origin.url(PATH), &body);
    gateway.await_uploaded(&origin.url(PATH));
    bucket.remove(&format!("shared/{}", object_key(&body)));
    assert_same(
        &bucket.wait_for(&format!("shared/{}", object_key(&body))),
        &body,
    );
}

#[test]
fn preceding_record_of_another_instance_is_imported() {
    let (bucket, origin) = (Bucket::start(), Origin::start());
    let [first, second] = by_digest([archive(7, 200_000), archive(8, 200_000)]);
    origin.script(PATH, vec![Reply::file(&first), Reply::file(&second)]);
    // The instance that fetched first had no bucket for a while.
    let mut one = Gateway::builder().origin(&origin).relay().start();
    one.assert_serves(&origin.url(PATH), &first);
    one.await_stored(&origin.url(PATH));
    let two = with(&bucket, &origin)
        .text("cache.maintenance_interval", "1s")
        .start();
    two.assert_serves(&origin.url(PATH), &second);
    two.await_uploaded(&origin.url(PATH));
    one.restart_with(|builder| bucket.configure(builder, "shared/"));
    bucket.wait_for_keys("shared/records/", 2);
    eventually("the first bytes are served", || {
        let answer = two.proxied("GET", &origin.url(PATH)).send();
        (answer.body == first[..]).then_some(())
    });
    assert_eq!(two.records_of(&origin.url(PATH)).len(), 2);
}
