//! Query of a request to the API.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use libfuzzer_sys::fuzz_target;
use millpond::http::Query;
use millpond::model::Target;

/// Largest `limit` of a list.
const MAX_LIMIT: usize = 1000;

/// Values of all parameters, as text. `None` if one is invalid.
type Values = Option<Vec<String>>;

/// Takes every parameter that a resource may have.
fn values(text: &str) -> Values {
    let mut query = Query::parse(text).ok()?;
    let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let target = query.target().ok()?;
    assert_eq!(Target::parse(target.as_str()).as_ref(), Ok(&target));
    let sha256 = query.sha256().ok()?;
    let (accept, force) = (query.flag("accept").ok()?, query.flag("force").ok()?);
    let list = query.list(MAX_LIMIT, now).ok()?;
    let (filter, part) = (list.filter, list.part);
    for time in [filter.seen_before, filter.seen_since]
        .into_iter()
        .flatten()
    {
        assert!(time <= now);
    }
    assert!((1..=MAX_LIMIT).contains(&part.limit));
    query.finish().ok()?;
    Some(vec![
        target.to_string(),
        format!("{sha256:?} {accept} {force} {filter:?} {part:?}"),
    ])
}

fuzz_target!(|text: &str| {
    // A target takes the place of a missing one, so that the other parameters are read.
    let text = if text.contains("url=") {
        text.to_owned()
    } else {
        format!("url=https://example.org/x-1.0.gz&{text}")
    };
    let found = values(&text);
    // The order of the parameters means nothing.
    let mut pairs: Vec<&str> = text.split('&').collect();
    pairs.reverse();
    assert_eq!(values(&pairs.join("&")), found);
    if found.is_some() {
        let first = pairs.iter().find(|pair| !pair.is_empty()).expect("url");
        assert_eq!(values(&format!("{text}&{first}")), None, "given twice");
        assert_eq!(values(&format!("{text}&unknown=1")), None);
    }
});
