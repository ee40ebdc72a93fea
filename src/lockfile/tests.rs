//! Tests of all formats.

use super::*;

const SHA256: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const MD5: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn bases() -> RegistryBases {
    let kinds = RegistryKind::ALL.into_iter();
    let base = |kind: RegistryKind| format!("{kind}=https://{kind}.example.org/base/");
    RegistryBases(kinds.map(|kind| base(kind).parse().unwrap()).collect())
}

/// Returns the files as `URL DIGESTS`, and the notes.
fn read(name: &str, text: &str) -> (Vec<String>, Vec<String>) {
    let listed = parse_lockfile(name, text, &bases()).unwrap();
    let file = |file: &crate::model::WantedFile| {
        let digests = file.expected.iter().map(ToString::to_string);
        format!(
            "{} {}",
            file.url.as_str(),
            digests.collect::<Vec<_>>().join(" ")
        )
    };
    let notes = listed.notes.iter().map(ToString::to_string);
    (listed.files.iter().map(file).collect(), notes.collect())
}

/// Returns `sha512-...`, and the same digest as hexadecimal digits.
fn integrity() -> (String, String) {
    let zeros = "A".repeat(86);
    (
        format!("sha512-{zeros}=="),
        format!("sha512:{}", "0".repeat(128)),
    )
}

#[test]
fn formats_of_languages_are_read() {
    let (sri, sha512) = integrity();
    let cargo = format!(
        "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
         source = \"registry+x\"\nchecksum = \"{SHA256}\"\n\
         [[package]]\nname = \"g\"\nversion = \"1.0.0\"\nsource = \"git+https://x#1\"\n\
         [[package]]\nname = \"own\"\nversion = \"0.1.0\"\n"
    );
    let (files, notes) = read("Cargo.lock", &cargo);
    assert_eq!(
        files,
        [format!(
            "https://cargo.example.org/base/a/1.0.0/download sha256:{SHA256}"
        )]
    );
    assert_eq!(
        notes,
        ["g 1.0.0: its source is a git repository, which is no file"]
    );
    let url = "https://npm.example.org/a/-/a-1.0.0.tgz";
    let npm = format!(
        "{{\"lockfileVersion\": 3, \"packages\": {{\"\": {{}}, \"node_modules/a\": {{\
         \"version\": \"1.0.0\", \"resolved\": \"{url}\", \"integrity\": \"{sri}\"}}, \
         \"node_modules/b\": {{\"version\": \"2\", \"resolved\": \"git+ssh://x/b\"}}}}}}"
    );
    let (files, notes) = read("package-lock.json", &npm);
    assert_eq!(files, [format!("{url} {sha512}")]);
    assert_eq!(
        notes,
        [
            "b 2: git+ssh cannot be fetched as a file",
            "b 2: no single digest is stated"
        ]
    );
    let yarn = format!(
        "# yarn lockfile v1\n\n\"a@^1.0.0\":\n  version \"1.0.0\"\n  resolved \"{url}#00\"\n  \
         integrity {sri}\n"
    );
    assert_eq!(read("yarn.lock", &yarn).0, [format!("{url} {sha512}")]);
    let berry = "__metadata:\n  version: 8\n\n\"@s/a@npm:^1\":\n  version: 1.0.0\n  \
                 resolution: \"@s/a@npm:1.0.0\"\n  checksum: 10c0/00\n";
    let expected = "https://npm.example.org/base/@s/a/-/a-1.0.0.tgz ";
    assert_eq!(read("yarn.lock", berry).0, [expected]);
    let go = "example.org/A v1.0.0 h1:abc=\nexample.org/A v1.0.0/go.mod h1:def=\n";
    let (files, notes) = read("go.sum", go);
    let zip = "https://go.example.org/base/example.org/!a/@v/v1.0.0";
    assert_eq!(files, [format!("{zip}.zip "), format!("{zip}.mod ")]);
    assert!(notes[0].ends_with("h1 is no digest of the file, so that none is stated"));
    let pip = format!(
        "a==1.0 \\\n    --hash=sha256:{SHA256}\n\
         b @ https://example.org/b-1.0.zip --hash=sha256:{SHA256}\n"
    );
    let (files, notes) = read("requirements.txt", &pip);
    assert_eq!(
        files,
        [format!("https://example.org/b-1.0.zip sha256:{SHA256}")]
    );
    assert_eq!(notes, ["a==1.0: a requirement states a name and no URL"]);
    let conda = format!("@EXPLICIT\nhttps://example.org/c-1.conda#{MD5}\n");
    assert_eq!(
        read("", &conda).0,
        [format!("https://example.org/c-1.conda md5:{MD5}")]
    );
    let conda = format!(
        "version: 1\nmetadata:\n  channels:\n  - url: https://example.org\npackage:\n- name: c\n  \
         url: https://example.org/c-1.conda\n  hash:\n    md5: {MD5}\n    sha256: {SHA256}\n"
    );
    let expected = format!("https://example.org/c-1.conda md5:{MD5} sha256:{SHA256}");
    assert_eq!(read("conda-lock.yml", &conda).0, [expected]);
}

