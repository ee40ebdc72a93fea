//! The operators' page: its markup, its assets, and the state that it shows. The pages of the
//! documentation.
//!
//! All text is escaped where markup is made, so no other file escapes. This module knows no HTTP
//! server and changes nothing: the page changes the cache through the API. Its main type is
//! [`LivePage`].

mod assets;
mod blocks;
mod docs;
mod failure_log;
mod live;
mod search;
mod series;
mod shell;
mod shown;
mod snapshot;
mod story;
mod target_index;
mod traffic_history;

pub use assets::{Asset, AssetForm};
pub use blocks::MAX_JOB_FAILURES;
pub use docs::{DocumentFile, find_document, provide_documents};
pub use live::{EventNotes, LiveFeed, LivePage, PageLine, PageRights, Viewer};
pub use search::{MAX_QUERY_BYTES, SearchResults};
pub use series::{Period, PeriodTraffic};
pub use shell::{PublicStatus, render_shell};
pub use snapshot::{BucketFacts, ChangedTarget, KnownImages, OtherBytes, ShownImage, Snapshot};
pub use story::TargetStory;
pub use target_index::{IndexedTarget, TargetIndex};
pub use traffic_history::HistoryFile;
