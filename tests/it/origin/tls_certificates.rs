//! Certificates of https origins: Millpond accepts those that wget and curl accept with the same
//! trusted certificates, and names the cause for the others.

use std::path::Path;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::harness::{Authority, Gateway, Origin, Reply, Tool, archive};

const PATH: &str = "/pub/x-1.0.tar.gz";

/// An origin's chain, and the expected outcome.
struct Case {
    name: &'static str,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Certificates that the operator trusts for this case, in PEM.
    trusted: String,
    /// `Ok`, or a part of the error.
    outcome: Result<(), &'static str>,
}

/// A certificate with its key.
struct Signed {
    certificate: Certificate,
    key: KeyPair,
}

impl Signed {
    fn case(
        &self,
        name: &'static str,
        trusted: &[&Certificate],
        outcome: Result<(), &'static str>,
    ) -> Case {
        Case {
            name,
            chain: vec![self.certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(self.key.serialize_der()).into(),
            trusted: trusted
                .iter()
                .map(|certificate| certificate.pem())
                .collect(),
            outcome,
        }
    }
}

fn named(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("the names are valid");
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

fn authority(common_name: &str) -> CertificateParams {
    let mut params = named(&[], common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn constrained(mut params: CertificateParams) -> CertificateParams {
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_after = date_time_ymd(2020, 1, 1);
    params
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key can be made")
}

fn self_signed(params: &CertificateParams) -> Signed {
    let key = new_key();
    let certificate = params.self_signed(&key).expect("a key can sign");
    Signed { certificate, key }
}

/// Returns an authority's own certificate, and the means to sign with it.
fn signer(params: CertificateParams) -> (Certificate, Issuer<'static, KeyPair>) {
    let key = new_key();
    let certificate = params.self_signed(&key).expect("a key can sign");
    (certificate, Issuer::new(params, key))
}

fn signed_by(issuer: &Issuer<'static, KeyPair>, params: &CertificateParams) -> Signed {
    let key = new_key();
    let certificate = params
        .signed_by(&key, issuer)
        .expect("the authority can sign");
    Signed { certificate, key }
}

fn listed_cases() -> Vec<Case> {
    let mut as_made_by_openssl = named(&["localhost"], "localhost");
    as_made_by_openssl.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let as_made_by_openssl = self_signed(&as_made_by_openssl);
    let plain = self_signed(&named(&["localhost"], "plain"));
    let unlisted = self_signed(&named(&["localhost"], "unlisted"));
    let old = self_signed(&expired(named(&["localhost"], "old")));
    let other = self_signed(&named(&["other.example.org"], "other"));
    let by_common_name = self_signed(&named(&[], "localhost"));
    let similar = named(&["localhost"], "similar");
    let (genuine, similar) = (self_signed(&similar), self_signed(&similar));
    let (_, issuer) = signer(authority("Unlisted authority"));
    let leaf = signed_by(&issuer, &named(&["localhost"], "leaf"));
    vec![
        as_made_by_openssl.case(
            "listed authority",
            &[&as_made_by_openssl.certificate],
            Ok(()),
        ),
        plain.case("listed", &[&plain.certificate], Ok(())),
        by_common_name.case("listed, CN alone", &[&by_common_name.certificate], Ok(())),
        leaf.case("listed, unknown issuer", &[&leaf.certificate], Ok(())),
        unlisted.case("not listed", &[], Err("SSL_CERT_FILE")),
        old.case("listed, expired", &[&old.certificate], Err("has expired")),
        other.case(
            "listed, other host",
            &[&other.certificate],
            Err("another host"),
        ),
        similar.case(
            "names of a listed one",
            &[&genuine.certificate],
            Err("certificate"),
        ),
    ]
}

fn common_name_cases() -> Vec<Case> {
    let (root, issuer) = signer(authority("Common name authority"));
    let (limited, limited_issuer) = signer(constrained(authority("Limited authority")));
    let alone = signed_by(&issuer, &named(&[], "localhost"));
    let other = signed_by(&issuer, &named(&[], "other.example.org"));
    let contradicted = signed_by(&issuer, &named(&["other.example.org"], "localhost"));
    let forbidden = signed_by(&limited_issuer, &named(&[], "localhost"));
    let below = constrained(authority("Limited intermediate"));
    let below_key = new_key();
    let below_certificate = below.signed_by(&below_key, &issuer).expect("it can sign");
    let behind = signed_by(&Issuer::new(below, below_key), &named(&[], "localhost"));
    let mut behind = behind.case("CN behind a limit", &[&root], Err("another host"));
    behind.chain.push(below_certificate.der().clone());
    vec![
        alone.case("CN alone", &[&root], Ok(())),
        other.case("CN of another host", &[&root], Err("another host")),
        contradicted.case("CN beside other names", &[&root], Err("another host")),
        forbidden.case("CN outside of a limit", &[&limited], Err("another host")),
        behind,
    ]
}

/// An intermediate that has expired, with a valid certificate of the same key and name.
fn alternative_path_cases() -> Vec<Case> {
    let (_, old_root) = signer(authority("Old root"));
    let (old_trusted, expired_root) = signer(authority("Root of an expired intermediate"));
    let key = new_key();
    let intermediate = authority("Intermediate");
    let current = intermediate.self_signed(&key).expect("a key can sign");
    let outdated = expired(intermediate.clone()).signed_by(&key, &old_root);
    let outdated = outdated.expect("it can sign");
    let issuer = Issuer::new(intermediate, key);
    let leaf = signed_by(&issuer, &named(&["localhost"], "leaf"));
    let mut found = leaf.case("expired, other path", &[&current], Ok(()));
    found.chain.push(outdated.der().clone());
    let lone = expired(authority("Lone intermediate"));
    let lone_key = new_key();
    let lone_certificate = lone
        .signed_by(&lone_key, &expired_root)
        .expect("it can sign");
    let leaf = signed_by(&Issuer::new(lone, lone_key), &named(&["localhost"], "leaf"));
    let mut missing = leaf.case(
        "expired, no other path",
        &[&old_trusted],
        Err("has expired"),
    );
    missing.chain.push(lone_certificate.der().clone());
    vec![found, missing]
}

/// A certificate that openssl makes below a root of version 1, as some appliances have one.
struct OpensslCase {
    name: &'static str,
    /// Option for the signature of the certificate.
    digest: &'static str,
    common_name: &'static str,
    extensions: &'static str,
    /// File that the operator trusts.
    trusted: &'static str,
    outcome: Result<(), &'static str>,
}

const NAMED: OpensslCase = OpensslCase {
    name: "root of version 1",
    digest: "-sha256",
    common_name: "leaf",
    extensions: "subjectAltName=DNS:localhost",
    trusted: "ca.pem",
    outcome: Ok(()),
};

const OPENSSL_CASES: [OpensslCase; 10] = [
    NAMED,
    OpensslCase {
        name: "SHA-224",
        digest: "-sha224",
        outcome: Err("SSL_CERT_FILE"),
        ..NAMED
    },
    OpensslCase {
        name: "SHA-224, listed",
        digest: "-sha224",
        trusted: "leaf.pem",
        ..NAMED
    },
    OpensslCase {
        name: "SHA-3",
        digest: "-sha3-256",
        outcome: Err("cannot check the signature"),
        ..NAMED
    },
    OpensslCase {
        name: "of a client",
        extensions: "subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth",
        outcome: Err("SSL_CERT_FILE"),
        ..NAMED
    },
    OpensslCase {
        name: "of a client, listed",
        extensions: "subjectAltName=DNS:localhost\nextendedKeyUsage=clientAuth",
        trusted: "leaf.pem",
        ..NAMED
    },
    OpensslCase {
        name: "CN beside an address of mail",
        common_name: "localhost",
        extensions: "subjectAltName=email:a@example.org",
        ..NAMED
    },
    OpensslCase {
        name: "CN beside a URI",
        common_name: "localhost",
        extensions: "subjectAltName=URI:http://example.org/",
        ..NAMED
    },
    OpensslCase {
        name: "other CN beside a URI",
        extensions: "subjectAltName=URI:https://localhost/",
        outcome: Err("one of its names"),
        ..NAMED
    },
    OpensslCase {
        name: "CN beside another host",
        common_name: "localhost",
        extensions: "subjectAltName=email:a@example.org,DNS:other.example.org",
        outcome: Err("one of its names"),
        ..NAMED
    },
];

fn openssl(folder: &Path, arguments: &str) {
    let arguments: Vec<_> = arguments.split(' ').collect();
    let run = Tool::new("openssl", "openssl", folder)
        .args(&arguments)
        .run();
    run.assert_success();
}

fn make_openssl_root(folder: &Path) {
    openssl(
        folder,
        "req -newkey rsa:2048 -nodes -keyout ca.key -out ca.csr -subj /CN=Version-1",
    );
    openssl(
        folder,
        "x509 -req -in ca.csr -signkey ca.key -days 30 -out ca.pem",
    );
}

impl OpensslCase {
    /// Makes the certificate below the root in `folder`.
    fn make(&self, folder: &Path) -> Case {
        let Self {
            digest,
            common_name,
            ..
        } = self;
        let file = folder.join("extensions");
        std::fs::write(file, self.extensions).expect("the folder can be written");
        openssl(
            folder,
            &format!(
                "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN={common_name}"
            ),
        );
        openssl(
            folder,
            &format!(
                "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 {digest} \
                 -extfile extensions -out leaf.pem"
            ),
        );
        let read =
            |name: &str| std::fs::read_to_string(folder.join(name)).expect("openssl wrote it");
        let leaf = CertificateDer::from_pem_slice(read("leaf.pem").as_bytes());
        let key = PrivateKeyDer::from_pem_slice(read("leaf.key").as_bytes());
        Case {
            name: self.name,
            chain: vec![leaf.expect("the file has a certificate")],
            key: key.expect("the file has a key"),
            trusted: read(self.trusted),
            outcome: self.outcome,
        }
    }
}

#[test]
fn certificates_are_judged_as_by_wget() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let body = archive(1, 5000);
    let mut cases = listed_cases();
    cases.extend(common_name_cases());
    cases.extend(alternative_path_cases());
    make_openssl_root(folder.path());
    cases.extend(OPENSSL_CASES.iter().map(|case| case.make(folder.path())));
    let trusted: String = cases.iter().map(|case| case.trusted.as_str()).collect();
    let bundle = folder.path().join("bundle.pem");
    std::fs::write(&bundle, trusted).expect("the folder can be written");
    let mut builder = Gateway::builder()
        .relay()
        .one_attempt()
        .env("SSL_CERT_FILE", bundle.to_str().expect("the path is text"));
    let mut origins = Vec::new();
    for case in cases {
        let origin = Origin::start_tls(&Authority::serving(case.chain, case.key, ""));
        origin.serve(PATH, Reply::file(&body));
        builder = builder.origin(&origin);
        origins.push((case.name, case.outcome, origin));
    }
    let gateway = builder.start();
    for (name, outcome, origin) in &origins {
        let answer = gateway.get(&origin.named_url(PATH)).send();
        let text = answer.text();
        match outcome {
            Ok(()) => assert_eq!(answer.status, 200, "{name}: {text}"),
            Err(part) => {
                assert_eq!(answer.status, 502, "{name}");
                assert!(text.contains(part), "{name}: {text}");
                assert_eq!(origin.total(), 0, "{name}");
            }
        }
    }
}
