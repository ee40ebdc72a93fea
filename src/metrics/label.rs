//! Closed sets of label values, and counts by label.
//!
//! Counts by label are arrays, so that no request waits for a lock. This file must not know how
//! they are rendered. The main type is [`ByLabel`].

use std::marker::PhantomData;

use crate::model::Counter;

/// Value of a label, from a closed set.
pub trait Label: Copy + 'static {
    /// All values, in the order of their indexes.
    const ALL: &'static [Self];

    /// Position in [`Label::ALL`].
    fn index(self) -> usize;

    /// The value as Prometheus shows it.
    fn as_str(self) -> &'static str;
}

/// Defines an enum of label values with their names.
macro_rules! label_enum {
    ($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$note])* $value,)+
        }

        impl $crate::metrics::label::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }
    };
}

pub(super) use label_enum;

/// One `T` for each value of a label.
#[derive(Debug)]
pub struct ByLabel<L, T = Counter> {
    cells: Box<[T]>,
    label: PhantomData<fn(L)>,
}

impl<L: Label, T> ByLabel<L, T> {
    /// Makes the cell of each value.
    #[must_use]
    pub fn new(new_cell: impl Fn() -> T) -> Self {
        Self {
            cells: L::ALL.iter().map(|_| new_cell()).collect(),
            label: PhantomData,
        }
    }

    /// Returns the cell of a value.
    #[must_use]
    pub fn at(&self, value: L) -> &T {
        &self.cells[value.index()]
    }

    /// Returns all values with their cells.
    pub fn iter(&self) -> impl Iterator<Item = (L, &T)> {
        L::ALL.iter().copied().zip(&self.cells)
    }
}

impl<L: Label, T: Default> Default for ByLabel<L, T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}
