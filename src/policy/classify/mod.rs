//! Classification of targets: seven lines, of which the first that applies decides.
//!
//! The module reads names. It knows neither requests nor responses, and it opens nothing. Its main
//! type is [`Classified`].

mod branches;
mod classified;
mod companion;
mod evidence;
mod fixed_name;
mod forge;
mod index_names;
mod index_table;
mod moving;
mod mutable_words;
mod numbers;
mod path_digest;
mod query_revision;
mod reason;
mod suffixes;
mod target_name;
mod version_marks;

pub use classified::{Classified, RuleClass};
pub use companion::{file_and_companions, file_of_companion};
pub use evidence::{Evidence, NameSource};
pub use index_table::System;
pub use moving::Movement;
pub use path_digest::{PathDigest, PathScope};
pub use reason::Reason;
pub use suffixes::is_page;

use super::cacheability::Class;
use crate::model::Target;
use fixed_name::NameVerdict;
use target_name::{DecodedTarget, TargetName};

/// Classifies a target. `rule` is the class that a rule sets.
///
/// Requests with credentials, and methods other than GET and HEAD, are not shareable either. The
/// request path checks them before it looks at the class.
#[must_use]
pub fn classify(target: &Target, rule: Option<RuleClass>) -> Classified {
    by_secret(target)
        .or_else(|| by_rule(rule))
        .unwrap_or_else(|| by_name(&TargetName::new(&DecodedTarget::new(target))))
}

/// Line 1: a response to a signed or authenticated request must not be shared.
fn by_secret(target: &Target) -> Option<Classified> {
    let reason = if target.has_credentials() {
        Reason::Credentials
    } else if target.is_signed() {
        Reason::SignedQuery
    } else {
        return None;
    };
    Some(Classified::new(Class::PassThrough, reason))
}

/// Line 2: a rule sets the class.
fn by_rule(rule: Option<RuleClass>) -> Option<Classified> {
    rule.map(Classified::by_rule)
}

/// Lines 3 to 7, which read the name.
fn by_name(name: &TargetName<'_>) -> Classified {
    by_path_digest(name)
        .or_else(|| by_file_of_companion(name))
        .or_else(|| by_index_name(name))
        .unwrap_or_else(|| by_own_name(name))
}

/// Line 3: the path states the digest of the body.
fn by_path_digest(name: &TargetName<'_>) -> Option<Classified> {
    let digest = PathDigest::find(name.path, PathScope::Origin)?;
    Some(Classified::by_digest(digest))
}

/// Line 4: a companion has the class of its file.
fn by_file_of_companion(name: &TargetName<'_>) -> Option<Classified> {
    let file = name.with_path(companion::companion_of(name.path)?);
    let decided = by_path_digest(&file)
        .or_else(|| by_index_name(&file))
        .unwrap_or_else(|| by_own_name(&file));
    Some(decided.for_companion())
}

/// Line 5: an index, or a file of a branch that is named like a release.
fn by_index_name(name: &TargetName<'_>) -> Option<Classified> {
    let reason = match index_names::find_system(name.folder(), name.last) {
        Some(system) => Reason::IndexName(system),
        None => Reason::DistributionBranch(branches::find_branch(name)?),
    };
    Some(Classified::new(Class::Revalidate, reason).with_file_name(name.file().is_some()))
}

/// Line 6: the name means the same bytes for ever. Line 7: everything else.
fn by_own_name(name: &TargetName<'_>) -> Classified {
    if let Some(movement) = moving::find_movement(name) {
        return by_default(name, Some(movement));
    }
    let word = match fixed_name::judge(name) {
        Some(NameVerdict::Fixed(evidence, source)) => return by_fixed_name(name, evidence, source),
        Some(NameVerdict::Mutable(word)) => Some(word),
        None => moving::find_folder_word(name),
    };
    by_default(name, word.map(Movement::Word))
}

fn by_fixed_name(name: &TargetName<'_>, evidence: Evidence, source: NameSource) -> Classified {
    let in_query = match source {
        NameSource::Query => query_revision::file(name),
        NameSource::Path | NameSource::Identifier => None,
    };
    Classified::fixed(evidence, source).with_query_file(in_query)
}

