//! Tests of names, paths and the table of registries.

use super::*;

const DIGEST: &str = "sha256:abababababababababababababababababababababababababababababababab";

fn table(text: &str) -> RegistryTable {
    RegistryTable::new(&toml::from_str(text).unwrap()).unwrap()
}

/// Returns the key and the reason of the first invalid value.
fn mistake(text: &str) -> String {
    let config = toml::from_str(text).unwrap();
    RegistryTable::new(&config).unwrap_err().to_string()
}

#[test]
fn requests_name_registries_in_three_ways() {
    let table = table(
        "[\"hub.example.org\"]\nlibrary = true\n\
         endpoint = \"https://registry-1.example.org/\"\naliases = [\"hub\"]\n\
         default = true\n[\"registry.example.org:5000\"]\naliases = [\"five\"]\n",
    );
    for (namespace, name, target) in [
        (
            None,
            "debian",
            "https://registry-1.example.org/v2/library/debian/",
        ),
        (
            None,
            "mill/app",
            "https://registry-1.example.org/v2/mill/app/",
        ),
        (
            None,
            "hub/debian",
            "https://registry-1.example.org/v2/library/debian/",
        ),
        (
            None,
            "hub.example.org/mill/app",
            "https://registry-1.example.org/v2/mill/app/",
        ),
        (
            None,
            "five/debian",
            "https://registry.example.org:5000/v2/debian/",
        ),
        (
            Some("Registry.example.org:5000"),
            "five/debian",
            "https://registry.example.org:5000/v2/five/debian/",
        ),
        (
            Some("hub.example.org"),
            "debian",
            "https://registry-1.example.org/v2/library/debian/",
        ),
    ] {
        let (registry, name) = table.resolve(namespace, name).unwrap();
        let digest = parse_digest(DIGEST).unwrap();
        let blob = registry.blob(&name, &digest).unwrap();
        assert_eq!(blob.as_str(), format!("{target}blobs/{DIGEST}"), "{name}");
    }
    let unknown = table.resolve(Some("127.0.0.1:22"), "mill/app");
    assert_eq!(unknown, Err(RegistryError::UnknownRegistry));
    // A name that begins with another host is one of the default registry.
    let (registry, name) = table.resolve(None, "evil.example.org/app").unwrap();
    assert_eq!(
        (registry.name(), name.as_str()),
        ("hub.example.org", "evil.example.org/app")
    );
    assert_eq!(table.resolve(None, "five/"), Err(RegistryError::Name));
}

#[test]
fn no_default_registry_means_unknown() {
    let table = table("[\"registry.example.org\"]\n");
    assert_eq!(
        table.resolve(None, "a/b"),
        Err(RegistryError::UnknownRegistry)
    );
    assert!(!table.is_empty());
    assert!(RegistryTable::default().is_empty());
}

#[test]
fn invalid_registries_name_their_key() {
    for (text, start) in [
        (
            "[\"Registry.example.org\"]",
            "registries.Registry.example.org: must be a name",
        ),
        ("[\"a/b\"]", "registries.a/b.endpoint: must be a URL"),
        (
            "[\"a.example\"]\nendpoint = \"ftp://a.example\"",
            "registries.a.example.endpoint: must be a URL",
        ),
        (
            "[\"a.example\"]\nendpoint = \"https://a.example/v2\"",
            "registries.a.example.endpoint: must be a URL",
        ),
        (
            "[\"a.example\"]\nendpoint = \"https://u:p@a.example\"",
            "registries.a.example.endpoint: must be a URL",
        ),
        (
            "[\"a.example\"]\naliases = [\"a/b\"]",
            "registries.a.example.aliases: must be a name",
        ),
        (
            "[\"a.example\"]\n[\"b.example\"]\naliases = [\"a.example\"]",
            "registries.b.example.aliases: is the name of another registry",
        ),
        (
            "[\"a.example\"]\ndefault = true\n[\"b.example\"]\ndefault = true",
            "registries.b.example.default: can be set for one registry only",
        ),
    ] {
        let found = mistake(text);
        assert!(found.starts_with(start), "{text}: {found}");
    }
}

