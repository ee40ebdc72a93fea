//! Tests that `millpond doctor` finds ports, names, disks and hosts that do not answer.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use super::{assert_finding, findings, of_check};
use crate::harness::{
    Disk, Gateway, NameServer, Origin, Reply, Run, Scene, Trouble, archive, eventually, listen,
    millpond,
};

/// Longest time of all checks together, on a machine that is busy with other tests.
const ALL_CHECKS: Duration = Duration::from_mins(1);

/// Returns an address at which nothing listens.
fn closed() -> String {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    address.to_string()
}

/// Returns the address of a server that gives each client these bytes.
fn answering(bytes: &'static [u8]) -> String {
    let listener = listen("127.0.0.1");
    let address = listener.local_addr().expect("a listener has an address");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            drop(client.read(&mut [0; 1024]));
            drop(client.write_all(bytes));
        }
    });
    address.to_string()
}

#[test]
fn other_programs_at_ports_are_found() {
    let gateway = Gateway::builder().start();
    let web = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let mail = answering(b"220 mail.example.org\r\n");
    let old = answering(b"HTTP/1.1 200 OK\r\n\r\nmillpond 0.0.9\n");
    // The kernel accepts connections for a program that hangs.
    let hung = listen("127.0.0.1");
    let hung = hung.local_addr().expect("a listener has an address");
    for (key, address, check, state, part) in [
        (
            "gateway.listen",
            &web,
            "gateway_port",
            "failed",
            "is not Millpond",
        ),
        (
            "gateway.listen",
            &mail,
            "gateway_port",
            "failed",
            "no HTTP answer",
        ),
        (
            "gateway.listen",
            &old,
            "gateway_port",
            "warning",
            "is version 0.0.9",
        ),
        (
            "proxy.listen",
            &mail,
            "proxy_port",
            "failed",
            "no HTTP answer",
        ),
        (
            "proxy.listen",
            &hung.to_string(),
            "proxy_port",
            "failed",
            "no answer within 5 s",
        ),
        ("proxy.listen", &closed(), "proxy_port", "failed", "refused"),
    ] {
        let (_, all) = findings(&gateway, &["--set", &format!("{key}={address}")]);
        let found = of_check(&all, check)[0];
        assert_eq!(found["state"], state, "{found}");
        let text = found["text"].as_str().expect("it is text");
        assert!(text.contains(part), "{text}");
        assert!(found["advice"].is_string(), "{found}");
    }
}

#[test]
fn proxy_port_behind_nginx_is_asked() {
    let ports = |gateway: &Gateway| format!("proxy.listen={}", gateway.proxy_addr());
    let origin = Origin::start();
    let gateway = crate::nginx::requests::behind_nginx(&origin).start();
    let (_, all) = findings(&gateway, &["--set", &ports(&gateway)]);
    let text = of_check(&all, "proxy_port")[0]["text"].to_string();
    assert!(text.contains("answers"), "{text}");
    let trusted = "[\"192.0.2.1/32\"]";
    let gateway =
        crate::nginx::requests::behind_nginx(&origin).set("gateway.trusted_proxies", trusted);
    let gateway = gateway.start();
    let (_, all) = findings(&gateway, &["--set", &ports(&gateway)]);
    let text = of_check(&all, "proxy_port")[0]["text"].to_string();
    assert!(text.contains("gateway.trusted_proxies only"), "{text}");
}

#[test]
fn silent_name_servers_are_found() {
    let gateway = Gateway::builder().start();
    let server = NameServer::start();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let silent = silent.local_addr().expect("a socket has an address");
    let set = |servers: &str| {
        let setting = format!("dial.nameservers=[{servers}]");
        let (code, all) = findings(&gateway, &["--set", &setting]);
        let states = of_check(&all, "name_servers");
        let states = states.iter().map(|finding| finding["state"].to_string());
        (code, states.collect::<Vec<_>>())
    };
    let (_, states) = set(&format!("\"{}\"", server.address()));
    assert_eq!(states, ["\"ok\""]);
    let (_, states) = set(&format!("\"{silent}\", \"{}\"", server.address()));
    assert_eq!(states, ["\"warning\"", "\"ok\""]);
    let (code, states) = set(&format!("\"{silent}\""));
    assert_eq!((code, states), (Some(1), vec!["\"failed\"".to_owned()]));
}

