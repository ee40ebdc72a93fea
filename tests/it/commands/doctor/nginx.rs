//! Tests that `millpond doctor` compares the settings of the real nginx with the configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{assert_finding, findings, of_check};
use crate::harness::{Builder, Gateway, Nginx, Origin, Tool, is_root};
use crate::nginx::requests::behind_nginx;

const BINARY: &str = env!("CARGO_BIN_EXE_millpond");

/// Returns the findings about nginx, with these settings in addition.
fn about_nginx(gateway: &Gateway, nginx: &Nginx, settings: &[&str]) -> (Option<i32>, Vec<Value>) {
    let file = nginx.file();
    let file = file.to_str().expect("the path is text").to_owned();
    let ports = [
        format!("gateway.listen={}", gateway.addr()),
        format!("proxy.listen={}", gateway.proxy_addr()),
    ];
    let mut arguments = vec!["--nginx", &file, "--set", &ports[0], "--set", &ports[1]];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    let (code, all) = findings(gateway, &arguments);
    let all = all.into_iter().filter(|finding| {
        let check = finding["check"].as_str().expect("it is text");
        check.starts_with("nginx_")
    });
    (code, all.collect())
}

fn sending(origin: &Origin) -> Builder {
    behind_nginx(origin).text("gateway.accel_redirect", "/_objects/")
}

#[test]
fn shipped_nginx_files_fit() {
    let origin = Origin::start();
    let gateway = sending(&origin).start();
    let nginx = Nginx::before(&gateway);
    let (_, all) = about_nginx(&gateway, &nginx, &[]);
    assert_eq!(all.len(), 2, "{all:#?}");
    assert_finding(&all, "nginx_version", "ok");
    assert_finding(&all, "nginx_settings", "ok");
}

#[test]
fn wrong_nginx_settings_have_advice() {
    let origin = Origin::start();
    let gateway = sending(&origin).start();
    let builder = || Nginx::builder(&[&gateway]);
    let objects = gateway.cache().join("objects/");
    let objects = objects.to_str().expect("the path is text");
    let as_it_is = || builder().start();
    for (nginx, setting, part) in [
        (
            builder()
                .change("http.conf", "merge_slashes off", "merge_slashes on")
                .start(),
            "log.level=info",
            "merge_slashes off",
        ),
        (
            builder()
                .change("http.conf", objects, "/srv/elsewhere/")
                .start(),
            "log.level=info",
            "/srv/elsewhere/",
        ),
        (
            as_it_is(),
            "gateway.accel_redirect=/_others/",
            "no location /_others/",
        ),
        (
            as_it_is(),
            "gateway.listen=127.0.0.1:9",
            "port 9 of gateway.listen",
        ),
        (
            as_it_is(),
            "proxy.proxy_protocol=false",
            "proxy.proxy_protocol is false",
        ),
        (
            as_it_is(),
            "gateway.trusted_proxies=[]",
            "gateway.trusted_proxies is empty",
        ),
    ] {
        let mut settings = vec![setting];
        if setting.contains("trusted_proxies") {
            settings.extend(["proxy.proxy_protocol=false", "gateway.accel_redirect="]);
        }
        let (code, all) = about_nginx(&gateway, &nginx, &settings);
        let found = all.iter().find(|finding| {
            finding["state"] == "failed"
                && finding["text"]
                    .as_str()
                    .is_some_and(|text| text.contains(part))
        });
        let found = found.unwrap_or_else(|| panic!("{part}: {all:#?}"));
        assert!(found["advice"].is_string(), "{found}");
        assert_eq!(code, Some(1), "{part}");
    }
}

#[test]
fn broken_nginx_file_is_shown() {
    let origin = Origin::start();
    let gateway = sending(&origin).start();
    let nginx = Nginx::before(&gateway);
    let text = fs::read_to_string(nginx.file()).expect("it is text");
    fs::write(nginx.file(), text + "nonsense on;\n").expect("the folder is writable");
    let (code, all) = about_nginx(&gateway, &nginx, &[]);
    let text = of_check(&all, "nginx_settings")[0]["text"].to_string();
    assert!(text.contains("nonsense"), "{text}");
    assert_eq!(code, Some(1), "{all:#?}");
}

#[test]
fn unreadable_objects_are_found_before_nginx() {
    if !is_root() {
        return;
    }
    let origin = Origin::start();
    let gateway = sending(&origin).start();
    let nginx = Nginx::builder(&[&gateway]).change("nginx.conf", "user root;", "user www-data;");
    let nginx = nginx.start();
    let objects = gateway.cache().join("objects");
    let set_mode = |mode| {
        fs::set_permissions(&objects, fs::Permissions::from_mode(mode))
            .expect("the test owns the folder");
    };
    set_mode(0o750);
    let (_, all) = about_nginx(&gateway, &nginx, &[]);
    let text = of_check(&all, "nginx_settings")[0]["text"].to_string();
    assert!(
        text.contains("user www-data of nginx cannot read"),
        "{text}"
    );
    set_mode(0o755);
    let (_, all) = about_nginx(&gateway, &nginx, &[]);
    assert_finding(&all, "nginx_settings", "ok");
}

#[test]
fn old_and_hanging_nginx_are_found() {
    let origin = Origin::start();
    let gateway = sending(&origin).start();
    let folder = tempfile::tempdir().expect("a folder can be created");
    let program = folder.path().join("nginx");
    let run = |script: &str| {
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("the folder is writable");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is a file");
        let path = folder.path().display();
        let file = gateway.file();
        let file = file.to_str().expect("the path is text");
        let started = Instant::now();
        let run = Tool::new(BINARY, "millpond", folder.path())
            .env("PATH", &format!("{path}:/usr/bin:/bin"))
            .args(&["doctor", "--json", "--config", file])
            .args(&["--gateway", &gateway.url("")])
            .run();
        (run.documents(), started.elapsed())
    };
    let (all, _) = run("echo 'nginx version: nginx/1.18.0' >&2");
    assert_finding(&all, "nginx_version", "failed");
    let advice = of_check(&all, "nginx_version")[0]["advice"].to_string();
    assert!(advice.contains("1.21.4"), "{advice}");
    // An nginx that serves something else.
    assert_finding(&all, "nginx_settings", "warning");
    let (all, elapsed) = run("exec sleep 60");
    assert_finding(&all, "nginx_settings", "failed");
    assert!(elapsed < Duration::from_secs(40), "{elapsed:?}");
}
