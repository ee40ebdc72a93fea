//! Manifests and blobs by digest: stored once, verified, and served without the registry.

use crate::harness::{Nginx, Origin, Reply, archive, sha256};
use crate::nginx::requests::behind_nginx;
use crate::registry::stage::{MANIFEST, NAME, RegistryStage, assert_refused, manifest};

#[test]
fn request_counts_once_against_limit() {
    let stage = RegistryStage::with("", |builder| {
        builder
            .set("limits.requests_per_second", "1")
            .set("limits.burst", "3")
            .set("gateway.trusted_proxies", "[\"127.0.0.0/8\"]")
    });
    let tag = stage.serve_tag("latest", &manifest("counted"));
    let blob = stage.serve_blob(&archive(1, 2000));
    let get = |path: &str, client: &str| {
        let request = stage.gateway.request("GET", path);
        request.header("X-Forwarded-For", client).send()
    };
    for client in ["10.0.0.1", "10.0.0.2"] {
        // The first client has everything fetched, and the second one gets what is stored.
        for path in [&tag, &blob, &tag] {
            get(path, client).assert_status(200);
        }
        // One request a second is free again.
        let refused =
            (0..20).find_map(|_| Some(get(&blob, client)).filter(|got| got.status != 200));
        assert_refused(&refused.expect("requests count"), 429, "TOOMANYREQUESTS");
    }
}

#[test]
fn layer_and_tarball_share_object() {
    let stage = RegistryStage::new("");
    let layer = archive(1, 50_000);
    let path = stage.serve_blob(&layer);
    stage.get(&path).assert_body(200, &layer);
    let url = stage.origin.url("/pub/layer-1.0.tar.gz");
    stage
        .origin
        .serve("/pub/layer-1.0.tar.gz", Reply::file(&layer));
    stage.gateway.assert_serves(&url, &layer);
    stage.await_stored(&path);
    stage.gateway.await_stored(&url);
    assert_eq!(stage.gateway.objects().len(), 1);
}

#[test]
fn stored_content_needs_no_registry() {
    let stage = RegistryStage::new("");
    let (blob, manifest) = (archive(1, 300_000), manifest("one"));
    let (blob_path, manifest_path) = (stage.serve_blob(&blob), stage.serve_manifest(&manifest));
    for (path, body) in [(&blob_path, &blob), (&manifest_path, &manifest)] {
        stage.get(path).assert_body(200, body);
        stage.await_stored(path);
    }
    // Registries do not send a manifest to a client that does not list its type.
    let accept = stage.origin.request(&manifest_path);
    let accept = accept.header("accept").unwrap_or_default();
    for media_type in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ] {
        assert!(accept.contains(media_type), "{accept}");
    }
    let asked = stage.origin.total();
    stage.origin.shut_down();
    let answer = stage.get(&manifest_path);
    answer.assert_body(200, &manifest);
    answer.assert_cache(&["hit"]);
    assert_eq!(answer.wants("content-type"), MANIFEST);
    let digest = format!("sha256:{}", sha256(&manifest));
    assert_eq!(answer.wants("docker-content-digest"), digest);
    assert_eq!(
        answer.wants("docker-distribution-api-version"),
        "registry/2.0"
    );
    let head = stage.head(&manifest_path);
    head.assert_body(200, b"");
    assert_eq!(head.wants("content-length"), manifest.len().to_string());
    assert_eq!(head.wants("docker-content-digest"), digest);
    let etag = answer.wants("etag");
    let conditional = stage.gateway.request("GET", &manifest_path);
    conditional
        .header("If-None-Match", etag)
        .send()
        .assert_body(304, b"");
    let part = stage.gateway.request("GET", &blob_path);
    part.range("bytes=1000-1999")
        .send()
        .assert_body(206, &blob[1000..2000]);
    let head = stage.head(&blob_path);
    assert_eq!(head.wants("content-length"), blob.len().to_string());
    assert_eq!(stage.origin.total(), asked);
}

#[test]
fn head_of_manifest_stores_it() {
    let stage = RegistryStage::new("");
    let manifest = manifest("head");
    let path = stage.serve_manifest(&manifest);
    let head = stage.head(&path);
    head.assert_body(200, b"");
    assert_eq!(head.wants("content-length"), manifest.len().to_string());
    assert_eq!(head.wants("content-type"), MANIFEST);
    stage.await_stored(&path);
    stage.origin.shut_down();
    stage.get(&path).assert_body(200, &manifest);
    assert_eq!(stage.origin.count(&path), 1);
}

#[test]
fn wrong_bytes_are_never_complete() {
    let stage = RegistryStage::new("");
    let (wanted, other) = (archive(1, 50_000), archive(2, 50_000));
    for kind in ["blobs", "manifests"] {
        let path = format!("/v2/mill/app/{kind}/sha256:{}", sha256(&wanted));
        stage.origin.serve(&path, Reply::file(&other));
        let answer = stage.get(&path);
        assert!(
            answer.status == 409 || answer.body.len() < other.len(),
            "{kind}: {} with {} bytes",
            answer.status,
            answer.body.len()
        );
        assert_eq!(stage.gateway.records_of(&stage.origin.url(&path)).len(), 0);
    }
}

