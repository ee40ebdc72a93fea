//! The real nginx that demands client certificates, as `client_certificates.conf` documents it.

use std::fs;
use std::path::Path;

use crate::harness::{Nginx, NginxBuilder, Origin, Reply, Tool, archive, assert_same, listen};
use crate::nginx::requests::behind_nginx;

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Certificates that openssl makes: an authority with a server and a client, and another client of
/// another authority.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let certificates = Self {
            folder: tempfile::tempdir().expect("a folder can be made"),
        };
        for authority in ["authority", "stranger"] {
            let subject = format!("/CN={authority}");
            certificates.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                 -subj {subject} -keyout {authority}.key -out {authority}.pem"
            ));
        }
        certificates.sign("server", "authority", "subjectAltName=IP:127.0.0.1");
        certificates.sign("client", "authority", "extendedKeyUsage=clientAuth");
        certificates.sign("other", "stranger", "extendedKeyUsage=clientAuth");
        certificates
    }

    /// Makes a key, and has an authority sign its certificate.
    fn sign(&self, name: &str, authority: &str, extension: &str) {
        fs::write(self.folder.path().join("extension"), extension).expect("the folder is ours");
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} \
             -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key \
             -CAcreateserial -days 2 -extfile extension -out {name}.pem"
        ));
    }

    #[track_caller]
    fn openssl(&self, arguments: &str) {
        let openssl = Tool::new("openssl", "openssl", self.folder.path());
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        openssl.args(&arguments).run().assert_success();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// Uncomments the shipped lines for TLS at this port, and for client certificates.
fn demand_certificates(
    mut builder: NginxBuilder,
    port: u16,
    certificates: &Certificates,
) -> NginxBuilder {
    for line in [
        "ssl_certificate ",
        "ssl_certificate_key ",
        "ssl_protocols ",
        "ssl_session_cache ",
    ] {
        builder = builder.change("tls.conf", &format!("# {line}"), line);
    }
    builder = builder
        .change(
            "tls.conf",
            "# listen 443 ",
            &format!("listen 127.0.0.1:{port} "),
        )
        .change(
            "tls.conf",
            "/etc/nginx/tls/fullchain.pem",
            &certificates.path("server.pem"),
        )
        .change(
            "tls.conf",
            "/etc/nginx/tls/privkey.pem",
            &certificates.path("server.key"),
        );
    let file = "client_certificates.conf";
    for line in [
        "ssl_client_certificate ",
        "ssl_verify_client ",
        "ssl_verify_depth ",
        "set ",
        "if (",
    ] {
        builder = builder.change(file, &format!("# {line}"), line);
    }
    builder
        .change(file, "# }", "}")
        .change(file, "#     ", "    ")
        .change(
            file,
            "/etc/nginx/tls/clients.pem",
            &certificates.path("authority.pem"),
        )
}

#[test]
fn only_clients_with_certificates_are_served() {
    let origin = Origin::start();
    let body = archive(1, 200_000);
    origin.serve(PATH, Reply::file(&body));
    let gateway = behind_nginx(&origin).start();
    let certificates = Certificates::new();
    // The port is free at this moment.
    let port = listen("127.0.0.1")
        .local_addr()
        .expect("a listener has an address")
        .port();
    let nginx = demand_certificates(Nginx::builder(&[&gateway]), port, &certificates).start();
    let (url, plain) = (
        format!("https://127.0.0.1:{port}/{}", origin.url(PATH)),
        nginx.rewritten(&origin.url(PATH)),
    );
    let folder = certificates.folder.path();
    let status = |name: Option<&str>, url: &str| {
        let curl = Tool::curl(folder).args(&["-w", "%{http_code}", "-o", "x-1.0.tar.gz"]);
        let curl = curl.args(&["--cacert", "authority.pem", url]);
        let curl = match name {
            Some(name) => curl.args(&[
                "--cert",
                &format!("{name}.pem"),
                "--key",
                &format!("{name}.key"),
            ]),
            None => curl,
        };
        curl.run().stdout
    };
    for url in [&url, &plain] {
        assert_eq!(status(None, url), "403", "{url}");
    }
    assert_eq!(status(Some("other"), &url), "400");
    assert_eq!(
        origin.total(),
        0,
        "nothing is fetched without a certificate"
    );
    // A miss, and a hit that nginx sends itself.
    for _ in 0..2 {
        assert_eq!(status(Some("client"), &url), "200");
        take(folder, &body);
        gateway.await_stored(&origin.url(PATH));
    }
    let wget = || Tool::wget(folder).args(&["--ca-certificate=authority.pem", &url]);
    wget().run().assert_failure();
    let wget = wget().args(&["--certificate=client.pem", "--private-key=client.key"]);
    wget.run().assert_success();
    take(folder, &body);
    assert_eq!(origin.count(PATH), 1);
    for (path, expected) in [("/healthz", "200"), ("/readyz", "200"), ("/", "403")] {
        let url = format!("http://{}{path}", nginx.addr());
        assert_eq!(status(None, &url), expected, "{path}");
    }
    // The path of another host is no health check.
    let proxied = nginx.request("GET", &origin.url("/healthz")).send();
    proxied.assert_status(403);
}

/// Compares the downloaded file, and removes it.
#[track_caller]
fn take(folder: &Path, body: &[u8]) {
    let file = folder.join("x-1.0.tar.gz");
    assert_same(&fs::read(&file).expect("the file is there"), body);
    fs::remove_file(file).expect("the folder is ours");
}
