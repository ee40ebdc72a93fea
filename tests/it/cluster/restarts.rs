//! A rolling restart of all nodes under load.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::stage::{Nodes, await_state};
use crate::harness::{Gateway, Origin, Reply, archive, eventually};

/// Clients that request without a pause.
const CLIENTS: usize = 3;

/// Longest time of the load, if the test fails meanwhile.
const MAX_LOAD: Duration = Duration::from_mins(2);

/// Number of targets.
const TARGETS: u64 = 120;

#[test]
fn rolling_restart_costs_no_response() {
    let origin = Origin::start();
    let files: Vec<_> = (0..TARGETS)
        .map(|number| (format!("/pub/r-{number}.0.tar.gz"), archive(number, 30_000)))
        .collect();
    for (path, body) in &files {
        origin.serve(path, Reply::file(body));
    }
    let mut nodes = Nodes::start(["127.0.0.71", "127.0.0.72", "127.0.0.73"], &origin);
    let addresses = nodes.all.each_ref().map(Gateway::addr);
    let requests = nodes.all.each_ref().map(|gateway| {
        let of_file = |(path, _): &(String, _)| gateway.get(&origin.url(path));
        files.iter().map(of_file).collect::<Vec<_>>()
    });
    let began = Instant::now();
    let (is_over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (files, requests, is_over, served) = (&files, &requests, &is_over, &served);
            scope.spawn(move || {
                for at in (client..).step_by(CLIENTS) {
                    if is_over.load(Ordering::SeqCst) || began.elapsed() > MAX_LOAD {
                        return;
                    }
                    let file = at % files.len();
                    // As a client of a name with three addresses, or nginx, does.
                    let answer =
                        (0..3).find_map(|node| requests[(at + node) % 3][file].send_if_it_lives());
                    let answer = answer.expect("a node answers");
                    answer.assert_body(200, &files[file].1);
                    served.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for (at, node) in nodes.all.iter_mut().enumerate() {
            let before = served.load(Ordering::SeqCst);
            node.stop();
            eventually("clients are served meanwhile", || {
                (served.load(Ordering::SeqCst) > before + 20).then_some(())
            });
            node.restart();
            for (peer, address) in addresses.iter().enumerate() {
                let state = if peer == at { "itself" } else { "ready" };
                await_state(node, *address, state);
            }
        }
        is_over.store(true, Ordering::SeqCst);
    });
}
