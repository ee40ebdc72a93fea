//! The certificate authority of intercepted hosts: what `millpond ca` makes, and which files the
//! service refuses.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};

use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, NameConstraints,
    date_time_ymd,
};

use crate::harness::{Tool, all_at_once, is_root, millpond};
use crate::intercept::harness::AuthorityFolder;

const HOSTS: [&str; 2] = ["files.example.org", "Other.example.net"];

const UNCONSTRAINED: &str = "no critical name constraints";

/// User of the service. It need not exist.
const SERVICE_USER: u32 = 31_415;

#[track_caller]
fn openssl(folder: &AuthorityFolder, arguments: &[&str]) -> String {
    let certificate = ["x509", "-in", "state/ca/ca.pem", "-noout"];
    let run = Tool::new("openssl", "openssl", folder.path())
        .args(&certificate)
        .args(arguments)
        .run();
    run.assert_success();
    run.stdout
}

/// Asserts that check-config and the service refuse the configuration with this text.
#[track_caller]
fn assert_refused(folder: &AuthorityFolder, hosts: &[&str], text: &str) {
    for command in [&["check-config"][..], &["serve"]] {
        let refused = folder.run(hosts, command);
        assert_eq!(refused.code, Some(2), "{command:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(text),
            "{command:?}: {}",
            refused.stderr
        );
        let lines = refused.stderr.trim().lines().count();
        assert_eq!(lines, 1, "{}", refused.stderr);
    }
}

#[track_caller]
fn assert_accepted(folder: &AuthorityFolder, hosts: &[&str]) {
    folder.run(hosts, &["check-config"]).assert_success();
}

/// Change of the certificate of an authority.
type Change<'a> = dyn Fn(&mut CertificateParams) + 'a;

#[test]
fn authority_is_limited_to_listed_hosts() {
    let folder = AuthorityFolder::with_authority(&HOSTS);
    let text = openssl(&folder, &["-text"]);
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
    assert_eq!(folder.mode("ca.key"), 0o600);
    assert_eq!(folder.mode("ca.pem"), 0o640);
    assert_eq!(folder.mode(""), 0o750);
    assert_accepted(&folder, &HOSTS);
}

#[test]
fn ca_show_prints_what_clients_trust() {
    let folder = AuthorityFolder::empty();
    let made = folder.run(&HOSTS, &["ca", "init"]);
    let shown = folder.run(&HOSTS, &["ca", "show"]);
    shown.assert_success();
    assert_eq!(shown.stdout, made.stdout);
    let hosts = "hosts        files.example.org, other.example.net";
    assert!(shown.stdout.contains(hosts), "{}", shown.stdout);
    let facts = folder.run(&HOSTS, &["ca", "show", "--json"]).documents();
    let fingerprint = openssl(&folder, &["-fingerprint", "-sha256"]);
    let (_, fingerprint) = fingerprint.trim().rsplit_once('=').expect("it has a value");
    assert_eq!(
        facts[0]["sha256"],
        fingerprint.replace(':', "").to_lowercase()
    );
    let pem = folder.run(&HOSTS, &["ca", "show", "--pem"]);
    let file = String::from_utf8(folder.read("ca.pem")).expect("the file is text");
    assert_eq!(pem.stdout, file.replace('\r', ""));
    let key = String::from_utf8(folder.read("ca.key")).expect("the file is text");
    let secret = key.lines().nth(1).expect("a key has lines");
    assert!(!made.stdout.contains(secret) && !pem.stdout.contains(secret));
}

#[test]
fn ca_init_replaces_no_authority() {
    let folder = AuthorityFolder::empty();
    let without = folder.run(&[], &["ca", "init"]);
    assert_eq!(without.code, Some(2), "{}", without.stderr);
    assert!(without.stderr.contains("intercept.hosts is empty"));
    let missing = folder.run(&HOSTS, &["ca", "show"]);
    assert_eq!(missing.code, Some(3), "{}", missing.stderr);
    folder.run(&HOSTS, &["ca", "init"]).assert_success();
    let files = || ["ca.key", "ca.pem"].map(|name| folder.read(name));
    let before = files();
    let again = folder.run(&["a.example.org"], &["ca", "init"]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("exists; move"), "{}", again.stderr);
    assert_eq!(files(), before);
    // A key without its certificate is not replaced either.
    fs::remove_file(folder.file("ca.pem")).expect("the file exists");
    assert_eq!(folder.run(&HOSTS, &["ca", "init"]).code, Some(1));
    let other = ["ca", "init", "--set", "intercept.ca_dir=new"];
    folder.run(&["a.example.org"], &other).assert_success();
    assert!(folder.path().join("new/ca.key").is_file());
}

#[test]
fn one_of_concurrent_commands_makes_authority() {
    let folder = AuthorityFolder::empty();
    let runs = all_at_once(8, |_| {
        let hosts = "intercept.hosts=[\"files.example.org\"]";
        millpond(folder.path(), &["ca", "init", "--set", hosts])
    });
    let made = runs.iter().filter(|run| run.code == Some(0)).count();
    assert_eq!(made, 1, "{runs:?}");
    for run in runs.iter().filter(|run| run.code != Some(0)) {
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.contains("exists; move"), "{run:?}");
    }
    assert_accepted(&folder, &["files.example.org"]);
}

