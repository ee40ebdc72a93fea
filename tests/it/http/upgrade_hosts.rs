//! `proxy.upgrade_hosts`: http targets of these hosts are fetched and stored as https.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::harness::{
    Authority, Builder, Gateway, Origin, Reply, Scene, Waiting, archive, assert_same, encoded,
    listen,
};

const PATH: &str = "/pub/x-1.0.tar.gz";
const INDEX: &str = "/pub/list.bin";

/// A proxy that connects every https request to one origin, and refuses every http request.
struct Egress {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Egress {
    fn to(origin: &Origin) -> Self {
        let listener = listen("127.0.0.1");
        let address = listener.local_addr().expect("a listener has an address");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (target, seen) = (origin.address(), Arc::clone(&lines));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || drop(serve(&client, target, &seen)));
            }
        });
        Self { address, lines }
    }

    /// Returns the methods and targets of all requests.
    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no thread panicked").clone()
    }

    fn configure(&self, authority: &Authority) -> Builder {
        Gateway::builder()
            .set("policy.ports", "[80, 443]")
            .set("policy.connect_ports", "[443]")
            .text("fetch.egress_proxy", &format!("http://{}", self.address))
            .authority(authority)
            .relay()
            .one_attempt()
    }
}

fn serve(
    client: &TcpStream,
    target: SocketAddr,
    lines: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        head.push(line);
    }
    let line = head.first().cloned().unwrap_or_default();
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let is_connect = line.starts_with("CONNECT ");
    lines.lock().expect("no thread panicked").push(line);
    let mut to_client = client.try_clone()?;
    if !is_connect {
        return to_client.write_all(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n");
    }
    let server = TcpStream::connect(target)?;
    to_client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from_server, mut to_server) = (server.try_clone()?, server);
    thread::spawn(move || {
        drop(std::io::copy(&mut from_server, &mut to_client));
        drop(to_client.shutdown(Shutdown::Write));
    });
    std::io::copy(&mut reader, &mut to_server)?;
    to_server.shutdown(Shutdown::Write)
}

fn upgraded(builder: Builder) -> Builder {
    builder.set("proxy.upgrade_hosts", "[\"localhost\", \".example.test\"]")
}

#[test]
fn http_targets_are_stored_as_https() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let body = archive(1, 60_000);
    origin.serve(PATH, Reply::file(&body));
    origin.serve(INDEX, Reply::file(&body).conditional());
    origin.serve("/form", Reply::ok(&b"taken\n".to_vec().into()));
    let egress = Egress::to(&origin);
    let gateway = upgraded(egress.configure(&authority)).start();
    let http = format!("http://localhost{PATH}");
    gateway.proxied("GET", &http).send().assert_body(200, &body);
    gateway.await_stored(&format!("https://localhost{PATH}"));
    for spelling in [&http, "HTTP://LOCALHOST:80/pub/x-1.0.tar.gz"] {
        let hit = gateway.proxied("GET", spelling).send();
        hit.assert_body(200, &body);
        hit.assert_cache(&["hit"]);
    }
    for target in [http.clone(), format!("https://localhost{PATH}")] {
        gateway.assert_serves(&target, &body).assert_cache(&["hit"]);
    }
    let connect = Waiting::send(
        gateway.proxy_addr(),
        b"CONNECT localhost:80 HTTP/1.1\r\n\r\n",
        false,
    );
    let (socket, _) = connect.head().into_socket();
    let inside = format!("GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let inside = Waiting::send_on(socket, inside.as_bytes(), false).head();
    inside.head.assert_cache(&["hit"]);
    assert_same(&inside.finish_open().1, &body);
    // Other classes and methods are upgraded too.
    let index = format!("http://localhost{INDEX}");
    for _ in 0..2 {
        gateway
            .proxied("GET", &index)
            .send()
            .assert_body(200, &body);
    }
    let posted = gateway
        .proxied("POST", "http://localhost/form")
        .header("Authorization", "Basic c2VjcmV0")
        .body(b"a=b")
        .send();
    posted.assert_body(200, b"taken\n");
    assert_eq!(gateway.records_of(&http).len(), 0);
    assert_eq!(
        gateway
            .records_of(&format!("https://localhost{PATH}"))
            .len(),
        1
    );
    assert_eq!(origin.count(PATH), 1);
    for line in egress.lines() {
        assert_eq!(line, "CONNECT localhost:443");
    }
}

#[test]
fn failing_https_never_falls_back_to_http() {
    let (authority, other) = (Authority::new(), Authority::new());
    let origin = Origin::start_tls(&authority);
    origin.serve(PATH, Reply::file(&archive(2, 2000)));
    let egress = Egress::to(&origin);
    let gateway = upgraded(egress.configure(&other)).start();
    for path in [PATH, INDEX] {
        let target = format!("http://localhost{path}");
        gateway.proxied("GET", &target).send().assert_problem(502);
        gateway.get(&target).send().assert_problem(502);
    }
    let working = upgraded(egress.configure(&authority)).start();
    working
        .proxied("GET", "http://localhost/gone-1.0.tar.gz")
        .send()
        .assert_status(404);
    for line in egress.lines() {
        assert_eq!(line, "CONNECT localhost:443", "nothing was asked as http");
    }
    assert_eq!(origin.total(), 1);
}

