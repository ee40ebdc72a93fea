//! Properties that hold for every input, compared with models that are too simple to be wrong.

mod attachments;
mod classes;
mod config;
mod dialects;
mod hosts;
mod metalinks;
mod owners;
mod pins;
mod pools;
mod ranges;
mod records;
mod registries;
mod requests;
mod specs;
mod spellings;
mod targets;
mod units;

use proptest::prelude::ProptestConfig;

/// Number of cases for each property. All properties together take a few seconds without
/// optimisation.
const CASES: u32 = 4096;

fn cases(cases: u32) -> ProptestConfig {
    // proptest prints a failure with its smallest input, and writes no file into the checkout.
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}
