//! What holds for every input, held against models that are too simple to be wrong.

mod config;
mod hosts;
mod pins;
mod ranges;
mod records;
mod spellings;
mod targets;
mod units;

use proptest::prelude::ProptestConfig;

/// Cases a property: all of them together take a few seconds without optimisation.
const CASES: u32 = 4096;

fn cases(cases: u32) -> ProptestConfig {
    // A failure is printed with its smallest input; nothing is written into the checkout.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}
