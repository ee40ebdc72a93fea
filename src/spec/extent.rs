//! Extents of calls in a text. The file expands nothing.

use super::syntax::next_piece;

/// Returns the first macro of a text, to name it.
pub fn first_call(text: &str) -> Option<&str> {
    let text = &text[text.find('%')?..];
    let (_, bytes) = next_piece(text);
    text.get(..bytes)
}

/// Returns the length of the rest of the line.
pub fn line_bytes(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Returns the length of the rest of a definition: to the end of the line, unless a backslash or an
/// open macro continues it.
pub fn statement_bytes(text: &str) -> usize {
    let (bytes, mut at) = (text.as_bytes(), 0);
    let mut open: Vec<u8> = Vec::new();
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\\', Some(_)) | (b'%', Some(b'%')) => at += 1,
            (b'%', Some(b'{')) => {
                open.push(b'}');
                at += 1;
            }
            (b'%', Some(b'(')) => {
                open.push(b')');
                at += 1;
            }
            (b'{', _) if open.last() == Some(&b'}') => open.push(b'}'),
            (b'(', _) if open.last() == Some(&b')') => open.push(b')'),
            (byte, _) if open.last() == Some(&byte) => {
                open.pop();
            }
            (b'\n', _) if open.is_empty() => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}
