//! pip and uv with a rewritten simple index: one project as HTML, and one as JSON, both with
//! metadata files (PEP 658). pip 23.0 fails for `dist-info-metadata` in JSON, so registries name it
//! `core-metadata` there (PEP 714).

use serde_json::json;

use super::stage::{ClientMachine, IndexStage, document};
use crate::freshness::package_clients::archives::zip;
use crate::harness::{Body, Reply, Tool, has_program, sha256};

/// Serves `tiny`, which needs `base`.
fn serve(stage: &IndexStage) {
    let origin = &stage.origin;
    let (tiny, tiny_metadata) = wheel("tiny", "Requires-Dist: base>=1\n");
    let (base, base_metadata) = wheel("base", "");
    let page = format!(
        "<!DOCTYPE html><html><body><a href=\"../../files/{}#sha256={}\" \
         data-dist-info-metadata=\"sha256={digest}\" data-core-metadata=\"sha256={digest}\">\
         tiny</a></body></html>",
        file_name("tiny"),
        sha256(&tiny),
        digest = sha256(&tiny_metadata)
    );
    origin.serve("/simple/tiny/", document("text/html", page.as_bytes()));
    let digest = json!({"sha256": sha256(&base_metadata)});
    let page = json!({"meta": {"api-version": "1.0"}, "name": "base", "files": [{
        "filename": file_name("base"), "url": origin.url(&format!("/files/{}", file_name("base"))),
        "hashes": {"sha256": sha256(&base)}, "size": base.len(), "yanked": false,
        "core-metadata": digest}]});
    let media_type = "application/vnd.pypi.simple.v1+json";
    origin.serve(
        "/simple/base/",
        document(media_type, page.to_string().as_bytes()),
    );
    for (name, wheel, metadata) in [("tiny", tiny, tiny_metadata), ("base", base, base_metadata)] {
        let path = format!("/files/{}", file_name(name));
        origin.serve(&path, Reply::file(&wheel));
        origin.serve(&format!("{path}.metadata"), Reply::file(&metadata));
    }
}

fn file_name(project: &str) -> String {
    format!("{project}-1.0-py3-none-any.whl")
}

/// Returns a wheel and its metadata.
fn wheel(project: &str, requirements: &str) -> (Body, Body) {
    let folder = format!("{project}-1.0.dist-info");
    let path = |name: &str| format!("{folder}/{name}");
    let metadata = format!("Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n{requirements}");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let module = format!("{project}.py");
    let record = format!("{module},,\n{folder}/METADATA,,\n{folder}/WHEEL,,\n{folder}/RECORD,,\n");
    let file = zip(&[
        (&module, project.as_bytes()),
        (&path("METADATA"), metadata.as_bytes()),
        (&path("WHEEL"), wheel.as_bytes()),
        (&path("RECORD"), record.as_bytes()),
    ]);
    (file, metadata.as_bytes().into())
}

/// Installs `tiny` twice, on two machines, the second time without upstream.
fn install_twice(install: impl Fn(&ClientMachine) -> Tool) {
    let stage = IndexStage::new();
    serve(&stage);
    for is_away in [false, true] {
        if is_away {
            stage.await_stored();
            stage.origin.shut_down();
        }
        let machine = stage.machine();
        install(&machine).run().assert_success();
        for project in ["tiny", "base"] {
            let module = machine.read(&format!("site/{project}.py"));
            assert_eq!(module, project.as_bytes());
        }
    }
    let files: Vec<_> = stage.origin.asked().into_iter().collect();
    for name in ["tiny", "base"] {
        let path = format!("/files/{}", file_name(name));
        assert!(files.contains(&path), "{path} in {files:?}");
        assert_eq!(stage.origin.count(&path), 1, "{path}");
    }
}

#[test]
fn pip_installs_again_without_upstream() {
    install_twice(|machine| {
        machine.write_setup("pip", ".config/pip/pip.conf");
        machine
            .tool("/usr/bin/python3", "python3-pip")
            .args(&["-m", "pip", "--disable-pip-version-check", "--no-input"])
            .args(&["--retries", "0", "install", "--target", "site", "tiny"])
    });
}

#[test]
fn uv_installs_again_without_upstream() {
    if !has_program("uv") {
        eprintln!("skipped: uv is not in Debian");
        return;
    }
    install_twice(|machine| {
        machine.write_setup("uv", ".config/uv/uv.toml");
        machine
            .tool("uv", "uv")
            .args(&["pip", "install", "--python", "/usr/bin/python3"])
            .args(&["--no-managed-python", "--target", "site", "tiny"])
    });
}
