//! URL templates for mirrors, archives and canonical aliases.

use crate::model::{Target, TargetError};

/// Variables of a template.
const PATH: &str = "{path}";
const HOST: &str = "{host}";

/// Error returned for an invalid template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("\"{0}\" must contain {PATH} exactly once")]
    Path(String),
    #[error("\"{0}\" must not contain a query: the target's query is appended")]
    Query(String),
    #[error("\"{0}\" must not contain other variables than {PATH} and {HOST}")]
    Variable(String),
    #[error("\"{0}\" must name the host before {PATH}")]
    Host(String),
    #[error("a URL of a rule must not be blank")]
    Blank,
    /// Omits the template, because it contains a password.
    #[error("a URL of a rule must not contain a password")]
    Password,
    #[error("\"{text}\" is not a valid URL: {error}")]
    Url { text: String, error: TargetError },
}

/// URL template that expands to one URL for each target.
///
/// `{path}` is the path after the rule's `path_prefix`, unchanged. `{host}` is the target's host,
/// with a non-default port. The query is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] if some target would expand to an invalid URL, or to another host.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let owned = || text.to_owned();
        if text.trim().is_empty() {
            return Err(TemplateError::Blank);
        }
        if text.matches(PATH).count() != 1 {
            return Err(TemplateError::Path(owned()));
        }
        if text.contains(['?', '#']) {
            return Err(TemplateError::Query(owned()));
        }
        let expand_with = |path| text.replace(PATH, path).replace(HOST, "example.org");
        let example = expand_with("x");
        if example.contains(['{', '}']) {
            return Err(TemplateError::Variable(owned()));
        }
        let target = Target::parse(&example).map_err(|error| TemplateError::Url {
            text: owned(),
            error,
        })?;
        if target.has_credentials() {
            return Err(TemplateError::Password);
        }
        // The client chooses the path, so the path must not select the host.
        let keeps_host = Target::parse(&expand_with("x.y:1"))
            .is_ok_and(|other| other.has_same_authority(&target));
        if !keeps_host {
            return Err(TemplateError::Host(owned()));
        }
        Ok(Self { text: owned() })
    }

    /// Expands the template for a target whose path begins with `prefix`.
    ///
    /// Returns `None` if the path has another prefix, or if the result is invalid or is the target
    /// itself.
    pub fn expand(&self, target: &Target, prefix: &str) -> Option<Target> {
        let path = target.path().strip_prefix(prefix)?.trim_start_matches('/');
        let port = target
            .url()
            .port()
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        let query = target
            .url()
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default();
        let text = self
            .text
            .replace(HOST, &format!("{}{port}", target.host()))
            .replace(PATH, path);
        Target::parse(&format!("{text}{query}"))
            .ok()
            .filter(|expanded| expanded != target)
    }
}

/// Removes the query parameters `names` from a target. All other parameters stay unchanged.
pub fn without_parameters(target: &Target, names: &[String]) -> Target {
    let Some(query) = target.url().query() else {
        return target.clone();
    };
    let is_significant = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default();
        !names.iter().any(|ignored| ignored == name)
    };
    let remaining: Vec<_> = query.split('&').filter(is_significant).collect();
    let (before, _) = target
        .as_str()
        .split_once('?')
        .unwrap_or((target.as_str(), ""));
    let text = if remaining.is_empty() {
        before.to_owned()
    } else {
        format!("{before}?{}", remaining.join("&"))
    };
    // A target stays valid without the parameters. If it does not, the original is used.
    Target::parse(&text).unwrap_or_else(|_| target.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    #[test]
    fn template_inserts_path_unchanged() {
        for (template, prefix, from, to) in [
            (
                "https://m.example.org/pub/{path}",
                "/gnu/",
                "https://h.org/gnu/a/b.gz",
                "https://m.example.org/pub/a/b.gz",
            ),
            (
                "https://m.example.org/{path}",
                "",
                "https://h.org/a%20b/c+d.gz?x=1&y",
                "https://m.example.org/a%20b/c+d.gz?x=1&y",
            ),
            (
                "http://m.example.org:8080/{path}/raw",
                "/",
                "ftp://h.org/x.gz",
                "http://m.example.org:8080/x.gz/raw",
            ),
            (
                "https://{host}/{path}",
                "",
                "http://h.org:81/x.gz",
                "https://h.org:81/x.gz",
            ),
        ] {
            let expanded = Template::parse(template)
                .unwrap()
                .expand(&target(from), prefix);
            assert_eq!(expanded.unwrap().as_str(), to);
        }
    }

    #[test]
    fn template_skips_target_itself_and_other_prefixes() {
        let template = Template::parse("https://{host}/{path}").unwrap();
        assert_eq!(template.expand(&target("https://h.org/x.gz"), ""), None);
        assert_eq!(
            template.expand(&target("https://h.org/x.gz"), "/other/"),
            None
        );
    }

    #[test]
    fn invalid_templates_are_rejected() {
        for text in [
            "https://m.example.org/",
            "https://m.example.org/{path}/{path}",
            "https://m.example.org/{file}/{path}",
            "https://m.example.org/?f={path}",
            "m.example.org/{path}",
            "https://m.example.org{path}",
            "https://m.example.org:8{path}",
            "https://{path}",
            "gopher://m.example.org/{path}",
            "https://user:password@m.example.org/{path}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ignored_parameters_are_removed_in_order() {
        let names = ["ts".to_owned(), "use_mirror".to_owned()];
        for (from, to) in [
            (
                "https://h.org/x?b=2&ts=1&a=%27&use_mirror=m",
                "https://h.org/x?b=2&a=%27",
            ),
            ("https://h.org/x?ts=1", "https://h.org/x"),
            ("https://h.org/x?tsx=1", "https://h.org/x?tsx=1"),
            ("https://h.org/x", "https://h.org/x"),
        ] {
            assert_eq!(without_parameters(&target(from), &names).as_str(), to);
        }
    }
}
