//! The macros that are defined at one place of a spec.
//!
//! The main type is [`MacroTable`].

use std::collections::HashMap;
use std::rc::Rc;

/// Bound on the macros of one spec. Real specs have some hundreds.
const MAX_MACROS: usize = 20_000;

/// Definition of a macro.
#[derive(Debug, Clone)]
pub struct MacroDefinition {
    pub body: Rc<str>,
    pub parameters: Parameters,
    /// Number of the line, from 1. Zero for a macro that no line of the spec defines.
    pub line: usize,
}

/// Whether a macro takes arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameters {
    None,
    Some,
}

/// Defined macros.
#[derive(Debug, Clone, Default)]
pub struct MacroTable {
    macros: HashMap<String, MacroDefinition>,
}

impl MacroTable {
    pub fn get(&self, name: &str) -> Option<&MacroDefinition> {
        self.macros.get(name)
    }

    pub fn is_defined(&self, name: &str) -> bool {
        self.macros.contains_key(name)
    }

    /// Defines a macro, or replaces it. Beyond the bound, new names are ignored.
    pub fn define(&mut self, name: &str, definition: MacroDefinition) {
        if let Some(known) = self.macros.get_mut(name) {
            *known = definition;
        } else if self.macros.len() < MAX_MACROS {
            self.macros.insert(name.to_owned(), definition);
        }
    }

    /// Defines a macro without parameters.
    pub fn set(&mut self, name: &str, body: &str, line: usize) {
        let definition = MacroDefinition {
            body: body.into(),
            parameters: Parameters::None,
            line,
        };
        self.define(name, definition);
    }

    pub fn undefine(&mut self, name: &str) {
        self.macros.remove(name);
    }
}
