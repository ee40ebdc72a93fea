//! The requests of an operator: imports and pins.

use super::{IMPORT_EVERY, PIN_EVERY, Run, object_path};
use crate::harness::{Gateway, Origin, Request, archive, encoded, sha256};

/// Sends an operator's requests beside the clients. An acknowledged change must hold from then on.
pub(super) fn operate(run: &Run, gateway: &Gateway, origin: &Origin, token: &str, round: u64) {
    let operator = |method: &str, path: &str, url: &str| {
        let path = format!("/api/v1/{path}?url={}", encoded(url));
        Request::new(gateway.addr(), method, &path)
            .header("Authorization", &format!("Bearer {token}"))
    };
    if round.is_multiple_of(IMPORT_EVERY) {
        let url = origin.url(&format!("/own/y-{round}.tar.gz"));
        let body = archive(1_000_000 + round, 30_000);
        if operator("PUT", "objects", &url)
            .body(&body)
            .send_if_it_lives()
            .is_some_and(|answer| answer.status == 201)
        {
            let mut seen = run.seen();
            seen.kept.insert(sha256(&body));
            seen.imported.insert(url, body);
        }
    }
    if round.is_multiple_of(PIN_EVERY) {
        let known = run.seen().published.iter().nth_back(3).cloned();
        let Some((url, digest)) = known else { return };
        let pinned = operator("PUT", "pins", &url).send_if_it_lives();
        let is_held = object_path(gateway.cache(), &digest).exists();
        if is_held && pinned.is_some_and(|answer| answer.status == 200) {
            run.seen().kept.insert(digest);
        }
    }
}
