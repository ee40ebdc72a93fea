//! One pass over the lines of a spec.
//!
//! The main type is [`SpecPass`].

use std::ops::Range;

use super::conditions::{ConditionLine, Machine, SpecConditions};
use super::expand::Expander;
use super::expression::evaluate;
use super::logical_lines::LogicalLine;
use super::options::SpecOptions;
use super::preamble::{Section, Tag, parse_tag};
use super::source::{SpecSourceKind, UnresolvedMacro};
use super::standard_macros::initial_macros;

/// Bound on the sources of one spec. The largest known one has 10,000.
const MAX_SOURCES: usize = 50_000;

/// Longest value of a source, in bytes. URLs are shorter.
const MAX_VALUE_BYTES: usize = 16 << 10;

/// Bytes of a value that cannot be a URL, which are kept.
const SHOWN_BYTES: usize = 200;

/// Source that a pass has found.
pub struct FoundSource {
    /// Line, and position in the lines that it expands to.
    pub place: (usize, usize),
    pub kind: SpecSourceKind,
    pub number: u32,
    pub raw: String,
    pub span: Option<Range<usize>>,
    pub value: String,
    pub notes: Vec<UnresolvedMacro>,
    /// Only the beginning of the value is kept.
    is_too_long: bool,
}

/// Values of the first tags.
#[derive(Debug, Default)]
pub struct SpecFacts {
    pub name: Option<String>,
    pub version: Option<String>,
}

/// State of a pass.
pub struct SpecPass {
    conditions: SpecConditions,
    expander: Expander,
    section: Section,
    facts: SpecFacts,
    found: Vec<FoundSource>,
    last_numbers: [Option<u32>; 2],
}

impl SpecPass {
    pub fn new(conditions: SpecConditions, options: &SpecOptions) -> Self {
        Self {
            conditions,
            expander: Expander::new(initial_macros(options)),
            section: Section::Preamble,
            facts: SpecFacts::default(),
            found: Vec::new(),
            last_numbers: [None; 2],
        }
    }

