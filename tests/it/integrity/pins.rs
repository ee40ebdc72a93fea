//! Pins: an operator chooses which of a target's contents is served.

use crate::harness::{
    Answer, Body, Gateway, Origin, Reply, archive, encoded, eventually, files_under, sha256,
};

const URL: &str = "https://example.org/x-1.0.tar.gz";

fn import(gateway: &Gateway, body: &Body) {
    let request = gateway.operate("PUT", &format!("/api/v1/objects?url={}", encoded(URL)));
    request.body(body).send().assert_status(201);
}

fn pins(gateway: &Gateway, method: &str, body: Option<&Body>) -> Answer {
    let sha256 = body
        .map(|body| format!("&sha256={}", sha256(body)))
        .unwrap_or_default();
    gateway
        .operate(
            method,
            &format!("/api/v1/pins?url={}{sha256}", encoded(URL)),
        )
        .send()
}

/// Returns the digest of the active record.
fn answering(gateway: &Gateway) -> String {
    let shown = gateway
        .request("GET", &format!("/api/v1/targets?url={}", encoded(URL)))
        .send()
        .json();
    let records = shown["records"].as_array().expect("`records` is an array");
    let answering = records
        .iter()
        .find(|record| record["active"] == true)
        .expect("one record is active");
    answering["sha256"]
        .as_str()
        .expect("the record has a digest")
        .to_owned()
}

#[test]
fn newest_pin_wins_and_old_is_renewable() {
    let (first, second) = (archive(1, 20_000), archive(2, 20_000));
    let mut gateway = Gateway::builder().port(443).start();
    import(&gateway, &first);
    import(&gateway, &second);
    gateway.assert_serves(URL, &second);
    assert_eq!(
        pins(&gateway, "PUT", Some(&first)).json()["pinned"],
        sha256(&first)
    );
    gateway.assert_serves(URL, &first);
    assert_eq!(answering(&gateway), sha256(&first));
    gateway.restart();
    gateway.assert_serves(URL, &first);
    assert_eq!(pins(&gateway, "DELETE", Some(&first)).json()["unpinned"], 1);
    gateway.assert_serves(URL, &second);
    assert_eq!(pins(&gateway, "DELETE", None).json()["unpinned"], 1);
    gateway.assert_serves(URL, &first).assert_cache(&["hit"]);
    pins(&gateway, "DELETE", None).assert_problem(404);
}

#[test]
fn pin_without_digest_pins_active_record() {
    let (first, second) = (archive(3, 20_000), archive(4, 20_000));
    let gateway = Gateway::builder().port(443).start();
    pins(&gateway, "PUT", None).assert_problem(404);
    import(&gateway, &first);
    pins(&gateway, "DELETE", None).json();
    import(&gateway, &second);
    pins(&gateway, "DELETE", None).json();
    assert_eq!(
        pins(&gateway, "PUT", None).json()["pinned"],
        sha256(&first),
        "the first content is active"
    );
}

#[test]
fn only_recorded_content_can_be_pinned() {
    let body = archive(5, 20_000);
    let gateway = Gateway::builder().port(443).start();
    import(&gateway, &body);
    pins(&gateway, "PUT", Some(&archive(6, 10))).assert_problem(404);
    gateway.assert_serves(URL, &body);
}

#[test]
fn shared_object_stays_until_last_unpin() {
    let body = archive(7, 20_000);
    let gateway = Gateway::builder().port(443).start();
    import(&gateway, &body);
    let other = format!(
        "/api/v1/objects?url={}",
        encoded("https://example.org/y-1.0.tar.gz")
    );
    gateway
        .operate("PUT", &other)
        .body(&body)
        .send()
        .assert_status(201);
    let removed = gateway.operate("DELETE", &other).send().json();
    assert_eq!(removed["freed_bytes"], 0, "another target pins the object");
    gateway.assert_serves(URL, &body).assert_cache(&["hit"]);
    let own = format!("/api/v1/objects?url={}", encoded(URL));
    assert_eq!(
        gateway.operate("DELETE", &own).send().json()["freed_bytes"],
        body.len()
    );
    gateway.assert_nothing_stored();
    assert!(files_under(&gateway.cache().join("pins")).is_empty());
}

#[test]
fn pins_apply_to_all_processes_on_folder() {
    let (first, second) = (archive(8, 20_000), archive(9, 20_000));
    let gateway = Gateway::builder().port(443).start();
    let sibling = gateway.sibling().text("cache.positive_ttl", "1ms").start();
    import(&gateway, &first);
    import(&gateway, &second);
    sibling.assert_serves(URL, &second);
    pins(&gateway, "PUT", Some(&first)).json();
    sibling.assert_serves(URL, &first);
}

#[test]
fn object_without_pin_is_evictable_after_crash() {
    let mut gateway = Gateway::builder()
        .port(443)
        .text("cache.max_size", "1MiB")
        .set("cache.high_watermark", "0.5")
        .set("cache.low_watermark", "0.3")
        .start();
    let put = |gateway: &Gateway, name: &str, body: &Body| {
        let url = format!("https://example.org/{name}-1.0.tar.gz");
        gateway
            .operate("PUT", &format!("/api/v1/objects?url={}", encoded(&url)))
            .body(body)
            .send()
            .assert_status(201);
    };
    let (first, second) = (archive(31, 300_000), archive(32, 300_000));
    put(&gateway, "first", &first);
    // The cache is above the high watermark: eviction runs and skips both pinned objects.
    put(&gateway, "second", &second);
    let is_set_aside = || {
        let index = rusqlite::Connection::open(gateway.cache().join("index.sqlite"))
            .expect("the index can be opened");
        let sql = "SELECT count(*) FROM objects WHERE accessed_at = 9223372036854775807";
        index
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .is_ok_and(|count| count == 2)
            .then_some(())
    };
    eventually("both objects have an eviction hold", is_set_aside);
    gateway.kill9();
    // Simulates a crash during an unpin, before the index was updated.
    let key = sha256(b"https://example.org/first-1.0.tar.gz");
    for file in files_under(&gateway.cache().join("pins")) {
        if file.to_string_lossy().contains(&key) {
            std::fs::remove_file(file).expect("a pin can be removed");
        }
    }
    gateway.restart();
    eventually("the unpinned object is evicted", || {
        (!gateway.object_path(&first).exists()).then_some(())
    });
    assert!(
        gateway.object_path(&second).exists(),
        "the pinned object stays"
    );
}

#[test]
fn pin_during_removal_is_never_lost() {
    let origin = Origin::start();
    let gateway = Gateway::relaying(&origin);
    let body = archive(1, 1_000);
    for number in 0..20 {
        let path = format!("/pub/x-{number}.tar.gz");
        origin.serve(&path, Reply::file(&body));
        let url = origin.url(&path);
        gateway.assert_serves(&url, &body);
        gateway.await_stored(&url);
        let url = encoded(&url);
        let removal = format!("/api/v1/objects?url={url}&keep_pinned=true");
        let removal = gateway.operate("DELETE", &removal).start();
        let pin = gateway
            .operate("PUT", &format!("/api/v1/pins?url={url}"))
            .send();
        let removal = removal.head().finish();
        // A removed target cannot be pinned, and a pinned one is not removed.
        assert!(
            matches!((pin.status, removal.status), (200, 423) | (404, 200)),
            "{} {}",
            pin.status,
            removal.status
        );
    }
}
