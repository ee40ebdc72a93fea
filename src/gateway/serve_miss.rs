//! Misses: a redirect to the origin, a fetch, or a pass-through.
//!
//! The entry point is [`Gateway::serve_miss`].

use super::Gateway;
use super::config::MissPolicy;
use super::error::RequestError;
use super::lookup::MissKind;
use super::new_target;
use super::request::{CacheRequest, ClientRedirects, RequestMethod};
use super::response::CacheResponse;
use crate::model::Scheme;
use crate::policy::Admitted;

impl Gateway {
    /// Serves a target whose bytes are not stored.
    ///
    /// # Errors
    /// [`RequestError`] if neither a fetch nor the origin gives a response.
    pub(super) async fn serve_miss(
        &self,
        admitted: &Admitted,
        request: CacheRequest,
        kind: MissKind,
    ) -> Result<CacheResponse, RequestError> {
        let states_digests = request.expected != admitted.required_digests();
        let request = match kind {
            MissKind::Evicted(_) | MissKind::EvictedMutable if states_digests => {
                if let Some(response) = self.serve_other_record(admitted, &request).await? {
                    return Ok(response);
                }
                request
            }
            _ => request.requiring_sha256(kind.required_sha256(admitted))?,
        };
        request.reject_only_if_cached()?;
        let may_redirect =
            kind == MissKind::NeverStored && self.can_redirect_to_origin(&request, admitted).await;
        match request.method {
            RequestMethod::Head => self.pass_through(admitted, request).await,
            _ if new_target::count(&self.services, admitted, request.client, kind).is_err() => {
                self.pass_through(admitted, request).await
            }
            _ if may_redirect => Ok(self.redirect_and_fetch(admitted)),
            _ => self.join_fetch(admitted, request).await,
        }
    }

    /// Returns whether the client may be redirected to the origin. It must be known to follow
    /// redirects, and must get the same bytes there. Its own lookup must not lead to an address
    /// that policy forbids.
    async fn can_redirect_to_origin(&self, request: &CacheRequest, admitted: &Admitted) -> bool {
        let config = self.config.load();
        config.miss == MissPolicy::Redirect
            && request.redirects == ClientRedirects::Allowed
            && request.method == RequestMethod::Get
            && request.range.is_none()
            && request.expected.is_empty()
            && config.follows_redirects(&request.user_agent)
            // Few clients follow a redirect from http to ftp.
            && admitted.target().scheme() != Scheme::Ftp
            && !admitted.needs_server_side_fetch()
            && self.services.fetcher.has_no_state_for(admitted)
            && self.services.passthrough.is_host_known(admitted).await
    }

    /// Redirects the client to the origin, and starts a fetch for later clients.
    fn redirect_and_fetch(&self, admitted: &Admitted) -> CacheResponse {
        // If no fetch can start, a later request may start one.
        if let Err(error) = self.services.fetcher.start_unread(admitted) {
            tracing::debug!(
                target = %admitted.target(),
                %error,
                "redirected a client without starting a fetch"
            );
        }
        CacheResponse::Redirect(admitted.target().clone())
    }
}