    /// Reads all lines. Returns the values of tags, and the sources.
    pub fn run(mut self, lines: &[LogicalLine<'_>]) -> (SpecFacts, Vec<FoundSource>) {
        for line in lines {
            if let Some(condition) = ConditionLine::parse(&line.text) {
                let needs_value = self.conditions.needs_value(condition);
                let value = needs_value && self.holds(condition, line.number);
                self.conditions.read(condition, value);
            } else if self.conditions.is_active() {
                self.read(line);
            }
        }
        self.expand_late();
        (self.facts, self.found)
    }

    fn holds(&mut self, condition: ConditionLine<'_>, line: usize) -> bool {
        match condition {
            ConditionLine::Expression(_, text) => {
                let expanded = self.expander.expand_line(text, line);
                // A comment may follow.
                let expression = expanded.split(" #").next().unwrap_or_default();
                evaluate(expression).is_some_and(|value| value.is_true())
            }
            ConditionLine::Machine(_, machine, list) => {
                let list = self.expander.expand_line(list, line);
                let has = |name: &str| {
                    let mut words = list.split([' ', '\t', ',']);
                    words.any(|word| word == name)
                };
                match machine {
                    Machine::Arch => has("x86_64"),
                    Machine::OtherArch => !has("x86_64"),
                    Machine::Os => has("linux"),
                    Machine::OtherOs => !has("linux"),
                }
            }
            ConditionLine::Else | ConditionLine::End => false,
        }
    }

    fn read(&mut self, line: &LogicalLine<'_>) {
        let text = line.text.trim_start();
        if let Some(section) = Section::parse(&line.text) {
            self.section = section;
            return;
        }
        let is_definition = text.starts_with("%global") || text.starts_with("%define");
        let has_sources = self.section != Section::Other;
        // Definitions count in each section. RPM expands them in comments too.
        let is_comment = text.starts_with('#');
        if is_comment || (!has_sources && !is_definition) {
            if text.contains("%global") || text.contains("%define") {
                self.expander.expand_line(text, line.number);
            }
            return;
        }
        if text.is_empty() {
            return;
        }
        let expanded = self.expander.expand_line(&line.text, line.number);
        let is_one_line = !expanded.trim().contains('\n');
        for (at, expanded) in expanded.split('\n').enumerate() {
            let expanded = expanded.trim();
            if let Some(section) = Section::parse(expanded) {
                self.section = section;
            } else if !expanded.is_empty() && !expanded.starts_with('#') {
                let raw = is_one_line.then_some(line);
                self.read_expanded((line.number, at), expanded, raw);
            }
        }
    }

    fn read_expanded(
        &mut self,
        place: (usize, usize),
        expanded: &str,
        line: Option<&LogicalLine<'_>>,
    ) {
        match self.section {
            Section::SourceList => self.add(place, SpecSourceKind::Source, None, (expanded, line)),
            Section::PatchList => self.add(place, SpecSourceKind::Patch, None, (expanded, line)),
            Section::Other => {}
            Section::Preamble | Section::Package => match parse_tag(expanded) {
                Some((Tag::Source(number), at)) => {
                    self.add(place, SpecSourceKind::Source, number, (&expanded[at], line));
                }
                Some((Tag::Patch(number), at)) => {
                    self.add(place, SpecSourceKind::Patch, number, (&expanded[at], line));
                }
                Some((Tag::Macro(name), at)) if self.section == Section::Preamble => {
                    self.set_tag(name, &expanded[at], place.0);
                }
                _ => {}
            },
        }
    }

    fn set_tag(&mut self, name: &'static str, value: &str, line: usize) {
        let fact = match name {
            "name" => Some(&mut self.facts.name),
            "version" => Some(&mut self.facts.version),
            _ => None,
        };
        if let Some(fact) = fact {
            fact.get_or_insert_with(|| value.to_owned());
        }
        self.expander.table.set(name, value, line);
        let upper = name.to_uppercase();
        self.expander.table.set(&upper, value, line);
        let of_package = format!("PACKAGE_{upper}");
        self.expander.table.set(&of_package, value, line);
    }

    fn add(
        &mut self,
        place: (usize, usize),
        kind: SpecSourceKind,
        number: Option<u32>,
        (value, line): (&str, Option<&LogicalLine<'_>>),
    ) {
        let last = &mut self.last_numbers[usize::from(kind == SpecSourceKind::Patch)];
        let number = number.unwrap_or_else(|| last.map_or(0, |last| last.saturating_add(1)));
        *last = Some(number);
        let word = if kind == SpecSourceKind::Source {
            "SOURCE"
        } else {
            "PATCH"
        };
        let is_too_long = value.len() > MAX_VALUE_BYTES;
        let value = if is_too_long {
            value.split_at(value.floor_char_boundary(SHOWN_BYTES)).0
        } else {
            value
        };
        let file = value.rsplit('/').next().unwrap_or(value);
        self.expander
            .table
            .set(&format!("{word}{number}"), file, place.0);
        if self.found.len() >= MAX_SOURCES {
            return;
        }
        let span = line.and_then(|line| value_span(line, self.section));
        let raw = match (&span, line) {
            (Some(span), Some(line)) => {
                let bytes = &line.bytes[span.start - line.offset..span.end - line.offset];
                String::from_utf8_lossy(bytes).into_owned()
            }
            _ => value.to_owned(),
        };
        self.found.push(FoundSource {
            place,
            kind,
            number,
            raw,
            span,
            value: value.to_owned(),
            notes: self.expander.notes().to_vec(),
            is_too_long,
        });
    }

    /// Expands sources again whose macros are defined only behind them, and notes values that
    /// cannot be URLs.
    fn expand_late(&mut self) {
        for found in &mut self.found {
            if found.is_too_long {
                found.notes = vec![value_note(found, "is too long for a URL")];
                continue;
            }
            if !found.notes.is_empty() {
                let value = self.expander.expand_line(&found.value, found.place.0);
                if self.expander.notes().is_empty() {
                    found.value = value;
                    found.notes.clear();
                }
            }
            if let Some(reason) = value_problem(&found.value).filter(|_| found.notes.is_empty()) {
                found.notes.push(value_note(found, reason));
            }
        }
    }
}

/// Returns why a value whose macros were all expanded cannot be a URL.
fn value_problem(value: &str) -> Option<&'static str> {
    if value.contains(char::REPLACEMENT_CHARACTER) {
        Some("is not UTF-8")
    } else if value.contains("%{") {
        Some("contains a macro without a name")
    } else {
        None
    }
}

fn value_note(found: &FoundSource, reason: &str) -> UnresolvedMacro {
    UnresolvedMacro {
        name: "the value".to_owned(),
        line: found.place.0,
        reason: reason.to_owned(),
    }
}

/// Returns the bytes of the value in a line of the spec. `None` if a macro expands to the tag.
fn value_span(line: &LogicalLine<'_>, section: Section) -> Option<Range<usize>> {
    let bytes = line.bytes;
    if bytes.contains(&b'\n') {
        return None;
    }
    let from = if section.has_tags() {
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let name = bytes[..colon].trim_ascii();
        if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        colon + 1
    } else {
        0
    };
    let value = &bytes[from..];
    let from = from + (value.len() - value.trim_ascii_start().len());
    let length = value.trim_ascii().len();
    Some(line.offset + from..line.offset + from + length)
}
