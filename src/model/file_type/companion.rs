//! Forms of signatures, checksum lists and patches.
//!
//! These files have no common magic bytes. Each function accepts the forms that tools write, and
//! rejects other text. The callers have rejected markup before.

use super::markup::FILE_TYPE_SNIFF_BYTES;

/// Lengths of common digests in bytes, from MD5 to SHA-512.
const DIGEST_BYTES: [usize; 6] = [16, 20, 28, 32, 48, 64];

/// Lengths of signatures without a container, in bytes: Ed25519, ECDSA and RSA.
const RAW_SIGNATURE_BYTES: [usize; 6] = [64, 96, 128, 256, 384, 512];

/// Shortest digest in hexadecimal digits: MD5.
const MIN_HEX_DIGITS: usize = 32;

/// Lengths of MD5, SHA-1, SHA-256 and SHA-512 in base64 with padding.
const BASE64_DIGEST_CHARS: [usize; 4] = [24, 28, 44, 88];

/// Shortest signature in base64. Words are shorter.
const MIN_SIGNATURE_CHARS: usize = 40;

/// Lines with which a patch, or a part of it, begins.
const PATCH_LINES: [&str; 17] = [
    "--- ",
    "+++ ",
    "*** ",
    "*****",
    "@@ ",
    "=== ",
    "diff ",
    "Index: ",
    "From ",
    "From: ",
    "Subject: ",
    "Description: ",
    "# HG changeset patch",
    "# Bazaar merge directive",
    "GIT binary patch",
    "deleted file mode ",
    "rename from ",
];

/// Returns whether the file may be a detached signature: armored, an OpenPGP packet, of minisign or
/// signify, in base64, or raw.
pub fn is_signature(head: &[u8]) -> bool {
    let Some(text) = as_text(head) else {
        return is_binary_signature(head);
    };
    text.lines().any(|line| line.starts_with("-----BEGIN "))
        || text.starts_with("untrusted comment:")
        || is_base64(text)
}

/// Returns whether the file may be armored, with any text before, or a document in AsciiDoc.
pub fn is_armor_or_asciidoc(head: &[u8]) -> bool {
    let is_document = |text: &str| {
        let begins_block = |line: &str| line.starts_with("= ") || line.starts_with("== ");
        head.len() >= FILE_TYPE_SNIFF_BYTES || text.lines().any(begins_block)
    };
    is_signature(head) || as_text(head).is_some_and(is_document)
}

/// OpenPGP packets begin with a set bit (RFC 9580, section 4.2), DER with a sequence.
fn is_binary_signature(head: &[u8]) -> bool {
    match head.first() {
        Some(first) if first & 0x80 != 0 || *first == 0x30 => true,
        Some(_) => !head.starts_with(b"\x1f\x8b") && RAW_SIGNATURE_BYTES.contains(&head.len()),
        None => false,
    }
}

/// Returns whether the file may be a list of checksums: it has a digest in hexadecimal or base64.
///
/// The digits may be in groups, as `gpg --print-md` writes them. The list may be signed, and begin
/// with a comment.
pub fn is_checksum_list(head: &[u8]) -> bool {
    // PowerShell writes UTF-16.
    let narrow: Vec<u8> = match head {
        [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] => {
            rest.iter().copied().filter(|byte| *byte != 0).collect()
        }
        _ => head.to_vec(),
    };
    let Some(text) = as_text(&narrow) else {
        return DIGEST_BYTES.contains(&head.len());
    };
    let is_continued_behind_head = narrow.len() >= FILE_TYPE_SNIFF_BYTES
        && (text.starts_with('#') || text.starts_with("-----BEGIN "));
    has_hex_digest(text) || has_base64_digest(text) || is_continued_behind_head
}

fn has_hex_digest(text: &str) -> bool {
    let mut digits = 0;
    for char in text.chars() {
        if char.is_ascii_hexdigit() {
            digits += 1;
        } else if !char.is_ascii_whitespace() && char != ':' {
            digits = 0;
        }
        if digits >= MIN_HEX_DIGITS {
            return true;
        }
    }
    false
}

fn has_base64_digest(text: &str) -> bool {
    text.split(|char: char| !is_base64_char(char))
        .any(|word| word.ends_with('=') && BASE64_DIGEST_CHARS.contains(&word.len()))
}

/// Returns whether the text is nothing but base64. A space does not occur in it.
fn is_base64(text: &str) -> bool {
    let lines = text.trim().lines().map(str::trim_end);
    let mut count = 0;
    for line in lines {
        if !line.chars().all(is_base64_char) {
            return false;
        }
        count += line.len();
    }
    count >= MIN_SIGNATURE_CHARS
}

fn is_base64_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '+' | '/' | '=')
}

/// Returns whether the file may be a patch: unified, context, normal, an ed script, or binary.
///
/// Any text may come before the first file of a patch, so a long text is accepted.
pub fn is_patch(head: &[u8]) -> bool {
    let Some(text) = as_text(head) else {
        return !head.starts_with(b"\x1f\x8b");
    };
    head.len() >= FILE_TYPE_SNIFF_BYTES
        || text.lines().any(|line| {
            PATCH_LINES.iter().any(|start| line.starts_with(start)) || is_ed_command(line)
        })
}

