//! Tests of the cache folder: its space, its files, and what a crash or a failing disk leaves.

mod backup;
mod cache_folder;
mod compaction;
mod degraded_starts;
pub mod disk_failures;
mod disk_in_mid_body;
mod eviction;
mod file_rights;
mod inodes;
mod kill9;
mod kill_moments;
mod layout;
mod locked_index;
mod outages;
mod power_cuts;
pub mod record_order;
mod resource_limits;
mod space_ledger;
mod unreadable_records;
