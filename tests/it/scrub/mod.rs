//! Tests of the checks of stored objects and metadata.

mod jobs;
mod metadata;
mod objects;
mod schedule;