#[test]
fn names_of_repositories_are_checked() {
    for name in ["a", "library/debian", "a.b_c__d---e/0", "a/b/c/d"] {
        assert!(RepositoryName::parse(name).is_ok(), "{name}");
    }
    let long = format!("a/{}", "b".repeat(254));
    for name in [
        "", "/", "a/", "/a", "a//b", "A/b", "a..b", "a.", ".a", "a/..", "../a", "a___b", "a.-b",
        "a b", "a%2fb", "a:b", "a@b", "ä", "a?b", "a#b", "a\\b", &long,
    ] {
        assert_eq!(
            RepositoryName::parse(name),
            Err(RegistryError::Name),
            "{name}"
        );
    }
}

fn resource(path: &str) -> Option<Result<RegistryResource<'_>, RegistryError>> {
    RegistryPath::parse(path).map(|found| found.resource)
}

#[test]
fn paths_name_manifests_and_blobs() {
    assert_eq!(resource("/v2"), Some(Ok(RegistryResource::Version)));
    assert_eq!(resource("/v2/?ns=x"), Some(Ok(RegistryResource::Version)));
    assert_eq!(resource("/v20/"), None);
    assert_eq!(resource("/V2/"), None);
    let blob = RegistryResource::Blob {
        name: "a/blobs/b",
        digest: parse_digest(DIGEST).unwrap(),
    };
    assert_eq!(
        resource(&format!("/v2/a/blobs/b/blobs/{DIGEST}")),
        Some(Ok(blob.clone()))
    );
    let encoded = DIGEST.replace(':', "%3A");
    assert_eq!(
        resource(&format!("/v2/a/blobs/b/blobs/{encoded}?ns=x")),
        Some(Ok(blob))
    );
    let tag = RegistryResource::Manifest {
        name: "a",
        reference: ImageReference::Tag(ImageTag::parse("v1.0_x-Y").unwrap()),
    };
    assert_eq!(resource("/v2/a/manifests/v1.0_x-Y"), Some(Ok(tag)));
    for (path, error) in [
        ("/v2/a/blobs/sha256:ab", RegistryError::Digest),
        ("/v2/a/blobs/latest", RegistryError::Digest),
        (
            "/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
            RegistryError::Digest,
        ),
        ("/v2/a/blobs/uploads", RegistryError::Unsupported),
        ("/v2/a/blobs/uploads/", RegistryError::Unsupported),
        ("/v2/a/manifests/", RegistryError::Tag),
        ("/v2/a/manifests/.x", RegistryError::Tag),
        ("/v2/a/tags/list", RegistryError::Unsupported),
        ("/v2/_catalog", RegistryError::Unsupported),
        ("/v2/a/referrers/sha256:ab", RegistryError::Digest),
    ] {
        assert_eq!(resource(path), Some(Err(error)), "{path}");
    }
    let upper = format!("/v2/a/manifests/{}", DIGEST.replace("ab", "AB"));
    assert_eq!(resource(&upper), Some(Err(RegistryError::Digest)));
    let namespace = RegistryPath::parse("/v2/a/manifests/x?a=1&ns=127.0.0.1%3A5000").unwrap();
    assert_eq!(namespace.namespace.as_deref(), Some("127.0.0.1:5000"));
}

#[test]
fn referrers_have_digests_and_types() {
    let path = format!("/v2/a/b/referrers/{DIGEST}?artifactType=application%2Fx%2Bjson&ns=r");
    let parsed = RegistryPath::parse(&path).unwrap();
    assert_eq!(parsed.artifact_type.as_deref(), Some("application/x+json"));
    let subject = parse_digest(DIGEST).unwrap();
    let name = "a/b";
    assert_eq!(
        parsed.resource,
        Ok(RegistryResource::Referrers { name, subject })
    );
    for path in ["/v2/a/referrers/latest", "/v2/a/referrers/"] {
        let parsed = RegistryPath::parse(path).unwrap();
        assert_eq!(parsed.resource, Err(RegistryError::Digest), "{path}");
    }
}
