//! Downloads that need a user and a password, at both ports.

mod tools;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::harness::{
    Answer, Body, Builder, Gateway, Origin, Reply, Request, Waiting, all_at_once, archive,
    assert_same, eventually, millpond, sha256,
};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Users as htpasswd writes them: bcrypt of cost 5, and apr1, both of `secret`.
const ANN: &str = "ann:$2y$05$sTI52Im6OaVu2XfyksPV9OawIGWpXOZkDkedxX9//VH0FtBqWbikm";
const BOB: &str = "bob:$apr1$b6SXIZ/L$9vK7eIoR84RSDKRQFlFDv/";

/// `ann:secret`, `bob:secret` and `ann:wrong` in base64.
const ANN_LOGIN: &str = "Basic YW5uOnNlY3JldA==";
const BOB_LOGIN: &str = "Basic Ym9iOnNlY3JldA==";
const WRONG_LOGIN: &str = "Basic YW5uOndyb25n";

struct Stage {
    origin: Origin,
    body: Body,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let origin = Origin::start();
        let body = archive(7, 150_000);
        origin.serve(PATH, Reply::file(&body));
        let folder = tempfile::tempdir().expect("a folder can be made");
        write_users(&folder.path().join("users"), &[ANN, BOB]);
        Self {
            origin,
            body,
            folder,
        }
    }

    fn url(&self) -> String {
        self.origin.url(PATH)
    }

    fn users(&self) -> PathBuf {
        self.folder.path().join("users")
    }

    /// Returns a gateway that needs logins.
    fn builder(&self) -> Builder {
        let users = self.users();
        Gateway::builder()
            .origin(&self.origin)
            .relay()
            .one_attempt()
            .text("gateway.download_users_file", &users.display().to_string())
    }

    #[track_caller]
    fn take_file(&self) {
        let file = self.folder.path().join("x-1.0.tar.gz");
        let found = fs::read(&file).expect("the client wrote the file");
        assert_same(&found, &self.body);
        fs::remove_file(file).expect("the file exists");
    }
}

