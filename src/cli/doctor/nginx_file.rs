//! NginxDirectives of an nginx configuration, as `nginx -T` prints it.
//!
//! nginx has judged the text before. Its main type is [`NginxDirectives`].

/// All directives, blocks and their contents alike, in the order of the text.
pub struct NginxDirectives(Vec<NginxDirective>);

/// A directive, such as `listen 80 default_server`.
pub struct NginxDirective {
    words: Vec<String>,
    /// Position of the first directive after its block.
    end: usize,
}

/// Maximum number of directives that are read.
const MAX_DIRECTIVES: usize = 100_000;

impl NginxDirectives {
    /// Parses a text.
    pub fn parse(text: &str) -> Self {
        let (mut all, mut open, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for token in NginxTokens(text) {
            match token {
                NginxToken::Word(word) => words.push(word),
                NginxToken::End | NginxToken::Open | NginxToken::Close
                    if all.len() >= MAX_DIRECTIVES =>
                {
                    break;
                }
                NginxToken::Open => {
                    open.push(all.len());
                    all.push(NginxDirective {
                        words: std::mem::take(&mut words),
                        end: usize::MAX,
                    });
                }
                NginxToken::End => {
                    let end = all.len() + 1;
                    all.push(NginxDirective {
                        words: std::mem::take(&mut words),
                        end,
                    });
                }
                NginxToken::Close => {
                    if let Some(block) = open.pop() {
                        let end = all.len();
                        if let Some(directive) = all.get_mut(block) {
                            directive.end = end;
                        }
                    }
                }
            }
        }
        Self(all)
    }

    /// Returns whether a directive with exactly these words exists.
    pub fn has(&self, words: &[&str]) -> bool {
        self.0.iter().any(|directive| directive.words == words)
    }

    /// Returns the arguments of all directives of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [String]> {
        arguments_of(&self.0, name)
    }

    /// Returns the arguments of the directives of a name, inside of a block with these words.
    pub fn inside<'a>(&'a self, block: &[&str], name: &'a str) -> Option<Vec<&'a [String]>> {
        let start = self
            .0
            .iter()
            .position(|directive| directive.words == block)?;
        let end = self.0[start].end.min(self.0.len());
        Some(arguments_of(&self.0[start + 1..end], name).collect())
    }
}

fn arguments_of<'a>(
    directives: &'a [NginxDirective],
    name: &'a str,
) -> impl Iterator<Item = &'a [String]> {
    directives.iter().filter_map(move |directive| {
        let (first, rest) = directive.words.split_first()?;
        (first == name).then_some(rest)
    })
}

#[derive(Debug, PartialEq, Eq)]
enum NginxToken {
    Word(String),
    End,
    Open,
    Close,
}

struct NginxTokens<'a>(&'a str);

impl Iterator for NginxTokens<'_> {
    type Item = NginxToken;

    fn next(&mut self) -> Option<NginxToken> {
        loop {
            self.0 = self.0.trim_start();
            match self.0.strip_prefix('#') {
                Some(comment) => self.0 = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => break,
            }
        }
        let mut rest = self.0.chars();
        let token = match rest.next()? {
            ';' => NginxToken::End,
            '{' => NginxToken::Open,
            '}' => NginxToken::Close,
            quote @ ('"' | '\'') => {
                let word = quoted(&mut rest, quote);
                self.0 = rest.as_str();
                return Some(NginxToken::Word(word));
            }
            _ => return Some(NginxToken::Word(self.plain_word())),
        };
        self.0 = rest.as_str();
        Some(token)
    }
}

impl NginxTokens<'_> {
    /// Reads a word without quotes. A brace after a dollar sign belongs to a variable.
    fn plain_word(&mut self) -> String {
        let mut in_variable = false;
        let mut before = ' ';
        let end = self.0.find(|c: char| {
            let opens = c == '{' && before == '$';
            in_variable = opens || (in_variable && before != '}');
            before = c;
            c.is_whitespace() || c == ';' || (matches!(c, '{' | '}') && !in_variable)
        });
        let (word, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        word.to_owned()
    }
}

fn quoted(rest: &mut std::str::Chars<'_>, quote: char) -> String {
    let mut word = String::new();
    while let Some(c) = rest.next().filter(|c| *c != quote) {
        match c {
            '\\' => word.extend(rest.next()),
            _ => word.push(c),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_quotes_are_read() {
        let text = "# configuration file /etc/nginx.conf:\nuser www-data;\nmap $a $b { default 0; \
                    \"~^0 \\\"x\\\" {2};\" 1; }\nserver { listen 80; location /_o/ { internal; \
                    alias /srv/o/; } set $x '${y}'; root /srv/${host}/x; }\nuser last";
        let all = NginxDirectives::parse(text);
        assert!(all.has(&["user", "www-data"]) && all.has(&["listen", "80"]));
        assert!(all.has(&["~^0 \"x\" {2};", "1"]) && all.has(&["set", "$x", "${y}"]));
        assert!(all.has(&["root", "/srv/${host}/x"]) && !all.has(&["user", "last"]));
        let alias = all.inside(&["location", "/_o/"], "alias").unwrap();
        assert_eq!(alias, [["/srv/o/".to_owned()]]);
        assert_eq!(
            all.inside(&["location", "/_o/"], "listen").unwrap().len(),
            0
        );
        assert!(all.inside(&["location", "/"], "alias").is_none());
        assert_eq!(all.all("listen").count(), 1);
    }

    #[test]
    fn broken_text_ends_the_list() {
        for text in [
            "", "}", "} a;", "{{{", "a \"b", "\\", "# x", "a b {", "a ${", "'\\",
        ] {
            drop(NginxDirectives::parse(text));
        }
        assert!(NginxDirectives::parse("} a;").has(&["a"]));
    }
}
