//! Paths of container registries: whatever they contain, they lead to a configured registry, and to
//! a path that the client has spelled in full.

use millpond::registry::{RegistryPath, RegistryResource, RegistryTable};
use proptest::prelude::*;
use proptest::sample::select;

use super::{CASES, cases};

/// Base URLs of the table below.
const BASES: [&str; 2] = ["https://one.example.org", "http://127.0.0.1:5000"];

fn table() -> RegistryTable {
    let text = format!(
        "[\"one.example.org\"]\naliases = [\"hub.example.org\", \"one\"]\n\
         [two]\nendpoint = \"{}\"\n\
         default = true\n",
        BASES[1]
    );
    let config = toml::from_str(&text).expect("the table is TOML");
    RegistryTable::new(&config).expect("the table is valid")
}

fn segment() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "one",
            "two",
            "hub.example.org",
            "one.example.org",
            "127.0.0.1:22",
            "blobs",
            "manifests",
            "latest",
            "..",
            "%2e%2e",
            "%2f",
            "",
        ])
        .prop_map(str::to_owned),
        "[a-z0-9._-]{1,9}",
        "sha256:[0-9a-f]{64}",
        "\\PC{0,12}",
    ]
}

proptest! {
    #![proptest_config(cases(CASES))]

    #[test]
    fn registry_paths_lead_to_listed_registries(
        segments in prop::collection::vec(segment(), 0..6),
        namespace in prop::option::of(segment()),
    ) {
        let query = namespace.map_or(String::new(), |name| format!("?ns={name}"));
        let path = format!("/v2/{}{query}", segments.join("/"));
        let Some(found) = RegistryPath::parse(&path) else {
            panic!("{path} is below /v2/");
        };
        let table = table();
        let namespace = found.namespace.as_deref();
        let target = match found.resource {
            Ok(RegistryResource::Blob { name, digest }) => {
                let resolved = table.resolve(namespace, name);
                resolved.and_then(|(registry, name)| registry.blob(&name, &digest))
            }
            Ok(RegistryResource::Manifest { name, reference }) => {
                let resolved = table.resolve(namespace, name);
                resolved.and_then(|(registry, name)| registry.manifest(&name, &reference))
            }
            Ok(RegistryResource::Referrers { name, subject }) => table
                .resolve(namespace, name)
                .and_then(|(registry, name)| registry.referrers(&name, &subject)),
            Ok(RegistryResource::Version) | Err(_) => return Ok(()),
        };
        if let Ok(target) = target {
            let rest = BASES.iter().find_map(|base| target.as_str().strip_prefix(base));
            let rest = rest.expect("the registry is listed");
            prop_assert!(rest.starts_with("/v2/"), "{}", target.as_str());
            prop_assert!(!rest.contains(['?', '%', '#', '\\']), "{}", target.as_str());
            prop_assert!(!rest.split('/').any(|part| part.starts_with("..")));
        }
    }
}
