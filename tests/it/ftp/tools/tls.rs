//! FTP over TLS, and servers that offer it but reject it.

use super::builder;
use crate::harness::{Authority, Vsftpd, archive};

#[test]
fn tls_is_used_if_the_server_offers_it() {
    let authority = Authority::new();
    let server = Vsftpd::start_tls(&authority, "allow_anon_ssl=YES");
    let body = archive(1, 300_000);
    server.write("x-1.0.tar.gz", &body);
    server.write("y-1.0.tar.gz", &body);
    for tls in ["offered", "required"] {
        let gateway = builder(&server)
            .authority(&authority)
            .text("fetch.ftp_tls", tls)
            .start();
        gateway
            .get(&server.url("/x-1.0.tar.gz"))
            .send()
            .assert_body(200, &body);
        gateway
            .get(&server.url("/y-1.0.tar.gz"))
            .send()
            .assert_body(200, &body);
    }
    assert_eq!(
        server.count("\"PROT P\""),
        2,
        "each gateway's connection serves both files"
    );
    assert_eq!(server.count("\"RETR "), 4);
}

#[test]
fn untrusted_certificate_is_rejected() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Vsftpd::start_tls(&authority, "allow_anon_ssl=YES");
    server.write("x-1.0.tar.gz", &archive(1, 5000));
    let gateway = builder(&server).authority(&other).start();
    let answer = gateway.get(&server.url("/x-1.0.tar.gz")).send();
    answer.assert_problem(502);
    assert!(answer.text().contains("certificate"), "{}", answer.text());
    assert_eq!(
        server.count("\"USER"),
        0,
        "Millpond does not log in without TLS instead"
    );
    let gateway = builder(&server)
        .authority(&other)
        .text("fetch.ftp_tls", "never")
        .start();
    gateway
        .get(&server.url("/x-1.0.tar.gz"))
        .send()
        .assert_status(200);
}

#[test]
fn server_rejecting_anonymous_tls_gets_plaintext_login() {
    let authority = Authority::new();
    let server = Vsftpd::start_tls(&authority, "");
    let body = archive(1, 5000);
    server.write("x-1.0.tar.gz", &body);
    let required = builder(&server)
        .authority(&authority)
        .text("fetch.ftp_tls", "required")
        .start();
    required
        .get(&server.url("/x-1.0.tar.gz"))
        .send()
        .assert_problem(502);
    let gateway = builder(&server).authority(&authority).start();
    gateway
        .get(&server.url("/x-1.0.tar.gz"))
        .send()
        .assert_body(200, &body);
}
