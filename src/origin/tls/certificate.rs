//! The fields of an X.509 certificate that the TLS library does not show (RFC 5280, section 4.1).
//!
//! It verifies nothing. The main type is [`CertificateFields`].

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;

/// Tags of the DER encoding (X.690).
mod tag {
    pub const OCTET_STRING: u8 = 0x04;
    pub const OBJECT_IDENTIFIER: u8 = 0x06;
    pub const UTF8_STRING: u8 = 0x0c;
    pub const PRINTABLE_STRING: u8 = 0x13;
    pub const IA5_STRING: u8 = 0x16;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
    /// A `dNSName` among the names of a `subjectAltName` (RFC 5280, section 4.2.1.6).
    pub const DNS_NAME: u8 = 0x82;
    /// Version of a certificate. Missing in version 1.
    pub const VERSION: u8 = 0xa0;
    pub const EXTENSIONS: u8 = 0xa3;
}

/// `id-at-commonName`.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// `id-ce-subjectAltName`.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// `id-ce-nameConstraints`.
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

/// Fields of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFields {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// The common name, if the subject has exactly one.
    pub common_name: Option<String>,
    extensions: Vec<Extension>,
}

/// Extension of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extension {
    /// Content of its object identifier.
    identifier: Vec<u8>,
    value: Vec<u8>,
}

impl CertificateFields {
    /// Reads a certificate. Returns `None` if it is malformed.
    pub fn parse(certificate: &CertificateDer<'_>) -> Option<Self> {
        let mut outer = Der(certificate.as_ref());
        let mut body = Der(outer.expect(tag::SEQUENCE)?);
        let mut body = Der(body.expect(tag::SEQUENCE)?);
        if body.next_tag() == Some(tag::VERSION) {
            body.next()?;
        }
        let _serial_number = body.next()?;
        let _signature_algorithm = body.expect(tag::SEQUENCE)?;
        let _issuer = body.expect(tag::SEQUENCE)?;
        let mut validity = Der(body.expect(tag::SEQUENCE)?);
        let subject = body.expect(tag::SEQUENCE)?;
        let _public_key = body.expect(tag::SEQUENCE)?;
        Some(Self {
            not_before: time(validity.next()?)?,
            not_after: time(validity.next()?)?,
            common_name: common_name(subject),
            extensions: extensions(body)?,
        })
    }

    /// Returns whether a `subjectAltName` states host names. One that cannot be read may do so.
    pub fn has_dns_names(&self) -> bool {
        let mut extensions = self.extensions_of(SUBJECT_ALT_NAME);
        extensions.any(|extension| may_have_dns_name(&extension.value))
    }

    pub fn has_name_constraints(&self) -> bool {
        self.extensions_of(NAME_CONSTRAINTS).next().is_some()
    }

    fn extensions_of(&self, identifier: &[u8]) -> impl Iterator<Item = &Extension> {
        let extensions = self.extensions.iter();
        extensions.filter(move |own| own.identifier == identifier)
    }

    /// Returns whether the common name is `host`, or has a wildcard in place of its first label.
    pub fn common_name_matches(&self, host: &str) -> bool {
        let Some(name) = self.common_name.as_deref() else {
            return false;
        };
        let parent = host.split_once('.').map(|(_, parent)| parent);
        name.eq_ignore_ascii_case(host)
            || name
                .strip_prefix("*.")
                .zip(parent)
                .is_some_and(|(own, parent)| own.contains('.') && own.eq_ignore_ascii_case(parent))
    }
}

/// Reader of consecutive DER values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// Returns tag and content of the next value.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut size_bytes = usize::from(first);
        // The long form has the number of length octets in the lower bits.
        if first >= 0x80 {
            let octets = usize::from(first & 0x7f);
            if !(1..=3).contains(&octets) || octets > rest.len() {
                return None;
            }
            let (length, after) = rest.split_at(octets);
            size_bytes = length
                .iter()
                .fold(0, |sum, octet| (sum << 8) | usize::from(*octet));
            rest = after;
        }
        if size_bytes > rest.len() {
            return None;
        }
        let (content, after) = rest.split_at(size_bytes);
        self.0 = after;
        Some((tag, content))
    }

    /// Returns the content of the next value, which must have this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }
}

