//! Builds one page of a list of targets from the targets that are visited. The main type is
//! [`ListBuilder`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use utoipa::ToSchema;

use super::list_filter::{ListFilter, ListedFacts};
use super::list_order::{ListPart, Place, SortFacts};
use crate::model::Key;

/// Targets that a page in the order of keys looks at. A page of few targets has a `next` all the
/// same.
const MAX_VISITED: usize = 20_000;

/// Totals of all targets that meet the filters.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct ListTotals {
    pub targets: u64,
    /// Targets whose object is on the disk.
    pub cached: u64,
    /// Total length of these objects. An object of several targets counts for each.
    pub cached_bytes: u64,
    pub pinned: u64,
}

/// Builds one page of a list of targets.
pub struct ListBuilder<T> {
    filter: ListFilter,
    part: ListPart,
    totals: ListTotals,
    /// The targets of the page, and one more if there is one.
    kept: BTreeMap<Place, T>,
    visited: usize,
    /// Key at which the visit ended early.
    cut_at: Option<Key>,
}

/// One page of a list of targets.
pub struct BuiltPage<T> {
    pub entries: Vec<T>,
    /// Value of `after` for the next page.
    pub next: Option<String>,
    /// Set if the list is a full one.
    pub totals: Option<ListTotals>,
}

impl ListTotals {
    /// Counts a target whose active object has this length.
    pub fn add(&mut self, facts: &ListedFacts<'_>, size_bytes: u64) {
        self.targets += 1;
        self.pinned += u64::from(facts.is_pinned);
        if facts.is_cached {
            self.cached += 1;
            self.cached_bytes += size_bytes;
        }
    }
}

impl<T> ListBuilder<T> {
    pub fn new(filter: ListFilter, part: ListPart) -> Self {
        Self {
            filter,
            part,
            totals: ListTotals::default(),
            kept: BTreeMap::new(),
            visited: 0,
            cut_at: None,
        }
    }

    /// Adds a target if it belongs to the page. Breaks if the page is complete.
    pub fn visit(
        &mut self,
        facts: &ListedFacts<'_>,
        sort: &SortFacts<'_>,
        entry: impl FnOnce() -> T,
    ) -> ControlFlow<()> {
        self.visited += 1;
        if self.filter.accepts(facts) {
            self.totals.add(facts, sort.size_bytes);
            let place = self.part.place_of(sort);
            if self.part.has_reached(&place) {
                self.keep(place, entry);
            }
        }
        if self.part.is_full() {
            return ControlFlow::Continue(());
        }
        if self.kept.len() > self.part.limit {
            return ControlFlow::Break(());
        }
        if self.visited == MAX_VISITED {
            self.cut_at = Some(sort.key);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn keep(&mut self, place: Place, entry: impl FnOnce() -> T) {
        self.kept.insert(place, entry());
        if self.kept.len() > self.part.limit + 1 {
            self.drop_last();
        }
    }

    fn drop_last(&mut self) {
        if self.part.is_descending() {
            self.kept.pop_first();
        } else {
            self.kept.pop_last();
        }
    }

    /// Returns the page.
    pub fn finish(mut self) -> BuiltPage<T> {
        let has_more = self.kept.len() > self.part.limit;
        if has_more {
            self.drop_last();
        }
        let is_descending = self.part.is_descending();
        let last = if is_descending {
            self.kept.first_key_value()
        } else {
            self.kept.last_key_value()
        };
        let next = match self.cut_at {
            Some(key) => Some(ListPart::place_of_key(key).to_string()),
            None => last
                .filter(|_| has_more)
                .map(|(place, _)| place.to_string()),
        };
        let totals = self.part.is_full().then_some(self.totals);
        let mut entries: Vec<T> = self.kept.into_values().collect();
        if is_descending {
            entries.reverse();
        }
        BuiltPage {
            entries,
            next,
            totals,
        }
    }
}
