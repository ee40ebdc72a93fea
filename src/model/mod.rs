//! The words of the house: what is asked for, what it is called, what it must be, what is remembered of it.
//!
//! Everything here is pure: no file, no socket, no clock of its own. Every other room may use it, and it knows none of them.
//! Its main type is [`Target`].

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
