//! Shared types: targets, keys, digests, records and events.
//!
//! Apart from [`Secret`] files, the module does no I/O and reads no clock. Every other module may
//! use it. It depends on none of them. Its main type is [`Target`].

mod digest;
mod event;
mod file_type;
mod ftp_file;
mod key;
mod range;
mod record;
mod sanitize;
mod secret;
mod target;
mod units;

pub use digest::{Algorithm, Digest, DigestError, Digests, ExpectedDigests, Hasher, Sha256};
pub use event::{Cause, Event, EventSink};
pub use file_type::{FILE_TYPE_SNIFF_BYTES, FileType};
pub use ftp_file::{FtpFile, FtpFileError, Login};
pub use key::Key;
pub use range::{ByteRange, RangeSpec, Selected};
pub use record::{MAX_RECORD_BYTES, Record, RecordError, StoredHeaders};
pub use sanitize::{root_cause, sanitize_line};
pub use secret::Secret;
pub use target::{MAX_TARGET_BYTES, Scheme, Target, TargetError};
pub use units::{HumanDuration, Rate, Size};
