//! Connections that one client opens without sending a whole head: the shipped firewall lines and
//! nginx's timeout keep places for the others.
//!
//! The test runs in a network namespace of its own, so that the lines act on nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::harness::{Gateway, Nginx, Origin, Reply, Tool, archive, eventually};
use crate::nginx::requests::behind_nginx;

/// Variable that marks the second run of this program, in the namespace.
const INSIDE: &str = "MILLPOND_TEST_IN_NAMESPACE";

/// Connections that the changed firewall lines allow to one client.
const ALLOWED: usize = 100;

/// Connections of one nginx worker. One client could take all of them without the firewall.
const WORKER_CONNECTIONS: usize = 512;

const PATH: &str = "/pub/x-1.0.tar.gz";

#[test]
fn unfinished_heads_leave_places_for_other_clients() {
    if std::env::var_os(INSIDE).is_some() {
        return attack();
    }
    let here = Path::new("/");
    if Tool::new("unshare", "util-linux", here)
        .args(&["--net", "true"])
        .run()
        .code
        != Some(0)
    {
        eprintln!("SKIPPED: creating a network namespace needs root and kernel support");
        return;
    }
    let program = std::env::current_exe().expect("the program has a path");
    let program = program.to_str().expect("the path is text");
    let name = "nginx::firewall::unfinished_heads_leave_places_for_other_clients";
    let run = Tool::new("unshare", "util-linux", here)
        .args(&["--net", program, "--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .run();
    run.assert_success();
    assert!(run.stdout.contains("1 passed"), "{}", run.stdout);
}

fn attack() {
    Tool::new("ip", "iproute2", Path::new("/"))
        .args(&["link", "set", "lo", "up"])
        .run()
        .assert_success();
    let origin = Origin::start();
    let body = archive(1, 20_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = behind_nginx(&origin).start();
    let nginx = start_nginx(&gateway);
    nginx.get(&origin.url(PATH)).send().assert_body(200, &body);
    load_firewall(nginx.addr(), nginx.proxy_addr());

    for port in [nginx.addr(), nginx.addr_v6(), nginx.proxy_addr()] {
        let mut held = Vec::new();
        let refused = (0..WORKER_CONNECTIONS).find_map(|_| match half_a_head(port) {
            Ok(connection) => {
                held.push(connection);
                None
            }
            Err(error) => Some(error.kind()),
        });
        assert_eq!(
            refused,
            Some(std::io::ErrorKind::ConnectionRefused),
            "{port}: excess connections are reset"
        );
        assert!(held.len() <= ALLOWED, "{port}: {} connections", held.len());
        // Another client is served meanwhile.
        let folder = tempfile::tempdir().expect("a folder can be made");
        let url = nginx.rewritten(&origin.url(PATH));
        Tool::curl(folder.path())
            .args(&["-f", "--interface", "127.0.0.2", "-o", "x", &url])
            .run()
            .assert_success();
        let received = std::fs::read(folder.path().join("x")).expect("curl wrote the file");
        assert!(received == *body, "the bytes are those of the origin");
        drop(held);
    }
    // nginx ends an unfinished head after its timeout, and the place is free again.
    let mut first = eventually("a place is free again", || half_a_head(nginx.addr()).ok());
    first
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("the timeout is valid");
    // nginx resets such a connection (`reset_timedout_connection`), or closes it.
    let end = first.read_to_end(&mut Vec::new());
    let is_timeout = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!end.is_err_and(|error| is_timeout(&error)), "nginx ends it");
    nginx.get(&origin.url(PATH)).send().assert_body(200, &body);
}

fn start_nginx(gateway: &Gateway) -> Nginx {
    let connections = format!("worker_connections {WORKER_CONNECTIONS};");
    Nginx::builder(&[gateway])
        .change(
            "nginx.conf",
            "worker_processes auto;",
            "worker_processes 1;",
        )
        .change("nginx.conf", "worker_connections 8192;", &connections)
        .change("http.conf", "header_timeout 5s", "header_timeout 1s")
        .start()
}

/// Loads the shipped lines twice, as an operator does after a change.
fn load_firewall(http: SocketAddr, proxy: SocketAddr) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx/firewall.nft");
    let shipped = std::fs::read_to_string(file).expect("the file is there");
    let ports = format!("{{ {}, {} }}", http.port(), proxy.port());
    let changed = shipped
        .replace("{ 80, 443, 3128 }", &ports)
        .replace("ct count over 2000", &format!("ct count over {ALLOWED}"));
    let folder = tempfile::tempdir().expect("a folder can be made");
    for text in [shipped, changed] {
        std::fs::write(folder.path().join("rules"), text).expect("the folder can be written");
        Tool::new("nft", "nftables", folder.path())
            .args(&["-f", "rules"])
            .run()
            .assert_success();
    }
}

fn half_a_head(to: SocketAddr) -> std::io::Result<TcpStream> {
    let mut connection = TcpStream::connect(to)?;
    connection.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n")?;
    Ok(connection)
}
