//! Paths of container registries, and challenges in which registries name their token services. The
//! first line is a path and query, the second one a value of `WWW-Authenticate`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::registry::{
    RegistryPath, RegistryResource, RegistryTable, RepositoryName, TokenService,
};

const BASE: &str = "https://registry.example.org/v2/";

fuzz_target!(|text: &str| {
    let (path, challenge) = text.split_once('\n').unwrap_or((text, ""));
    let config = toml::from_str("[\"registry.example.org\"]\naliases = [\"r\"]\ndefault = true")
        .expect("the table is TOML");
    let table = RegistryTable::new(&config).expect("the table is valid");
    if let Some(found) = RegistryPath::parse(path) {
        let namespace = found.namespace.as_deref();
        let target = match found.resource {
            Ok(RegistryResource::Blob { name, digest }) => table
                .resolve(namespace, name)
                .and_then(|(registry, name)| registry.blob(&name, &digest)),
            Ok(RegistryResource::Manifest { name, reference }) => table
                .resolve(namespace, name)
                .and_then(|(registry, name)| registry.manifest(&name, &reference)),
            Ok(RegistryResource::Referrers { name, subject }) => table
                .resolve(namespace, name)
                .and_then(|(registry, name)| registry.referrers(&name, &subject)),
            Ok(RegistryResource::Version) => return,
            Err(error) => Err(error),
        };
        if let Ok(target) = target {
            let rest = target
                .as_str()
                .strip_prefix(BASE)
                .expect("a listed registry");
            assert!(!rest.contains(['?', '%', '#', '\\']), "{rest:?}");
            assert!(
                !rest.split('/').any(|part| part.starts_with("..")),
                "{rest:?}"
            );
        }
    }
    let name = RepositoryName::parse("mill/app").expect("a name");
    if let Some(url) = TokenService::find([challenge]).and_then(|service| service.token_url(&name))
    {
        assert!(
            url.as_str()
                .contains("scope=repository%3Amill%2Fapp%3Apull")
        );
        assert!(!url.has_credentials());
    }
});
