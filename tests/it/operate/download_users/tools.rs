//! Programs that send logins: wget, curl, rpmbuild, and the commands of Millpond itself.

use std::fs;
use std::net::SocketAddr;

use super::{PATH, Stage};
use crate::harness::{Nginx, Tool, assert_same, eventually, millpond};

#[test]
fn download_tools_send_logins() {
    let stage = Stage::new();
    let gateway = stage.builder().start();
    use_tools(&stage, gateway.addr(), gateway.proxy_addr());
    assert_eq!(stage.origin.count(PATH), 1);
    let text = gateway.log().text();
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn nginx_passes_logins_on() {
    let stage = Stage::new();
    let gateway = stage.builder().behind_nginx().start();
    let nginx = Nginx::before(&gateway);
    use_tools(&stage, nginx.addr(), nginx.proxy_addr());
    assert_eq!(stage.origin.count(PATH), 1);
    // One line for each run of a tool at its HTTP port.
    let accesses = eventually("nginx logs the requests", || {
        let accesses = nginx.accesses();
        (accesses.len() >= 7).then(|| accesses.concat())
    });
    let text = gateway.log().text() + &accesses;
    assert!(!text.contains("secret"), "{text}");
}

/// Downloads with wget, curl and rpmbuild, with and without logins.
#[track_caller]
fn use_tools(stage: &Stage, gateway_port: SocketAddr, proxy_port: SocketAddr) {
    let folder = stage.folder.path();
    let plain = format!("http://{gateway_port}/{}", stage.url());
    let with_login = format!("http://ann:secret@{gateway_port}/{}", stage.url());
    Tool::wget(folder).arg(&plain).run().assert_failure();
    Tool::wget(folder).arg(&with_login).run().assert_success();
    stage.take_file();
    for arguments in [&["-u", "ann:secret", &plain][..], &[&with_login]] {
        let curl = Tool::curl(folder).args(&["-f", "-O"]).args(arguments);
        curl.run().assert_success();
        stage.take_file();
    }
    let netrc = "machine 127.0.0.1 login bob password secret\n";
    fs::write(folder.join(".netrc"), netrc).expect("the folder can be written");
    Tool::wget(folder).arg(&plain).run().assert_success();
    stage.take_file();
    let curl = Tool::curl(folder).args(&["-f", "-O", "--netrc", &plain]);
    curl.run().assert_success();
    stage.take_file();
    fs::remove_file(folder.join(".netrc")).expect("the file exists");
    use_tools_with_proxy(stage, proxy_port);
    build_with_rpm(stage, &with_login);
}

#[track_caller]
fn use_tools_with_proxy(stage: &Stage, proxy_port: SocketAddr) {
    let folder = stage.folder.path();
    let proxy = format!("http://{proxy_port}");
    let through = |login: &[&str]| {
        let curl = Tool::curl(folder).args(&["-f", "-O", "--proxy", &proxy]);
        curl.args(login).arg(&stage.url()).run()
    };
    through(&[]).assert_failure();
    through(&["--proxy-user", "bob:wrong"]).assert_failure();
    through(&["--proxy-user", "bob:secret"]).assert_success();
    stage.take_file();
    through(&["--proxytunnel", "--proxy-user", "bob:secret"]).assert_success();
    stage.take_file();
    let proxy = format!("http_proxy=http://bob:secret@{proxy_port}");
    let wget = Tool::wget(folder).args(&["-e", &proxy]).arg(&stage.url());
    wget.run().assert_success();
    stage.take_file();
}

#[test]
fn commands_take_login_of_gateway_url() {
    let stage = Stage::new();
    let gateway = stage.builder().start();
    let (folder, url) = (stage.folder.path(), stage.url());
    let with_login = format!("http://ann:secret@{}", gateway.addr());
    let without = gateway.url("");
    let run = millpond(folder, &["get", &url, "--gateway", &without]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("user name"), "{run:?}");
    millpond(folder, &["get", &url, "--gateway", &with_login]).assert_success();
    stage.take_file();
    // The token of the same command is for the API.
    fs::write(folder.join("token"), gateway.token()).expect("the folder can be written");
    let arguments = ["--token-file", "token", "--gateway", &with_login];
    let listed = millpond(folder, &[&["ls", "--json"][..], &arguments].concat());
    listed.assert_success();
    assert_eq!(listed.documents().len(), 1, "{listed:?}");
    let run = millpond(folder, &["doctor", "--gateway", &with_login]);
    run.assert_success();
    assert!(!run.stdout.contains("secret"), "{run:?}");
}

/// Lets rpmbuild fetch the source of a spec.
#[track_caller]
fn build_with_rpm(stage: &Stage, source: &str) {
    let folder = stage.folder.path();
    let top = folder.join("top");
    fs::create_dir_all(top.join("SOURCES")).expect("the folder can be written");
    let spec = format!(
        "Name: x\nVersion: 1.0\nRelease: 1\nSummary: x\nLicense: MIT\nSource0: {source}\n\
         %description\nx\n"
    );
    fs::write(folder.join("x.spec"), spec).expect("the folder can be written");
    Tool::new("rpmbuild", "rpm", folder)
        .args(&["-bs", "--undefine=_disable_source_fetch", "--define"])
        .arg(&format!("_topdir {}", top.display()))
        .arg("x.spec")
        .run()
        .assert_success();
    let found = fs::read(top.join("SOURCES/x-1.0.tar.gz")).expect("rpmbuild has the source");
    assert_same(&found, &stage.body);
    fs::remove_dir_all(top).expect("the folder is ours");
}
