//! Large blobs in ranges over several connections: verified, with a token for each range, and with
//! storage elsewhere. Tokens that expire while a blob is fetched are renewed.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Body, Builder, Origin, Reply, archive};
use crate::registry::stage::RegistryStage;

const MIB: usize = 1 << 20;
const SIZE: usize = 8 * MIB;

const TOKEN: &str = "/token?service=registry&scope=repository%3Amill%2Fapp%3Apull";

/// Requests bodies over at most four connections.
fn splitting(builder: Builder) -> Builder {
    builder
        .set("fetch.segment_min_size", "\"4MiB\"")
        .rule("host = \"127.0.0.1\"\nsegments = 4")
}

/// Returns a blob of a registry that sends 1 MiB a second over each connection.
fn limited(body: &Body) -> Reply {
    Reply::file(body).drip(64 << 10, Duration::from_millis(62))
}

/// Returns a blob of a registry that sends 8 MiB a second over each connection.
fn fast(body: &Body) -> Reply {
    Reply::file(body).drip(64 << 10, Duration::from_millis(7))
}

fn token_reply(token: &str, life_seconds: u64) -> Reply {
    let document = json!({"token": token, "expires_in": life_seconds});
    Reply::ok(&document.to_string().into_bytes().into())
}

/// Starts a registry that asks for tokens. The first one expires one second after it was used.
fn with_tokens(change: impl FnOnce(Builder) -> Builder) -> (RegistryStage, Origin) {
    let service = Origin::start();
    let stage = RegistryStage::with("", |builder| change(builder.origin(&service)));
    let challenge = format!(
        "Bearer realm=\"{}\",service=\"registry\"",
        service.url("/token")
    );
    let reply = Reply::status(401).header("WWW-Authenticate", &challenge);
    stage.origin.serve("/v2/", reply);
    let tokens = vec![token_reply("one", 0), token_reply("two", 300)];
    service.script(TOKEN, tokens);
    (stage, service)
}

/// Returns the ranges that an origin was asked for, in the order of their offsets.
fn ranges(origin: &Origin, path: &str) -> Vec<String> {
    let asked = origin.requests(path);
    let ranges = asked.iter().filter_map(|asked| asked.header("range"));
    let mut ranges: Vec<_> = ranges.map(str::to_owned).collect();
    ranges.sort();
    ranges
}

/// Checks that a blob came once as a whole, and otherwise in different ranges.
#[track_caller]
fn assert_split(origin: &Origin, path: &str) {
    let mut ranges = ranges(origin, path);
    let count = ranges.len();
    assert!(count > 3, "{ranges:?}");
    ranges.dedup();
    assert_eq!(ranges.len(), count, "no range is asked twice");
    assert_eq!(origin.count(path), count + 1);
    assert!((3..=5).contains(&origin.most_at_once()));
}

#[test]
fn large_layer_comes_in_ranges() {
    let stage = RegistryStage::with("", splitting);
    let (layer, small) = (archive(1, SIZE), archive(2, 3 * MIB));
    let path = stage.serve_blob(&layer);
    stage.origin.serve(&path, limited(&layer));
    let small_path = stage.serve_blob(&small);
    stage.get(&small_path).assert_body(200, &small);
    assert_eq!(stage.origin.count(&small_path), 1);
    stage.get(&path).assert_body(200, &layer);
    assert_split(&stage.origin, &path);
    stage.await_stored(&path);
    stage.origin.shut_down();
    stage.get(&path).assert_body(200, &layer);
}

#[test]
fn wrong_range_of_layer_is_found() {
    let stage = RegistryStage::with("", splitting);
    let layer = archive(3, SIZE);
    let mut wrong = layer.to_vec();
    wrong[SIZE / 2 + MIB / 2] ^= 1;
    let path = stage.serve_blob(&layer);
    let reply = limited(&layer).ranges_of(&wrong.into());
    stage.origin.serve(&path, reply);
    let answer = stage.get(&path);
    assert!(answer.body.len() < SIZE, "the end is withheld");
    assert!(ranges(&stage.origin, &path).len() > 3);
    assert!(
        stage
            .gateway
            .records_of(&stage.origin.url(&path))
            .is_empty()
    );
}

#[test]
fn registry_without_ranges_costs_one_request() {
    let stage = RegistryStage::with("", splitting);
    let (layer, next) = (archive(4, SIZE), archive(5, SIZE));
    let path = stage.serve_blob(&layer);
    let replies = vec![fast(&layer), Reply::file(&layer).ranges_ignored()];
    stage.origin.script(&path, replies);
    stage.get(&path).assert_body(200, &layer);
    assert_eq!(stage.origin.count(&path), 2);
    let path = stage.serve_blob(&next);
    stage.get(&path).assert_body(200, &next);
    assert_eq!(stage.origin.count(&path), 1);
}

#[test]
fn each_range_has_valid_token() {
    let (stage, service) = with_tokens(splitting);
    let layer = archive(6, SIZE);
    let path = stage.serve_blob(&layer);
    stage.origin.serve(&path, limited(&layer));
    stage.get(&path).assert_body(200, &layer);
    assert_split(&stage.origin, &path);
    let asked = stage.origin.requests(&path);
    let tokens: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("authorization").unwrap_or_default())
        .collect();
    let renewed = tokens.iter().position(|token| *token == "Bearer two");
    let renewed = renewed.expect("the token is renewed");
    assert!(renewed > 0, "{tokens:?}");
    let old = &tokens[..renewed];
    assert!(old.iter().all(|token| *token == "Bearer one"), "{tokens:?}");
    assert_eq!(tokens.last(), Some(&"Bearer two"));
    assert_eq!(service.count(TOKEN), 2);
}

#[test]
fn rest_of_layer_has_renewed_token() {
    const CUT: usize = 2 * MIB;
    let (stage, service) = with_tokens(|builder| builder.set("fetch.attempts", "3"));
    let layer = archive(7, 3 * MIB);
    let path = stage.serve_blob(&layer);
    let cut = limited(&layer).cut_at(CUT);
    stage.origin.script(&path, vec![cut, Reply::file(&layer)]);
    stage.get(&path).assert_body(200, &layer);
    let asked = stage.origin.requests(&path);
    let sent: Vec<_> = asked
        .iter()
        .map(|asked| (asked.header("authorization"), asked.header("range")))
        .collect();
    let rest = format!("bytes={CUT}-");
    let wanted = [
        (Some("Bearer one"), None),
        (Some("Bearer two"), Some(&rest[..])),
    ];
    assert_eq!(sent, wanted);
    assert_eq!(service.count(TOKEN), 2);
}

#[test]
fn ranges_follow_redirect_without_token() {
    let (stage, storage) = with_tokens(splitting);
    let layer = archive(8, SIZE);
    let path = stage.serve_blob(&layer);
    let signed = "/storage/layer?signature=x";
    stage
        .origin
        .serve(&path, Reply::redirect(307, &storage.url(signed)));
    storage.serve(signed, limited(&layer));
    stage.get(&path).assert_body(200, &layer);
    assert_split(&storage, signed);
    for asked in storage.requests(signed) {
        assert_eq!(asked.header("authorization"), None);
    }
    let asked = stage.origin.requests(&path);
    assert_eq!(asked.len(), storage.count(signed));
    for asked in asked {
        let token = asked.header("authorization").unwrap_or_default();
        assert!(token.starts_with("Bearer "), "{token}");
    }
    stage.await_stored(&path);
    stage.origin.shut_down();
    storage.shut_down();
    stage.get(&path).assert_body(200, &layer);
}
