//! Expressions of `%if` and `%[...]`, whose macros are expanded already.
//!
//! The main function is [`evaluate`].

/// Greatest depth of parentheses.
const MAX_DEPTH: usize = 50;

/// Longest expression, in bytes.
const MAX_BYTES: usize = 4096;

/// Value of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExprValue {
    Number(i64),
    Text(String),
    /// `v"1.2"`: compared as versions.
    Version(String),
}

impl ExprValue {
    pub fn is_true(&self) -> bool {
        match self {
            Self::Number(number) => *number != 0,
            Self::Text(text) | Self::Version(text) => !text.is_empty(),
        }
    }

    pub fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) | Self::Version(text) => text,
        }
    }
}

/// Evaluates an expression. `None` if it is invalid.
pub fn evaluate(text: &str) -> Option<ExprValue> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let mut parser = ExprParser {
        rest: text.trim(),
        depth: 0,
    };
    let value = parser.ternary()?;
    parser.skip_blanks();
    parser.rest.is_empty().then_some(value)
}

struct ExprParser<'a> {
    rest: &'a str,
    depth: usize,
}

impl ExprParser<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes the first of these operators that comes next.
    fn take<'o>(&mut self, operators: &[&'o str]) -> Option<&'o str> {
        self.skip_blanks();
        let found = operators
            .iter()
            .find(|text| self.rest.starts_with(**text))?;
        self.rest = &self.rest[found.len()..];
        Some(found)
    }

    fn ternary(&mut self) -> Option<ExprValue> {
        let condition = self.disjunction()?;
        if self.take(&["?"]).is_none() {
            return Some(condition);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let yes = self.ternary()?;
        self.take(&[":"])?;
        let no = self.ternary()?;
        self.depth -= 1;
        Some(if condition.is_true() { yes } else { no })
    }

    fn disjunction(&mut self) -> Option<ExprValue> {
        let mut value = self.conjunction()?;
        while self.take(&["||"]).is_some() {
            let other = self.conjunction()?;
            value = ExprValue::Number(i64::from(value.is_true() || other.is_true()));
        }
        Some(value)
    }

    fn conjunction(&mut self) -> Option<ExprValue> {
        let mut value = self.comparison()?;
        while self.take(&["&&"]).is_some() {
            let other = self.comparison()?;
            value = ExprValue::Number(i64::from(value.is_true() && other.is_true()));
        }
        Some(value)
    }

    fn comparison(&mut self) -> Option<ExprValue> {
        let mut value = self.sum()?;
        while let Some(operator) = self.take(&["==", "!=", "<=", ">=", "=<", "=>", "<", ">", "="]) {
            let other = self.sum()?;
            let order = compare(&value, &other)?;
            let holds = match operator {
                "==" | "=" => order.is_eq(),
                "!=" => order.is_ne(),
                "<" => order.is_lt(),
                ">" => order.is_gt(),
                "<=" | "=<" => order.is_le(),
                _ => order.is_ge(),
            };
            value = ExprValue::Number(i64::from(holds));
        }
        Some(value)
    }

    fn sum(&mut self) -> Option<ExprValue> {
        let mut value = self.product()?;
        while let Some(operator) = self.take(&["+", "-"]) {
            value = match (value, operator, self.product()?) {
                (ExprValue::Number(a), "+", ExprValue::Number(b)) => {
                    ExprValue::Number(a.checked_add(b)?)
                }
                (ExprValue::Number(a), _, ExprValue::Number(b)) => {
                    ExprValue::Number(a.checked_sub(b)?)
                }
                (ExprValue::Text(a), "+", ExprValue::Text(b)) => ExprValue::Text(a + &b),
                _ => return None,
            };
        }
        Some(value)
    }

    fn product(&mut self) -> Option<ExprValue> {
        let mut value = self.unary()?;
        while let Some(operator) = self.take(&["*", "/"]) {
            value = match (value, self.unary()?) {
                (ExprValue::Number(a), ExprValue::Number(b)) if operator == "*" => {
                    ExprValue::Number(a.checked_mul(b)?)
                }
                (ExprValue::Number(a), ExprValue::Number(b)) => {
                    ExprValue::Number(a.checked_div(b)?)
                }
                _ => return None,
            };
        }
        Some(value)
    }

    fn unary(&mut self) -> Option<ExprValue> {
        let mut is_negated = None;
        while self.take(&["!"]).is_some() {
            is_negated = Some(!is_negated.unwrap_or(false));
        }
        let value = if self.take(&["-"]).is_some() {
            let ExprValue::Number(number) = self.primary()? else {
                return None;
            };
            ExprValue::Number(number.checked_neg()?)
        } else {
            self.primary()?
        };
        Some(match is_negated {
            None => value,
            Some(negated) => ExprValue::Number(i64::from(value.is_true() != negated)),
        })
    }

    fn primary(&mut self) -> Option<ExprValue> {
        if self.take(&["("]).is_some() {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return None;
            }
            let value = self.ternary()?;
            self.depth -= 1;
            self.take(&[")"])?;
            return Some(value);
        }
        if self.take(&["v\""]).is_some() {
            return self.quoted().map(ExprValue::Version);
        }
        if self.take(&["\""]).is_some() {
            return self.quoted().map(ExprValue::Text);
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if word.is_empty() {
            None
        } else if word.bytes().all(|byte| byte.is_ascii_digit()) {
            word.parse().ok().map(ExprValue::Number)
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            None
        } else {
            // Old versions of RPM take a word as a text.
            Some(ExprValue::Text(word.to_owned()))
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let (text, rest) = self.rest.split_once('"')?;
        self.rest = rest;
        Some(text.to_owned())
    }
}

fn compare(a: &ExprValue, b: &ExprValue) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (ExprValue::Number(a), ExprValue::Number(b)) => Some(a.cmp(b)),
        (ExprValue::Text(a), ExprValue::Text(b)) => Some(a.cmp(b)),
        (ExprValue::Version(a), ExprValue::Version(b)) => {
            Some(version_parts(a).cmp(&version_parts(b)))
        }
        _ => None,
    }
}

/// Returns the numbers of a version. They suffice for versions of distributions.
fn version_parts(version: &str) -> Vec<u64> {
    let parts = version.split(|c: char| !c.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_follow_rpm() {
        for (text, expected) in [
            ("0", Some(false)),
            ("00", Some(false)),
            ("030 >= 28", Some(true)),
            ("0 && 1 || 1", Some(true)),
            ("!0 && !(1 == 2)", Some(true)),
            ("\"a\" == \"a\"", Some(true)),
            ("\"x\" != \"\"", Some(true)),
            ("1 + 2 * 3 == 7", Some(true)),
            ("v\"1.10\" > v\"1.9\"", Some(true)),
            ("1 ? 0 : 1", Some(false)),
            ("-1 < 0", Some(true)),
            ("1 / 0", None),
            ("1 == \"a\"", None),
            ("(1", None),
            ("", None),
        ] {
            let found = evaluate(text).map(|value| value.is_true());
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(evaluate(&"(".repeat(1000)), None);
        assert_eq!(evaluate(&"!".repeat(4000)), None);
        assert_eq!(evaluate(&"1?".repeat(2000)), None);
    }
}
