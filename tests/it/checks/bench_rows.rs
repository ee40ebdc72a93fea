//! `benches/compare.py`: which rows of a bench run have moved beyond their noise.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// A run with two rows, of which each value is one round.
fn run(rates: [u32; 3], costs: [f64; 3]) -> Value {
    json!({"measured": "test", "rows": [
        {"row": "hit", "unit": "requests/s",
         "values": {"nginx static": [1000, 1000, 2000], "Millpond": rates}},
        {"row": "hit", "unit": "CPU µs/request",
         "values": {"nginx static": [10, 10, 10], "Millpond": costs}},
    ]})
}

/// Returns the exit code and the output of a comparison.
fn compare(folder: &Path, new: &Value, old: &Value) -> (Option<i32>, String) {
    let write = |name: &str, run: &Value| {
        let path = folder.join(name);
        fs::write(&path, run.to_string()).expect("the file can be written");
        path
    };
    let output = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare.py"))
        .args([write("new.json", new), write("old.json", old)])
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

#[test]
fn bench_row_that_moved_is_named() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    // The second machine is faster. The ratios of the rates are 0.5 in both runs.
    let old = run([500, 510, 1000], [20.0, 21.0, 19.0]);
    let slower = run([500, 500, 990], [25.0, 24.0, 26.0]);
    let (code, text) = compare(folder.path(), &slower, &old);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("worse: hit, CPU µs/request, Millpond: +25%"),
        "{text}"
    );
    assert!(!text.contains("requests/s"), "{text}");
    let (code, text) = compare(folder.path(), &old, &slower);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("better: hit, CPU µs/request, Millpond: -20%"),
        "{text}"
    );
}

#[test]
fn bench_row_within_noise_is_not_named() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let old = run([500, 510, 1000], [20.0, 26.0, 18.0]);
    let new = run([510, 500, 990], [22.0, 23.0, 21.0]);
    let (code, text) = compare(folder.path(), &new, &old);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.trim(), "2 rows compared, 0 moved beyond noise");
}

#[test]
fn bench_runs_without_common_row_are_refused() {
    let folder = tempfile::tempdir().expect("a folder can be created");
    let old = run([500, 510, 1000], [20.0, 21.0, 19.0]);
    let (code, _) = compare(folder.path(), &json!({"rows": []}), &old);
    assert_eq!(code, Some(2));
}
