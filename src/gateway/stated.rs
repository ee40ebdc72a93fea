//! What the operator's file says that targets must be. It holds for everybody, at every door, like what is on record.

use super::{Ask, Gateway, Problem, refuse_other_sha256};
use crate::model::{Cause, Event, Expected, Sha256};
use crate::policy::Admitted;

/// Adds what is stated of a target to what its client expects.
///
/// # Errors
/// [`Problem::Mismatch`] where the client expects something else: no body can be both.
pub fn expect_stated(admitted: &Admitted, ask: &mut Ask) -> Result<(), Problem> {
    if let Some(stated) = admitted.stated() {
        refuse_other_sha256(&ask.expected, stated)?;
        ask.expected.add(stated.into());
    }
    Ok(())
}

impl Gateway {
    /// Refuses stored bytes that are not what is stated, and tells the operator, who has fetched or stated the wrong ones.
    ///
    /// # Errors
    /// [`Problem::Mismatch`].
    pub(super) fn refuse_unstated(&self, admitted: &Admitted, stored: Sha256) -> Result<(), Problem> {
        let Some(stated) = admitted.stated().filter(|stated| *stated != stored) else { return Ok(()) };
        let detail = format!("sha256:{stored} is stored, and policy.pins_file says sha256:{stated}");
        self.events.tell(Event::Trouble { target: admitted.target().clone(), cause: Cause::Mismatch, detail });
        Err(Problem::Mismatch { expected: Expected::from_iter([stated.into()]), found: stored })
    }
}
