//! Receives the bytes of a response: compares them with the staged bytes, appends them to the
//! staging file, and makes them available to readers.

use bytes::Bytes;

use super::Download;
use super::chunks::BodyChunks;
use super::from_peer::{is_peer, peer_is_silent, wait_silent};
use super::split::distrust_ranges;
use crate::fetch::FetchError;
use crate::fetch::content_encoding::CodingCheck;
use crate::fetch::resume::READ_PIECE_BYTES;
use crate::model::{FileType, WrongFile};
use crate::origin::{ConnectionFault, OriginError, ProtocolFault, Response};
use crate::policy::PolicyDenied;

impl Download<'_> {
    /// Receives a response body whose first byte is at `start`.
    pub(super) async fn receive_body(
        &mut self,
        response: Response,
        start: u64,
    ) -> Result<(), FetchError> {
        let limit = self.state.policy.max_object_size();
        let mut chunks = BodyChunks::of(self, response, start);
        let mut position = start;
        loop {
            let received = tokio::select! {
                biased;
                received = chunks.next() => received,
                () = wait_silent(self.state, self.source), if !chunks.is_from_peers() => {
                    return Err(peer_is_silent().into());
                }
            };
            let received = received.inspect_err(|error| distrust_ranges(self.body.as_mut(), error));
            let Some(bytes) = received? else {
                break;
            };
            position += bytes.len() as u64;
            if position > limit.bytes {
                return Err(OriginError::from(PolicyDenied::TooLarge(limit)).into());
            }
            let new = self.compare_with_staged(bytes, position).await?;
            if start == 0 {
                self.confirm_compared(position);
            }
            if self.confirm_validator(position) {
                self.update_lease_record().await;
            }
            if !new.is_empty() {
                self.append(new).await?;
            }
        }
        let body = self.body.as_mut().ok_or(FetchError::StoreFailed)?;
        body.was_resumed |= chunks.is_split();
        if position != body.staging.written_bytes()
            || body
                .complete_length
                .is_some_and(|length| length != position)
        {
            return Err(OriginError::from(ConnectionFault::Truncated).into());
        }
        self.check_file_type().await
    }

    /// Compares received bytes, which end at `position`, with those that are staged already.
    /// Returns the bytes that are not staged yet.
    pub(super) async fn compare_with_staged(
        &self,
        mut bytes: Bytes,
        position: u64,
    ) -> Result<Bytes, FetchError> {
        let Some(body) = &self.body else {
            return Ok(bytes);
        };
        let written = body.staging.written_bytes();
        let mut start = position - bytes.len() as u64;
        while start < written && !bytes.is_empty() {
            let size_bytes = usize::try_from(written - start)
                .unwrap_or(usize::MAX)
                .min(bytes.len())
                .min(READ_PIECE_BYTES);
            let received = bytes.split_to(size_bytes);
            let staged = body
                .file
                .read(start, size_bytes)
                .await
                .map_err(|error| FetchError::from_read_error(&error))?;
            if staged != received {
                // After a disk failure, a part of the body is not in the file.
                return Err(if self.shared_body.is_overflowing() {
                    FetchError::NoSpace
                } else {
                    FetchError::ChangedDuringFetch
                });
            }
            start += size_bytes as u64;
        }
        Ok(bytes)
    }

    /// Records that a body from the beginning has the same bytes as those of a peer.
    fn confirm_compared(&mut self, position: u64) {
        if let Some(body) = &mut self.body
            && position >= body.unproven_bytes
        {
            body.unproven_bytes = 0;
        }
    }

    /// Confirms the validator of a restarted body once all staged bytes were compared with it.
    /// Returns true if the validator was confirmed now.
    fn confirm_validator(&mut self, position: u64) -> bool {
        if let Some(body) = &mut self.body
            && position >= body.staging.written_bytes()
            && let Some(validator) = body.unconfirmed_validator.take()
        {
            body.validator = Some(validator);
            return true;
        }
        false
    }

    async fn append(&mut self, bytes: Bytes) -> Result<(), FetchError> {
        let body = self.body.as_mut().ok_or(FetchError::StoreFailed)?;
        let start = body.staging.written_bytes();
        if body
            .length
            .is_some_and(|length| start + bytes.len() as u64 > length)
        {
            return Err(OriginError::from(ProtocolFault::TooLong).into());
        }
        if let Err(error) = body.staging.append(bytes.clone()).await {
            let error = FetchError::from(error);
            // Present readers get the rest from memory. Without readers, requests are passed
            // through.
            if !body.is_streaming {
                return Err(error);
            }
            self.shared_body.start_overflow(start);
            // The file that other processes follow does not grow any more.
            if let Some(lease) = self.lease {
                lease.release().await;
            }
        }
        if body.is_streaming {
            return self.publish_progress(bytes).await;
        }
        self.shared_body
            .meter()
            .set_received(start + bytes.len() as u64);
        self.start_streaming_if_ready().await
    }

    /// Makes the bytes that were appended last available to readers.
    async fn publish_progress(&self, bytes: Bytes) -> Result<(), FetchError> {
        let written = self.written_bytes();
        if !self.shared_body.is_overflowing() {
            self.shared_body.advance(written, bytes);
            return Ok(());
        }
        let patience = self.state.config.idle_timeout.0;
        self.shared_body
            .push_overflow(written, bytes, patience)
            .await
    }

    /// Makes the head available to readers once the file type can be checked.
    ///
    /// A body that is complete by now is shown after all checks: until the head is sent, a failure
    /// can still become a status.
    async fn start_streaming_if_ready(&mut self) -> Result<(), FetchError> {
        let body = self.body.as_ref().ok_or(FetchError::StoreFailed)?;
        let written = body.staging.written_bytes();
        if written < self.sniff_bytes() as u64
            || body.length == Some(written)
            || self.buffers_until_verified()
        {
            return Ok(());
        }
        self.check_file_type().await?;
        if let Some(body) = &mut self.body {
            body.is_streaming = true;
            self.shared_body
                .start_streaming(body.head(), body.file.clone(), written);
            self.update_lease_record().await;
        }
        Ok(())
    }

    /// Whether readers see nothing until all checks are done. After wrong bytes that no reader has
    /// seen, another source can be tried.
    fn buffers_until_verified(&self) -> bool {
        let others = self.spec.sources.iter().filter(|source| !is_peer(source));
        !self.spec.required.is_empty() && others.count() > 1
    }

    /// Returns how many of the first bytes show the file type and the content coding.
    fn sniff_bytes(&self) -> usize {
        let coding = self.coding.as_ref().map_or(0, CodingCheck::sniff_bytes);
        self.file_type.sniff_bytes().max(coding)
    }

    /// Compares the first bytes with the content coding that the response states, and with the file
    /// type of the target's name. A wrong body is dropped, so that it is not resumed.
    async fn check_file_type(&mut self) -> Result<(), FetchError> {
        let Some(body) = self.body.as_ref().filter(|body| !body.is_streaming) else {
            return Ok(());
        };
        let first_bytes = body
            .file
            .read(0, self.sniff_bytes())
            .await
            .map_err(|error| FetchError::from_read_error(&error))?;
        if let Some(coding) = &self.coding
            && let Err(error) = coding.check(&first_bytes)
        {
            self.body = None;
            return Err(error.into());
        }
        if self.file_type.matches(&first_bytes) {
            return Ok(());
        }
        self.body = None;
        if self.admitted.may_be_page() && !FileType::NO_PAGE.matches(&first_bytes) {
            return Err(FetchError::Page);
        }
        Err(FetchError::WrongFileType(WrongFile::of(&first_bytes)))
    }
}