#[test]
fn sha512_digests_are_verified() {
    let stage = RegistryStage::new("");
    let blob = archive(3, 50_000);
    let digest = hex::encode(<sha2::Sha512 as sha2::Digest>::digest(&blob[..]));
    let path = format!("/v2/mill/app/blobs/sha512:{digest}");
    stage.origin.serve(&path, Reply::file(&blob));
    let answer = stage.get(&path);
    answer.assert_body(200, &blob);
    assert_eq!(
        answer.wants("docker-content-digest"),
        format!("sha512:{digest}")
    );
}

#[test]
fn statuses_of_registry_are_translated() {
    let stage = RegistryStage::new("");
    let path = |kind: &str, seed| {
        let digest = sha256(&archive(seed, 10));
        format!("/v2/mill/app/{kind}/sha256:{digest}")
    };
    for (seed, upstream, status, code) in [
        (1, 404, 404, "BLOB_UNKNOWN"),
        (2, 401, 404, "BLOB_UNKNOWN"),
        (3, 403, 404, "BLOB_UNKNOWN"),
        (4, 410, 410, "BLOB_UNKNOWN"),
        (5, 500, 502, "UNKNOWN"),
    ] {
        let path = path("blobs", seed);
        stage.origin.serve(&path, Reply::status(upstream));
        assert_refused(&stage.get(&path), status, code);
    }
    let unknown = stage.get(&path("manifests", 6));
    assert_refused(&unknown, 404, "MANIFEST_UNKNOWN");
    let limited = path("blobs", 7);
    let reply = Reply::status(429).header("Retry-After", "7");
    stage.origin.serve(&limited, reply);
    let answer = stage.get(&limited);
    assert_refused(&answer, 429, "TOOMANYREQUESTS");
    let wait: u64 = answer.wants("retry-after").parse().expect("a number");
    assert!((1..=7).contains(&wait), "{wait}");
}

#[test]
fn schema_1_is_refused() {
    let stage = RegistryStage::new("");
    let manifest = manifest("old");
    let path = format!("/v2/mill/app/manifests/sha256:{}", sha256(&manifest));
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    for path in [path.as_str(), "/v2/mill/app/manifests/old"] {
        let reply = Reply::ok(&manifest).header("Content-Type", media_type);
        stage.origin.serve(path, reply);
        assert_refused(&stage.get(path), 404, "MANIFEST_UNKNOWN");
    }
}

#[test]
fn denied_client_gets_no_image() {
    let networks = "[\"192.0.2.0/24\"]";
    let stage = RegistryStage::with("", |builder| builder.set("policy.allow_clients", networks));
    let blob = archive(4, 1000);
    let paths = [
        "/v2/".to_owned(),
        stage.serve_blob(&blob),
        stage.serve_tag("x", &manifest("x")),
        "/v2/A/tags/list".to_owned(),
    ];
    for path in paths {
        assert_refused(&stage.get(&path), 403, "DENIED");
    }
    assert_eq!(stage.origin.total(), 0);
}

#[test]
fn login_is_never_asked_for() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let users = folder.path().join("users");
    // `ann` with the password `secret`, as htpasswd writes it.
    let line = "ann:$2y$05$sTI52Im6OaVu2XfyksPV9OawIGWpXOZkDkedxX9//VH0FtBqWbikm\n";
    std::fs::write(&users, line).expect("the folder can be written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(&users, mode).expect("the file exists");
    let users = users.display().to_string();
    let stage = RegistryStage::with("", |builder| {
        builder.text("gateway.download_users_file", &users)
    });
    let blob = archive(6, 1000);
    let path = stage.serve_blob(&blob);
    for path in ["/v2/", &path] {
        assert_refused(&stage.get(path), 403, "DENIED");
        let get = |login| {
            let request = stage.gateway.request("GET", path);
            request.header("Authorization", login).send()
        };
        assert_refused(&get("Basic YW5uOndyb25n"), 403, "DENIED");
        get("Basic YW5uOnNlY3JldA==").assert_status(200);
    }
    assert_eq!(stage.origin.request(&path).header("authorization"), None);
}

#[test]
fn nginx_sends_blobs_with_their_ranges() {
    let origin = Origin::start();
    let gateway = behind_nginx(&origin)
        .registry(NAME, &origin.url(""), "default = true")
        .start();
    let nginx = Nginx::before(&gateway);
    let (blob, manifest) = (archive(5, 300_000), manifest("nginx"));
    let blob_path = format!("/v2/mill/app/blobs/sha256:{}", sha256(&blob));
    let manifest_path = format!("/v2/mill/app/manifests/sha256:{}", sha256(&manifest));
    origin.serve(&blob_path, Reply::file(&blob));
    let reply = Reply::ok(&manifest).header("Content-Type", MANIFEST);
    origin.serve(&manifest_path, reply);
    for _ in 0..2 {
        nginx
            .request("GET", &blob_path)
            .send()
            .assert_body(200, &blob);
        let answer = nginx.request("GET", &manifest_path).send();
        answer.assert_body(200, &manifest);
        assert_eq!(answer.wants("content-type"), MANIFEST);
        let digest = format!("sha256:{}", sha256(&manifest));
        assert_eq!(answer.wants("docker-content-digest"), digest);
        gateway.await_stored(&origin.url(&blob_path));
        gateway.await_stored(&origin.url(&manifest_path));
    }
    let part = nginx.request("GET", &blob_path).range("bytes=7-10").send();
    part.assert_body(206, &blob[7..11]);
    assert_eq!(origin.count(&blob_path), 1);
}
