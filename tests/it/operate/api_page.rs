//! The page docs/reference/api.md: its examples run, and it names the existing codes and filters.

use std::fs;
use std::path::Path;

use serde_json::{Deserializer, Value};

use crate::harness::{Gateway, Tool};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/api.md");
    fs::read_to_string(path).expect("the page can be read")
}

/// Returns the blocks of the page in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    let rest = page.split(begin.as_str()).skip(1);
    rest.map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

#[test]
fn examples_of_the_page_run() {
    let gateway = Gateway::builder().port(443).start();
    let folder = tempfile::tempdir().expect("a folder can be created");
    let page = page();
    let examples = blocks(&page, "sh");
    assert!(examples.len() > 8, "{examples:?}");
    let script = format!(
        "set -eux\nMILLPOND={}\nTOKEN={}\n{}",
        gateway.url(""),
        gateway.token(),
        examples.concat()
    );
    let run = Tool::new("bash", "bash", folder.path())
        .args(&["-c", &script])
        .run();
    assert_eq!(run.code, Some(0), "{}\n{}", run.stdout, run.stderr);
    // Each JSON document on the page came from an example.
    for shown in blocks(&page, "json") {
        let shown: Value = serde_json::from_str(shown).expect("it is JSON");
        let mut found = run.stdout.lines().flat_map(|line| {
            let values = Deserializer::from_str(line).into_iter::<Value>();
            values.filter_map(Result::ok)
        });
        assert!(found.any(|found| found == shown), "{shown}\n{}", run.stdout);
    }
    gateway.assert_nothing_stored();
}

#[test]
fn page_names_all_parameters() {
    let gateway = Gateway::builder().start();
    let document = gateway.request("GET", "/openapi.json").send().json();
    let page = page();
    for (path, item) in document["paths"].as_object().expect("paths") {
        if path.starts_with("/api/v1/") {
            let name = path.split('/').nth(3).unwrap_or_default();
            assert!(page.contains(&format!("/{name}")), "{path}");
        }
        let parameters = item["get"]["parameters"].as_array();
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or_default();
            if parameter["in"] == "path" {
                continue;
            }
            let is_named = ["`", "?", "&", "\"", " ", "{"]
                .iter()
                .any(|before| page.contains(&format!("{before}{name}")));
            assert!(is_named, "{path}: {name}");
        }
    }
}
