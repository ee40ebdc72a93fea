//! Queries in logs: values of parameters that Millpond does not know may be secrets.
//!
//! The main function is [`logged_query`].

/// Parameters that name a file, its version or its form, in lower case.
const KNOWN_PARAMETERS: [&str; 37] = [
    "a",
    "arch",
    "archive",
    "branch",
    "commit",
    "dir",
    "dl",
    "download",
    "f",
    "file",
    "filename",
    "format",
    "h",
    "hb",
    "id",
    "name",
    "p",
    "package",
    "path",
    "pathrev",
    "project",
    "r",
    "raw",
    "ref",
    "ref_type",
    "release",
    "repo",
    "rev",
    "revision",
    "service",
    "sha",
    "tag",
    "type",
    "use_mirror",
    "uuid",
    "v",
    "version",
];

/// Returns a query without the values of other parameters. The names stay, so that an operator can
/// write a rule.
pub fn logged_query(query: &str) -> String {
    let mut logged = String::with_capacity(query.len());
    for parameter in query.split_inclusive(['&', ';']) {
        let (text, separator) = match parameter.strip_suffix(['&', ';']) {
            Some(text) => (text, &parameter[text.len()..]),
            None => (parameter, ""),
        };
        match text.split_once('=') {
            Some((name, value)) if !value.is_empty() && !is_known(name) => {
                logged.push_str(name);
                logged.push_str("=…");
            }
            _ => logged.push_str(text),
        }
        logged.push_str(separator);
    }
    logged
}

fn is_known(name: &str) -> bool {
    KNOWN_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_values_are_hidden() {
        for (query, logged) in [
            ("", ""),
            ("x-1.0.tar.gz", "x-1.0.tar.gz"),
            ("file=x.tar.gz&user=bob", "file=x.tar.gz&user=…"),
            ("Rev=1;s=2;&=3&h=", "Rev=1;s=…;&=…&h="),
            ("u=a=b&v=1", "u=…&v=1"),
        ] {
            assert_eq!(logged_query(query), logged);
        }
    }
}
