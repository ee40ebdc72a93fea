//! Where else the file of a target lies: a URL with holes.

use crate::model::Target;

const PATH: &str = "{path}";
const HOST: &str = "{host}";

/// A URL that names one file for each target. `{path}` is what stands behind the rule's `path_prefix`, as it is spelled, and
/// `{host}` the target's own host, with its port where that is not the scheme's own. A query goes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
}

impl Template {
    /// # Errors
    /// A line that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.matches(PATH).count() != 1 {
            return Err(format!("\"{text}\" must hold {PATH} once"));
        }
        if text.contains(['?', '#']) {
            return Err(format!("\"{text}\" must hold no query: that of the target goes along"));
        }
        let filled = |path| text.replace(PATH, path).replace(HOST, "example.org");
        let tried = filled("x");
        if tried.contains(['{', '}']) {
            return Err(format!("\"{text}\" may hold {PATH} and {HOST} only"));
        }
        match Target::parse(&tried) {
            Ok(target) if target.has_credentials() => Err("a URL of a rule must hold no password".to_owned()),
            // A path that whoever asks has chosen must not choose the server.
            Ok(target) if !Target::parse(&filled("x.y:1")).is_ok_and(|other| other.has_authority_of(&target)) => {
                Err(format!("\"{text}\" must name the host before {PATH}"))
            }
            Ok(_) => Ok(Self { text: text.to_owned() }),
            Err(why) => Err(format!("\"{text}\" is no URL: {why}")),
        }
    }

    /// The URL for a target whose path begins with `prefix`. Nothing if there is none, or it is the target itself.
    pub fn fill(&self, target: &Target, prefix: &str) -> Option<Target> {
        let path = target.path().strip_prefix(prefix)?.trim_start_matches('/');
        let port = target.url().port().map(|port| format!(":{port}")).unwrap_or_default();
        let query = target.url().query().map(|query| format!("?{query}")).unwrap_or_default();
        let text = self.text.replace(HOST, &format!("{}{port}", target.host())).replace(PATH, path);
        Target::parse(&format!("{text}{query}")).ok().filter(|filled| filled != target)
    }
}

/// A target without these parameters of its query. All others stay as they are.
pub fn without_parameters(target: &Target, names: &[String]) -> Target {
    let Some(query) = target.url().query() else { return target.clone() };
    let is_kept = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default();
        !names.iter().any(|ignored| ignored == name)
    };
    let kept: Vec<_> = query.split('&').filter(is_kept).collect();
    let (before, _) = target.as_str().split_once('?').unwrap_or((target.as_str(), ""));
    let text = if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) };
    // A shorter spelling of a target is one, too; were it none, the longer would do.
    Target::parse(&text).unwrap_or_else(|_| target.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Target {
        Target::parse(text).unwrap()
    }

    #[test]
    fn a_path_is_put_where_it_belongs_byte_for_byte() {
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
            ("http://m.example.org:8080/{path}/raw", "/", "ftp://h.org/x.gz", "http://m.example.org:8080/x.gz/raw"),
            ("https://{host}/{path}", "", "http://h.org:81/x.gz", "https://h.org:81/x.gz"),
        ] {
            let filled = Template::parse(template).unwrap().fill(&target(from), prefix);
            assert_eq!(filled.unwrap().as_str(), to);
        }
    }

    #[test]
    fn a_template_that_names_the_target_itself_or_nothing_names_no_source() {
        let template = Template::parse("https://{host}/{path}").unwrap();
        assert_eq!(template.fill(&target("https://h.org/x.gz"), ""), None);
        assert_eq!(template.fill(&target("https://h.org/x.gz"), "/other/"), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
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
    fn ignored_parameters_go_and_the_others_stay_in_their_order() {
        let names = ["ts".to_owned(), "use_mirror".to_owned()];
        for (from, to) in [
            ("https://h.org/x?b=2&ts=1&a=%27&use_mirror=m", "https://h.org/x?b=2&a=%27"),
            ("https://h.org/x?ts=1", "https://h.org/x"),
            ("https://h.org/x?tsx=1", "https://h.org/x?tsx=1"),
            ("https://h.org/x", "https://h.org/x"),
        ] {
            assert_eq!(without_parameters(&target(from), &names).as_str(), to);
        }
    }
}
