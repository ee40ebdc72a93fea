//! The description of the API: it names each operation that the gateway has and no other one, and
//! responses have the described form.

pub mod schema;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{Answer, Body, Gateway, Origin, Reply, archive, encoded, sha256};
use schema::Description;

const METHODS: [&str; 5] = ["get", "head", "put", "post", "delete"];

/// Pages that answer in the form of text, and are no resources of the API.
const PAGES: [&str; 4] = ["/healthz", "/readyz", "/version", "/metrics"];

/// A gateway with stored targets, and its description.
struct Registry {
    origin: Origin,
    gateway: Gateway,
    description: Description,
}

/// A stored target, and what an operation needs beside it.
struct Sample {
    url: String,
    body: Body,
    job: String,
}

impl Registry {
    fn new() -> Self {
        let origin = Origin::start();
        let gateway = Gateway::relaying(&origin);
        let description = Description::of(&gateway);
        Self {
            origin,
            gateway,
            description,
        }
    }

    /// Stores and pins a target, and runs a job.
    fn sample(&self, number: u64) -> Sample {
        let (path, body) = (format!("/x-{number}.0.tar.gz"), archive(number, 3000));
        self.origin.serve(&path, Reply::file(&body));
        let url = self.origin.url(&path);
        self.gateway.assert_serves(&url, &body);
        self.gateway.await_stored(&url);
        let pin = format!("/api/v1/pins?url={}", encoded(&url));
        self.gateway.operate("PUT", &pin).send().assert_status(200);
        let order = json!({"kind": "fetch", "targets": [url]}).to_string();
        let request = self.gateway.operate("POST", "/api/v1/jobs");
        let job = request.body(order.as_bytes()).send();
        job.assert_status(202);
        let job = job.json()["id"].as_str().expect("it is text").to_owned();
        Sample { url, body, job }
    }

    /// Imports a list into the catalog. Returns its digest.
    fn imported_list(&self, sample: &Sample) -> String {
        let line = format!("{}  {}", sha256(&sample.body), sample.url);
        let request = self.gateway.operate("PUT", "/api/v1/catalog");
        let imported = request.body(line.as_bytes()).send().json();
        let list = imported["list"].as_str();
        list.expect("an imported list has a digest").to_owned()
    }

    /// Sends the request of an operation with fitting arguments.
    fn request(&self, method: &str, path: &str, sample: &Sample) -> Answer {
        let digest = sha256(&sample.body);
        let filled = path
            .replace("{sha256}", &digest)
            .replace("{id}", &sample.job);
        if (method, path) == ("delete", "/api/v1/objects/sha256/{sha256}") {
            // A pinned object is not removed.
            let unpin = format!("/api/v1/pins?url={}", encoded(&sample.url));
            let unpinned = self.gateway.operate("DELETE", &unpin).send();
            unpinned.assert_status(200);
        }
        let mut query = Vec::new();
        for parameter in self.description.parameters(method, path) {
            match parameter["name"].as_str() {
                Some("url") => query.push(format!("url={}", encoded(&sample.url))),
                Some("name") if path == "/api/v1/catalog" => query.push("name=x".to_owned()),
                Some("list") => query.push(format!("list={}", self.imported_list(sample))),
                Some("keys") => query.push(format!("keys={digest}")),
                Some("sha256") if path == "/api/v1/node/pieces" => {
                    query.push(format!("sha256={digest}"));
                }
                Some("follow") => query.push("follow=false".to_owned()),
                _ => {}
            }
        }
        let target = format!("{filled}?{}", query.join("&"));
        let request = self.gateway.operate(&method.to_uppercase(), &target);
        match (method, path) {
            ("put", "/api/v1/objects") => request.body(&sample.body).send(),
            ("put", "/api/v1/catalog") => {
                let line = format!("{digest}  {}", sample.url);
                request.body(line.as_bytes()).send()
            }
            ("post", "/api/v1/jobs") => {
                let order = json!({"kind": "fetch", "list": sample.url}).to_string();
                request.body(order.as_bytes()).send()
            }
            _ => request.send(),
        }
    }
}

#[test]
fn document_describes_itself() {
    let registry = Registry::new();
    let document = registry.description.document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["title"], "Millpond");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["info"]["license"]["name"], "Apache-2.0");
    assert!(document["info"].get("contact").is_none(), "{document}");
    let schemes = &document["components"]["securitySchemes"];
    for name in ["operator", "reader"] {
        assert_eq!(schemes[name]["type"], "http");
        assert_eq!(schemes[name]["scheme"], "bearer");
    }
    let mut identities = BTreeSet::new();
    for (method, path) in registry.description.operations() {
        let operation = registry.description.operation(&method, &path);
        let identity = operation["operationId"].as_str().unwrap_or_default();
        assert!(!identity.is_empty(), "{method} {path}");
        assert!(identities.insert(identity.to_owned()), "{identity}");
        assert!(operation["summary"].is_string(), "{identity}");
        assert!(operation["responses"]["default"].is_object(), "{identity}");
    }
    assert!(identities.len() > 20, "{identities:?}");
    registry.description.assert_references_resolve();
}