/// Returns the common name, if the subject has exactly one.
fn common_name(subject: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    let mut parts = Der(subject);
    while let Some(set) = parts.expect(tag::SET) {
        let mut attributes = Der(set);
        while let Some(attribute) = attributes.expect(tag::SEQUENCE) {
            let mut attribute = Der(attribute);
            let identifier = attribute.expect(tag::OBJECT_IDENTIFIER)?;
            let (tag, text) = attribute.next()?;
            if identifier == COMMON_NAME {
                let is_text = matches!(
                    tag,
                    tag::UTF8_STRING | tag::PRINTABLE_STRING | tag::IA5_STRING
                );
                names.push(std::str::from_utf8(text).ok().filter(|_| is_text)?);
            }
        }
    }
    match names[..] {
        [name] => Some(name.to_owned()),
        _ => None,
    }
}

fn may_have_dns_name(subject_alt_name: &[u8]) -> bool {
    let Some(names) = Der(subject_alt_name).expect(tag::SEQUENCE) else {
        return true;
    };
    let mut names = Der(names);
    while names.next_tag().is_some() {
        match names.next() {
            Some((tag::DNS_NAME, _)) | None => return true,
            Some(_) => {}
        }
    }
    false
}

/// Returns the extensions behind the public key.
fn extensions(mut body: Der<'_>) -> Option<Vec<Extension>> {
    let mut extensions = Vec::new();
    while let Some((tag, content)) = body.next() {
        if tag != tag::EXTENSIONS {
            continue;
        }
        let mut list = Der(Der(content).expect(tag::SEQUENCE)?);
        while let Some(extension) = list.expect(tag::SEQUENCE) {
            let mut extension = Der(extension);
            let identifier = extension.expect(tag::OBJECT_IDENTIFIER)?;
            let mut value = extension.next()?;
            // Whether the extension is critical may stand before its value.
            if value.0 != tag::OCTET_STRING {
                value = extension.next()?;
            }
            extensions.push(Extension {
                identifier: identifier.to_vec(),
                value: value.1.to_vec(),
            });
        }
    }
    Some(extensions)
}

/// Converts a time of a certificate, which is in UTC with seconds (RFC 5280, section 4.1.2.5).
fn time((tag, text): (u8, &[u8])) -> Option<SystemTime> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let year_digits = match tag {
        tag::UTC_TIME => 2,
        tag::GENERALIZED_TIME => 4,
        _ => return None,
    };
    let (year, rest) = text.split_at_checked(year_digits)?;
    let century = match year.parse::<u16>().ok()? {
        _ if year_digits == 4 => "",
        0..50 => "20",
        _ => "19",
    };
    let part = |start: usize| rest.get(start..start + 2);
    let (month, day) = (part(0)?, part(2)?);
    let (hour, minute, second) = (part(4)?, part(6)?, part(8)?);
    let text = format!("{century}{year}-{month}-{day}T{hour}:{minute}:{second}Z");
    humantime::parse_rfc3339(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        for (tag, text, expected) in [
            (tag::UTC_TIME, "700101000000Z", at(0)),
            (tag::UTC_TIME, "491231235959Z", at(2_524_607_999)),
            (tag::GENERALIZED_TIME, "20500101000000Z", at(2_524_608_000)),
            (tag::UTC_TIME, "7001010000Z", None),
            (tag::UTC_TIME, "700101000000+0100", None),
            (tag::SEQUENCE, "700101000000Z", None),
            (tag::GENERALIZED_TIME, "\u{e9}", None),
        ] {
            assert_eq!(time((tag, text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn malformed_certificates_have_no_fields() {
        for bytes in [
            &b""[..],
            b"\x30",
            b"\x30\x05\x30\x03",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x80\x30\x80\x00\x00",
            b"\x30\x82\x00",
        ] {
            let certificate = CertificateDer::from(bytes);
            assert_eq!(CertificateFields::parse(&certificate), None, "{bytes:x?}");
        }
    }

    #[test]
    fn common_name_matches_one_label() {
        for (name, host, matches) in [
            ("files.example.org", "files.example.org", true),
            ("Files.Example.org", "files.example.org", true),
            ("*.example.org", "files.example.org", true),
            ("*.example.org", "a.files.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.org", "example.org", false),
            ("f*.example.org", "files.example.org", false),
            ("example.org", "files.example.org", false),
        ] {
            let fields = CertificateFields {
                not_before: UNIX_EPOCH,
                not_after: UNIX_EPOCH,
                common_name: Some(name.to_owned()),
                extensions: Vec::new(),
            };
            assert_eq!(fields.common_name_matches(host), matches, "{name} {host}");
        }
    }
}
