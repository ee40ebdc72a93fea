//! Certificates that intercepted clients see.

use std::io::Write as _;

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::parse_x509_certificate;

use crate::harness::{Reply, archive};
use crate::intercept::harness::Intercepting;

const PATH: &str = "/pub/x-1.0.tar.gz";

/// Seconds of seven days, and of the day before, for clients whose clock is behind.
const LEAF_SECONDS: i64 = 8 * 24 * 3600;

#[test]
fn leaf_has_the_fields_that_clients_check() {
    let stage = Intercepting::start();
    stage.origin.serve(PATH, Reply::file(&archive(3, 2000)));
    let mut secure = stage.secure("localhost");
    let host = stage.origin_authority();
    let head = format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    secure
        .0
        .write_all(head.as_bytes())
        .expect("the connection is open");
    secure.read_all().expect("the response ends cleanly");
    assert_eq!(secure.0.conn.alpn_protocol(), None);
    let chain = secure
        .0
        .conn
        .peer_certificates()
        .expect("it has a certificate");
    let (_, leaf) = parse_x509_certificate(&chain[0]).expect("it is a certificate");
    let (_, issuer) = parse_x509_certificate(&chain[1]).expect("it is a certificate");
    assert_eq!(leaf.subject().iter().count(), 0, "{}", leaf.subject());
    let san = leaf.get_extension_unique(&OID_X509_EXT_SUBJECT_ALT_NAME);
    let san = san.expect("it is there once").expect("it is there");
    assert!(san.critical);
    let ParsedExtension::SubjectAlternativeName(names) = san.parsed_extension() else {
        panic!("{san:?}");
    };
    assert_eq!(names.general_names, [GeneralName::DNSName("localhost")]);
    let validity = leaf.validity();
    let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert_eq!(seconds, LEAF_SECONDS);
    let usage = leaf
        .extended_key_usage()
        .expect("once")
        .expect("it is there");
    assert!(usage.value.server_auth && !usage.value.client_auth && !usage.value.any);
    assert!(!leaf.is_ca());
    let identifiers = |certificate: &x509_parser::certificate::X509Certificate<'_>| {
        let extensions = certificate.extensions().iter();
        let found = extensions.filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id
                .key_identifier
                .as_ref()
                .map(|id| ("authority", id.0.to_vec())),
            ParsedExtension::SubjectKeyIdentifier(id) => Some(("subject", id.0.to_vec())),
            _ => None,
        });
        found.collect::<Vec<_>>()
    };
    let own = identifiers(&issuer);
    let stated = identifiers(&leaf);
    let of = |list: &[(&str, Vec<u8>)], kind: &str| {
        let found = list.iter().find(|(own, _)| *own == kind);
        found.map(|(_, id)| id.clone()).expect("it is there")
    };
    assert_eq!(of(&stated, "authority"), of(&own, "subject"));
    // The same certificate serves the next client.
    let mut next = stage.secure("localhost");
    next.0
        .write_all(head.as_bytes())
        .expect("the connection is open");
    next.read_all().expect("the response ends cleanly");
    let again: &[CertificateDer<'_>] = next.0.conn.peer_certificates().expect("it has one");
    assert_eq!(again[0], chain[0]);
}
