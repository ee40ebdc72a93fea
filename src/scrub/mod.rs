//! Scrub: reads all objects, compares them with their digests, and repairs defects.
//!
//! Knows the folder, the cache and the fetcher. Knows no client, and no schedule but its own. Its
//! main function is [`scrub`].

mod cursor;
mod defects;
mod finding_recorder;
mod metadata_check;
mod metadata_repair;
mod object_check;
mod object_repair;
mod on_demand;
mod piece_hashing;
mod report;
mod restore;
mod run;
mod schedule;
mod throttled_read;

pub use cursor::{ScrubLock, ScrubRound};
pub use defects::Defect;
pub use on_demand::ObjectScrubber;
pub use piece_hashing::run_piece_hashing;
pub use report::{RepairOutcome, ScrubEvent, ScrubFinding, ScrubOptions, ScrubReport};
pub use restore::RepairSources;
pub use run::scrub;
pub use schedule::run_scrubs;
