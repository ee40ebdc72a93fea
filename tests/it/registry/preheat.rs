//! Images that are stored before a client pulls them: by `millpond ensure` and by jobs.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Reply, Run, archive, sha256};
use crate::operate::jobs::{await_end, order, start};
use crate::registry::stage::{NAME, RegistryStage};
use crate::registry::test_image::{
    INDEX, OCI_MANIFEST, TestImage, document, index_of, serve_tagged,
};

/// A registry with an image for two platforms.
struct Farm {
    stage: RegistryStage,
    amd: TestImage,
    arm: TestImage,
    index: crate::harness::Body,
    tag: String,
}

impl Farm {
    fn new() -> Self {
        let stage = RegistryStage::with("", crate::harness::Builder::relay);
        let amd = TestImage::small("linux/amd64", 1, 2);
        let arm = TestImage::small("linux/arm64", 1, 3);
        let index = index_of(&[&amd, &arm]);
        for image in [&amd, &arm] {
            image.serve(&stage);
        }
        let tag = serve_tagged(&stage, "1.0", INDEX, &index);
        Self {
            stage,
            amd,
            arm,
            index,
            tag,
        }
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let folder = tempfile::tempdir().expect("a folder can be made");
        self.stage.gateway.run_command(folder.path(), arguments)
    }

    /// Checks that a client can pull these images by the tag, without the registry.
    fn assert_pulls_without_registry(&self, images: &[&TestImage]) {
        self.stage.origin.shut_down();
        let get = |path: &str| self.stage.get(path);
        get(&self.tag).assert_body(200, &self.index);
        for image in images {
            let manifest = format!("/v2/mill/app/manifests/sha256:{}", sha256(&image.manifest));
            get(&manifest).assert_body(200, &image.manifest);
            for blob in image.layers.iter().chain([&image.config]) {
                let path = format!("/v2/mill/app/blobs/sha256:{}", sha256(blob));
                get(&path).assert_body(200, blob);
            }
        }
    }

    /// Checks that the registry was asked at most once for each path.
    fn assert_asked_once(&self) {
        for path in self.stage.origin.asked() {
            assert_eq!(self.stage.origin.count(&path), 1, "{path}");
        }
    }
}

fn image(reference: &str) -> String {
    format!("docker://{NAME}/mill/app{reference}")
}

#[test]
fn ensure_stores_image_for_all_platforms() {
    let farm = Farm::new();
    let run = farm.run(&["ensure", &image(":1.0")]);
    run.assert_success();
    let line = format!("{}  {}\n", sha256(&farm.index), image(":1.0"));
    assert_eq!(run.stdout, line);
    farm.assert_asked_once();
    // A second run asks for nothing.
    let asked = farm.stage.origin.total();
    let run = farm.run(&["ensure", "--json", &image(":1.0")]);
    run.assert_success();
    let found = &run.documents()[0];
    assert_eq!(found["digest"], format!("sha256:{}", sha256(&farm.index)));
    assert_eq!(found["platforms"], json!(["linux/amd64", "linux/arm64"]));
    // One layer belongs to both images.
    let counts = ["manifests", "blobs", "fetched_bytes"].map(|name| found[name].as_u64());
    assert_eq!(counts, [Some(3), Some(5), Some(0)], "{found}");
    assert_eq!(farm.stage.origin.total(), asked);
    farm.assert_pulls_without_registry(&[&farm.amd, &farm.arm]);
}

#[test]
fn ensure_stores_chosen_platform_only() {
    let farm = Farm::new();
    let digest = format!("@sha256:{}", sha256(&farm.index));
    let run = farm.run(&["ensure", "--platform", "linux/arm64", &image(&digest)]);
    run.assert_success();
    let manifest = format!(
        "/v2/mill/app/manifests/sha256:{}",
        sha256(&farm.amd.manifest)
    );
    assert_eq!(farm.stage.origin.count(&manifest), 0);
    farm.assert_asked_once();
    let run = farm.run(&[
        "ensure",
        "--platform",
        "linux/arm64,linux/s390x",
        &image(":1.0"),
    ]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let text = "the image is not for linux/s390x, but for linux/amd64, linux/arm64";
    assert!(run.stderr.contains(text), "{}", run.stderr);
    farm.assert_pulls_without_registry(&[&farm.arm]);
}

#[test]
fn platform_of_image_without_index_is_compared() {
    let farm = Farm::new();
    serve_tagged(&farm.stage, "arm", OCI_MANIFEST, &farm.arm.manifest);
    let ensure = |platform| farm.run(&["ensure", "--platform", platform, &image(":arm")]);
    ensure("linux/arm64").assert_success();
    let run = ensure("linux/amd64");
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let text = "the image is not for linux/amd64, but for linux/arm64";
    assert!(run.stderr.contains(text), "{}", run.stderr);
}

#[test]
fn list_may_contain_images() {
    let farm = Farm::new();
    let blob = archive(9, 5000);
    farm.stage.origin.serve("/x-1.0.tar.gz", Reply::file(&blob));
    let file = farm.stage.origin.url("/x-1.0.tar.gz");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let list = folder.path().join("list");
    fs::write(&list, format!("{file}\n# image\n{}\n", image(":1.0"))).expect("it can be written");
    let list = list.display().to_string();
    let run = farm.run(&["ensure", "-i", &list]);
    run.assert_success();
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.stdout);
    let run = farm.run(&["get", "-i", &list]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("millpond ensure"), "{}", run.stderr);
    farm.assert_pulls_without_registry(&[&farm.amd, &farm.arm]);
}