#[test]
fn formats_of_distributions_are_read() {
    let srcinfo = format!(
        "pkgbase = x\n\tsource = y.gz::https://example.org/x-1.gz\n\tsource = local.patch\n\
         \tsource = git+https://example.org/x\n\tsha256sums = {SHA256}\n\tsha256sums = SKIP\n\
         \tsha256sums = SKIP\n"
    );
    let (files, notes) = read(".SRCINFO", &srcinfo);
    assert_eq!(
        files,
        [format!("https://example.org/x-1.gz sha256:{SHA256}")]
    );
    assert_eq!(notes.len(), 2, "{notes:?}");
    let dsc = format!(
        "Source: x\nChecksums-Sha256:\n {SHA256} 10 x_1.tar.gz\nFiles:\n {MD5} 10 x_1.tar.gz\n"
    );
    let base = "https://files.example.org/base";
    assert_eq!(
        read("x.dsc", &dsc).0,
        [format!("{base}/x_1.tar.gz md5:{MD5} sha256:{SHA256}")]
    );
    let sha512 = "c".repeat(128);
    let manifest = format!("DIST x-1.gz 10 BLAKE2B 00 SHA512 {sha512}\nEBUILD x.ebuild 1\n");
    assert_eq!(
        read("Manifest", &manifest).0,
        [format!("{base}/x-1.gz sha512:{sha512}")]
    );
    let hash = format!("# from upstream\nsha256  {SHA256}  x-1.gz\nmd5  {MD5}  x-1.gz\n");
    assert_eq!(
        read("x.hash", &hash).0,
        [format!("{base}/x-1.gz md5:{MD5} sha256:{SHA256}")]
    );
    let named = named_digests(&format!("SHA256 (x y.gz) = {SHA256}\n\n{MD5}  z.gz\n"));
    let named: Vec<String> = named
        .unwrap()
        .iter()
        .map(|(name, of)| format!("{name} {of}"))
        .collect();
    assert_eq!(
        named,
        [format!("x y.gz sha256:{SHA256}"), format!("z.gz md5:{MD5}")]
    );
    assert_eq!(
        named_digests("# a\nnonsense")
            .unwrap_err()
            .to_string()
            .get(..2),
        Some("2:")
    );
}

#[test]
fn bills_of_materials_are_read() {
    let url = "https://example.org/x-1.gz";
    let spdx = format!(
        "{{\"spdxVersion\": \"SPDX-2.3\", \"packages\": [{{\"name\": \"x\", \
         \"downloadLocation\": \"{url}\", \"checksums\": [{{\"algorithm\": \"SHA256\", \
         \"checksumValue\": \"{SHA256}\"}}]}}, {{\"name\": \"y\", \
         \"downloadLocation\": \"NOASSERTION\"}}]}}"
    );
    let expected = [format!("{url} sha256:{SHA256}")];
    let (files, notes) = read("", &spdx);
    assert_eq!(files, expected);
    assert_eq!(notes, ["y: no download location is stated"]);
    let tags = format!(
        "SPDXVersion: SPDX-2.3\nPackageName: x\nPackageDownloadLocation: {url}\n\
         PackageChecksum: SHA256: {SHA256}\n"
    );
    assert_eq!(read("", &tags).0, expected);
    let cyclonedx = format!(
        "{{\"bomFormat\": \"CycloneDX\", \"components\": [{{\"name\": \"x\", \"hashes\": \
         [{{\"alg\": \"SHA-256\", \"content\": \"{SHA256}\"}}], \"externalReferences\": \
         [{{\"type\": \"distribution\", \"url\": \"{url}\"}}]}}]}}"
    );
    assert_eq!(read("", &cyclonedx).0, expected);
}

#[test]
fn unknown_files_and_versions_are_refused() {
    let error = |name: &str, text: &str| {
        let bases = RegistryBases::default();
        parse_lockfile(name, text, &bases).unwrap_err().to_string()
    };
    assert!(error("x", "hello").starts_with("this is none of the known lock files"));
    assert_eq!(
        error("Cargo.lock", "version = 9\n[[package]]\n"),
        "Cargo.lock of version 9 is not known"
    );
    assert_eq!(
        error("", "{\"lockfileVersion\": 9}"),
        "package-lock.json of version 9 is not known"
    );
    assert_eq!(
        error(
            "",
            "{\"@context\": \"https://spdx.org/rdf/3.0.1/spdx-context.jsonld\"}"
        ),
        "SPDX of version 3 is not known"
    );
    let poetry = "[[package]]\nname = \"a\"\n[metadata]\nlock-version = \"2.1\"\n";
    assert!(error("poetry.lock", poetry).starts_with("this is none of the known lock files"));
    let marked = format!("\u{feff}@EXPLICIT\nhttps://example.org/c-1.conda#{MD5}\n");
    assert_eq!(read("", &marked).0.len(), 1);
    assert!(error("Cargo.lock", "[[package]]\nname = ").starts_with("the file is invalid: "));
    let locked = "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = \"registry+x\"\n";
    assert_eq!(
        error("Cargo.lock", locked),
        "the file names no file that can be fetched: a 1: the file states no URL; name one by \
         cargo=URL"
    );
    let deep = format!("{{\"bomFormat\": {}", "[".repeat(100_000));
    assert!(error("", &deep).starts_with("the file is invalid: recursion limit"));
}
