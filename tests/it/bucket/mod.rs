//! Tests of the bucket.

mod failures;
mod fake_bucket;
mod gc;
mod migrate;
mod migrate_merges;
mod pins;
mod replicas;
mod shared;
mod stored_objects;
mod uploads;