#[test]
fn authority_in_folder_of_root_belongs_to_service() {
    if !is_root() {
        eprintln!("SKIPPED: only root can give a folder to another user");
        return;
    }
    let folder = AuthorityFolder::empty();
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).expect("a folder can be made");
    chown(&cache, Some(SERVICE_USER), Some(SERVICE_USER)).expect("root can change the owner");
    fs::create_dir(folder.path().join("made")).expect("a folder can be made");
    let owner = |name: &str| {
        let metadata = fs::metadata(folder.path().join(name)).expect("it exists");
        metadata.uid()
    };
    for ca_dir in ["ca-2", "made"] {
        let setting = format!("intercept.ca_dir={ca_dir}");
        let command = ["ca", "init", "--set", &setting];
        folder.run(&HOSTS, &command).assert_success();
        for file in ["ca.key", "ca.pem"] {
            assert_eq!(owner(&format!("{ca_dir}/{file}")), SERVICE_USER, "{file}");
        }
    }
    assert_eq!(owner("ca-2"), SERVICE_USER);
    assert_eq!(owner("made"), 0, "the folder was there before");
}

#[test]
fn other_hosts_need_new_authority() {
    let folder = AuthorityFolder::empty();
    assert_refused(
        &folder,
        &HOSTS,
        "there is no certificate authority in state/ca",
    );
    folder.run(&HOSTS, &["ca", "init"]).assert_success();
    let more = ["files.example.org", "new.example.org"];
    assert_refused(&folder, &more, "ca.pem does not cover new.example.org");
    assert_refused(&folder, &more, "intercept.hosts");
    let shown = folder.run(&more, &["ca", "show"]);
    assert!(
        shown.stdout.contains("not covered  new.example.org"),
        "{}",
        shown.stdout
    );
    // Fewer hosts, and subdomains of a host, are covered.
    for hosts in [&["files.example.org"][..], &["a.files.example.org"]] {
        assert_accepted(&folder, hosts);
    }
}

#[test]
fn unusable_authority_files_are_refused() {
    let folder = AuthorityFolder::with_authority(&HOSTS);
    let (good, good_key) = (folder.read("ca.pem"), folder.read("ca.key"));
    folder.set_mode("ca.key", 0o644);
    let open = "open to other users (mode 644); run chmod 600";
    assert_refused(&folder, &HOSTS, open);
    folder.set_mode("ca.key", 0o640);
    assert_accepted(&folder, &HOSTS);
    for bytes in [&b"no key"[..], b""] {
        folder.write("ca.key", bytes);
        assert_refused(&folder, &HOSTS, "no private key");
    }
    let other = KeyPair::generate().expect("a key can be made");
    folder.write("ca.key", other.serialize_pem());
    assert_refused(&folder, &HOSTS, "does not belong to the key beside it");
    folder.write("ca.key", &good_key);
    folder.write("ca.pem", &good[..200]);
    assert_refused(&folder, &HOSTS, "contains no certificate in PEM");
    fs::remove_file(folder.file("ca.key")).expect("the file exists");
    folder.write("ca.pem", &good);
    assert_refused(&folder, &HOSTS, "cannot read state/ca/ca.key");
}

#[test]
fn foreign_authorities_need_the_same_limits() {
    fn constraints(params: &mut CertificateParams) -> &mut NameConstraints {
        params.name_constraints.as_mut().expect("it has them")
    }
    let folder = AuthorityFolder::empty();
    let hosts = ["files.example.org"];
    folder.put(|_| ());
    assert_accepted(&folder, &hosts);
    folder.put(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);
    assert_accepted(&folder, &hosts);
    let excluded = || GeneralSubtree::DnsName("files.example.org".to_owned());
    let everything = || vec![GeneralSubtree::DnsName(String::new())];
    let changes: [(&Change<'_>, &str); 8] = [
        (&|params| params.name_constraints = None, UNCONSTRAINED),
        (
            &|params| constraints(params).excluded_subtrees.clear(),
            UNCONSTRAINED,
        ),
        (
            &|params| constraints(params).permitted_subtrees = everything(),
            UNCONSTRAINED,
        ),
        (
            &|params| constraints(params).excluded_subtrees.push(excluded()),
            "does not cover files.example.org",
        ),
        (
            &|params| params.is_ca = IsCa::ExplicitNoCa,
            "is no certificate of an authority for servers",
        ),
        (
            &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "is no certificate of an authority for servers",
        ),
        (
            &|params| params.not_after = date_time_ymd(2020, 1, 1),
            "has expired on 2020-01-01T00:00:00Z",
        ),
        (
            &|params| params.not_before = date_time_ymd(2090, 1, 1),
            "is not valid before 2090-01-01T00:00:00Z",
        ),
    ];
    for (change, text) in changes {
        folder.put(change);
        assert_refused(&folder, &hosts, text);
    }
}

#[test]
fn invalid_sections_are_reported() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let listed = "intercept.hosts=[\"x.org\"]";
    for (settings, text) in [
        (
            &["intercept.hosts=[\"*.example.org\"]"][..],
            "intercept.hosts: \"*.example.org\" is no host name",
        ),
        (
            &[listed, "proxy.listen="],
            "intercept.hosts: needs proxy.listen",
        ),
        (
            &["intercept.ca_dir=cache/ca"],
            "intercept.ca_dir: must not be in cache.dir",
        ),
        (
            &[listed, "gateway.state_dir=cache/state"],
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
