//! The table `tests/bad_origins.tsv` with wget and curl, and with a second client after each. A
//! download that the program reports as complete has only bytes that the table states.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::script::{Bodies, Row};
use super::server::BadOrigin;
use super::table::{KINDS, Setting, ask, describe, slow_first};
use crate::harness::{Gateway, Tool, all_at_once};

/// Results of all programs, for readers.
const RESULTS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/bad_origins_tools.tsv");

const PROGRAMS: [&str; 2] = ["wget", "curl"];

/// Rows of which wget joins two files. After an interrupted response it asks for the rest with
/// Range, but without If-Range, and compares nothing.
const JOINED_BY_WGET: [&str; 3] = [
    "body-cut-then-other",
    "resumed-with-other-file",
    "resumed-without-tag",
];

/// Row of which wget keeps a cut file. It takes 416 for its Range, or a shorter file, as the end.
const CUT_BY_WGET: &str = "body-cut-then-page";

/// Number of programs that run at a time. Most of them wait for an origin.
const WORKERS: usize = 16;

/// One download of one row.
#[derive(Clone)]
struct Download {
    row: Arc<Row>,
    /// Index of the program.
    program: usize,
    /// Index of the way to ask.
    kind: usize,
}

/// The results of a program and of the client after it.
struct Outcome {
    download: Download,
    program: String,
    second: String,
    /// Reason why the outcome is wrong.
    wrong: Option<String>,
}

impl Download {
    fn name(&self) -> String {
        format!("{}-{}", PROGRAMS[self.program], KINDS[self.kind])
    }

    /// Returns the results that the table states for this way to ask, in any order.
    fn expected(&self) -> Vec<&str> {
        let results = self.row.results[self.kind].split(", ");
        results.flat_map(|result| result.split(" or ")).collect()
    }

    /// Returns whether the table allows that a program has this body and reports success. A program
    /// follows redirects. It may ask again, and so confirm a body that has no framing.
    fn allows(&self, body: &str) -> bool {
        let is_empty = |result: &&str| ["204", "205", "302"].contains(result);
        body == "right"
            || self.expected().contains(&body)
            || (body == "empty" && self.expected().iter().any(is_empty))
            || (body == "first" && self.row.results.iter().any(|result| result == "first"))
            || (body == "first" && self.may_keep_cut())
    }

    fn may_join(&self) -> bool {
        PROGRAMS[self.program] == "wget" && JOINED_BY_WGET.contains(&self.row.name.as_str())
    }

    fn may_keep_cut(&self) -> bool {
        PROGRAMS[self.program] == "wget" && self.row.name == CUT_BY_WGET
    }

    /// Returns whether the table has another result than bodies.
    fn may_fail(&self) -> bool {
        let is_failure = |result: &&str| *result == "broken" || result.parse::<u16>().is_ok();
        self.expected().iter().any(is_failure)
    }

    /// Runs the program, and then asks for the target with another client.
    fn run(self, gateway: &Gateway, origin: &BadOrigin, bodies: &Bodies) -> Outcome {
        let url = origin.url(&self.row, &self.name());
        let folder = tempfile::tempdir().expect("a folder can be created");
        let run = self.tool(gateway, &url, folder.path()).run();
        let file = std::fs::read(folder.path().join("file")).unwrap_or_default();
        let (program, mut wrong) = if run.code == Some(0) {
            let body = if self.may_join() && bodies.is_joined(&file) {
                "joined".to_owned()
            } else {
                bodies.name_of(&file)
            };
            let is_wrong = body != "joined" && !self.allows(&body);
            (
                body.clone(),
                is_wrong.then(|| format!("success with {body}")),
            )
        } else {
            let wrong = if !self.may_fail() {
                Some(run.stderr)
            } else if !bodies.is_beginning(&file) {
                Some(format!("failure with other {} bytes", file.len()))
            } else {
                None
            };
            let code = run
                .code
                .map_or("signal".to_owned(), |code| code.to_string());
            (format!("fails ({code})"), wrong)
        };
        let second = describe(&ask(gateway, KINDS[self.kind], &url), bodies);
        if second != "right" && !self.expected().contains(&second.as_str()) {
            wrong = Some(format!("the second client got {second}"));
        }
        Outcome {
            download: self,
            program,
            second,
            wrong,
        }
    }

    fn tool(&self, gateway: &Gateway, url: &str, folder: &Path) -> Tool {
        let tool = match PROGRAMS[self.program] {
            // Without the option, wget would wait longer than the test.
            "wget" => Tool::wget(folder).args(&["--tries=2", "--waitretry=0", "-O", "file"]),
            _ => Tool::curl(folder).args(&["--fail", "--location", "-o", "file"]),
        };
        if KINDS[self.kind].starts_with("gateway") {
            tool.arg(&gateway.url(&format!("/{url}")))
        } else {
            let proxy = format!("http://{}", gateway.proxy_addr());
            tool.env("http_proxy", &proxy).arg(url)
        }
    }
}

/// Writes one line for each row and way to ask.
fn write_results(outcomes: &[Outcome], rows: &[Arc<Row>]) {
    let mut text = "# origin\tasked by\twget\tthen another\tcurl\tthen another\n".to_owned();
    for row in rows {
        for (number, kind) in KINDS.iter().enumerate() {
            write!(text, "{}\t{kind}", row.name).expect("a string can be written");
            for program in 0..PROGRAMS.len() {
                let is_this = |outcome: &&Outcome| {
                    let download = &outcome.download;
                    (download.row.name.as_str(), download.kind, download.program)
                        == (row.name.as_str(), number, program)
                };
                let outcome = outcomes.iter().find(is_this).expect("each was tried");
                write!(text, "\t{}\t{}", outcome.program, outcome.second)
                    .expect("a string can be written");
            }
            text.push('\n');
        }
    }
    std::fs::write(RESULTS, text).expect("the folder for results can be written");
}

#[test]
fn bad_origins_yield_no_wrong_downloads() {
    let Setting {
        bodies,
        rows,
        origin,
        gateway,
    } = Setting::start();
    let mut work = VecDeque::new();
    for row in slow_first(&rows) {
        for program in 0..PROGRAMS.len() {
            for kind in 0..KINDS.len() {
                let row = Arc::clone(row);
                work.push_back(Download { row, program, kind });
            }
        }
    }
    let queue = Mutex::new(work);
    let outcomes = all_at_once(WORKERS, |_| {
        let next = || queue.lock().expect("no thread panicked").pop_front();
        let mut outcomes = Vec::new();
        while let Some(download) = next() {
            outcomes.push(download.run(&gateway, &origin, &bodies));
        }
        outcomes
    });
    let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
    write_results(&outcomes, &rows);
    let wrong: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| {
            let (row, name) = (&outcome.download.row.name, outcome.download.name());
            let reason = outcome.wrong.as_ref()?;
            Some(format!("{row}\t{name}\t{reason}"))
        })
        .collect();
    assert!(wrong.is_empty(), "wrong results:\n{}", wrong.join("\n"));
}
