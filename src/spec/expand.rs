//! The expansion of macros, as RPM does it, apart from Lua and shell commands.
//!
//! A macro that cannot be expanded stays as it is, and is noted. The main type is [`Expander`].

use std::collections::HashMap;

use super::budget::{Budget, BudgetError};
use super::compose::compose;
use super::expression::evaluate;
use super::extent::{first_call, line_bytes, statement_bytes};
use super::functions::{call_function, call_with_words};
use super::macro_table::{MacroDefinition, MacroTable, Parameters};
use super::shell_text::shell_output;
use super::source::UnresolvedMacro;
use super::syntax::{CallTail, MacroCall, MacroTest, Piece, matching, next_piece};
use super::words::{QUOTE, split_words};

/// Longest name of a macro in a report, in characters. A shell command may be long.
const MAX_NAME_CHARS: usize = 48;

/// Bound on the notes of one line.
const MAX_NOTES: usize = 16;

/// Cost of a shell command: it may have a score of statements, each with a text of some KiB.
const SHELL_COST_BYTES: usize = 16 << 10;

const NOT_DEFINED: &str = "is not defined";
const SHELL: &str = "is a shell command, which Millpond does not run";
const LUA: &str = "is a Lua script, which Millpond does not run";
const NO_EXPRESSION: &str = "is no valid expression";
const NO_FUNCTION: &str = "cannot be computed of these values";

/// Time at which the body of a macro is expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyTime {
    Definition,
    Use,
}

/// Expands texts at one place of a spec.
pub struct Expander {
    pub table: MacroTable,
    budget: Budget,
    /// Macros of this line that stayed as they are.
    notes: Vec<UnresolvedMacro>,
    line: usize,
    /// Lines of the definitions that are being expanded.
    callers: Vec<usize>,
    arguments: Vec<HashMap<String, String>>,
}

