//! `docs/reference/alerts.md`: the causes of incidents, and the shipped alert rules for Prometheus.

use std::collections::BTreeSet;

use millpond::model::Cause;
use millpond::notify::Severity;

use super::{assert_generated, head, read, row};

const PAGE: &str = "docs/reference/alerts.md";

#[test]
fn alerts_page_has_all_causes() {
    let page = read(PAGE);
    let (_, table) = page
        .split_once("| cause |")
        .expect("the page has the table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with("| `"));
    let mut documented = BTreeSet::new();
    for line in rows {
        let cell = line.split(" | ").next().unwrap_or_default();
        for cause in cell.split('`').skip(1).step_by(2) {
            let severity = if line.ends_with("| a notice: listed only |") {
                Severity::Notice
            } else {
                Severity::Alert
            };
            assert!(
                documented.insert((cause.to_owned(), severity.as_str())),
                "{cause}"
            );
        }
    }
    let known = Cause::ALL.map(|cause| (cause.as_str().to_owned(), Severity::of(cause).as_str()));
    assert_eq!(documented, BTreeSet::from(known));
}

/// Returns the value of a key in a line of `config/alerts.yml`.
fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, value) = line.split_once(&format!("{key}: "))?;
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    Some(quoted.unwrap_or_else(|| value.trim_end_matches('}')))
}

#[test]
fn alerts_page_has_shipped_rules() {
    let file = read("config/alerts.yml");
    let mut text = head(&["rule", "severity", "meaning", "advice"]);
    for rule in file.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap_or_default();
        let of = |key| {
            rule.lines()
                .find_map(|line| value(line, key))
                .expect("a rule has all keys")
        };
        let meaning = of("summary")
            .replace("{{ $labels.instance }}", "an instance")
            .replace("{{ $labels.pool }}", "of permits")
            .replace(" ({{ $labels.of }})", "")
            .replace("{{ $value | humanizePercentage }}", "Too many")
            .replace("{{ $value }}", "Many");
        assert!(!meaning.contains("{{"), "{meaning}");
        text += &row(&[
            &format!("`{name}`"),
            of("severity"),
            &meaning,
            of("description"),
        ]);
    }
    assert_generated(PAGE, "rules", &text);
}
