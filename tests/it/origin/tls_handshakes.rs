//! TLS handshakes that fail, with an error that names what the origin lacks.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{FtpServer, Gateway, Tool, archive, eventually, listen};

const NAME: &str = "x-1.0.tar.gz";

/// A TLS server of OpenSSL that serves the files of its folder. Dropping it stops it.
struct OpensslServer {
    child: Child,
    port: u16,
}

impl OpensslServer {
    #[track_caller]
    fn start(folder: &Path, options: &str) -> Self {
        // Another process may take the port before the server does: the wait below then fails.
        let address = listen("127.0.0.1").local_addr().expect("it has an address");
        let child = Command::new("openssl")
            .args([
                "s_server", "-WWW", "-quiet", "-cert", "cert.pem", "-key", "key.pem",
            ])
            .args(["-accept", &address.to_string()])
            .args(options.split_whitespace())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl can be started: install the Debian package openssl");
        eventually("the server listens", || {
            std::net::TcpStream::connect(address).ok()
        });
        Self {
            child,
            port: address.port(),
        }
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes a certificate for localhost with a key of this type, and returns it.
fn make_certificate(folder: &Path, prefix: &str, key: &str, extension: &str) -> String {
    let (key_file, file) = (format!("{prefix}key.pem"), format!("{prefix}cert.pem"));
    let run = Tool::new("openssl", "openssl", folder).args(&[
        "req",
        "-x509",
        "-newkey",
        key,
        "-nodes",
        "-keyout",
        &key_file,
        "-out",
        &file,
        "-days",
        "30",
        "-subj",
        "/CN=localhost",
        "-addext",
        extension,
    ]);
    run.run().assert_success();
    std::fs::read_to_string(folder.join(file)).expect("openssl wrote it")
}

#[test]
fn failed_handshake_names_the_missing_feature() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join(NAME), archive(1, 5000)).expect("it can be written");
    let named = "subjectAltName=DNS:localhost";
    let bundle: String = [
        ("", "rsa:2048", named),
        ("short-", "rsa:1024", named),
        ("448-", "ed448", named),
        (
            "critical-",
            "rsa:2048",
            "certificatePolicies=critical,1.2.3.4",
        ),
    ]
    .map(|(prefix, key, extension)| make_certificate(folder.path(), prefix, key, extension))
    .concat();
    let other_name = "-servername other.example.org -cert2 cert.pem -key2 key.pem";
    let fatal_name = format!("{other_name} -servername_fatal");
    let servers = [
        ("", None),
        ("-tls1_2", None),
        // The alert is a warning, and the handshake goes on.
        (other_name, None),
        (&fatal_name, Some("no certificate for this host name")),
        ("-tls1 -cipher ALL:@SECLEVEL=0", Some("lacks TLS 1.2")),
        ("-tls1_1 -cipher ALL:@SECLEVEL=0", Some("lacks TLS 1.2")),
        (
            "-tls1_2 -cipher DHE-RSA-AES128-GCM-SHA256",
            Some("neither DHE nor RSA"),
        ),
        ("-tls1_2 -cipher AES128-SHA", Some("neither DHE nor RSA")),
        (
            "-tls1_2 -cipher ECDHE-RSA-AES128-SHA",
            Some("no common cipher suite"),
        ),
        ("-tls1_3 -Verify 1", Some("client certificate")),
        (
            "-cert short-cert.pem -key short-key.pem -cipher ALL:@SECLEVEL=0",
            Some("less than 2048 bits"),
        ),
        (
            "-cert critical-cert.pem -key critical-key.pem",
            Some("critical extension"),
        ),
        (
            "-cert 448-cert.pem -key 448-key.pem",
            Some("Ed25519 key; use a mirror"),
        ),
    ];
    let servers = servers.map(|(options, missing)| {
        let server = OpensslServer::start(folder.path(), options);
        (options, missing, server)
    });
    // It sends a line of text first.
    let plain = FtpServer::start();
    let file = folder.path().join("bundle.pem");
    std::fs::write(&file, bundle).expect("it can be written");
    let mut builder = Gateway::builder()
        .relay()
        .one_attempt()
        .port(plain.port())
        .env("SSL_CERT_FILE", file.to_str().expect("the path is text"));
    for (_, _, server) in &servers {
        builder = builder.port(server.port);
    }
    let gateway = builder.start();
    for (options, missing, server) in &servers {
        let url = format!("https://localhost:{}/{NAME}", server.port);
        let answer = gateway.get(&url).send();
        match missing {
            None => assert_eq!(answer.status, 200, "{options}: {}", answer.text()),
            Some(part) => {
                assert_eq!(answer.status, 502, "{options}: {}", answer.text());
                assert!(answer.text().contains(part), "{options}: {}", answer.text());
            }
        }
    }
    let answer = gateway
        .get(&format!("https://localhost:{}/{NAME}", plain.port()))
        .send();
    assert!(
        answer.text().contains("does not speak TLS"),
        "{}",
        answer.text()
    );
}