impl Expander {
    pub fn new(table: MacroTable) -> Self {
        Self {
            table,
            budget: Budget::new(),
            notes: Vec::new(),
            line: 0,
            callers: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// Expands a text of a line. The notes of an earlier text are forgotten.
    pub fn expand_line(&mut self, text: &str, line: usize) -> String {
        self.line = line;
        self.notes.clear();
        self.callers.clear();
        self.arguments.clear();
        self.budget.begin_line();
        match self.expand(text) {
            Ok(expanded) => expanded.replace(QUOTE, ""),
            Err(error) => {
                self.callers.clear();
                let name = first_call(text).unwrap_or(text);
                self.note(name, &error.to_string());
                text.to_owned()
            }
        }
    }

    /// Returns the macros of the last text that stayed as they are.
    pub fn notes(&self) -> &[UnresolvedMacro] {
        &self.notes
    }

    fn note(&mut self, name: &str, reason: &str) {
        let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
        let dots = if shown.len() < name.len() { "..." } else { "" };
        let line = self.callers.last().copied().filter(|line| *line > 0);
        let note = UnresolvedMacro {
            name: format!("{}{dots}", shown.replace(['\n', '\t'], " ")),
            line: line.unwrap_or(self.line),
            reason: reason.to_owned(),
        };
        if self.notes.len() < MAX_NOTES && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn expand(&mut self, text: &str) -> Result<String, BudgetError> {
        self.budget.enter()?;
        let (mut expanded, mut at) = (String::new(), 0);
        while at < text.len() {
            let rest = &text[at..];
            let (piece, mut bytes) = next_piece(rest);
            // A bracket without its pair was searched for to the end.
            let is_alone = piece == Piece::Text("%");
            self.budget
                .scan(if is_alone { rest.len() } else { bytes })?;
            match piece {
                Piece::Text(text) => expanded.push_str(text),
                Piece::Percent => expanded.push('%'),
                Piece::Shell(command) => expanded += &self.shell(command)?,
                Piece::Expression(inside) => expanded += &self.expression(inside)?,
                Piece::Call(call) => {
                    let raw = &rest[..bytes];
                    if call.tail == CallTail::Line {
                        bytes += self.tail_bytes(&call, &rest[bytes..]);
                    }
                    let tail = &rest[raw.len()..bytes];
                    expanded += &self.call(&call, raw, tail)?;
                }
            }
            Budget::check_size(&expanded)?;
            at += bytes;
        }
        self.budget.leave();
        Ok(expanded)
    }

    /// Returns the length of what a call without braces takes of the text behind it.
    fn tail_bytes(&self, call: &MacroCall<'_>, rest: &str) -> usize {
        match call.name {
            "define" | "global" => statement_bytes(rest),
            "undefine" | "bcond_with" | "bcond_without" | "bcond" | "dnl" => line_bytes(rest),
            name => match self.table.get(name) {
                Some(found) if found.parameters == Parameters::Some => line_bytes(rest),
                _ => 0,
            },
        }
    }

    fn call(&mut self, call: &MacroCall<'_>, raw: &str, tail: &str) -> Result<String, BudgetError> {
        if call.test != MacroTest::None {
            let is_defined = self.argument(call.name).is_some() || self.table.is_defined(call.name);
            if is_defined != (call.test == MacroTest::Defined) {
                return Ok(String::new());
            }
            return match call.tail {
                CallTail::Body(body) => self.expand(body),
                _ if call.test == MacroTest::Undefined => Ok(String::new()),
                _ => self.value(call, raw, tail),
            };
        }
        self.value(call, raw, tail)
    }

    fn argument(&self, name: &str) -> Option<&String> {
        self.arguments.last()?.get(name)
    }

    fn value(
        &mut self,
        call: &MacroCall<'_>,
        raw: &str,
        tail: &str,
    ) -> Result<String, BudgetError> {
        if let Some(argument) = self.argument(call.name) {
            return Ok(match call.tail {
                CallTail::Body(body) => return self.expand(body),
                _ => argument.clone(),
            });
        }
        let given = match call.tail {
            CallTail::None => "",
            CallTail::Body(text) | CallTail::Arguments(text) => text,
            CallTail::Line => tail,
        };
        if let Some(result) = self.builtin(call.name, given)? {
            return Ok(result);
        }
        if let Some(found) = self.table.get(call.name).cloned() {
            return self.defined(&found, given);
        }
        let notes = self.notes.len();
        let result = match call.tail {
            CallTail::Body(text) => call_function(call.name, &self.expand(text)?),
            CallTail::Arguments(text) => call_with_words(call.name, &self.expand(text)?),
            CallTail::None | CallTail::Line => None,
        };
        if let Some(result) = result {
            return Ok(result);
        }
        let is_text = is_unset_argument(call.name)
            || (call.tail == CallTail::Line && is_percent_encoded(call.name));
        if self.notes.len() == notes && !is_text {
            let is_function = !matches!(call.tail, CallTail::None | CallTail::Line);
            let reason = if is_function {
                NO_FUNCTION
            } else {
                NOT_DEFINED
            };
            self.note(&format!("%{{{}}}", call.name), reason);
        }
        Ok(raw.to_owned())
    }

    /// Expands a macro that is defined.
    fn defined(&mut self, found: &MacroDefinition, given: &str) -> Result<String, BudgetError> {
        let arguments = match found.parameters {
            Parameters::None => None,
            Parameters::Some => Some(arguments_of(&split_words(&self.expand(given)?))),
        };
        let has_arguments = arguments.is_some();
        self.arguments.extend(arguments);
        self.callers.push(found.line);
        let expanded = self.expand(&found.body)?;
        self.callers.pop();
        if has_arguments {
            self.arguments.pop();
        }
        Ok(expanded)
    }

    /// Calls a macro of RPM itself that needs the table. `None` if there is no such macro.
    fn builtin(&mut self, name: &str, given: &str) -> Result<Option<String>, BudgetError> {
        let is_true = |value: bool| if value { "1" } else { "0" }.to_owned();
        Ok(Some(match name {
            "nil" | "dnl" => String::new(),
            "define" => self.define(given, BodyTime::Use)?,
            "global" => self.define(given, BodyTime::Definition)?,
            "undefine" => {
                self.table.undefine(given.trim());
                String::new()
            }
            "bcond_with" | "bcond_without" | "bcond" => self.build_condition(name, given)?,
            "with" => is_true(self.table.is_defined(&format!("with_{}", given.trim()))),
            "without" => is_true(!self.table.is_defined(&format!("with_{}", given.trim()))),
            "defined" => is_true(self.table.is_defined(given.trim())),
            "undefined" => is_true(!self.table.is_defined(given.trim())),
            "expand" => {
                let once = self.expand(given)?;
                self.expand(&once)?
            }
            "expr" => self.expression(given)?,
            "lua" => {
                self.note("%{lua:...}", LUA);
                format!("%{{lua:{given}}}")
            }
            "S" => self.expand(&format!("%{{SOURCE{}}}", given.trim()))?,
            "P" => self.expand(&format!("%{{PATCH{}}}", given.trim()))?,
            "__compose" => {
                let notes = self.notes.len();
                let fields = self.expand(given)?;
                let composed = compose(&fields).filter(|_| self.notes.len() == notes);
                composed.unwrap_or_else(|| {
                    if self.notes.len() == notes {
                        let name = fields.split('|').next().unwrap_or_default();
                        self.note(&format!("the source of kind {name}"), NO_FUNCTION);
                    }
                    format!("%{{__compose:{fields}}}")
                })
            }
            _ => return Ok(None),
        }))
    }

    /// `%define` and `%global`. The body of the latter is expanded now.
    fn define(&mut self, given: &str, time: BodyTime) -> Result<String, BudgetError> {
        let given = given.trim_start();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = &given[..given.find(|c| !is_word(c)).unwrap_or(given.len())];
        let mut body = &given[name.len()..];
        let mut parameters = Parameters::None;
        if let Some(end) = body
            .starts_with('(')
            .then(|| matching(body, b'(', b')'))
            .flatten()
        {
            parameters = Parameters::Some;
            body = &body[end + 1..];
        }
        if name.is_empty() {
            return Ok(String::new());
        }
        let body = body.replace("\\\n", "\n");
        let mut body = body.trim();
        if body.starts_with('{') && matching(body, b'{', b'}') == Some(body.len() - 1) {
            body = &body[1..body.len() - 1];
        }
        let body = match time {
            BodyTime::Definition => self.expand(body)?,
            BodyTime::Use => body.to_owned(),
        };
        let definition = MacroDefinition {
            body: body.into(),
            parameters,
            line: self.line,
        };
        self.table.define(name, definition);
        Ok(String::new())
    }

    /// `%bcond_with name`, `%bcond_without name` and `%bcond name default`.
    fn build_condition(&mut self, kind: &str, given: &str) -> Result<String, BudgetError> {
        let given = self.expand(given)?;
        let (name, default) = given.trim().split_once(' ').unwrap_or((given.trim(), ""));
        let is_default = match kind {
            "bcond_with" => false,
            "bcond_without" => true,
            _ => evaluate(default.trim()).is_some_and(|value| value.is_true()),
        };
        let user = if is_default { "_without_" } else { "_with_" };
        let is_changed = self.table.is_defined(&format!("{user}{name}"));
        if is_default != is_changed {
            self.table.set(&format!("with_{name}"), "1", self.line);
        }
        Ok(String::new())
    }

    fn expression(&mut self, inside: &str) -> Result<String, BudgetError> {
        let notes = self.notes.len();
        let expanded = self.expand(inside)?;
        if let Some(value) = evaluate(&expanded) {
            return Ok(value.into_text());
        }
        if self.notes.len() == notes {
            self.note(&format!("%[{inside}]"), NO_EXPRESSION);
        }
        Ok(format!("%[{expanded}]"))
    }

    fn shell(&mut self, command: &str) -> Result<String, BudgetError> {
        let notes = self.notes.len();
        let expanded = self.expand(command)?;
        self.budget.scan(SHELL_COST_BYTES)?;
        let output = shell_output(&expanded).filter(|_| self.notes.len() == notes);
        Ok(output.unwrap_or_else(|| {
            if self.notes.len() == notes {
                self.note(&format!("%({command})"), SHELL);
            }
            format!("%({command})")
        }))
    }
}

/// Whether a name is that of an argument, which stays as it is if there is none.
fn is_unset_argument(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_digit()) || name.starts_with(['*', '#', '-'])
}

/// Whether a name begins like an encoded byte of a URL, such as `2F`, which stays as it is. A name
/// that begins with two letters may be that of a macro.
fn is_percent_encoded(name: &str) -> bool {
    let Some(digits) = name.as_bytes().first_chunk::<2>() else {
        return false;
    };
    digits.iter().all(u8::is_ascii_hexdigit) && digits.iter().any(u8::is_ascii_digit)
}

/// Returns the arguments of a call by their names.
fn arguments_of(words: &[String]) -> HashMap<String, String> {
    let mut arguments = HashMap::new();
    let mut positional: Vec<&str> = Vec::new();
    for word in words {
        match word.strip_prefix('-') {
            Some(flag) if flag.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let name: String = word.chars().take(2).collect();
                let value = word[name.len()..].to_owned();
                arguments.insert(format!("{name}*"), value);
                arguments.insert(name, word.clone());
            }
            _ => positional.push(word),
        }
    }
    for (at, word) in positional.iter().enumerate() {
        arguments.insert((at + 1).to_string(), (*word).to_owned());
    }
    arguments.insert("*".to_owned(), positional.join(" "));
    arguments.insert("**".to_owned(), words.join(" "));
    arguments.insert("#".to_owned(), positional.len().to_string());
    arguments
}
