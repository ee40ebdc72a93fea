//! The live blocks of the page, each made from the same snapshot. The main function is
//! [`render_blocks`].

mod content;
mod costs;
mod fetches;
mod health;
mod images;
mod incidents;
mod jobs;
mod storage;
mod traffic;

use maud::Markup;

pub use jobs::MAX_JOB_FAILURES;

use super::snapshot::Snapshot;

/// Makes one block.
type Render = fn(&Snapshot) -> Markup;

/// Identities and makers of all blocks.
const BLOCKS: [(&str, Render); 14] = [
    ("readiness", health::readiness),
    ("incidents", incidents::incidents),
    ("hits", traffic::hits),
    ("traffic", traffic::bytes),
    ("fetches", fetches::fetches),
    ("failures", fetches::failures),
    ("disk", storage::disk),
    ("bucket", storage::bucket),
    ("changed", content::changed),
    ("mismatches", content::mismatches),
    ("images", images::images),
    ("costs", costs::costs),
    ("nodes", health::nodes),
    ("jobs", jobs::jobs),
];

/// Renders all blocks.
#[must_use]
pub fn render_blocks(snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    let render = |(id, render): (&'static str, Render)| (id, render(snapshot).into_string());
    BLOCKS.into_iter().map(render).collect()
}
