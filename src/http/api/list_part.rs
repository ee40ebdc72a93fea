//! Parts of a list that is in memory. The main function is [`part_of`].

use crate::gateway::RequestError;

/// One part of a list.
pub struct ListedPart<T> {
    pub entries: Vec<T>,
    /// Length of the whole list.
    pub total: usize,
    /// Identity of the last entry, if others are behind it.
    pub next: Option<String>,
}

/// Returns up to `limit` entries behind the one with the identity `after`.
///
/// # Errors
/// [`RequestError::BadRequest`] if no entry has this identity.
pub fn part_of<T>(
    mut entries: Vec<T>,
    after: Option<&str>,
    limit: usize,
    identity: impl Fn(&T) -> &str,
) -> Result<ListedPart<T>, RequestError> {
    let total = entries.len();
    if let Some(after) = after {
        let at = entries.iter().position(|entry| identity(entry) == after);
        let at = at.ok_or_else(|| {
            RequestError::BadRequest("after is no entry of the list, or no longer one".to_owned())
        })?;
        entries.drain(..=at);
    }
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| has_more);
    Ok(ListedPart {
        next: last.map(|entry| identity(entry).to_owned()),
        entries,
        total,
    })
}
