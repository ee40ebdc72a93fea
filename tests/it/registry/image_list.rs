//! The list of known images: at the API, by `millpond ls --images`, and on the page.

use serde_json::{Value, json};

use crate::harness::sha256;
use crate::registry::stage::{NAME, RegistryStage};
use crate::registry::test_image::{INDEX, OCI_MANIFEST, TestImage, index_of, serve_tagged};

const IMAGES: &str = "/api/v1/images";

fn list(stage: &RegistryStage, query: &str) -> Value {
    let answer = stage
        .gateway
        .operate("GET", &format!("{IMAGES}{query}"))
        .send();
    answer.assert_status(200);
    answer.json()
}

fn names(page: &Value) -> Vec<&str> {
    let images = page["images"].as_array().expect("a list");
    images
        .iter()
        .filter_map(|image| image["name"].as_str())
        .collect()
}

#[test]
fn images_are_listed_with_platforms_and_sizes() {
    let stage = RegistryStage::with("", crate::harness::Builder::relay);
    let amd = TestImage::small("linux/amd64", 1, 2);
    let arm = TestImage::small("linux/arm64", 1, 3);
    let index = index_of(&[&amd, &arm]);
    amd.serve(&stage);
    let tags = [
        serve_tagged(&stage, "1.0", INDEX, &index),
        serve_tagged(&stage, "amd", OCI_MANIFEST, &amd.manifest),
    ];
    for tag in &tags {
        stage.get(tag).assert_status(200);
    }
    let config = format!("/v2/mill/app/blobs/sha256:{}", sha256(&amd.config));
    let manifest = format!("/v2/mill/app/manifests/sha256:{}", sha256(&amd.manifest));
    for path in [&config, &manifest] {
        stage.get(path).assert_status(200);
        stage.await_stored(path);
    }
    let page = list(&stage, "");
    let (multi, single) = (
        format!("{NAME}/mill/app:1.0"),
        format!("{NAME}/mill/app:amd"),
    );
    assert_eq!(names(&page), [&multi, &single]);
    assert_eq!((&page["total"], &page["next"]), (&json!(2), &Value::Null));
    let size = amd.config.len() + amd.layers.iter().map(|layer| layer.len()).sum::<usize>();
    let digest = |body: &[u8]| format!("sha256:{}", sha256(body));
    let [first, second] = [&page["images"][0], &page["images"][1]];
    assert_eq!(first["digest"], digest(&index));
    assert_eq!(
        first["platforms"],
        json!([
            {"platform": "linux/amd64", "digest": digest(&amd.manifest), "size_bytes": size},
            {"platform": "linux/arm64", "digest": digest(&arm.manifest), "size_bytes": null},
        ])
    );
    assert_eq!(
        second["platforms"],
        json!([{"platform": "linux/amd64", "digest": digest(&amd.manifest), "size_bytes": size}])
    );
    assert!(first["checked"].is_string(), "{first}");
    let page = list(&stage, "?limit=1");
    assert_eq!(names(&page), [&multi]);
    let next = page["next"].as_str().expect("there is another page");
    assert_eq!(names(&list(&stage, &format!("?after={next}"))), [&single]);
    assert_eq!(names(&list(&stage, "?name=:amd")), [&single]);
    assert_eq!(list(&stage, "?registry=other.example.org")["total"], 0);
    stage
        .gateway
        .request("GET", IMAGES)
        .send()
        .assert_status(401);
    for query in ["?limit=0", "?limit=201", "?after=unknown", "?name=", "?x=y"] {
        let answer = stage
            .gateway
            .operate("GET", &format!("{IMAGES}{query}"))
            .send();
        answer.assert_status(400);
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = |arguments: &[&str]| stage.gateway.run_command(folder.path(), arguments);
    let listed = run(&["ls", "--images", "--bytes"]);
    listed.assert_success();
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{}", listed.stdout);
    assert!(
        lines[0].contains(&format!("{size}  linux/amd64")),
        "{}",
        lines[0]
    );
    assert!(lines[1].contains("-  linux/arm64"), "{}", lines[1]);
    assert!(lines[2].ends_with(&single), "{}", lines[2]);
    let listed = run(&["ls", "--images", "--json", "--name", "1.0"]);
    assert_eq!(listed.documents()[0]["name"], multi);
    assert_eq!(run(&["ls", "--images", "--pinned"]).code, Some(2));
}