#[test]
fn wrong_names_of_images_reach_no_registry() {
    let farm = Farm::new();
    for name in [
        "docker://app:1",
        "docker://reg/App:1",
        "docker://reg/a@md5:1",
        "docker://",
    ] {
        let run = farm.run(&["ensure", name]);
        assert_eq!(run.code, Some(2), "{name}: {}", run.stderr);
        let body = json!({"kind": "fetch", "targets": [name]});
        order(&farm.stage.gateway, &body).assert_status(400);
    }
    let run = farm.run(&["ensure", "docker://other.example.org/mill/app:1.0"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(run.stderr.contains("no such registry"), "{}", run.stderr);
    let name = image(":1.0");
    for body in [
        json!({"kind": "refresh", "targets": [name]}),
        json!({"kind": "evict", "list": name}),
        json!({"kind": "fetch", "targets": [name], "platforms": ["linux"]}),
        json!({"kind": "fetch", "targets": ["https://example.org/x-1.0.tar.gz"],
            "platforms": ["linux/amd64"]}),
        json!({"kind": "fetch", "targets": [format!("sha256:{} {name}", "0".repeat(64))]}),
    ] {
        order(&farm.stage.gateway, &body).assert_status(400);
    }
    assert_eq!(farm.stage.origin.total(), 0);
}

#[test]
fn job_stores_images() {
    let farm = Farm::new();
    let missing = image(":missing");
    let body = json!({"kind": "fetch", "targets": [image(":1.0"), missing],
        "platforms": ["linux/amd64"]});
    let gateway = &farm.stage.gateway;
    let job = await_end(gateway, &start(gateway, &body));
    let counts = |job: &Value| ["done", "unchanged", "failed"].map(|name| job[name].as_u64());
    assert_eq!(counts(&job), [Some(2), Some(0), Some(1)], "{job}");
    assert_eq!(job["failures"][0]["url"], missing);
    let sizes = [&farm.index, &farm.amd.manifest, &farm.amd.config];
    let sizes = sizes
        .into_iter()
        .chain(&farm.amd.layers)
        .map(|body| body.len());
    assert_eq!(job["bytes"], sizes.sum::<usize>(), "{job}");
    let arm = format!(
        "/v2/mill/app/manifests/sha256:{}",
        sha256(&farm.arm.manifest)
    );
    assert_eq!(farm.stage.origin.count(&arm), 0);
    let body = json!({"kind": "fetch", "targets": [image(":1.0")], "platforms": ["linux/amd64"]});
    let job = await_end(gateway, &start(gateway, &body));
    assert_eq!(
        (&job["state"], counts(&job)[1]),
        (&json!("succeeded"), Some(1))
    );
    for path in [&farm.tag, "/v2/"] {
        assert_eq!(farm.stage.origin.count(path), 1, "{path}");
    }
    farm.assert_pulls_without_registry(&[&farm.amd]);
}

#[test]
fn failed_part_is_named() {
    let farm = Farm::new();
    let layer = format!("/v2/mill/app/blobs/sha256:{}", sha256(&farm.arm.layers[1]));
    farm.stage.origin.serve(&layer, Reply::status(404));
    let run = farm.run(&["ensure", &image(":1.0")]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let digest = sha256(&farm.arm.layers[1]);
    assert!(
        run.stderr.contains(&format!("blob sha256:{digest}: ")),
        "{}",
        run.stderr
    );
    let old = document(&json!({"schemaVersion": 1, "fsLayers": []}));
    serve_tagged(&farm.stage, "old", OCI_MANIFEST, &old);
    let run = farm.run(&["ensure", &image(":old")]);
    assert!(run.stderr.contains("schema 1"), "{}", run.stderr);
}
