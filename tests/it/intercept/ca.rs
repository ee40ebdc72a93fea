//! The certificate authority of intercepted hosts: what `millpond ca` makes, and which files the
//! service refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, GeneralSubtree, IsCa, KeyPair,
    NameConstraints, date_time_ymd,
};

use crate::harness::{Run, Tool, millpond};

const HOSTS: [&str; 2] = ["files.example.org", "Other.example.net"];

/// Writes a configuration with these hosts, and runs a command with it.
#[track_caller]
fn run(folder: &Path, hosts: &[&str], command: &[&str]) -> Run {
    let text = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\n[proxy]\nlisten = \"127.0.0.1:0\"\n\
         [intercept]\nhosts = {hosts:?}\n"
    );
    fs::write(folder.join("a.toml"), text).expect("the folder is writable");
    millpond(folder, &[command, &["--config", "a.toml"]].concat())
}

#[track_caller]
fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let run = Tool::new("openssl", "openssl", folder)
        .args(arguments)
        .run();
    run.assert_success();
    run.stdout
}

/// Asserts that check-config and the service refuse the configuration with this text.
#[track_caller]
fn assert_refused(folder: &Path, hosts: &[&str], text: &str) {
    for command in [&["check-config"][..], &["serve"]] {
        let refused = run(folder, hosts, command);
        assert_eq!(refused.code, Some(2), "{command:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(text),
            "{command:?}: {}",
            refused.stderr
        );
        assert_eq!(
            refused.stderr.trim().lines().count(),
            1,
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn authority_is_limited_to_listed_hosts() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    run(folder, &HOSTS, &["ca", "init"]).assert_success();
    let text = openssl(
        folder,
        &["x509", "-in", "state/ca/ca.pem", "-noout", "-text"],
    );
    for part in [
        "X509v3 Name Constraints: critical",
        "DNS:files.example.org",
        "DNS:other.example.net",
        "IP:0.0.0.0/0.0.0.0",
        "IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
        "X509v3 Basic Constraints: critical",
        "CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical",
        "TLS Web Server Authentication",
        "prime256v1",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(text.matches("DNS:").count(), 2, "{text}");
    let mode = |name: &str| {
        let file = fs::metadata(folder.join("state/ca").join(name)).expect("the file exists");
        file.permissions().mode() & 0o777
    };
    assert_eq!(mode("ca.key"), 0o600);
    assert_eq!(mode("ca.pem"), 0o640);
    run(folder, &HOSTS, &["check-config"]).assert_success();
}

#[test]
fn ca_show_prints_what_clients_trust() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    let made = run(folder, &HOSTS, &["ca", "init"]);
    let shown = run(folder, &HOSTS, &["ca", "show"]);
    shown.assert_success();
    assert_eq!(shown.stdout, made.stdout);
    let hosts = "hosts        files.example.org, other.example.net";
    assert!(shown.stdout.contains(hosts), "{}", shown.stdout);
    let facts = run(folder, &HOSTS, &["ca", "show", "--json"]).documents();
    let fingerprint = openssl(
        folder,
        &[
            "x509",
            "-in",
            "state/ca/ca.pem",
            "-noout",
            "-fingerprint",
            "-sha256",
        ],
    );
    let fingerprint = fingerprint
        .trim()
        .rsplit('=')
        .next()
        .expect("it has a value");
    assert_eq!(
        facts[0]["sha256"],
        fingerprint.replace(':', "").to_lowercase()
    );
    let pem = run(folder, &HOSTS, &["ca", "show", "--pem"]);
    let file = fs::read_to_string(folder.join("state/ca/ca.pem")).expect("the file is text");
    assert_eq!(pem.stdout, file.replace('\r', ""));
    let key = fs::read_to_string(folder.join("state/ca/ca.key")).expect("the file is text");
    let secret = key.lines().nth(1).expect("a key has lines");
    assert!(!made.stdout.contains(secret) && !pem.stdout.contains(secret));
}

#[test]
fn ca_init_replaces_no_authority() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    let without = run(folder, &[], &["ca", "init"]);
    assert_eq!(without.code, Some(2), "{}", without.stderr);
    assert!(without.stderr.contains("intercept.hosts is empty"));
    let missing = run(folder, &HOSTS, &["ca", "show"]);
    assert_eq!(missing.code, Some(3), "{}", missing.stderr);
    run(folder, &HOSTS, &["ca", "init"]).assert_success();
    let files =
        || ["ca.key", "ca.pem"].map(|name| fs::read(folder.join("state/ca").join(name)).ok());
    let before = files();
    let again = run(folder, &["a.example.org"], &["ca", "init"]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("exists; move"), "{}", again.stderr);
    assert_eq!(files(), before);
    // A key without its certificate is not replaced either.
    fs::remove_file(folder.join("state/ca/ca.pem")).expect("the file exists");
    assert_eq!(run(folder, &HOSTS, &["ca", "init"]).code, Some(1));
    let other = ["ca", "init", "--set", "intercept.ca_dir=new"];
    run(folder, &["a.example.org"], &other).assert_success();
    assert!(folder.join("new/ca.key").is_file());
}

#[test]
fn other_hosts_need_new_authority() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    assert_refused(
        folder,
        &HOSTS,
        "there is no certificate authority in state/ca",
    );
    run(folder, &HOSTS, &["ca", "init"]).assert_success();
    let more = ["files.example.org", "new.example.org"];
    assert_refused(folder, &more, "ca.pem does not cover new.example.org");
    assert_refused(folder, &more, "intercept.hosts");
    let shown = run(folder, &more, &["ca", "show"]);
    assert!(
        shown.stdout.contains("not covered  new.example.org"),
        "{}",
        shown.stdout
    );
    // Fewer hosts, and subdomains of a host, are covered.
    for hosts in [&["files.example.org"][..], &["a.files.example.org"]] {
        run(folder, hosts, &["check-config"]).assert_success();
    }
}