#[test]
fn parents_and_egress_proxies_are_tried() {
    let gateway = Gateway::builder().start();
    let open = listen("127.0.0.1");
    let open = open.local_addr().expect("a listener has an address");
    let egress = |address: &str| format!("fetch.egress_proxy=http://{address}");
    let (_, all) = findings(&gateway, &["--set", &egress(&open.to_string())]);
    assert_finding(&all, "reachability", "ok");
    let (code, all) = findings(&gateway, &["--set", &egress(&closed())]);
    assert_finding(&all, "reachability", "failed");
    assert_eq!(code, Some(1));
}

/// Runs doctor with URLs, without the configuration of this machine.
fn asked(gateway: &Gateway, urls: &[&str]) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let url = gateway.url("");
    let arguments = ["doctor", "--json", "--gateway", &url];
    millpond(folder.path(), &[&arguments[..], urls].concat())
}

#[test]
fn unreachable_upstream_has_cause_and_advice() {
    let origin = Origin::start();
    origin.serve("/x-1.0.tar.gz", Reply::file(&archive(1, 3000)));
    let absent = closed();
    let port = absent.rsplit_once(':').expect("it has a port").1;
    let gateway = Gateway::builder()
        .origin(&origin)
        .port(port.parse().expect("it is a number"))
        .one_attempt()
        .start();
    let run = asked(
        &gateway,
        &[
            &origin.url("/x-1.0.tar.gz"),
            &origin.url("/none-1.0.tar.gz"),
        ],
    );
    run.assert_success();
    let all = run.documents();
    let texts = of_check(&all, "upstream");
    assert!(
        texts[0]["text"].to_string().contains("answers 200"),
        "{all:#?}"
    );
    assert!(
        texts[1]["text"].to_string().contains("answers 404"),
        "{all:#?}"
    );
    // The origin is only asked for the head, and nothing is stored.
    assert_eq!(gateway.objects().len(), 0);
    let unreachable = format!("http://{absent}/x-1.0.tar.gz");
    for (url, part) in [
        (unreachable.as_str(), "connection_refused"),
        ("http://192.0.2.1/x-1.0.tar.gz", ""),
        ("http://127.0.0.1:9/x-1.0.tar.gz", "http_request_denied"),
    ] {
        let run = asked(&gateway, &[url]);
        let all = run.documents();
        let found = of_check(&all, "upstream")[0];
        assert_eq!(
            (run.code, &found["state"]),
            (Some(1), &"failed".into()),
            "{all:#?}"
        );
        assert!(found["text"].to_string().contains(part), "{found}");
        assert!(found["advice"].is_string(), "{found}");
    }
    let run = asked(&gateway, &["ftp://"]);
    assert_eq!(run.code, Some(2), "{run:?}");
}

#[test]
fn hosts_of_rules_are_asked() {
    let origin = Origin::start();
    let absent = closed();
    let rule = format!(
        "host = \"127.0.0.1\"\nscheme = \"http\"\nmirrors = [\"http://{absent}/{{path}}\"]"
    );
    let gateway = Gateway::builder().origin(&origin).rule(&rule).start();
    let (_, all) = findings(&gateway, &[]);
    let asked = of_check(&all, "upstream");
    assert_eq!(asked.len(), 2, "{all:#?}");
    for finding in asked {
        assert_eq!(finding["state"], "warning", "{finding}");
    }
}

#[test]
fn open_alerts_are_reported() {
    let (_origin, gateway, url) = Scene::replying("/x-1.0.tar.gz", Reply::status(500));
    gateway.get(&url).send();
    eventually("the alert is reported", || {
        let all = asked(&gateway, &[]).documents();
        let found = of_check(&all, "incidents");
        found
            .first()
            .map(|found| assert_eq!(found["state"], "warning"))
    });
}

#[test]
fn hanging_disk_ends_with_finding() {
    let disk = Disk::mount();
    let gateway = Gateway::builder().start();
    std::fs::create_dir(disk.folder()).expect("the disk works");
    disk.set(Trouble::Hangs);
    let started = Instant::now();
    let folder = format!("cache.dir={}", disk.folder().display());
    let (code, all) = findings(&gateway, &["--set", &folder]);
    assert_finding(&all, "disk_space", "failed");
    let text = of_check(&all, "disk_space")[0]["text"].to_string();
    assert!(text.contains("no answer within 5 s"), "{text}");
    assert_eq!(code, Some(1));
    assert!(started.elapsed() < ALL_CHECKS, "{:?}", started.elapsed());
    // The process that looks at the disk ends with the hang.
    disk.set(Trouble::Nothing);
    eventually("no process uses the disk", || {
        let mut lines = std::fs::read_dir("/proc")
            .expect("it is mounted")
            .flatten()
            .map(|entry| {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).into_owned()
            });
        (!lines.any(|line| line.contains(&folder))).then_some(())
    });
}