fn write_users(file: &Path, users: &[&str]) {
    fs::write(file, users.join("\n")).expect("the folder can be written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o640)).expect("the file is ours");
}

fn with(request: Request, name: &str, value: &str) -> Answer {
    request.header(name, value).send()
}

#[track_caller]
fn assert_challenge(answer: &Answer, status: u16) {
    answer.assert_problem(status);
    let name = match status {
        401 => "www-authenticate",
        _ => "proxy-authenticate",
    };
    assert_eq!(answer.wants(name), "Basic realm=\"millpond\"");
    answer.assert_cache(&["detail=unauthorized"]);
}

#[test]
fn gateway_port_serves_users_only() {
    let stage = Stage::new();
    let gateway = stage.builder().start();
    let (url, object) = (
        stage.url(),
        format!("/api/v1/objects/sha256/{}", sha256(&stage.body)),
    );
    assert_challenge(&gateway.get(&url).send(), 401);
    assert_challenge(&with(gateway.get(&url), "Authorization", WRONG_LOGIN), 401);
    assert_challenge(&with(gateway.get(&url), "Authorization", "Basic !"), 401);
    assert_challenge(&gateway.get("not-a-url").send(), 401);
    assert_eq!(
        stage.origin.total(),
        0,
        "nothing is fetched without a login"
    );
    let miss = with(gateway.get(&url), "Authorization", ANN_LOGIN);
    miss.assert_body(200, &stage.body);
    miss.assert_cache(&["fwd=uri-miss", "stored"]);
    gateway.await_stored(&url);
    // The login is not that of the origin, so that other users share the file.
    let hit = with(gateway.get(&url), "Authorization", BOB_LOGIN);
    hit.assert_body(200, &stage.body);
    hit.assert_cache(&["hit"]);
    let asked = stage.origin.request(PATH);
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(stage.origin.count(PATH), 1);
    assert_challenge(&gateway.request("GET", &object).send(), 401);
    let by_digest = gateway.request("GET", &object);
    with(by_digest, "Authorization", ANN_LOGIN).assert_body(200, &stage.body);
    let text = gateway.log().text();
    for secret in ["secret", "YW5uOn", "Ym9iOn"] {
        assert!(!text.contains(secret), "{secret}\n{text}");
    }
}

#[test]
fn tokens_and_pages_need_no_user() {
    let stage = Stage::new();
    let gateway = stage.builder().start();
    for path in [
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/version",
        "/api/v1/stats",
    ] {
        gateway.request("GET", path).send().assert_status(200);
    }
    gateway
        .operate("GET", "/api/v1/objects")
        .send()
        .assert_status(200);
    let listed = with(
        gateway.request("GET", "/api/v1/objects"),
        "Authorization",
        ANN_LOGIN,
    );
    listed.assert_status(401);
    let bearer = format!("Bearer {}", gateway.token());
    let download = with(gateway.get(&stage.url()), "Authorization", &bearer);
    download.assert_body(200, &stage.body);
    let wrong = "Bearer a-token-of-nobody";
    assert_challenge(
        &with(gateway.get(&stage.url()), "Authorization", wrong),
        401,
    );
}

#[test]
fn proxy_port_serves_users_only() {
    let stage = Stage::new();
    let gateway = stage.builder().start();
    let (url, name) = (stage.url(), "Proxy-Authorization");
    assert_challenge(&gateway.proxied("GET", &url).send(), 407);
    // This login is that of the origin.
    let other = with(gateway.proxied("GET", &url), "Authorization", ANN_LOGIN);
    assert_challenge(&other, 407);
    assert_challenge(&with(gateway.proxied("GET", &url), name, WRONG_LOGIN), 407);
    assert_eq!(stage.origin.total(), 0);
    let miss = with(gateway.proxied("GET", &url), name, BOB_LOGIN);
    miss.assert_body(200, &stage.body);
    gateway.await_stored(&url);
    let hit = with(gateway.proxied("GET", &url), name, ANN_LOGIN);
    hit.assert_cache(&["hit"]);
    assert_eq!(
        stage.origin.request(PATH).header("proxy-authorization"),
        None
    );
    // The gateway's own URL through the proxy port.
    let own = gateway.rewritten(&url);
    assert_challenge(&gateway.proxied("GET", &own).send(), 401);
    with(gateway.proxied("GET", &own), name, ANN_LOGIN).assert_body(200, &stage.body);
    assert_eq!(stage.origin.count(PATH), 1);
}

#[test]
fn connect_needs_user_once() {
    let stage = Stage::new();
    let gateway = stage.builder().start();
    let authority = stage.origin.address().to_string();
    let connect = |fields: &str| {
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{fields}\r\n");
        Waiting::send(gateway.proxy_addr(), head.as_bytes(), false).head()
    };
    for fields in ["", "Proxy-Authorization: Basic YW5uOndyb25n\r\n"] {
        let refused = connect(fields);
        assert_eq!(refused.head.status, 407);
        let challenge = refused.head.header("proxy-authenticate");
        assert_eq!(challenge, Some("Basic realm=\"millpond\""));
    }
    let accepted = connect(&format!("Proxy-Authorization: {ANN_LOGIN}\r\n"));
    assert_eq!(accepted.head.status, 200);
    let (socket, _) = accepted.into_socket();
    let inside = format!("GET {PATH} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    let answer = Waiting::send_on(socket, inside.as_bytes(), false)
        .head()
        .finish();
    answer.assert_body(200, &stage.body);
}

#[test]
fn wrong_logins_of_one_client_are_bounded() {
    let stage = Stage::new();
    let builder = stage.builder();
    let gateway = builder
        .set("gateway.trusted_proxies", "[\"127.0.0.1/32\"]")
        .set("policy.allow_clients", "[\"0.0.0.0/0\"]")
        .start();
    let from = |client: &str, login: &str| {
        let request = gateway.get(&stage.url()).header("X-Forwarded-For", client);
        with(request, "Authorization", login)
    };
    // Equal logins share one check, so each is another one.
    let guess = |number: usize| format!("Basic {}", base64_of(&format!("ann:guess-{number}")));
    from("10.0.0.1", ANN_LOGIN).assert_status(200);
    let statuses = all_at_once(40, |number| from("10.0.0.1", &guess(number)).status);
    let checked = statuses.iter().filter(|status| **status == 401).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!(checked + refused, 40, "{statuses:?}");
    assert!(refused > 0, "{statuses:?}");
    let refused = (40..90)
        .map(|number| from("10.0.0.1", &guess(number)))
        .find(|answer| answer.status == 429)
        .expect("wrong logins are bounded");
    assert_eq!(refused.wants("retry-after"), "1");
    for number in 90..95 {
        drop(from("10.0.0.1", &guess(number)));
    }
    from("10.0.0.2", BOB_LOGIN).assert_status(200);
    eventually("the client may try again", || {
        (from("10.0.0.1", ANN_LOGIN).status == 200).then_some(())
    });
}

#[test]
fn many_first_requests_share_one_check() {
    let stage = Stage::new();
    let gateway = stage.builder().start();
    let answers = all_at_once(40, |number| {
        let login = if number % 2 == 0 {
            ANN_LOGIN
        } else {
            BOB_LOGIN
        };
        with(gateway.get(&stage.url()), "Authorization", login)
    });
    for answer in answers {
        answer.assert_body(200, &stage.body);
    }
}

#[test]
fn reload_replaces_users() {
    let stage = Stage::new();
    let mut gateway = stage.builder().start();
    let ask = |gateway: &Gateway, login| with(gateway.get(&stage.url()), "Authorization", login);
    ask(&gateway, ANN_LOGIN).assert_status(200);
    write_users(&stage.users(), &[BOB]);
    gateway.reload(|builder| builder);
    eventually("the user is removed", || {
        (ask(&gateway, ANN_LOGIN).status != 200).then_some(())
    });
    eventually("the other user stays", || {
        (ask(&gateway, BOB_LOGIN).status == 200).then_some(())
    });
    // A file that cannot be used changes nothing.
    write_users(&stage.users(), &["bob:secret"]);
    let users = stage.users();
    gateway.reload(|builder| builder);
    gateway.log().wait_for("the refusal", |event| {
        let error = event["error"].as_str().unwrap_or_default();
        event["level"] == "ERROR" && error.contains("download_users_file")
    });
    ask(&gateway, BOB_LOGIN).assert_status(200);
    fs::remove_file(users).expect("the file exists");
    gateway.reload(|builder| builder.text("gateway.download_users_file", ""));
    eventually("no login is needed", || {
        (gateway.get(&stage.url()).send().status == 200).then_some(())
    });
}

#[test]
fn unsafe_user_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let users = folder.path().join("users");
    let config = folder.path().join("millpond.toml");
    let text = format!("[gateway]\ndownload_users_file = {users:?}\n");
    fs::write(&config, text).expect("the folder can be written");
    let config = config.to_str().expect("the path is text");
    let check = || millpond(folder.path(), &["check-config", "--config", config]);
    let refuse = |why: &str| {
        let run = check();
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        for part in ["gateway.download_users_file", why] {
            assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
        }
        assert!(!run.stderr.contains("plain-secret"), "{}", run.stderr);
    };
    refuse("No such file");
    write_users(&users, &[ANN, "eve:plain-secret"]);
    refuse("line 2: the password is not hashed");
    write_users(&users, &[]);
    refuse("no user");
    write_users(&users, &[ANN]);
    check().assert_success();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    refuse("chmod o-rwx");
}

fn base64_of(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.as_bytes().chunks(3).map(|chunk| {
        let bits = chunk
            .iter()
            .fold(0, |bits, byte| (bits << 8) | usize::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at)) & 63]);
        let used = (0..=chunk.len()).map(digit).collect::<String>();
        format!("{used:=<4}")
    });
    digits.collect()
}
