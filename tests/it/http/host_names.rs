//! Names of `[[hosts]]`: a `Host` that stands for a base URL, at the gateway port, behind nginx and
//! through the proxy port.

use crate::harness::{
    Gateway, Nginx, Origin, Reply, Scene, Tool, archive, assert_same, eventually, millpond,
};
use crate::nginx::requests::behind_nginx;

const NAME: &str = "files.example.test";

const PATH: &str = "/base/pub/x-1.0.tar.gz";

fn entry(origin: &Origin) -> String {
    origin.url("/base/")
}

#[test]
fn host_name_stands_for_base_url() {
    let origin = Origin::start();
    let body = archive(1, 200_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = Gateway::builder()
        .origin(&origin)
        .one_attempt()
        .host(NAME, &entry(&origin))
        .start();
    let ask = |host: &str, path: &str| gateway.request("GET", path).header("Host", host).send();
    ask(NAME, "/pub/x-1.0.tar.gz").assert_body(200, &body);
    gateway.await_stored(&origin.url(PATH));
    origin.stop();
    for host in [NAME, "FILES.example.test:8080", "files.example.test."] {
        let answer = ask(host, "/pub/x-1.0.tar.gz");
        answer.assert_body(200, &body);
        answer.assert_cache(&["hit"]);
    }
    // Another name has the paths of the gateway.
    ask("other.example.test", "/pub/x-1.0.tar.gz").assert_status(404);
    let digest = ask(NAME, "/pub/x-1.0.tar.gz")
        .header("repr-digest")
        .map(str::to_owned);
    assert!(digest.is_some(), "the usual fields are there");
}

#[test]
fn pages_of_gateway_are_not_at_host_name() {
    let origin = Origin::start();
    let paths = [
        "/",
        "/metrics",
        "/healthz",
        "/api/v1/stats",
        "/ui/",
        "/https://a.example/x-1.gz",
    ];
    for (number, path) in paths.iter().enumerate() {
        let body = archive(number as u64, 1000);
        origin.serve(
            &format!("/base{path}"),
            Reply::ok(&body).header("ETag", "\"a\""),
        );
    }
    origin.serve("/base/x?url=a&b=/c", Reply::ok(&archive(9, 1000)));
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .host(NAME, &entry(&origin))
        .start();
    for (number, path) in paths.iter().enumerate() {
        let answer = gateway.request("GET", path).header("Host", NAME).send();
        answer.assert_body(200, &archive(number as u64, 1000));
    }
    let query = gateway.request("GET", "/x?url=a&b=/c").header("Host", NAME);
    query.send().assert_body(200, &archive(9, 1000));
    for (method, path, status) in [
        ("POST", "/x", 405),
        ("GET", "/a/../b", 400),
        ("GET", "/missing-1.0.gz", 404),
    ] {
        let request = gateway.request(method, path).header("Host", NAME);
        request.send().assert_status(status);
    }
}

#[test]
fn redirect_to_page_keeps_host_name() {
    let origin = Origin::start();
    let page = |target: &str| Reply::redirect(302, target);
    origin.serve("/base/go?id=0123abc", page("/base/page/"));
    origin.serve("/base/away?id=0123abc", page("/elsewhere/"));
    for path in ["/base/page/", "/elsewhere/"] {
        origin.serve(path, Reply::html());
    }
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .text("gateway.public_url", "http://sources.example.org")
        .host(NAME, &entry(&origin))
        .start();
    let location = |path: &str| {
        let answer = gateway.request("GET", path).header("Host", NAME).send();
        answer.assert_status(302);
        answer.wants("location").to_owned()
    };
    assert_eq!(location("/go?id=0123abc"), "/page/");
    assert_eq!(
        location("/away?id=0123abc"),
        format!("http://sources.example.org/{}", origin.url("/elsewhere/"))
    );
}

#[test]
fn nginx_and_proxy_port_take_host_names() {
    let origin = Origin::start();
    let body = archive(2, 3 << 20);
    origin.serve(PATH, Reply::file(&body));
    let gateway = behind_nginx(&origin).host(NAME, &entry(&origin)).start();
    let nginx = Nginx::before(&gateway);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let read = || std::fs::read(folder.path().join("out")).expect("the client wrote the file");
    let port = nginx.addr().port();
    let resolve = format!("{NAME}:{port}:127.0.0.1");
    let url = format!("http://{NAME}:{port}/pub/x-1.0.tar.gz");
    for _ in 0..2 {
        Tool::curl(folder.path())
            .args(&["-f", "-o", "out", "--resolve", &resolve, &url])
            .run()
            .assert_success();
        assert_same(&read(), &body);
        gateway.await_stored(&origin.url(PATH));
    }
    let header = format!("Host: {NAME}");
    let direct = format!("http://{}/pub/x-1.0.tar.gz", nginx.addr());
    Tool::wget(folder.path())
        .args(&["-O", "out", "--header", &header, &direct])
        .run()
        .assert_success();
    assert_same(&read(), &body);
    // The authority of an absolute request target takes precedence over `Host`.
    let absolute = format!("http://{NAME}/pub/x-1.0.tar.gz");
    let answer = nginx
        .request("GET", &absolute)
        .header("Host", "other.example")
        .send();
    answer.assert_body(200, &body);
    // The PROXY protocol of nginx keeps clients from this port, so nginx forwards.
    let answer = nginx.proxied("GET", &absolute).header("Host", NAME).send();
    answer.assert_body(200, &body);
    assert_eq!(origin.count(PATH), 1);
    eventually("nginx logs the requests", || {
        (nginx.accesses().len() >= 4).then_some(())
    });
}

#[test]
fn reload_changes_host_names() {
    let (origin, mut gateway, body, _) = Scene::relaying(PATH, archive(3, 1000));
    let ask = |gateway: &Gateway| {
        let request = gateway.request("GET", "/pub/x-1.0.tar.gz");
        request.header("Host", NAME).send()
    };
    ask(&gateway).assert_status(404);
    gateway.reload(|builder| builder.host(NAME, &entry(&origin)));
    gateway.log().wait_for("the reload", |event| {
        event["message"] == "the configuration was reloaded"
    });
    ask(&gateway).assert_body(200, &body);
}

#[test]
fn check_config_reports_invalid_hosts() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let check = |text: &str| {
        std::fs::write(folder.path().join("a.toml"), text).expect("the folder is writable");
        millpond(
            folder.path(),
            &["check-config", "--config", "a.toml", "--show"],
        )
    };
    let host = |name: &str, upstream: &str| {
        format!("[[hosts]]\nname = \"{name}\"\nupstream = \"{upstream}\"\n")
    };
    let valid = host("a.example.org", "https://b.example.com/c");
    let shown = check(&valid);
    shown.assert_success();
    assert!(shown.stdout.contains("hosts[1] = {"), "{}", shown.stdout);
    let wrong = check(&[valid.clone(), valid, host("x y", "https://b.example.com")].concat());
    assert_eq!(wrong.code, Some(2));
    for part in [
        "hosts: ",
        "entry 2 (\"a.example.org\") repeats",
        "entry 3 (\"x y\") must",
    ] {
        assert!(wrong.stderr.contains(part), "{}", wrong.stderr);
    }
    let wrong = check("[[hosts]]\nname = \"a.example.org\"\nupstreams = \"b\"\n");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("upstreams"), "{}", wrong.stderr);
}