#[test]
fn bytes_stored_as_http_still_answer() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let egress = Egress::to(&origin);
    let mut gateway = egress.configure(&authority).start();
    let (old, new) = (archive(3, 5000), archive(4, 6000));
    for path in [PATH, INDEX] {
        let import = format!(
            "/api/v1/objects?url={}",
            encoded(&format!("http://localhost{path}"))
        );
        gateway
            .operate("PUT", &import)
            .body(&old)
            .send()
            .assert_status(201);
    }
    gateway.restart_with(upgraded);
    let target = format!("http://localhost{PATH}");
    gateway
        .proxied("GET", &target)
        .send()
        .assert_body(200, &old);
    gateway.assert_serves(&target, &old);
    assert_eq!(egress.lines().len(), 0, "a hit asks no origin");
    // Other targets are fetched as https.
    origin.serve("/y-1.0.tar.gz", Reply::file(&new));
    gateway
        .proxied("GET", "http://localhost/y-1.0.tar.gz")
        .send()
        .assert_body(200, &new);
    // Class `revalidate` asks the https origin first.
    let index = format!("http://localhost{INDEX}");
    origin.shut_down();
    let stale = gateway.proxied("GET", &index).send();
    stale.assert_body(200, &old);
    stale.assert_cache(&["hit", "detail=stale"]);
    for line in egress.lines() {
        assert_eq!(line, "CONNECT localhost:443");
    }
}

#[test]
fn operators_reach_bytes_stored_as_http() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let egress = Egress::to(&origin);
    let mut gateway = egress.configure(&authority).start();
    let (old, new) = (archive(3, 5000), archive(4, 6000));
    let url = encoded(&format!("http://localhost{PATH}"));
    let objects = format!("/api/v1/objects?url={url}");
    let pins = format!("/api/v1/pins?url={url}");
    let import = gateway.operate("PUT", &objects).body(&old).send();
    import.assert_status(201);
    gateway.restart_with(upgraded);
    let stored = || {
        let path = format!("/api/v1/targets?url={url}");
        gateway.request("GET", &path).send()
    };
    let active = || stored().json()["records"][0]["active"].clone();
    assert_eq!(active(), true);
    for (method, status) in [("DELETE", 200), ("PUT", 200), ("DELETE", 200), ("PUT", 200)] {
        gateway.operate(method, &pins).send().assert_status(status);
        let pinned = &stored().json()["records"][0]["pinned"];
        assert_eq!(pinned.is_string(), method == "PUT", "{method}");
    }
    let keep = format!("{objects}&keep_pinned=true");
    gateway.operate("DELETE", &keep).send().assert_status(423);
    // The record of the https target answers first.
    let import = gateway.operate("PUT", &objects).body(&new).send();
    import.assert_status(201);
    let records = stored().json()["records"].clone();
    let active = records.as_array().expect("there are records").iter();
    let active: Vec<_> = active.map(|record| record["active"] == true).collect();
    assert_eq!(active, [true, false], "{records}");
    let removed = gateway.operate("DELETE", &objects).send().json();
    assert_eq!(removed["records"], 2);
    stored().assert_status(404);
    assert_eq!(gateway.records().len(), 0);
}

#[test]
fn removed_https_target_takes_http_bytes() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let egress = Egress::to(&origin);
    let mut gateway = egress.configure(&authority).start();
    let body = archive(3, 5000);
    let objects = |scheme: &str, host: &str| {
        let url = encoded(&format!("{scheme}://{host}{PATH}"));
        format!("/api/v1/objects?url={url}")
    };
    let cases = [("localhost", 200, 0), ("other.example.org", 404, 1)];
    for (host, ..) in cases {
        let import = gateway.operate("PUT", &objects("http", host)).body(&body);
        import.send().assert_status(201);
    }
    gateway.restart_with(upgraded);
    for (host, status, left) in cases {
        // A pin of the http bytes is kept.
        let kept = format!("{}&keep_pinned=true", objects("https", host));
        let kept_status = if status == 200 { 423 } else { status };
        gateway
            .operate("DELETE", &kept)
            .send()
            .assert_status(kept_status);
        let removed = gateway.operate("DELETE", &objects("https", host)).send();
        removed.assert_status(status);
        let url = encoded(&format!("http://{host}{PATH}"));
        let shown = gateway.request("GET", &format!("/api/v1/targets?url={url}"));
        shown
            .send()
            .assert_status(if left == 0 { 404 } else { 200 });
        assert_eq!(gateway.records().len(), 1);
    }
}

#[test]
fn unlisted_hosts_and_ports_stay_http() {
    // The port of the target is not 80.
    let (_origin, gateway, body, url) = Scene::of(PATH, archive(5, 2000))
        .gateway(|builder| {
            builder
                .relay()
                .one_attempt()
                .set("proxy.upgrade_hosts", "[\"127.0.0.1\", \"example.test\"]")
        })
        .start();
    gateway.proxied("GET", &url).send().assert_body(200, &body);
    gateway.await_stored(&url);
    assert_eq!(gateway.records_of(&url).len(), 1);
}

#[test]
fn redirect_to_http_is_followed_as_https() {
    let authority = Authority::new();
    let origin = Origin::start_tls(&authority);
    let body = archive(6, 2000);
    origin.serve(
        PATH,
        Reply::redirect(302, "http://localhost/moved/x-1.0.tar.gz"),
    );
    origin.serve("/moved/x-1.0.tar.gz", Reply::file(&body));
    let egress = Egress::to(&origin);
    let gateway = upgraded(egress.configure(&authority)).start();
    gateway.assert_serves(&format!("https://localhost{PATH}"), &body);
    for line in egress.lines() {
        assert_eq!(line, "CONNECT localhost:443");
    }
}

#[test]
fn invalid_upgrade_host_is_reported() {
    let run = Gateway::builder()
        .set("proxy.upgrade_hosts", "[\"https://example.test\"]")
        .run_to_end();
    run.assert_failure();
    assert!(run.stderr.contains("proxy.upgrade_hosts"), "{}", run.stderr);
}