/// The reason names the part of the name that moves, if there is one.
fn by_default(name: &TargetName<'_>, movement: Option<Movement>) -> Classified {
    let reason = match (movement, name.file()) {
        (Some(movement), _) => Reason::Moving(movement),
        (None, Some(_)) => Reason::FileSuffix,
        (None, None) => Reason::NoFileName,
    };
    Classified::new(Class::Revalidate, reason).with_file_name(name.file().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify_path(path: &str) -> Classified {
        let target = Target::parse(&format!("https://example.org{path}")).unwrap();
        classify(&target, None)
    }

    #[test]
    fn table_gives_class_and_reason() {
        let mut wrong = Vec::new();
        let rows = include_str!("../../../tests/classes.tsv")
            .lines()
            .enumerate();
        for (index, line) in rows.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let fields: Vec<_> = line.split('\t').collect();
            let [class, reason, target] = fields[..] else {
                panic!("line {} must have three fields", index + 1)
            };
            let found = classify(&Target::parse(target).unwrap(), None);
            let found = (found.class().to_string(), found.reason().to_string());
            if found != (class.to_owned(), reason.to_owned()) {
                wrong.push(format!("{}\t{}\t{target}", found.0, found.1));
            }
        }
        assert!(wrong.is_empty(), "found:\n{}", wrong.join("\n"));
    }

    #[test]
    fn rule_decides_before_name_but_not_secret() {
        let rule = |class| Some(RuleClass { class, number: 3 });
        for (url, class, decided, reason) in [
            (
                "/x-1.0.gz",
                Class::PassThrough,
                Class::PassThrough,
                "rule 3",
            ),
            ("/x-latest.gz", Class::Immutable, Class::Immutable, "rule 3"),
            ("/", Class::Revalidate, Class::Revalidate, "rule 3"),
            (
                "/x-1.0.gz?token=a",
                Class::Immutable,
                Class::PassThrough,
                "signed query",
            ),
        ] {
            let target = Target::parse(&format!("https://example.org{url}")).unwrap();
            let found = classify(&target, rule(class));
            assert_eq!(found.class(), decided, "{url}");
            assert_eq!(found.reason().to_string(), reason, "{url}");
        }
        let login = Target::parse("ftp://user:password@example.org/x-1.0.gz").unwrap();
        let found = classify(&login, rule(Class::Immutable));
        assert_eq!(
            (found.class(), found.reason()),
            (Class::PassThrough, &Reason::Credentials)
        );
    }

    #[test]
    fn name_of_query_promises_no_file() {
        for (path, promises_file) in [
            ("/x-1.0.tar.gz?mirror=a", true),
            ("/get.php?file=x-1.0.tar.gz", false),
            ("/patch/?id=0123abc", false),
            ("/x.patch?id=0123abc", true),
            ("/o/r/tarball/v1.0", true),
            ("/file/0123456789abcdef0123456789abcdef01234567", false),
        ] {
            let found = classify_path(path);
            assert_eq!(found.class(), Class::Immutable, "{path}");
            assert_eq!(found.name_source().promises_file(), promises_file, "{path}");
        }
    }

    #[test]
    fn companion_does_not_have_digest_of_file() {
        let path = format!("/os/repodata/{}-primary.xml.gz", "ab".repeat(32));
        let file = classify_path(&path);
        assert!(
            file.path_digest()
                .is_some_and(|found| !found.is_below_mirror())
        );
        let companion = classify_path(&format!("{path}.asc"));
        assert_eq!(companion.class(), Class::Immutable);
        assert_eq!(companion.path_digest(), None);
    }

    #[test]
    fn file_name_is_suffix_that_is_no_page() {
        for (path, has_file_name) in [
            ("/x.conf", true),
            ("/dists/sid/Release.gpg", true),
            ("/dists/sid/Release", false),
            ("/index.php", false),
            ("/a/", false),
        ] {
            let found = classify_path(path);
            assert_eq!(found.class(), Class::Revalidate, "{path}");
            assert_eq!(found.has_file_name(), has_file_name, "{path}");
        }
    }
}
