//! Images of a layout or an archive that `millpond adopt` stores.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::freshness::package_clients::archives::{tar, tar_gz};
use crate::harness::{Body, Gateway, Run, Tool, millpond, sha256};
use crate::registry::real_registry::{IMAGE, RealRegistry};
use crate::registry::stage::{NAME, document as document_of};
use crate::registry::test_image::{INDEX, OCI_MANIFEST, TestImage, descriptor, document, index_of};

/// A gateway whose registry does not answer, and a folder with images.
struct Desk {
    gateway: Gateway,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let keys = "default = true\ntag_ttl = \"0s\"";
        // Nothing listens on the port, and no request leaves the machine.
        let gateway = Gateway::builder().port(9).relay().one_attempt();
        Self {
            gateway: gateway.registry(NAME, "http://127.0.0.1:9", keys).start(),
            folder: tempfile::tempdir().expect("a folder can be made"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(path, bytes).expect("the folder can be written");
    }

    fn adopt(&self, arguments: &[&str]) -> Run {
        let file = self.gateway.file();
        let file = file.to_str().expect("the path is text");
        let arguments = [&["adopt"], arguments, &["--config", file]].concat();
        millpond(self.folder.path(), &arguments)
    }

    /// Writes an archive without compression.
    fn archive(&self, name: &str, entries: &[(&str, &[u8])]) {
        self.write(name, &tar(entries));
    }

    /// Writes a layout of OCI, whose index has these entries.
    fn layout(&self, name: &str, entries: &[Value], blobs: &[&Body]) {
        self.write(
            &format!("{name}/oci-layout"),
            br#"{"imageLayoutVersion": "1.0.0"}"#,
        );
        let index = document(&json!({"schemaVersion": 2, "manifests": entries}));
        self.write(&format!("{name}/index.json"), &index);
        for blob in blobs {
            self.write(&format!("{name}/blobs/sha256/{}", sha256(blob)), blob);
        }
    }

    /// Checks that a path of the registry has these bytes and this type.
    #[track_caller]
    fn assert_has(&self, path: &str, body: &[u8], media_type: Option<&str>) {
        let answer = self.gateway.request("GET", &format!("/v2/{path}")).send();
        answer.assert_body(200, body);
        if let Some(media_type) = media_type {
            assert_eq!(answer.wants("content-type"), media_type);
        }
    }

    #[track_caller]
    fn assert_lacks(&self, path: &str) {
        let answer = self.gateway.request("GET", &format!("/v2/{path}")).send();
        assert!(answer.status >= 400, "{path}: {}", answer.status);
    }
}

fn named(mut entry: Value, name: &str) -> Value {
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    entry
}

/// Returns the parts of an image as `docker save` of docker 20 writes them.
fn docker_save(tags: &[&str]) -> (BTreeMap<String, Body>, [Body; 2], Body) {
    let layers = [1, 2].map(|number: u8| tar(&[("file", &[number; 300])]));
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer: &Body| format!("sha256:{}", sha256(layer)))
        .collect();
    let config = document(
        &json!({"architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}}),
    );
    let config_name = format!("{}.json", sha256(&config));
    let manifest = document(&json!([{"Config": config_name, "RepoTags": tags,
        "Layers": ["1/layer.tar", "2/layer.tar"]}]));
    let entries = BTreeMap::from([
        ("manifest.json".to_owned(), manifest),
        (config_name, config.clone()),
        ("1/layer.tar".to_owned(), layers[0].clone()),
        ("2/layer.tar".to_owned(), layers[1].clone()),
    ]);
    (entries, layers, config)
}

fn entries_of(parts: &BTreeMap<String, Body>) -> Vec<(&str, &[u8])> {
    parts
        .iter()
        .map(|(name, body)| (name.as_str(), &body[..]))
        .collect()
}

#[test]
fn layout_is_pulled_without_registry() {
    let desk = Desk::new();
    let images = [
        TestImage::small("linux/amd64", 1, 2),
        TestImage::small("linux/arm64", 1, 3),
    ];
    let index = index_of(&[&images[0], &images[1]]);
    let blobs = images.iter().flat_map(|image| {
        [&image.manifest, &image.config]
            .into_iter()
            .chain(&image.layers)
    });
    let blobs: Vec<&Body> = blobs.chain([&index]).collect();
    desk.layout("app", &[named(descriptor(INDEX, &index), "1.0")], &blobs);
    let image = format!("{NAME}/mill/app");
    let run = desk.adopt(&["app", "--image", &image]);
    run.assert_success();
    desk.assert_has("mill/app/manifests/1.0", &index, Some(INDEX));
    for image in &images {
        let path = format!("mill/app/manifests/sha256:{}", sha256(&image.manifest));
        desk.assert_has(&path, &image.manifest, Some(OCI_MANIFEST));
        for blob in image.layers.iter().chain([&image.config]) {
            desk.assert_has(
                &format!("mill/app/blobs/sha256:{}", sha256(blob)),
                blob,
                None,
            );
        }
    }
    // A second run stores nothing, and a dry run of another name neither.
    let objects = desk.gateway.records().len();
    let run = desk.adopt(&["app", "--image", &image]);
    run.assert_success();
    assert!(run.stdout.contains("present"), "{}", run.stdout);
    desk.adopt(&["app", "--image", &format!("{NAME}/mill/other"), "--dry-run"])
        .assert_success();
    assert_eq!(desk.gateway.records().len(), objects);
    desk.assert_lacks("mill/other/manifests/1.0");
}

#[test]
fn docker_archive_is_stored_under_its_tags() {
    let desk = Desk::new();
    let (parts, layers, config) = docker_save(&["mill/app:1.0", "mill/app:latest"]);
    desk.archive("app.tar", &entries_of(&parts));
    let run = desk.adopt(&["app.tar"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(
        run.stderr.contains("--image HOST/NAME:TAG"),
        "{}",
        run.stderr
    );
    desk.adopt(&["app.tar", "--image-registry", NAME])
        .assert_success();
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    let pulled = desk
        .gateway
        .request("GET", "/v2/mill/app/manifests/1.0")
        .send();
    pulled.assert_status(200);
    assert_eq!(pulled.wants("content-type"), media_type);
    desk.assert_has("mill/app/manifests/latest", &pulled.body, Some(media_type));
    let found = document_of(&pulled);
    assert_eq!(
        found["config"]["digest"],
        format!("sha256:{}", sha256(&config))
    );
    for (layer, entry) in layers
        .iter()
        .zip(found["layers"].as_array().expect("layers"))
    {
        assert_eq!(entry["digest"], format!("sha256:{}", sha256(layer)));
        desk.assert_has(
            &format!("mill/app/blobs/sha256:{}", sha256(layer)),
            layer,
            None,
        );
    }
}

#[test]
fn wrong_parts_are_skipped_and_reported() {
    let desk = Desk::new();
    let image = TestImage::small("linux/amd64", 1, 2);
    let good = [
        &image.manifest,
        &image.config,
        &image.layers[0],
        &image.layers[1],
    ];
    desk.layout("app", &[named(image.entry(), "1.0")], &good);
    let wrong = format!("app/blobs/sha256/{}", sha256(&image.layers[1]));
    desk.write(&wrong, b"other bytes");
    let name = format!("{NAME}/mill/app:1.0");
    let run = desk.adopt(&["app", "--image", &name]);
    assert_eq!(run.code, Some(4), "{}", run.stderr);
    assert!(
        run.stderr.contains(&sha256(&image.layers[1])),
        "{}",
        run.stderr
    );
    desk.assert_has(
        &format!("mill/app/blobs/sha256:{}", sha256(&image.layers[0])),
        &image.layers[0],
        None,
    );
    desk.assert_lacks(&format!(
        "mill/app/blobs/sha256:{}",
        sha256(&image.layers[1])
    ));
    desk.assert_lacks("mill/app/manifests/1.0");
    // A part that is a link, or missing, is not found elsewhere.
    let outside = desk.path("outside");
    fs::write(&outside, &image.layers[1]).expect("it can be written");
    fs::remove_file(desk.path(&wrong)).expect("it is there");
    std::os::unix::fs::symlink(&outside, desk.path(&wrong)).expect("links can be made");
    let run = desk.adopt(&["app", "--image", &name]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("missing"), "{}", run.stderr);
    desk.assert_lacks("mill/app/manifests/1.0");
}

#[test]
fn layers_of_archive_have_stated_digests() {
    let desk = Desk::new();
    let (mut parts, ..) = docker_save(&["mill/app:1.0"]);
    parts.insert("2/layer.tar".to_owned(), tar(&[("file", b"other")]));
    desk.archive("app.tar", &entries_of(&parts));
    let run = desk.adopt(&["app.tar", "--image-registry", NAME]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(
        run.stderr.contains("no file has the digest sha256:"),
        "{}",
        run.stderr
    );
    desk.gateway.assert_nothing_stored();
}

#[test]
fn hostile_archives_store_nothing() {
    let desk = Desk::new();
    let (parts, ..) = docker_save(&["mill/app:1.0"]);
    let whole = tar(&entries_of(&parts));
    let outside = tar(&[entries_of(&parts), vec![("../../evil", b"x")]].concat());
    desk.write("outside.tar", &outside);
    desk.write("cut.tar", &whole[..whole.len() - 2048]);
    desk.write("packed.tar", &tar_gz(&entries_of(&parts)));
    desk.write(
        "other.tar",
        b"not an archive at all, and shorter than a block",
    );
    let long = vec![b' '; 5 << 20];
    desk.archive("long.tar", &[("manifest.json", &long)]);
    for (file, text) in [
        ("outside.tar", "leads out of the archive"),
        ("cut.tar", "incomplete"),
        ("packed.tar", "decompress it first"),
        ("other.tar", "no tar archive"),
        ("long.tar", "bytes"),
    ] {
        let run = desk.adopt(&[file, "--image-registry", NAME]);
        assert_eq!(run.code, Some(1), "{file}: {}", run.stderr);
        assert!(run.stderr.contains(text), "{file}: {}", run.stderr);
    }
    // Documents that are links are not read.
    let secret = desk.path("secret");
    fs::write(&secret, &parts["manifest.json"]).expect("it can be written");
    let link = desk.path("manifest.json");
    std::os::unix::fs::symlink(&secret, &link).expect("links can be made");
    let mut command = Command::new("tar");
    let made = command
        .args(["-cf", "link.tar", "manifest.json"])
        .current_dir(desk.folder.path());
    assert!(made.status().expect("tar runs").success());
    let run = desk.adopt(&["link.tar", "--image-registry", NAME]);
    assert!(
        run.stderr.contains("index.json is missing"),
        "{}",
        run.stderr
    );
    desk.gateway.assert_nothing_stored();
}

#[test]
fn options_for_folders_are_refused_with_images() {
    let desk = Desk::new();
    let image = TestImage::small("linux/amd64", 1, 2);
    desk.layout("app", &[named(image.entry(), "1.0")], &[&image.manifest]);
    fs::create_dir(desk.path("files")).expect("a folder can be made");
    let name = format!("{NAME}/mill/app:1.0");
    for arguments in [
        &["app", "--image", &name, "--watch"][..],
        &["app", "--image", &name, "--link"],
        &["app", "--image", &name, "--image-registry", NAME],
        &["app", "--image", "other.example.org/mill/app:1.0"],
        &["app", "--image", &format!("{NAME}/Mill/app:1.0")],
        &["app"],
        &["files", "--image", &name],
    ] {
        let run = desk.adopt(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
    }
    desk.gateway.assert_nothing_stored();
}

/// Has skopeo copy the image of a real registry into a file, which is adopted.
fn skopeo_pulls_adopted(destination: &str, file: &str, naming: &[&str]) {
    let mut registry = RealRegistry::start();
    let desk = Desk::new();
    let skopeo = |arguments: &[&str]| {
        let tool = Tool::new("skopeo", "skopeo", desk.folder.path());
        tool.args(&["--insecure-policy", "copy"])
            .args(arguments)
            .run()
            .assert_success();
    };
    let from = format!("docker://127.0.0.1:{}/{IMAGE}", registry.port());
    skopeo(&["--src-tls-verify=false", &from, destination]);
    registry.stop();
    desk.adopt(&[&[file], naming].concat()).assert_success();
    let from = format!("docker://{}/{NAME}/{IMAGE}", desk.gateway.addr());
    skopeo(&["--src-tls-verify=false", &from, "dir:pulled"]);
    let pulled = fs::read(desk.path("pulled/manifest.json")).expect("skopeo wrote the image");
    let pulled: Value = serde_json::from_slice(&pulled).expect("a manifest is JSON");
    assert_eq!(
        pulled["layers"].as_array().map(Vec::len),
        Some(1),
        "{pulled}"
    );
}

#[test]
fn skopeo_pulls_adopted_layout() {
    let image = format!("{NAME}/{IMAGE}");
    skopeo_pulls_adopted("oci:layout:1.0", "layout", &["--image", &image]);
}

#[test]
fn skopeo_pulls_adopted_archives() {
    let docker = format!("docker-archive:app.tar:{IMAGE}");
    skopeo_pulls_adopted(&docker, "app.tar", &["--image-registry", NAME]);
    let oci = format!("oci-archive:oci.tar:{NAME}/{IMAGE}");
    skopeo_pulls_adopted(&oci, "oci.tar", &[]);
}
