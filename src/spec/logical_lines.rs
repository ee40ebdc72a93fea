//! Logical lines of a spec: physical lines that RPM reads at once, because a macro or a backslash
//! continues them.
//!
//! The main type is [`LogicalLines`].

use std::borrow::Cow;

/// Longest logical line, in bytes. A longer one ends here, as a brace without its pair would
/// otherwise take in the rest of the file.
const MAX_LINE_BYTES: usize = 512 << 10;

/// Mark that some editors write at the start of a file.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Logical line.
#[derive(Debug, Clone)]
pub struct LogicalLine<'a> {
    /// Text without the end of the line. Invalid UTF-8 is replaced.
    pub text: Cow<'a, str>,
    /// Bytes of the text.
    pub bytes: &'a [u8],
    /// Position of the first byte in the file.
    pub offset: usize,
    /// Number of the first physical line, from 1.
    pub number: usize,
}

/// Iterator over logical lines.
pub struct LogicalLines<'a> {
    bytes: &'a [u8],
    offset: usize,
    number: usize,
}

/// Brackets of macros that are open at the end of a physical line.
#[derive(Default)]
struct OpenBrackets {
    braces: usize,
    parentheses: usize,
    brackets: usize,
    is_continued: bool,
}

impl<'a> LogicalLines<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let has_mark = bytes.starts_with(BYTE_ORDER_MARK);
        Self {
            bytes,
            offset: if has_mark { BYTE_ORDER_MARK.len() } else { 0 },
            number: 1,
        }
    }
}

impl<'a> Iterator for LogicalLines<'a> {
    type Item = LogicalLine<'a>;

    fn next(&mut self) -> Option<LogicalLine<'a>> {
        let rest = self
            .bytes
            .get(self.offset..)
            .filter(|rest| !rest.is_empty())?;
        let mut open = OpenBrackets::default();
        let (mut end, mut lines) = (0, 0);
        loop {
            let from = end;
            let ending = rest[from..].iter().position(|byte| *byte == b'\n');
            end = ending.map_or(rest.len(), |at| from + at + 1);
            lines += 1;
            open.read(&rest[from..end]);
            if end == rest.len() || end > MAX_LINE_BYTES || !open.is_open() {
                break;
            }
        }
        let bytes = &rest[..end];
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = LogicalLine {
            text: String::from_utf8_lossy(bytes),
            bytes,
            offset: self.offset,
            number: self.number,
        };
        self.offset += end;
        self.number += lines;
        Some(line)
    }
}

impl OpenBrackets {
    fn is_open(&self) -> bool {
        self.is_continued || self.braces + self.parentheses + self.brackets > 0
    }

    /// Reads a physical line with its end.
    fn read(&mut self, line: &[u8]) {
        self.is_continued = false;
        let mut at = 0;
        while at < line.len() {
            let next = line.get(at + 1).copied();
            match line[at] {
                b'\\' => {
                    self.is_continued = next == Some(b'\n');
                    at += 1;
                }
                b'%' => {
                    match next {
                        Some(b'{') => self.braces += 1,
                        Some(b'(') => self.parentheses += 1,
                        Some(b'[') => self.brackets += 1,
                        Some(b'%') => {}
                        _ => {
                            at += 1;
                            continue;
                        }
                    }
                    at += 1;
                }
                b'{' if self.braces > 0 => self.braces += 1,
                b'}' => self.braces = self.braces.saturating_sub(1),
                b'(' if self.parentheses > 0 => self.parentheses += 1,
                b')' => self.parentheses = self.parentheses.saturating_sub(1),
                b'[' if self.brackets > 0 => self.brackets += 1,
                b']' => self.brackets = self.brackets.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
    }
}