/// Returns whether a line is a command of a normal diff or an ed script, such as `3,5c7`.
fn is_ed_command(line: &str) -> bool {
    let is_address = |char: char| char.is_ascii_digit() || char == ',';
    let rest = line.trim_start_matches(is_address);
    rest.len() < line.len()
        && rest
            .strip_prefix(['a', 'c', 'd'])
            .is_some_and(|rest| rest.trim_start_matches(is_address).is_empty())
}

/// Returns the bytes as text. Bytes that are not UTF-8 at the end or in an old encoding are cut
/// off. Returns `None` for binary data.
fn as_text(head: &[u8]) -> Option<&str> {
    let is_control = |byte: &u8| {
        byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b | 0x1a)
    };
    if head.iter().any(is_control) {
        return None;
    }
    Some(match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => {
            std::str::from_utf8(&head[..error.valid_up_to()]).expect("this part is valid")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    /// Texts that are no form of any companion.
    const OTHER_TEXTS: [&str; 7] = [
        "",
        "Not Found",
        "Unauthorized\n",
        "fatal: the ref does not exist\n",
        "Just a moment...",
        "You have reached the limit of 60 requests an hour.\n",
        "abc\n",
    ];

    #[test]
    fn signatures_are_recognized() {
        let armored = "-----BEGIN PGP SIGNATURE-----\n\niQ";
        let ssh = "-----BEGIN SSH SIGNATURE-----\n";
        let minisign = "untrusted comment: signature from minisign secret key\nRWQ";
        let base64 = "MEUCIQDmwQ2jmXkJ0V1Vn1Jm8rQw1bqkq3QzY0wIgYb0Zk1\n";
        let prefixed = format!("Signed by the maintainer.\n{armored}");
        for text in [armored, ssh, minisign, base64, &prefixed] {
            assert!(is_signature(text.as_bytes()), "{text}");
        }
        for bytes in [
            &b"\x89\x02\x33\x04\0"[..],
            b"\xc2\xc0\x4d\x04\0",
            b"\x30\x82\x01\x0a\x02",
            &[7; 256],
        ] {
            assert!(is_signature(bytes), "{bytes:x?}");
        }
    }

    #[test]
    fn other_bytes_are_no_signature() {
        for text in OTHER_TEXTS {
            assert!(!is_signature(text.as_bytes()), "{text}");
            assert!(!is_armor_or_asciidoc(text.as_bytes()), "{text}");
        }
        assert!(!is_signature(b"\x1f\x8b\x08\0\0\0"));
        assert!(!is_signature(b"\x7fELF\x02\x01\x01\0"));
        assert!(is_armor_or_asciidoc(b"= The manual\n\nText\n"));
    }

    #[test]
    fn checksum_lists_are_recognized() {
        let base64 = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=";
        let grouped = "x.tar.gz:\n 9F86D081 884C7D65 9A2FEAA0 C55AD015\n A3BF4F1B 2B0B822C";
        let utf16: Vec<u8> = [0xff, 0xfe]
            .into_iter()
            .chain(SHA256.bytes().flat_map(|byte| [byte, 0]))
            .collect();
        for text in [
            &format!("{SHA256}  x.tar.gz\n"),
            &format!("{SHA256} *x.tar.gz\r\n"),
            &format!("SHA256 (x.tar.gz) = {SHA256}\n"),
            &format!("SHA256 hash of x.tar.gz:\r\n{SHA256}\r\n"),
            &format!("# checksums\n\n{}", &SHA256[..32]),
            &format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{SHA256}  x"),
            &format!("sha256:{SHA256}"),
            base64,
            &format!("x.tar.gz sha256-{base64}"),
            "CY9rzUYh03PK3k6DJie09g==",
            grouped,
        ] {
            assert!(is_checksum_list(text.as_bytes()), "{text}");
        }
        assert!(is_checksum_list(&utf16));
        assert!(is_checksum_list(&[7; 32]), "a raw digest");
    }

    #[test]
    fn other_bytes_are_no_checksum_list() {
        for text in OTHER_TEXTS {
            assert!(!is_checksum_list(text.as_bytes()), "{text}");
        }
        assert!(!is_checksum_list(b"\x1f\x8b\x08\0\0\0"));
    }

    #[test]
    fn patches_are_recognized() {
        let prologue = "Some text about the change.\n".repeat(30);
        for text in [
            "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
            "diff --git a/x b/x\nnew file mode 100644\n",
            "From 9f86d081 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\n",
            "Description: quilt header\nAuthor: A\n",
            "Index: x\n=====\n",
            "# HG changeset patch\n# User a\n",
            "*** a/x\tdate\n--- b/x\n",
            "12,13c12\n< a\n",
            "3d\n",
            "A short text.\n\n--- a/x\n",
            &prologue,
        ] {
            assert!(is_patch(text.as_bytes()), "{text}");
        }
        assert!(is_patch(b"BSDIFF40\x10\0\0\0"));
    }

    #[test]
    fn other_bytes_are_no_patch() {
        for text in OTHER_TEXTS {
            assert!(!is_patch(text.as_bytes()), "{text}");
        }
        assert!(!is_patch(b"\x1f\x8b\x08\0\0\0"));
    }
}