#[test]
fn described_operations_answer_as_described() {
    let registry = Registry::new();
    for (number, (method, path)) in registry.description.operations().iter().enumerate() {
        let sample = registry.sample(number as u64);
        let answer = registry.request(method, path, &sample);
        let name = format!("{method} {path}: {} {}", answer.status, answer.text());
        if path.ends_with("/torrent") {
            // The sample is smaller than an object with pieces.
            assert_eq!(answer.status, 404, "{name}");
            continue;
        }
        assert!((200..300).contains(&answer.status), "{name}");
        let response = registry.description.response(method, path, answer.status);
        if method == "head" {
            assert!(answer.body.is_empty(), "{name}");
            continue;
        }
        let content_type = answer.wants("content-type");
        let media_type = content_type.split(';').next().unwrap_or_default();
        let content = &response["content"][media_type];
        assert!(content.is_object(), "{name} is {media_type}, {response}");
        if media_type == "application/json" && content.get("schema").is_some() {
            let found = registry
                .description
                .check(&content["schema"], &answer.json());
            assert_eq!(found, Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn router_has_no_undescribed_method() {
    let registry = Registry::new();
    let sample = registry.sample(1);
    let mut described: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (method, path) in registry.description.operations() {
        described
            .entry(path)
            .or_default()
            .insert(method.to_uppercase());
    }
    for (path, methods) in &described {
        if PAGES.contains(&path.as_str()) {
            continue;
        }
        let answer = registry.request("patch", path, &sample);
        answer.assert_problem(405);
        let allowed: BTreeSet<String> = answer
            .wants("allow")
            .split(", ")
            .map(str::to_owned)
            .collect();
        assert_eq!(&allowed, methods, "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        for path in PAGES {
            let answer = registry.gateway.request(method, path).send();
            assert_eq!(answer.status, 405, "{method} {path}");
            assert_eq!(answer.wants("allow"), "GET, HEAD", "{path}");
        }
    }
}

#[test]
fn errors_are_problems_for_json_clients() {
    let registry = Registry::new();
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    for accept in [
        "application/json",
        "application/problem+json",
        "text/html, application/json",
    ] {
        for (path, status) in [
            ("/api/v1/objects?limit=0", 400),
            ("/api/v1/nothing", 404),
            (
                "/api/v1/targets?url=https%3A%2F%2Fexample.org%2Fx-1.0.gz",
                404,
            ),
        ] {
            let request = registry.gateway.operate("GET", path);
            let answer = request.header("Accept", accept).send();
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.wants("content-type"), "application/problem+json");
            let problem: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
            assert_eq!(problem["status"], status, "{problem}");
            let found = registry.description.check(&schema, &problem);
            assert_eq!(found, Vec::<String>::new(), "{problem}");
        }
    }
    let request = registry.gateway.operate("GET", "/api/v1/nothing");
    request.header("Accept", "*/*").send().assert_problem(404);
}

#[test]
fn documented_parameters_are_known() {
    let registry = Registry::new();
    for (method, path) in registry.description.operations() {
        if method != "get" {
            continue;
        }
        for parameter in registry.description.parameters(&method, &path) {
            let name = parameter["name"].as_str().expect("a parameter has a name");
            if parameter["in"] != "query" {
                continue;
            }
            // No parameter takes this value without a complaint about it, apart from texts.
            let target = format!("{path}?{name}=%00");
            let answer = registry.gateway.operate("GET", &target).send();
            let unknown = format!("{name} is no parameter");
            assert!(!answer.text().contains(&unknown), "{}", answer.text());
        }
    }
}

#[test]
fn document_needs_no_token() {
    let gateway = Gateway::builder().start();
    let answer = gateway.request("GET", "/openapi.json").send();
    answer.assert_status(200);
    assert_eq!(answer.wants("content-type"), "application/json");
    let wrong = gateway.request("GET", "/openapi.json?a=b").send();
    wrong.assert_problem(400);
    let denied = Gateway::builder()
        .set("policy.allow_clients", "[\"10.0.0.0/8\"]")
        .start();
    denied
        .request("GET", "/openapi.json")
        .send()
        .assert_problem(403);
}
