//! A stored response of class `revalidate` becomes the answer if its target becomes immutable.

use crate::harness::{Body, Builder, Gateway, Origin, Reply, archive, gzip, sha256};

/// Returns a gateway that revalidates everything, and does not check file types.
fn revalidating(builder: Builder) -> Gateway {
    builder
        .rule("class = \"revalidate\"\ncheck_file_type = false")
        .start()
}

#[test]
fn stored_response_becomes_the_immutable_answer() {
    let origin = Origin::start();
    let mut gateway = revalidating(Gateway::builder().origin(&origin).one_attempt());
    let requests = [
        "relay", "redirect", "head", "cached", "proxy", "digest", "wait",
    ];
    let bodies: Vec<_> = (0..).map(|seed| archive(seed, 50_000)).take(7).collect();
    let url = |request: &str| origin.url(&format!("/{request}-1.0.tar.gz"));
    for (request, body) in requests.iter().zip(&bodies) {
        let reply = Reply::file(body).header("Content-Type", "application/gzip");
        origin.serve(&format!("/{request}-1.0.tar.gz"), reply);
        let answer = gateway.proxied("GET", &url(request)).send();
        answer.assert_body(200, body);
    }
    assert!(gateway.records().is_empty());
    origin.shut_down();
    gateway.restart_with(Builder::without_rules);
    for (request, body) in requests.iter().zip(&bodies) {
        let target = url(request);
        let first = match *request {
            "redirect" => gateway.get(&target).wget_agent(),
            "head" => gateway.request("HEAD", &format!("/{target}")),
            "cached" => gateway
                .get(&target)
                .header("Cache-Control", "only-if-cached"),
            "proxy" => gateway.proxied("GET", &target),
            "digest" => gateway
                .get(&target)
                .header("X-Expected-Sha256", &sha256(body)),
            "wait" => gateway.get(&target).header("If-Match", "*"),
            _ => gateway.get(&target),
        };
        let answer = first.send();
        answer.assert_status(200);
        answer.assert_cache(&["hit", "detail=disk"]);
        assert_eq!(answer.wants("content-length"), "50000", "{request}");
        assert_eq!(
            answer.wants("content-type"),
            "application/gzip",
            "{request}"
        );
        gateway.assert_serves(&target, body).assert_cache(&["hit"]);
        assert_eq!(gateway.records_of(&target).len(), 1, "{request}");
    }
    assert_eq!(origin.total(), requests.len(), "nothing was fetched anew");
}

#[test]
fn only_the_promised_file_is_adopted() {
    let origin = Origin::start();
    let mut gateway = revalidating(Gateway::builder().origin(&origin).relay().one_attempt());
    let coded = gzip(b"diff --git a/x b/x\n");
    let blob = format!("/v2/x/blobs/sha256:{}", sha256(&archive(3, 5000)));
    let until_close = Reply::file(&archive(4, 5000)).until_close();
    let targets: [(&str, Reply, Body); 5] = [
        ("/page-1.0.tar.gz", Reply::html(), archive(1, 5000)),
        ("/status-1.0.tar.gz", Reply::status(404), archive(2, 5000)),
        (
            "/coded-1.0.patch",
            Reply::ok(&coded).header("Content-Encoding", "gzip"),
            b"diff --git a/y b/y\n".to_vec().into(),
        ),
        (&blob, Reply::file(&archive(9, 5000)), archive(3, 5000)),
        ("/cut-1.0.bin", until_close.cut_at(2000), archive(4, 5000)),
    ];
    for (number, (path, stored, _)) in targets.iter().enumerate() {
        origin.serve(path, stored.clone().header("Cache-Control", "max-age=600"));
        let request = gateway.proxied("GET", &origin.url(path));
        request.header("Accept-Encoding", "gzip").send();
        assert_eq!(gateway.objects().len(), number + 1, "{path} is stored");
    }
    gateway.restart_with(Builder::without_rules);
    for (path, _, right) in &targets {
        origin.serve(path, Reply::file(right));
        gateway.assert_serves(&origin.url(path), right);
        assert_eq!(origin.count(path), 2, "{path} is fetched anew");
    }
}

#[test]
fn newest_response_is_adopted() {
    let origin = Origin::start();
    let mut gateway = revalidating(Gateway::builder().origin(&origin).relay().one_attempt());
    let (path, bodies) = ("/x-1.0.tar.gz", [archive(1, 5000), archive(2, 5000)]);
    let url = origin.url(path);
    for (body, language) in bodies.iter().zip(["a", "b"]) {
        let reply = Reply::file(body).header("Cache-Control", "max-age=600");
        origin.serve(path, reply.header("Vary", "Accept-Language"));
        let request = gateway.proxied("GET", &url);
        let answer = request.header("Accept-Language", language).send();
        answer.assert_body(200, body);
    }
    gateway.restart_with(Builder::without_rules);
    gateway
        .assert_serves(&url, &bodies[1])
        .assert_cache(&["hit"]);
    assert_eq!(origin.count(path), 2);
}
