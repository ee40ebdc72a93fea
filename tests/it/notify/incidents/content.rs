//! Incidents about the content of a target: removed, changed, or with a wrong checksum.

use super::{PATH, await_incident, await_posts, hook, posting, posts};
use crate::harness::{Origin, Reply, archive, eventually, sha256};

#[test]
fn removed_or_changed_content_raises_alert() {
    let (origin, hook) = (Origin::start(), hook());
    let body = archive(3, 5000);
    origin.script(
        PATH,
        vec![
            Reply::file(&body),
            Reply::status(404),
            Reply::file(&archive(4, 5000)),
            Reply::file(&body),
        ],
    );
    let url = origin.url(PATH);
    let mut gateway = posting(&origin, &hook).start();
    gateway.assert_serves(&url, &body);
    gateway.await_stored(&url);
    gateway.restart();
    std::fs::remove_file(gateway.object_path(&body)).expect("the object exists");
    gateway.get(&url).send().assert_status(404);
    assert_eq!(
        await_posts(&hook, 1)[0]["incident"]["cause"],
        "removed_upstream"
    );
    // The head may reach the client before the digest is known.
    eventually("the alert for the changed content is sent", || {
        gateway.get(&url).send();
        (posts(&hook).len() >= 2).then_some(())
    });
    assert_eq!(posts(&hook)[1]["incident"]["cause"], "content_changed");
    eventually("the old bytes are served", || {
        (gateway.get(&url).send().status == 200).then_some(())
    });
    gateway.stop();
    let told = posts(&hook);
    let mut recovered: Vec<_> = told[2..]
        .iter()
        .map(|told| told["incident"]["cause"].to_string())
        .collect();
    recovered.sort();
    assert_eq!(recovered, ["\"content_changed\"", "\"removed_upstream\""]);
}

#[test]
fn checksum_mismatch_ends_when_target_is_stored() {
    let (origin, hook) = (Origin::start(), hook());
    let (wrong, right) = (archive(5, 5000), archive(6, 5000));
    origin.script(PATH, vec![Reply::file(&wrong), Reply::file(&right)]);
    origin.serve("/other-1.0.tar.gz", Reply::file(&right));
    let builder = posting(&origin, &hook);
    let list = builder.folder().join("digests");
    let line = format!("{}  {}\n", sha256(&right), origin.url(PATH));
    std::fs::write(&list, line).expect("the folder is writable");
    let list = list.to_str().expect("the path is text");
    let mut gateway = builder.text("policy.checksums_file", list).start();
    let ask = || gateway.get(&origin.url(PATH)).send();
    ask();
    let alert = await_posts(&hook, 1).remove(0);
    assert_eq!(alert["incident"]["cause"], "checksum_mismatch");
    let detail = alert["incident"]["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains(&sha256(&wrong)) && detail.contains(&sha256(&right)),
        "{detail}"
    );
    gateway.assert_serves(&origin.url("/other-1.0.tar.gz"), &right);
    gateway.await_stored(&origin.url("/other-1.0.tar.gz"));
    await_incident(&gateway, "checksum_mismatch", |incident| {
        incident["state"] == "open"
    });
    assert_eq!(
        posts(&hook).len(),
        1,
        "another target does not end the incident"
    );
    ask().assert_body(200, &right);
    assert_eq!(await_posts(&hook, 2)[1]["event"], "recovery");
    gateway.stop();
}

#[test]
fn mistakes_of_clients_are_notices() {
    let (origin, hook) = (Origin::start(), hook());
    let body = archive(7, 5000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = posting(&origin, &hook)
        .port(80)
        .text("cache.negative_ttl", "1ms")
        .start();
    for (name, digest) in [
        ("X-Expected-Sha256", "a".repeat(64)),
        ("X-Expected-Sha512", "b".repeat(128)),
        ("X-Expected-Md5", "c".repeat(32)),
    ] {
        let request = gateway.get(&origin.url(PATH)).header(name, &digest);
        request.send().assert_status(409);
    }
    let listed = await_incident(&gateway, "client_digest", |incident| incident["count"] == 3);
    assert_eq!(listed["severity"], "notice", "{listed}");
    let status = gateway
        .get("http://exmaple.invalid/x-1.0.tar.gz")
        .send()
        .status;
    assert!((500..600).contains(&status), "{status}");
    let listed = await_incident(&gateway, "unknown_host", |incident| incident["count"] == 1);
    assert_eq!(listed["severity"], "notice", "{listed}");
    assert!(posts(&hook).is_empty(), "no alert was sent");
}
