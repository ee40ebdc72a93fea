//! Archives that forges make of a tag, a commit, a branch or a version, in the forms of the forge
//! macros of Fedora and openEuler.
//!
//! The name of the host identifies the forge. The main type is [`ForgeArchive`].

/// Digits of a commit in the name of an archive of Bitbucket.
const SHORT_COMMIT_DIGITS: usize = 12;

/// Values that a spec states about its archive. An empty text is not stated.
#[derive(Debug, Default, Clone, Copy)]
pub struct ForgeFacts<'a> {
    pub url: &'a str,
    pub tag: &'a str,
    pub commit: &'a str,
    pub branch: &'a str,
    pub version: &'a str,
    pub suffix: &'a str,
}

/// Archive of a forge.
#[derive(Debug)]
pub struct ForgeArchive {
    url: String,
    /// Name of the file, without its suffix.
    pub name: String,
    suffix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forge {
    GitHub,
    GitLab,
    Gitea,
    Pagure,
    Bitbucket,
    SourceHut,
    Gitiles,
}

/// Part of a URL behind its scheme.
struct Repository<'a> {
    host: &'a str,
    /// Segments of the path, at least one.
    path: Vec<&'a str>,
}

/// Tag, commit, branch or version of an archive.
struct ArchiveRef {
    /// The form that a URL has.
    in_url: String,
    /// The form that the name of a file has.
    in_file: String,
}

impl ForgeArchive {
    /// Returns the archive of these values. `None` for an unknown forge, or if values are missing.
    pub fn new(facts: &ForgeFacts<'_>) -> Option<Self> {
        let repository = Repository::parse(facts.url)?;
        let forge = Forge::of_host(repository.host)?;
        let reference = ArchiveRef::new(forge, facts)?;
        let suffix = match (facts.suffix, forge) {
            ("", Forge::GitLab | Forge::Bitbucket) => "tar.bz2",
            ("", _) => "tar.gz",
            (suffix, _) => suffix,
        };
        let base = repository.base(forge)?;
        let name = repository.archive_name(forge, &reference, facts)?;
        let reference = reference.in_url;
        let url = match forge {
            Forge::GitHub | Forge::Pagure => format!("{base}/archive/{reference}/{name}.{suffix}"),
            Forge::GitLab => format!("{base}/-/archive/{reference}/{name}.{suffix}"),
            Forge::Gitea | Forge::SourceHut => format!("{base}/archive/{reference}.{suffix}"),
            Forge::Bitbucket => format!("{base}/get/{reference}.{suffix}"),
            Forge::Gitiles => format!("{base}/+archive/{reference}.{suffix}"),
        };
        Some(Self {
            url,
            name,
            suffix: suffix.to_owned(),
        })
    }

    /// Returns the URL, with the name of the file as its fragment if the URL ends otherwise.
    pub fn source(&self) -> String {
        let file = format!("{}.{}", self.name, self.suffix);
        match self.url.rsplit('/').next() {
            Some(last) if last == file => self.url.clone(),
            _ => format!("{}#/{file}", self.url),
        }
    }
}

impl Forge {
    fn of_host(host: &str) -> Option<Self> {
        let forge = |label| match label {
            "github" => Some(Self::GitHub),
            "gitlab" => Some(Self::GitLab),
            "gitea" | "codeberg" => Some(Self::Gitea),
            "pagure" => Some(Self::Pagure),
            "bitbucket" => Some(Self::Bitbucket),
            "sr" => Some(Self::SourceHut),
            "googlesource" => Some(Self::Gitiles),
            _ => None,
        };
        host.split(['.', '-']).find_map(forge)
    }
}

impl<'a> Repository<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let url = url.split(['#', '?']).next()?;
        let (host, path) = url.strip_prefix("https://")?.split_once('/')?;
        let path: Vec<&str> = path.trim_end_matches('/').split('/').collect();
        let is_whole = path.iter().all(|segment| !segment.is_empty());
        is_whole.then_some(Self { host, path })
    }

    /// Returns the URL of the repository. A module of Go may be a folder below it.
    fn base(&self, forge: Forge) -> Option<String> {
        let path = match forge {
            Forge::GitLab | Forge::Gitiles | Forge::Pagure => &self.path[..],
            _ => self.path.get(..2)?,
        };
        Some(format!("https://{}/{}", self.host, path.join("/")))
    }

    fn archive_name(
        &self,
        forge: Forge,
        reference: &ArchiveRef,
        facts: &ForgeFacts<'_>,
    ) -> Option<String> {
        let file = &reference.in_file;
        Some(match (forge, &self.path[..]) {
            (Forge::Gitea, _) => file.clone(),
            (Forge::GitHub | Forge::SourceHut, [_, repository, ..]) => {
                format!("{repository}-{file}")
            }
            (Forge::Bitbucket, [owner, repository, ..]) => {
                let commit = facts.commit.get(..SHORT_COMMIT_DIGITS);
                let commit = commit.unwrap_or(facts.commit);
                format!("{owner}-{repository}-{commit}")
            }
            (Forge::Pagure, ["fork", names @ ..] | names) => format!("{}-{file}", names.join("-")),
            (_, [.., repository]) => format!("{repository}-{file}"),
            _ => return None,
        })
    }
}