#[test]
fn unusable_authority_files_are_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    run(folder, &HOSTS, &["ca", "init"]).assert_success();
    let (file, key) = (
        folder.join("state/ca/ca.pem"),
        folder.join("state/ca/ca.key"),
    );
    let (good, good_key) = (fs::read(&file), fs::read(&key));
    let (good, good_key) = (good.expect("a file"), good_key.expect("a file"));
    let rights = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(&key, rights(0o644)).expect("the mode can be set");
    assert_refused(
        folder,
        &HOSTS,
        "open to other users (mode 644); run chmod 600",
    );
    fs::set_permissions(&key, rights(0o640)).expect("the mode can be set");
    run(folder, &HOSTS, &["check-config"]).assert_success();
    for (bytes, text) in [(&b"no key"[..], "no private key"), (b"", "no private key")] {
        fs::write(&key, bytes).expect("the file is writable");
        assert_refused(folder, &HOSTS, text);
    }
    let other = KeyPair::generate().expect("a key can be made");
    fs::write(&key, other.serialize_pem()).expect("the file is writable");
    assert_refused(folder, &HOSTS, "does not belong to the key beside it");
    fs::write(&key, &good_key).expect("the file is writable");
    fs::write(&file, &good[..200]).expect("the file is writable");
    assert_refused(folder, &HOSTS, "contains no certificate in PEM");
    fs::remove_file(&key).expect("the file exists");
    fs::write(&file, &good).expect("the file is writable");
    assert_refused(folder, &HOSTS, "cannot read state/ca/ca.key");
}

#[test]
fn foreign_authorities_need_the_same_limits() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    fs::create_dir_all(folder.join("state/ca")).expect("a folder can be made");
    let key = KeyPair::generate().expect("a key can be made");
    let put = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = CertificateParams::default();
        let name = "An authority of the company";
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let all = ["0.0.0.0", "::"].map(|address| {
            let address = address.parse().expect("an address");
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, 0))
        });
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("example.org".to_owned())],
            excluded_subtrees: all.to_vec(),
        });
        change(&mut params);
        let certificate = params.self_signed(&key).expect("a key can sign");
        fs::write(folder.join("state/ca/ca.pem"), certificate.pem()).expect("it is writable");
    };
    fs::write(folder.join("state/ca/ca.key"), key.serialize_pem()).expect("it is writable");
    let rights = fs::Permissions::from_mode(0o600);
    fs::set_permissions(folder.join("state/ca/ca.key"), rights).expect("the mode can be set");
    put(&|_| ());
    run(folder, &["files.example.org"], &["check-config"]).assert_success();
    let hosts = ["files.example.org"];
    put(&|params| params.name_constraints = None);
    assert_refused(folder, &hosts, "no critical name constraints");
    put(&|params| {
        let constraints = params
            .name_constraints
            .as_mut()
            .expect("it has constraints");
        constraints.excluded_subtrees.clear();
    });
    assert_refused(folder, &hosts, "no critical name constraints");
    put(&|params| {
        let constraints = params
            .name_constraints
            .as_mut()
            .expect("it has constraints");
        constraints.permitted_subtrees = vec![GeneralSubtree::DnsName(String::new())];
    });
    assert_refused(folder, &hosts, "no critical name constraints");
    put(&|params| {
        let constraints = params
            .name_constraints
            .as_mut()
            .expect("it has constraints");
        let excluded = GeneralSubtree::DnsName("files.example.org".to_owned());
        constraints.excluded_subtrees.push(excluded);
    });
    assert_refused(folder, &hosts, "does not cover files.example.org");
    put(&|params| params.is_ca = IsCa::ExplicitNoCa);
    assert_refused(folder, &hosts, "is no certificate of an authority");
    put(&|params| params.not_after = date_time_ymd(2020, 1, 1));
    assert_refused(folder, &hosts, "has expired on 2020-01-01T00:00:00Z");
    put(&|params| params.not_before = date_time_ymd(2090, 1, 1));
    assert_refused(folder, &hosts, "is not valid before 2090-01-01T00:00:00Z");
}

#[test]
fn invalid_sections_are_reported() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (settings, text) in [
        (
            &["intercept.hosts=[\"*.example.org\"]"][..],
            "intercept.hosts: \"*.example.org\" is no host name",
        ),
        (
            &["intercept.hosts=[\"x.org\"]", "proxy.listen="],
            "intercept.hosts: needs proxy.listen",
        ),
        (
            &["intercept.ca_dir=cache/ca"],
            "intercept.ca_dir: must not be in cache.dir",
        ),
    ] {
        let flags = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<_> = ["check-config"].into_iter().chain(flags).collect();
        let refused = millpond(folder.path(), &arguments);
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains(text), "{}", refused.stderr);
    }
}
