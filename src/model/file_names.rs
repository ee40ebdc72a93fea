//! File names of targets, as build systems ask for them.
//!
//! The main function is [`file_names`].

use percent_encoding::percent_decode_str;

use super::disposition::Attachment;
use super::record::StoredHeaders;
use super::target::Target;

/// Returns the names of the file that a target has: the last segment of its path, the value of the
/// query that looks like a file name, and the name in `Content-Disposition`.
#[must_use]
pub fn file_names(target: &Target, headers: &StoredHeaders) -> Vec<String> {
    let segment = target.path().rsplit('/').next().and_then(decoded);
    let pairs = target.url().query_pairs();
    let in_query = pairs.filter_map(|(_, value)| decoded(value.rsplit('/').next()?));
    let in_query = in_query.filter(|name| has_file_suffix(name));
    let saved_as = headers.content_disposition.as_ref();
    let saved_as = saved_as.and_then(|value| Attachment::from_header(value.as_bytes()));
    let saved_as = saved_as.map(Attachment::into_name);
    let mut names: Vec<String> = Vec::new();
    for name in segment.into_iter().chain(in_query).chain(saved_as) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Returns the decoded text of a path segment, or `None` if it is no file name.
fn decoded(segment: &str) -> Option<String> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}

fn has_file_suffix(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(stem, suffix)| !stem.is_empty() && (1..=5).contains(&suffix.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str, disposition: Option<&str>) -> Vec<String> {
        let headers = StoredHeaders {
            content_disposition: disposition.map(str::to_owned),
            ..StoredHeaders::default()
        };
        file_names(&Target::parse(url).unwrap(), &headers)
    }

    #[test]
    fn names_come_from_path_query_and_header() {
        assert_eq!(
            names("https://h/a/x%2B-1.0.tar.gz", None),
            ["x+-1.0.tar.gz"]
        );
        assert_eq!(
            names("https://h/get.php?file=d/x-1.0.tar.gz&v=2", None),
            ["get.php", "x-1.0.tar.gz"]
        );
        assert_eq!(
            names(
                "https://h/v1.0.tar.gz",
                Some("attachment; filename=x-1.0.tar.gz")
            ),
            ["v1.0.tar.gz", "x-1.0.tar.gz"]
        );
        assert!(names("https://h/a/", None).is_empty());
    }
}
