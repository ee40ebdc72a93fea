//! Scrub: reads all objects, compares them with their digests, and repairs what is wrong.
//!
//! Knows the folder, the cache and the fetcher. Knows no client and no schedule but its own. Its
//! main function is [`scrub`].

mod cursor;
mod defects;
mod metadata_check;
mod object_check;
mod repair;
mod schedule;
mod throttled_read;

pub use cursor::ScrubLock;
pub use defects::Defect;
pub use repair::{
    RepairOutcome, RepairSources, ScrubEvent, ScrubFinding, ScrubOptions, ScrubReport, scrub,
};
pub use schedule::run_scrubs;
