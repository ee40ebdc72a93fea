//! Bounds on the expansion of one spec, so that no spec takes long or much memory.
//!
//! The main type is [`Budget`].

use super::bounded_text::TextBound;

/// Greatest depth of nested macros, as in RPM.
const MAX_DEPTH: usize = 64;

/// Largest text that one line may expand to, in bytes. A list of patches in one macro has some KiB.
const MAX_EXPANDED_BYTES: usize = TextBound::LINE.0;

/// Steps for the macros of one line. A line of a real spec has some tens.
const MAX_LINE_STEPS: u32 = 20_000;

/// Steps for one pass over a spec. The largest known spec needs about 100,000.
const MAX_STEPS: u32 = 400_000;

/// Bytes for one step: scanning a long text counts too.
const BYTES_A_STEP: usize = 256;

/// Error returned when an expansion reaches a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BudgetError {
    #[error("macros are nested more than {MAX_DEPTH} deep")]
    Depth,
    #[error("the line expands to more than {MAX_EXPANDED_BYTES} bytes")]
    Size,
    #[error("the line needs more than {MAX_LINE_STEPS} expansions")]
    LineSteps,
    #[error("the spec needs more than {MAX_STEPS} expansions")]
    Steps,
}

/// The used part of the bounds of one pass.
#[derive(Debug)]
pub struct Budget {
    depth: usize,
    line_steps: u32,
    steps: u32,
}

impl Budget {
    pub fn new() -> Self {
        Self {
            depth: 0,
            line_steps: 0,
            steps: 0,
        }
    }

    /// Begins a line.
    pub fn begin_line(&mut self) {
        self.depth = 0;
        self.line_steps = 0;
    }

    /// Counts the scanning of a text.
    pub fn scan(&mut self, bytes: usize) -> Result<(), BudgetError> {
        let cost = u32::try_from(bytes / BYTES_A_STEP).unwrap_or(MAX_STEPS);
        let cost = cost.saturating_add(1);
        self.steps = self.steps.saturating_add(cost);
        self.line_steps = self.line_steps.saturating_add(cost);
        if self.steps > MAX_STEPS {
            Err(BudgetError::Steps)
        } else if self.line_steps > MAX_LINE_STEPS {
            Err(BudgetError::LineSteps)
        } else {
            Ok(())
        }
    }

    /// Enters one level of nested macros.
    pub fn enter(&mut self) -> Result<(), BudgetError> {
        if self.depth >= MAX_DEPTH {
            return Err(BudgetError::Depth);
        }
        self.depth += 1;
        Ok(())
    }

    /// Leaves a level.
    pub fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Checks the size of a text that grows.
    pub fn check_size(text: &str) -> Result<(), BudgetError> {
        if text.len() > MAX_EXPANDED_BYTES {
            Err(BudgetError::Size)
        } else {
            Ok(())
        }
    }
}
