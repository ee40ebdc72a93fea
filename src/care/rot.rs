//! The service's own look for rot, a share an hour.

use std::time::Duration;

use tokio::time::sleep;

use super::verify::{Finding, Outcome, Plan, Sign, Sources, verify};
use crate::model::{Rate, Size};
use crate::store::StoreError;

/// How long it is from one share to the next.
const SHARE_INTERVAL: Duration = Duration::from_hours(1);

/// The rest at the start of the process, which has better things to do.
const FIRST_REST: Duration = Duration::from_mins(1);

/// What the service reads a second at most: 80 TiB in 30 days.
const SERVICE_RATE: Rate = Rate::per_second(Size::mib(32));

/// Reads everything once in each `round`, a share an hour. Of the processes of a folder one at a time does.
pub async fn look_for_rot(sources: Sources, round: Duration) {
    let rest = round.min(SHARE_INTERVAL);
    let share = rest.as_secs_f64() / round.as_secs_f64();
    sleep(rest.min(FIRST_REST)).await;
    loop {
        let next = match verify_if_due(&sources, rest, share).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%error, "what is kept could not be verified");
                rest
            }
        };
        sleep(next).await;
    }
}

/// Verifies a share, if none was begun lately. Returns when to look again.
async fn verify_if_due(sources: &Sources, rest: Duration, share: f64) -> Result<Duration, StoreError> {
    if sources.store.condition().trouble().is_some() {
        // What it does not give now says nothing of what it holds.
        return Ok(rest);
    }
    let Some(mut turn) = sources.store.begin_verification().await? else { return Ok(rest) };
    let due_in = turn.due_in(rest);
    if !due_in.is_zero() {
        return Ok(due_in);
    }
    let surveys = turn.next_stretch(share).has_beginning();
    let plan = Plan { share, surveys, is_rehearsal: false, rate: SERVICE_RATE };
    let verified = verify(sources, &mut turn, plan, &log).await?;
    tracing::debug!(?verified, "a share of what is kept was verified");
    // What a share takes is a part of its hour.
    Ok(turn.due_in(rest))
}

fn log(sign: &Sign<'_>) {
    let Sign::Found(Finding { flaw, name, outcome, detail, .. }) = sign else { return };
    if *outcome == Outcome::Lost {
        tracing::error!(?flaw, name, ?outcome, detail, "what is kept was damaged, and cannot be had again");
    } else {
        tracing::warn!(?flaw, name, ?outcome, detail, "what is kept was not as it should be");
    }
}
