//! The bucket: an S3-compatible store behind the disk, which several nodes may share.
//!
//! Every request has a timeout. If the bucket fails, a circuit breaker rejects requests for a
//! while. Objects are read from a near replica first, if there is one. This module knows neither
//! the disk nor the uses of the bucket. Its main type is [`Bucket`].

mod circuit;
mod client;
mod config;
mod content_headers;
mod damaged_objects;
mod download;
mod endpoint;
mod error;
mod gc;
mod handle;
mod key_requests;
mod keys;
mod listing;
mod local_file;
mod multipart;
mod object_upload;
mod pins;
mod presign;
mod records;
mod replica_config;
mod replicas;
mod sdk;
mod upload;

pub use config::{BucketDelivery, Config};
pub use download::BucketBody;
pub use error::BucketError;
pub use gc::{GarbageCollector, GcMode, GcReport};
pub use handle::Bucket;
pub use keys::{parse_digest, parse_pin_key, parse_record_key};
pub use listing::{ListedKey, Listing};
pub use object_upload::{ObjectUpload, UploadResult};
pub use pins::BucketPins;
pub use records::BucketRecords;
pub use replica_config::{BucketReplica, MAX_REPLICAS};
