//! Branches of distributions that are named like releases.

use super::target_name::TargetName;

/// Query parameters that may hold a branch.
const REF_PARAMETERS: [&str; 7] = ["at", "branch", "h", "id", "ref", "sha", "version"];

/// Returns the pattern of the distribution's branch that a target names as its ref.
pub fn find_branch(name: &TargetName<'_>) -> Option<&'static str> {
    let reference = name.reference;
    let in_path = reference.and_then(|found| distribution_branch(found.text));
    in_path.or_else(|| {
        name.parameters()
            .filter(|(name, _)| REF_PARAMETERS.contains(name))
            .find_map(|(_, value)| distribution_branch(value))
    })
}

/// Returns the pattern of a distribution's branch that is named like a release, such as `epel9`.
fn distribution_branch(reference: &str) -> Option<&'static str> {
    if is_openeuler(reference) {
        return Some("openEuler-*");
    }
    if reference
        .strip_prefix('f')
        .is_some_and(|release| release.len() == 2 && is_number(release))
    {
        return Some("f*");
    }
    let epel = reference.strip_prefix("epel");
    if epel.is_some_and(|release| is_number(release.strip_suffix("-next").unwrap_or(release))) {
        return Some("epel*");
    }
    let stream = reference
        .strip_prefix('c')
        .and_then(|rest| rest.strip_suffix('s'));
    stream.is_some_and(is_number).then_some("c*s")
}

fn is_number(text: &str) -> bool {
    (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether a ref is `openEuler-22.03-LTS`, one of its updates, or a branch for it.
fn is_openeuler(reference: &str) -> bool {
    let release = match reference.rsplit_once("openeuler-") {
        Some(("", release)) => release,
        // A branch of one package for several releases: `<topic>_openeuler-22.03-lts`.
        Some((topic, release)) if topic.ends_with('_') => release,
        _ => return false,
    };
    let Some((year, rest)) = release.split_once('.') else {
        return false;
    };
    let Some((month, rest)) = rest.split_at_checked(2) else {
        return false;
    };
    let rest = rest.strip_prefix("-lts").unwrap_or(rest);
    let is_update = rest.strip_prefix("-sp").is_some_and(is_number);
    is_number(year) && is_number(month) && (is_update || matches!(rest, "" | "-next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_differ_from_tags() {
        for (reference, pattern) in [
            ("openeuler-22.03-lts", Some("openEuler-*")),
            ("openeuler-24.03-lts-sp1", Some("openEuler-*")),
            ("openeuler-24.03-lts-next", Some("openEuler-*")),
            ("openeuler-21.09", Some("openEuler-*")),
            ("multi_openeuler-22.03-lts", Some("openEuler-*")),
            ("openeuler-22.03-lts-20300131", None),
            ("openeuler-22", None),
            ("openeuler-1.0.1", None),
            ("f41", Some("f*")),
            ("f4", None),
            ("f411", None),
            ("epel9", Some("epel*")),
            ("epel10-next", Some("epel*")),
            ("epel9.1", None),
            ("c9s", Some("c*s")),
            ("c9", None),
            ("v1.0", None),
        ] {
            assert_eq!(distribution_branch(reference), pattern, "{reference}");
        }
    }
}
