//! Lock files, lists with digests, and bills of materials.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond::lockfile::{RegistryBases, RegistryKind, named_digests, parse_lockfile};

fuzz_target!(|text: &str| {
    let base = |kind: RegistryKind| format!("{kind}=https://{kind}.example.org/base");
    let bases = RegistryKind::ALL.map(|kind| base(kind).parse().expect("a base URL"));
    let bases = RegistryBases(bases.to_vec());
    // The first line is the name.
    let (name, text) = text.split_once('\n').unwrap_or(("", text));
    if let Ok(locked) = parse_lockfile(name, text, &bases) {
        assert!(!locked.files.is_empty());
        for file in &locked.files {
            assert!(!file.url.as_str().contains('#'), "{file:?}");
        }
        for note in &locked.notes {
            assert!(note.count > 0 && !note.first.contains('\n'), "{note:?}");
        }
    }
    for (name, _) in named_digests(text).into_iter().flatten() {
        assert!(!name.contains('\n'), "{name:?}");
    }
});
