//! URL templates for mirrors, archives and canonical aliases.

use crate::model::Target;

const PATH: &str = "{path}";
const HOST: &str = "{host}";

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
    /// A text with the reason why the template is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.matches(PATH).count() != 1 {
            return Err(format!("\"{text}\" must contain {PATH} exactly once"));
        }
        if text.contains(['?', '#']) {
            return Err(format!(
                "\"{text}\" must not contain a query: the target's query is appended"
            ));
        }
        let filled = |path| text.replace(PATH, path).replace(HOST, "example.org");
        let tried = filled("x");
        if tried.contains(['{', '}']) {
            return Err(format!(
                "\"{text}\" must not contain other variables than {PATH} and {HOST}"
            ));
        }
        match Target::parse(&tried) {
            Ok(target) if target.has_credentials() => {
                Err("a URL of a rule must not contain a password".to_owned())
            }
            // The client chooses the path, so the path must not select the host.
            Ok(target)
                if !Target::parse(&filled("x.y:1"))
                    .is_ok_and(|other| other.has_same_authority(&target)) =>
            {
                Err(format!("\"{text}\" must name the host before {PATH}"))
            }
            Ok(_) => Ok(Self {
                text: text.to_owned(),
            }),
            Err(why) => Err(format!("\"{text}\" is not a valid URL: {why}")),
        }
    }

    /// Expands the template for a target whose path begins with `prefix`.
    ///
    /// Returns `None` if the path has another prefix, or if the result is invalid or the target.
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
            .filter(|filled| filled != target)
    }
}

/// Removes the query parameters `names` from a target. All other parameters stay unchanged.
pub fn without_parameters(target: &Target, names: &[String]) -> Target {
    let Some(query) = target.url().query() else {
        return target.clone();
    };
    let is_kept = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default();
        !names.iter().any(|ignored| ignored == name)
    };
    let kept: Vec<_> = query.split('&').filter(is_kept).collect();
    let (before, _) = target
        .as_str()
        .split_once('?')
        .unwrap_or((target.as_str(), ""));
    let text = if kept.is_empty() {
        before.to_owned()
    } else {
        format!("{before}?{}", kept.join("&"))
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
            let filled = Template::parse(template)
                .unwrap()
                .expand(&target(from), prefix);
            assert_eq!(filled.unwrap().as_str(), to);
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
