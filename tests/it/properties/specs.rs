//! Properties of spec files: bounds, and a rewriting that can be undone.

use std::time::{Duration, Instant};

use millpond::lockfile::{RegistryBases, parse_lockfile};
use millpond::spec::{RewriteOutcome, SpecOptions, list_sources, rewrite_sources, undo_rewrite};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::cases;

/// Number of cases. Each is a whole spec.
const SPECS: u32 = 512;

/// Time that no small spec may take, without optimization and beside other tests.
const LONGEST: Duration = Duration::from_secs(20);

/// Parts that form specs, right and wrong.
const PARTS: &[&str] = &[
    "Name: x\n",
    "Version: 1\n",
    "URL: https://example.org\n",
    "Source: ",
    "Patch3: ",
    "https://example.org/",
    "%{url}/",
    "%a",
    "%{a}",
    "%{?a:",
    "%{!?b:",
    "%{b c}",
    "}",
    "{",
    "%(",
    ")",
    "%[",
    "]",
    "%global a ",
    "%define a ",
    "%define b() ",
    "%{1}",
    "%*",
    "%%",
    "%if ",
    "1\n",
    "%else\n",
    "%endif\n",
    "%elif 0\n",
    "%ifarch x86_64\n",
    "\n",
    "\\\n",
    "#/f",
    "%{expand:",
    "%{lua:",
    "%sourcelist\n",
    "%description\n",
    "%package\n",
    "echo 1.2",
    "| cut -d. -f1",
    "é",
    "%bcond a 1\n",
    "%{with a}",
    "%{forgesource}",
    "%global forgeurl https://github.x/o/r\n",
];

proptest! {
    #![proptest_config(cases(SPECS))]

    #[test]
    fn any_spec_ends_within_bounds(parts in vec(select(PARTS), 0..60), repeats in 1..40_usize) {
        let spec = parts.concat().repeat(repeats);
        let started = Instant::now();
        drop(list_sources(spec.as_bytes(), &SpecOptions::default()));
        prop_assert!(started.elapsed() < LONGEST, "{:?}", started.elapsed());
    }

    #[test]
    fn rewriting_can_be_undone(parts in vec(select(PARTS), 0..60)) {
        let (spec, options) = (parts.concat(), SpecOptions::default());
        let Ok(rewritten) = rewrite_sources(spec.as_bytes(), "http://gw", &options) else {
            return Ok(());
        };
        let mut outcomes = rewritten.sources.iter().map(|(_, outcome)| *outcome);
        prop_assert!(outcomes.all(|outcome| outcome != RewriteOutcome::Unchanged));
        let undone = undo_rewrite(&rewritten.bytes, "http://gw", &options).expect("a spec");
        prop_assert_eq!(undone.bytes, spec.as_bytes());
    }

    #[test]
    fn any_bytes_are_listed_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        drop(list_sources(&bytes, &SpecOptions::default()));
        let text = String::from_utf8_lossy(&bytes);
        drop(parse_lockfile("yarn.lock", &text, &RegistryBases::default()));
    }
}
