//! Conditionals of a spec: which lines count in one pass.
//!
//! The main type is [`SpecConditions`].

/// Line of a conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionLine<'a> {
    /// `%if` or `%elif` with an expression.
    Expression(BranchPlace, &'a str),
    /// `%ifarch`, `%ifnarch`, `%ifos`, `%ifnos` and their `%elif` forms, with a list.
    Machine(BranchPlace, Machine, &'a str),
    Else,
    End,
}

/// BranchPlace of a branch in its conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchPlace {
    First,
    Further,
}

/// Question about the machine for which a package is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    Arch,
    OtherArch,
    Os,
    OtherOs,
}

impl<'a> ConditionLine<'a> {
    /// Parses a line.
    pub fn parse(line: &'a str) -> Option<Self> {
        let text = line.trim_start().strip_prefix('%')?;
        let end = text.find(|c: char| !c.is_ascii_lowercase());
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        let place = if word.starts_with("el") {
            BranchPlace::Further
        } else {
            BranchPlace::First
        };
        let rest = rest.trim();
        Some(match word {
            "if" | "elif" => Self::Expression(place, rest),
            "ifarch" | "elifarch" => Self::Machine(place, Machine::Arch, rest),
            "ifnarch" => Self::Machine(place, Machine::OtherArch, rest),
            "ifos" | "elifos" => Self::Machine(place, Machine::Os, rest),
            "ifnos" => Self::Machine(place, Machine::OtherOs, rest),
            "else" => Self::Else,
            "endif" => Self::End,
            _ => return None,
        })
    }

    /// Returns the place of a branch with a condition.
    pub fn place(self) -> Option<BranchPlace> {
        match self {
            Self::Expression(place, _) | Self::Machine(place, ..) => Some(place),
            Self::Else | Self::End => None,
        }
    }
}

/// Branches that a pass over the spec takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchRule {
    /// As RPM does.
    Evaluate,
    /// All, one after the other.
    All,
    /// The branch with this number in each conditional, counted around.
    Nth(usize),
}

/// State of the conditionals at one line.
pub struct SpecConditions {
    rule: BranchRule,
    open: Vec<OpenCondition>,
    /// Branches of each conditional, in the order of their first lines. A missing `%else` counts.
    branches: Vec<usize>,
    seen: usize,
}

/// State of an open conditional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BranchState {
    /// The lines around the conditional are inactive.
    Outside,
    /// No branch was active yet.
    Pending,
    Active,
    /// An earlier branch was active.
    Past,
}

struct OpenCondition {
    state: BranchState,
    number: usize,
    branches: usize,
}

impl SpecConditions {
    /// Creates the state for the start of a spec. `lines` are all conditional lines of the spec.
    pub fn new<'a>(rule: BranchRule, lines: impl Iterator<Item = ConditionLine<'a>>) -> Self {
        Self {
            rule,
            open: Vec::new(),
            branches: count_branches(lines),
            seen: 0,
        }
    }

    /// Returns the greatest number of branches of a conditional.
    pub fn most_branches(&self) -> usize {
        self.branches.iter().copied().max().unwrap_or(0)
    }

    pub fn is_active(&self) -> bool {
        self.open
            .last()
            .is_none_or(|open| open.state == BranchState::Active)
    }

    /// Whether the condition of the line must be evaluated.
    pub fn needs_value(&self, line: ConditionLine<'_>) -> bool {
        self.rule == BranchRule::Evaluate
            && match (line.place(), self.open.last()) {
                (Some(BranchPlace::First), _) => self.is_active(),
                (Some(BranchPlace::Further), Some(open)) => open.state == BranchState::Pending,
                _ => false,
            }
    }

    /// Goes on behind a conditional line. `value` is that of its condition.
    pub fn read(&mut self, line: ConditionLine<'_>, value: bool) {
        let rule = self.rule;
        let takes = |open: &OpenCondition, value: bool| {
            open.state != BranchState::Outside
                && match rule {
                    BranchRule::Evaluate => value && open.state == BranchState::Pending,
                    BranchRule::All => true,
                    BranchRule::Nth(nth) => open.number == nth % open.branches.max(1),
                }
        };
        match (line.place(), line) {
            (Some(BranchPlace::First), _) => {
                let state = if self.is_active() {
                    BranchState::Pending
                } else {
                    BranchState::Outside
                };
                let mut open = OpenCondition {
                    state,
                    number: 0,
                    branches: self.branches.get(self.seen).copied().unwrap_or(2),
                };
                self.seen += 1;
                if takes(&open, value) {
                    open.state = BranchState::Active;
                }
                self.open.push(open);
            }
            (_, ConditionLine::End) => {
                self.open.pop();
            }
            (place, _) => {
                if let Some(open) = self.open.last_mut() {
                    open.number += 1;
                    if takes(open, value || place.is_none()) {
                        open.state = BranchState::Active;
                    } else if open.state == BranchState::Active {
                        open.state = BranchState::Past;
                    }
                }
            }
        }
    }
}

fn count_branches<'a>(lines: impl Iterator<Item = ConditionLine<'a>>) -> Vec<usize> {
    // Number of branches, and whether one of them is an `%else`.
    let mut all: Vec<(usize, bool)> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    for line in lines {
        match (line.place(), line) {
            (Some(BranchPlace::First), _) => {
                open.push(all.len());
                all.push((1, false));
            }
            (_, ConditionLine::End) => {
                open.pop();
            }
            (place, _) => {
                if let Some(&at) = open.last() {
                    all[at].0 += 1;
                    all[at].1 |= place.is_none();
                }
            }
        }
    }
    let count = |(branches, has_else): (usize, bool)| branches + usize::from(!has_else);
    all.into_iter().map(count).collect()
}