impl ArchiveRef {
    fn new(forge: Forge, facts: &ForgeFacts<'_>) -> Option<Self> {
        if forge == Forge::Bitbucket && facts.commit.is_empty() {
            return None;
        }
        let stated = [facts.tag, facts.commit, facts.branch, facts.version];
        let place = stated.iter().position(|text| !text.is_empty())?;
        let (name, is_commit, is_version) = (stated[place], place == 1, place == 3);
        // Releases are usually tagged with a `v` there.
        let has_v = is_version && matches!(forge, Forge::GitHub | Forge::Gitiles);
        let in_url = if has_v {
            format!("v{name}")
        } else {
            name.to_owned()
        };
        let number = name
            .strip_prefix('v')
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let in_file = match forge {
            Forge::GitHub if is_version => name.to_owned(),
            Forge::GitHub | Forge::SourceHut if !is_commit && number.is_some() => {
                number.unwrap_or(name).to_owned()
            }
            Forge::GitHub | Forge::SourceHut | Forge::Gitea => name.replace('/', "-"),
            _ => in_url.clone(),
        };
        Some(Self { in_url, in_file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// Returns the URL and the fragment of an archive.
    fn source(facts: ForgeFacts<'_>) -> String {
        let archive = ForgeArchive::new(&facts);
        archive.map_or_else(String::new, |archive| archive.source())
    }

    #[test]
    fn versions_have_forms_of_forges() {
        for (url, expected) in [
            (
                "https://github.example.org/o/x",
                "https://github.example.org/o/x/archive/v1.2/x-1.2.tar.gz",
            ),
            (
                "https://github.example.org/o/x/v2/sub#readme",
                "https://github.example.org/o/x/archive/v1.2/x-1.2.tar.gz",
            ),
            (
                "https://gitlab.example.org/g/sub/x/",
                "https://gitlab.example.org/g/sub/x/-/archive/1.2/x-1.2.tar.bz2",
            ),
            (
                "https://x-gitlab.example.org/g/x",
                "https://x-gitlab.example.org/g/x/-/archive/1.2/x-1.2.tar.bz2",
            ),
            (
                "https://gitea.example.org/o/x",
                "https://gitea.example.org/o/x/archive/1.2.tar.gz",
            ),
            (
                "https://git.sr.example.org/~o/x",
                "https://git.sr.example.org/~o/x/archive/1.2.tar.gz#/x-1.2.tar.gz",
            ),
            (
                "https://pagure.example.org/x",
                "https://pagure.example.org/x/archive/1.2/x-1.2.tar.gz",
            ),
            (
                "https://pagure.example.org/fork/o/n/x",
                "https://pagure.example.org/fork/o/n/x/archive/1.2/o-n-x-1.2.tar.gz",
            ),
            (
                "https://code.googlesource.example.org/a/x",
                "https://code.googlesource.example.org/a/x/+archive/v1.2.tar.gz#/x-v1.2.tar.gz",
            ),
            // A commit is needed there.
            ("https://bitbucket.example.org/o/x", ""),
            ("https://example.org/o/x", ""),
            ("http://github.example.org/o/x", ""),
            ("https://github.example.org/o", ""),
            ("https://github.example.org/", ""),
        ] {
            let facts = ForgeFacts {
                url,
                version: "1.2",
                ..ForgeFacts::default()
            };
            assert_eq!(source(facts), expected, "{url}");
        }
    }

    #[test]
    fn tags_commits_and_branches_precede_versions() {
        let facts = |url, [tag, commit, branch]: [&'static str; 3]| ForgeFacts {
            url,
            tag,
            commit,
            branch,
            version: "1.2",
            suffix: "",
        };
        for (url, stated, expected) in [
            (
                "https://github.example.org/o/x",
                ["v1.2-rc1", COMMIT, ""],
                "https://github.example.org/o/x/archive/v1.2-rc1/x-1.2-rc1.tar.gz".to_owned(),
            ),
            (
                "https://github.example.org/o/x",
                ["rel/vital", "", ""],
                "https://github.example.org/o/x/archive/rel/vital/x-rel-vital.tar.gz".to_owned(),
            ),
            (
                "https://github.example.org/o/x",
                ["", COMMIT, "main"],
                format!("https://github.example.org/o/x/archive/{COMMIT}/x-{COMMIT}.tar.gz"),
            ),
            (
                "https://gitlab.example.org/o/x",
                ["v1.2", "", ""],
                "https://gitlab.example.org/o/x/-/archive/v1.2/x-v1.2.tar.bz2".to_owned(),
            ),
            (
                "https://codeberg.example.org/o/x",
                ["", "", "a/b"],
                "https://codeberg.example.org/o/x/archive/a/b.tar.gz#/a-b.tar.gz".to_owned(),
            ),
            (
                "https://git.sr.example.org/~o/x",
                ["v0.5", "", ""],
                "https://git.sr.example.org/~o/x/archive/v0.5.tar.gz#/x-0.5.tar.gz".to_owned(),
            ),
            (
                "https://bitbucket.example.org/o/x",
                ["", COMMIT, ""],
                format!(
                    "https://bitbucket.example.org/o/x/get/{COMMIT}.tar.bz2\
                     #/o-x-0123456789ab.tar.bz2"
                ),
            ),
        ] {
            assert_eq!(source(facts(url, stated)), expected, "{url} {stated:?}");
        }
        let zip = ForgeFacts {
            suffix: "zip",
            ..facts("https://github.example.org/o/x", ["", COMMIT, ""])
        };
        assert!(source(zip).ends_with(&format!("/x-{COMMIT}.zip")));
    }
}
