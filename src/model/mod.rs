//! Shared types: targets, keys, digests, records and events.
//!
//! Apart from [`Secret`] files, the module does no I/O and reads no clock. Every other module may
//! use it. It depends on none of them. Its main type is [`Target`].

mod authority;
mod cause;
mod client_net;
mod config_error;
mod counter;
mod digest;
mod digest_match;
mod digest_text;
pub mod disk_fault;
mod disposition;
mod event;
mod event_counts;
mod event_sink;
mod fields;
mod file_names;
mod file_type;
mod ftp_file;
mod http_version;
mod key;
mod lock;
mod logged_query;
mod manifest_types;
mod named_digest;
mod packed_record;
mod pieces;
mod private_target;
mod range;
pub mod record;
mod record_set;
mod sanitize;
mod scheme;
mod secret;
mod target;
mod target_error;
mod transfer_number;
mod units;
mod wanted_file;

pub use cause::Cause;
pub use client_net::ClientNet;
pub use config_error::{ConfigError, check_folder};
pub use counter::Counter;
pub use digest::{Algorithm, Digest, DigestError, Digests, ExpectedDigests, Hasher, Sha256};
pub use digest_match::DigestMatch;
pub use digest_text::NIX_BASE32;
pub use disposition::Attachment;
pub use event::{Event, EvictionReason};
pub use event_counts::{EventCounts, EvictionCounts};
pub use event_sink::EventSink;
pub use fields::{Fields, is_end_to_end_header};
pub use file_names::file_names;
pub use file_type::{ContentCoding, FILE_TYPE_SNIFF_BYTES, FileType, WrongFile};
pub use ftp_file::{FtpFile, FtpFileError, Login};
pub use http_version::HttpVersion;
pub use key::Key;
pub use lock::lock;
pub use manifest_types::{MANIFEST_TYPES, accepted_types};
pub use named_digest::NamedDigestError;
pub use packed_record::PackedRecord;
pub use pieces::{MAX_PIECES, MIN_PIECED_BYTES, PIECE_BYTES, PieceHasher, PieceList, PieceSha1};
pub use range::{ByteRange, RangeSpec, Selected};
pub use record::{MAX_RECORD_BYTES, Record, RecordError, RecordSource, Standing, StoredHeaders};
pub use record_set::{
    Acceptance, Answer, RecordOrder, RecordSet, UnreadableReason, UnreadableRecord,
};
pub use sanitize::{root_cause, sanitize_line};
pub use scheme::Scheme;
pub use secret::Secret;
pub use target::Target;
pub use target_error::{MAX_TARGET_BYTES, TargetError};
pub use transfer_number::TransferNumber;
pub use units::{HumanDuration, ParseUnitError, Quantity, Rate, Size};
pub use wanted_file::{FileUrl, IMAGE_SCHEME, LineError, ListError, WantedFile};
