//! Shared types: targets, keys, digests, records and events.
//!
//! Apart from [`Secret`] files, the module does no I/O and reads no clock. Every other module may
//! use it. It depends on none of them. Its main type is [`Target`].

mod digest;
mod event;
mod ftp_file;
mod key;
mod kind;
mod range;
mod record;
mod secret;
mod target;
mod text;
mod units;

pub use digest::{Algorithm, Digest, DigestError, Digests, Expected, Hasher, Sha256};
pub use event::{Cause, Event, EventSink};
pub use ftp_file::{FtpFile, FtpFileError, Login};
pub use key::Key;
pub use kind::{KIND_SNIFF_BYTES, Kind};
pub use range::{ByteRange, RangeSpec, Selected};
pub use record::{KeptHeaders, MAX_RECORD_BYTES, Record, RecordError};
pub use secret::Secret;
pub use target::{MAX_TARGET_BYTES, Scheme, Target, TargetError};
pub use text::{innermost, one_line};
pub use units::{Rate, Size, Span};
