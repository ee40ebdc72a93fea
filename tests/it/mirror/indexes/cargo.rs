//! Cargo with the registry replaced by a rewritten sparse index.

use std::path::Path;

use super::stage::{ClientMachine, IndexStage, document};
use crate::freshness::package_clients::archives::tar_gz;
use crate::harness::{Body, Reply, files_under, sha256};

/// The program that builds the tests. The one in PATH may need the caller's home folder.
const CARGO: &str = env!("CARGO");

const CRATE: &str = "/crates/tiny/1.0.0/download";

fn serve(stage: &IndexStage) -> Body {
    let manifest = "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n";
    let content = tar_gz(&[
        ("tiny-1.0.0/Cargo.toml", manifest.as_bytes()),
        ("tiny-1.0.0/src/lib.rs", b"pub fn one() -> u8 { 1 }\n"),
    ]);
    let config = format!(
        "{{\"dl\":\"{}\",\"api\":\"https://x.example\"}}",
        stage.origin.url("/crates")
    );
    let entry = format!(
        "{{\"name\":\"tiny\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{}\",\"features\":{{}},\
         \"yanked\":false}}\n",
        sha256(&content)
    );
    let origin = &stage.origin;
    origin.serve(
        "/index/config.json",
        document("application/json", config.as_bytes()),
    );
    origin.serve(
        "/index/ti/ny/tiny",
        document("text/plain", entry.as_bytes()),
    );
    origin.serve(CRATE, Reply::file(&content));
    content
}

/// Builds a package that needs `tiny`.
fn build(machine: &ClientMachine) {
    let manifest = "[package]\nname = \"user\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n\
        [dependencies]\ntiny = \"1\"\n";
    machine.write("project/Cargo.toml", manifest.as_bytes());
    machine.write("project/src/lib.rs", b"pub use tiny::one;\n");
    machine.write_setup("cargo", "home/config.toml");
    let compiler = Path::new(CARGO).with_file_name("rustc");
    let project = machine.path("project/Cargo.toml");
    machine
        .tool(CARGO, "cargo")
        .args(&["build", "--manifest-path", &project])
        .env("CARGO_HOME", &machine.path("home"))
        .env("CARGO_NET_RETRY", "0")
        .env("RUSTC", compiler.to_str().expect("the path is text"))
        .run()
        .assert_success();
}

#[test]
fn cargo_builds_again_without_upstream() {
    let stage = IndexStage::new();
    let content = serve(&stage);
    for is_away in [false, true] {
        if is_away {
            stage.await_stored();
            stage.origin.shut_down();
        }
        let machine = stage.machine();
        build(&machine);
        let files = files_under(&machine.folder().join("home/registry/cache"));
        assert_eq!(files.len(), 1, "{files:?}");
        let found = std::fs::read(&files[0]).expect("the file can be read");
        assert_eq!(found, content[..]);
    }
    assert_eq!(stage.origin.count(CRATE), 1);
    // Cargo has put the digest of the index into the URL.
    let event = stage.gateway.log().wait_for("the download", |event| {
        event["message"] == "request" && event["uri"].as_str().is_some_and(|t| t.ends_with(CRATE))
    });
    assert_eq!(event["status"], 200);
}

#[test]
fn other_crate_than_index_states_is_refused() {
    let stage = IndexStage::new();
    let content = serve(&stage);
    let config: serde_json::Value =
        serde_json::from_str(&stage.get("/mirror/cargo/config.json").text()).expect("JSON");
    let template = config["dl"].as_str().expect("the template is text");
    let front = stage.gateway.url("/sha256:{sha256-checksum}/");
    assert_eq!(
        template,
        front + &stage.origin.url("/crates/{crate}/{version}/download")
    );
    assert_eq!(config["api"], "https://x.example");
    let url = |digest: &str| {
        let url = template
            .replace("{crate}", "tiny")
            .replace("{version}", "1.0.0");
        let url = url.replace("{sha256-checksum}", digest);
        url[stage.gateway.url("").len()..].to_owned()
    };
    stage
        .get(&url(&sha256(&content)))
        .assert_body(200, &content);
    stage.get(&url(&"ab".repeat(32))).assert_status(409);
}
