//! Decides whether a body is requested in ranges over several connections. The entry point is
//! [`split_plan`].

use super::Download;
use crate::fetch::resume::PartialBody;
use crate::fetch::segments::{SplitPlan, SplitTrigger};
use crate::model::Scheme;
use crate::origin::{ConnectionFault, OriginError, Response, Validator};
use crate::policy::{Source, SourceKind};

/// Returns how the rest of a body may be split, from its response with the bytes from `start` on.
/// `None` if it must come over one connection.
pub fn split_plan<'a>(
    download: &Download<'a>,
    response: &Response,
    start: u64,
) -> Option<SplitPlan<'a>> {
    let (state, body) = (download.state, download.body.as_ref()?);
    let source = download.source?;
    let (segments, trigger) = connections(download, source)?;
    let (admitted, options) = (source.admitted(), source.admitted().request_options());
    let complete_bytes = body.complete_length?;
    // Staged bytes must be compared with a whole body.
    let has_only_new_bytes = start == body.staging.written_bytes();
    let min_size_bytes = state.config.segment_min_size.bytes;
    let may_split = segments > 1
        && has_only_new_bytes
        && complete_bytes.checked_sub(start)? >= min_size_bytes
        && admitted.target().scheme() != Scheme::Ftp
        && options.request_interval.is_zero()
        && response.header("content-encoding").is_none()
        && state.segment_hosts.may_ask(admitted.target().host());
    let validator = body.validator.as_ref().filter(|_| may_split)?;
    can_trust(download, validator).then(|| SplitPlan {
        origin: &state.origin,
        hosts: &state.segment_hosts,
        limiter: &state.host_limiter,
        readership: download.shared_body.readership(),
        longest_wait: state.config.idle_timeout.0,
        admitted,
        validator: validator.clone(),
        digest_expected: download.spec.is_on_record,
        complete_bytes,
        segments,
        trigger,
    })
}

/// Returns the number of connections that a source may get, and when it gets them.
fn connections(download: &Download<'_>, source: &Source) -> Option<(usize, SplitTrigger)> {
    let config = &download.state.config;
    match (source.admitted().request_options().segments, source.kind()) {
        (Some(segments), SourceKind::Origin | SourceKind::Mirror) => {
            Some((segments, SplitTrigger::AtOnce))
        }
        (None, SourceKind::Origin) => Some((
            config.segments,
            match config.segment_below.bytes {
                0 => SplitTrigger::AtOnce,
                rate => SplitTrigger::Below(rate),
            },
        )),
        (_, SourceKind::Mirror | SourceKind::Parent | SourceKind::Archive | SourceKind::Peer) => {
            None
        }
    }
}

/// Returns whether ranges with this validator are of one version of the file. A date alone does not
/// show it (RFC 9110, section 8.8.2.2).
fn can_trust(download: &Download<'_>, validator: &Validator) -> bool {
    match validator {
        Validator::Tag(_) => true,
        Validator::Dated { .. } => {
            validator.if_range().is_some() && download.spec.required.has_strong_digest()
        }
    }
}

/// Drops the validators after ranges that did not fit. The next attempt requests the whole body,
/// and compares it with what is staged.
pub fn distrust_ranges(body: Option<&mut PartialBody>, error: &OriginError) {
    let is_wrong = matches!(
        error,
        OriginError::Unreachable(ConnectionFault::ResumeFailed)
    );
    if let Some(body) = body.filter(|_| is_wrong) {
        body.clear_validators();
    }
}
