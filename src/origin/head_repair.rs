//! Repairs of heads that wget and curl read and the HTTP client does not.
//!
//! No repair touches a line about the framing: [`super::head_reader`] has refused malformed ones
//! before. The main function is [`repair`].

/// Beginning of a status line, without the minor version.
const START: &[u8] = b"HTTP/1.";

/// Repairs the status line, and bytes inside field lines that the HTTP client refuses.
pub fn repair(head: &mut Vec<u8>) {
    for at in 0..head.len() {
        // A space there would make the line part of the one before, which may be about the framing.
        if at > 0 && head[at - 1] == b'\n' {
            continue;
        }
        let is_line_end = || head.get(at + 1) == Some(&b'\n');
        // RFC 9110, section 5.5, lets a recipient replace these bytes by spaces.
        if head[at] == 0 || (head[at] == b'\r' && !is_line_end()) {
            head[at] = b' ';
        }
    }
    repair_status_line(head);
}

/// Gives the status line a minor version that the client knows (RFC 9110, section 6.2), and one
/// space before the status (RFC 9112, section 4).
fn repair_status_line(head: &mut Vec<u8>) {
    let minor = START.len();
    let is_after_minor = |byte: &&u8| matches!(byte, b' ' | b'\t');
    let spaces = match head.get(minor) {
        Some(b'0'..=b'9') => head[minor + 1..].iter().take_while(is_after_minor).count(),
        _ => return,
    };
    if spaces == 0 {
        return;
    }
    head[minor] = head[minor].min(b'1');
    head.splice(minor + 1..minor + 1 + spaces, *b" ");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreadable_bytes_are_replaced() {
        for (head, wanted) in [
            (
                &b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"[..],
                &b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"[..],
            ),
            (b"HTTP/1.2 200\n\n", b"HTTP/1.1 200\n\n"),
            (b"HTTP/1.0 \t 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"),
            (
                b"HTTP/1.1 200\r\nA: \x00b\rc\r\r\n\r\n",
                b"HTTP/1.1 200\r\nA:  b c \r\n\r\n",
            ),
            (
                b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\rb: c\r\n\0d: e\r\n\r\n",
                b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\rb: c\r\n\0d: e\r\n\r\n",
            ),
            (b"HTTP/1.1", b"HTTP/1.1"),
            (b"HTTP/1.12 200\r\n\r\n", b"HTTP/1.12 200\r\n\r\n"),
        ] {
            let mut found = head.to_vec();
            repair(&mut found);
            assert_eq!(found, wanted);
        }
    }
}
