//! Conditions of rules on path and query, the minimum age of files, and invalid values of both.

use std::time::{Duration, SystemTime};

use crate::harness::{Gateway, Origin, Reply, archive};

#[test]
fn path_and_query_of_rule_select_targets() {
    let origin = Origin::start();
    let body = archive(1, 5000);
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .rule("path = \"/*/raw/*/x.txt\"\nclass = \"immutable\"")
        .rule("query = \"file=*.dat&v=*\"\nclass = \"immutable\"")
        .start();
    for (path, is_stored) in [
        ("/o/raw/topic/x.txt", true),
        ("/o/r/raw/topic/x.txt", false),
        ("/o/raw/topic/y.txt", false),
        ("/get?v=a&file=x.dat", true),
        ("/get?file=x.dat", false),
    ] {
        let url = origin.url(path);
        origin.serve(path, Reply::file(&body));
        gateway.assert_serves(&url, &body);
        if is_stored {
            gateway.await_stored(&url);
            gateway.assert_serves(&url, &body).assert_cache(&["hit"]);
            assert_eq!(origin.count(path), 1, "{path}");
        } else {
            assert!(gateway.records_of(&url).is_empty(), "{path}");
        }
    }
}

#[test]
fn file_below_minimum_age_is_refused() {
    let origin = Origin::start();
    let body = archive(2, 5000);
    let gateway = Gateway::builder()
        .origin(&origin)
        .relay()
        .one_attempt()
        .rule("path_prefix = \"/new/\"\nmin_age = \"3days\"")
        .start();
    let date = |days: u64| {
        let age = Duration::from_hours(24 * days);
        httpdate::fmt_http_date(SystemTime::now() - age)
    };
    for (path, days, is_refused) in [
        ("/new/x-1.0.tar.gz", 1, true),
        ("/new/x.bin", 1, true),
        ("/new/y-1.0.tar.gz", 4, false),
        ("/old/x-1.0.tar.gz", 1, false),
    ] {
        let reply = Reply::ok(&body).header("Last-Modified", &date(days));
        origin.serve(path, reply);
        let url = origin.url(path);
        if is_refused {
            let answer = gateway.get(&url).send();
            answer.assert_problem(403);
            assert!(gateway.records_of(&url).is_empty(), "{path}");
        } else {
            gateway.assert_serves(&url, &body);
        }
    }
    let undated = "/new/z-1.0.tar.gz";
    origin.serve(undated, Reply::ok(&body));
    gateway.assert_serves(&origin.url(undated), &body);
}

#[test]
fn invalid_conditions_are_rejected_with_key() {
    let long = "a".repeat(1025);
    for (rule, part) in [
        ("path = \"x/*\"\nclass = \"pass\"", "rules.path"),
        ("path = \"/**\"\nclass = \"pass\"", "rules.path"),
        ("path = \"/x?y\"\nclass = \"pass\"", "rules.path"),
        ("query = \"a&&b\"\nclass = \"pass\"", "rules.query"),
        (
            &format!("query = \"{long}\"\nclass = \"pass\""),
            "rules.query",
        ),
        ("min_age = \"366days\"", "rules.min_age"),
        ("min_age = \"soon\"", "min_age"),
        ("offline = \"yes\"", "offline"),
        ("class = \"kept\"", "class"),
        ("path = \"/x\"", "sets nothing"),
    ] {
        let run = Gateway::builder().rule(rule).run_to_end();
        assert_eq!(run.code, Some(2), "{rule}");
        assert!(run.stderr.contains(part), "{rule}: {}", run.stderr);
    }
}
