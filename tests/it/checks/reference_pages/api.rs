//! `docs/reference/api.md`: all requests, as `/openapi.json` describes them.

use serde_json::{Value, json};

use super::{assert_generated, head, row};
use crate::harness::Gateway;

const METHODS: [&str; 4] = ["get", "put", "post", "delete"];

/// Returns who may send a request.
fn access(operation: &Value) -> &'static str {
    let Some(alternatives) = operation["security"].as_array() else {
        return "everybody";
    };
    let has = |scheme: &str| alternatives.iter().any(|one| one.get(scheme).is_some());
    if alternatives.contains(&json!({})) {
        "everybody; lists and totals: readers"
    } else if has("reader") {
        "readers"
    } else {
        "operators"
    }
}

fn parameters(item: &Value, operation: &Value) -> String {
    let lists = [&item["parameters"], &operation["parameters"]];
    let all = lists.into_iter().filter_map(Value::as_array).flatten();
    let names = all
        .filter(|parameter| parameter["in"] != "path")
        .map(|parameter| {
            let name = parameter["name"].as_str().expect("a parameter has a name");
            let is_required = parameter["required"] == true;
            format!("`{name}`{}", if is_required { " (required)" } else { "" })
        });
    names.collect::<Vec<_>>().join(", ")
}

#[test]
fn api_page_has_all_requests() {
    let gateway = Gateway::builder().start();
    let document = gateway.request("GET", "/openapi.json").send().json();
    let mut text = head(&["request", "meaning", "parameters and fields", "access"]);
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in METHODS {
            let operation = &item[method];
            if operation.is_null() {
                continue;
            }
            let summary = operation["summary"]
                .as_str()
                .expect("an operation has a summary");
            let request = format!("`{} {path}`", method.to_uppercase());
            text += &row(&[
                &request,
                summary,
                &parameters(item, operation),
                access(operation),
            ]);
        }
    }
    assert_generated("docs/reference/api.md", "requests", &text);
}
