//! The installation on a host as docs/guides/install.md describes it.

use std::fs;
use std::path::Path;

use super::{assert_finding, of_check};
use crate::harness::{Tool, millpond};

/// Returns the contents of the code blocks of the page below a heading.
fn blocks(page: &str, heading: &str) -> Vec<String> {
    let (_, below) = page.split_once(heading).expect("the page has the heading");
    let below = below.split("\n## ").next().unwrap_or_default();
    let parts = below.split("```").skip(1).step_by(2);
    parts
        .map(|block| {
            block
                .split_once('\n')
                .expect("a block has lines")
                .1
                .to_owned()
        })
        .collect()
}

#[test]
fn installation_page_leads_to_fitting_nginx() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/guides/install.md")).expect("the page is text");
    let config = folder.path().join("millpond.toml");
    fs::write(&config, &blocks(&page, "## Configuration")[0]).expect("it can be written");
    let config = config.to_str().expect("the path is text");
    millpond(folder.path(), &["check-config", "--config", config]).assert_success();
    // The commands for nginx, in another folder.
    let nginx = folder.path().join("nginx");
    fs::create_dir(&nginx).expect("a folder can be made");
    let own = nginx.display().to_string();
    let commands = blocks(&page, "## nginx")[0].replace("/etc/nginx", &own);
    let commands = format!("set -e\ncd {}\n{commands}", root.display());
    let run = Tool::new("sh", "dash", folder.path())
        .args(&["-c", &commands])
        .run();
    run.assert_success();
    // Paths that a test may not write.
    let text = fs::read_to_string(nginx.join("nginx.conf")).expect("it is text");
    let text = text.replace("/run/nginx.pid", &format!("{own}/pid"));
    let file = nginx.join("nginx.conf");
    fs::write(&file, text.replace("/var/log/nginx/", &format!("{own}/"))).expect("it is a file");
    let log = fs::read_to_string(nginx.join("http.conf")).expect("it is text");
    let log = log.replace("/var/log/nginx/", &format!("{own}/"));
    fs::write(nginx.join("http.conf"), log).expect("it is a file");
    let file = file.to_str().expect("the path is text");
    let run = millpond(
        folder.path(),
        &[
            "doctor",
            "--json",
            "--config",
            config,
            "--nginx",
            file,
            "--gateway",
            "127.0.0.1:1",
        ],
    );
    let all = run.documents();
    assert_finding(&all, "nginx_version", "ok");
    let settings = of_check(&all, "nginx_settings");
    assert_eq!(settings.len(), 1, "{settings:#?}");
    // Without root, nginx cannot bind or read everything.
    assert_ne!(settings[0]["state"], "failed", "{settings:#?}");
}
