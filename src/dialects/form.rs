//! Short forms in request bodies: `application/x-www-form-urlencoded`, and `multipart/form-data`
//! (RFC 7578) as curl writes it.
//!
//! The main function is [`read_form`].

use percent_encoding::percent_decode_str;

/// Bound on the fields of a form.
const MAX_FIELDS: usize = 16;

/// Returns the names and values of the text fields of a form.
#[must_use]
pub fn read_form(content_type: &str, body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let boundary = content_type.split(';').find_map(|parameter| {
        let value = parameter.trim().strip_prefix("boundary=")?;
        Some(value.trim_matches('"'))
    });
    match boundary {
        Some(boundary) => {
            let delimiter = format!("--{boundary}");
            let parts = text.split(&delimiter).take(MAX_FIELDS + 1);
            parts.filter_map(read_part).collect()
        }
        None => text
            .split('&')
            .take(MAX_FIELDS)
            .filter_map(read_pair)
            .collect(),
    }
}

fn read_part(part: &str) -> Option<(String, String)> {
    let (head, value) = part.split_once("\r\n\r\n")?;
    let (_, rest) = head.split_once("name=\"")?;
    let (name, _) = rest.split_once('"')?;
    let value = value.strip_suffix("\r\n").unwrap_or(value);
    Some((name.to_owned(), value.to_owned()))
}

fn read_pair(pair: &str) -> Option<(String, String)> {
    let (name, value) = pair.split_once('=')?;
    let decoded = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_decode_str(&spaced)
            .decode_utf8()
            .ok()
            .map(Into::into)
    };
    Some((decoded(name)?, decoded(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_forms_are_read() {
        let wanted = [
            ("name".to_owned(), "x".to_owned()),
            ("md5sum".to_owned(), "ab".to_owned()),
        ];
        let form = read_form("application/x-www-form-urlencoded", b"name=x&md5sum=ab");
        assert_eq!(form, wanted);
        let multipart = "--b1\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nx\r\n\
                         --b1\r\nContent-Disposition: form-data; name=\"md5sum\"\r\n\r\nab\r\n\
                         --b1--\r\n";
        let form = read_form("multipart/form-data; boundary=b1", multipart.as_bytes());
        assert_eq!(form, wanted);
    }
}
