//! Bandwidth limits: one client shares its limit among its connections, and all clients share the
//! total.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::{PATH, trusting};
use crate::harness::{Origin, Reply, all_at_once, archive, assert_same};
use crate::http::tunnel::{listener, open, tunnelling_to};

/// Returns the least time for `size` bytes at `rate` bytes per second. The burst of a twentieth of
/// a second and 64 KiB are not delayed.
fn least(size: usize, rate: usize) -> Duration {
    Duration::from_millis(((size - rate / 20 - (64 << 10)) * 1000 / rate) as u64)
}

const RATE: usize = 1 << 20;

#[test]
fn downloads_of_client_share_its_bandwidth() {
    let origin = Origin::start();
    let body = archive(1, RATE);
    origin.serve(PATH, Reply::file(&body));
    let gateway = trusting(&origin).text("limits.bandwidth", "1MiB").start();
    let get = |client: &str| {
        let answer = gateway
            .get(&origin.url(PATH))
            .header("X-Forwarded-For", client)
            .send();
        answer.assert_body(200, &body);
    };
    // The limit applies to a miss too. A new client starts with an empty token bucket.
    let began = Instant::now();
    get("10.0.0.1");
    assert!(
        began.elapsed() >= least(RATE, RATE),
        "a miss took only {:?}",
        began.elapsed()
    );
    let began = Instant::now();
    all_at_once(2, |_| get("10.0.0.2"));
    assert!(
        began.elapsed() >= least(2 * RATE, RATE),
        "two hits took only {:?}",
        began.elapsed()
    );
}

#[test]
fn clients_share_total_bandwidth() {
    let origin = Origin::start();
    let body = archive(1, RATE / 2);
    origin.serve(PATH, Reply::file(&body));
    let builder = trusting(&origin).text("limits.total_bandwidth", "1MiB");
    let gateway = builder
        .set("limits.exempt_clients", "[\"10.0.0.3/32\"]")
        .start();
    let began = Instant::now();
    all_at_once(4, |number| {
        let client = format!("10.0.0.{number}");
        gateway
            .get(&origin.url(PATH))
            .header("X-Forwarded-For", &client)
            .send()
            .assert_body(200, &body);
    });
    assert!(
        began.elapsed() >= least(2 * RATE, RATE),
        "the downloads took only {:?}",
        began.elapsed()
    );
}

#[test]
fn tunnel_bandwidth_covers_both_directions() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .text("limits.bandwidth", "1MiB")
        .start();
    let (mut client, mut server) = open(&gateway, &listener);
    let body = archive(1, RATE);
    let began = Instant::now();
    thread::scope(|scope| {
        let (mut up, mut down) = (
            client.try_clone().expect("a socket can be cloned"),
            server.try_clone().expect("a socket can be cloned"),
        );
        let body = &body;
        scope.spawn(move || up.write_all(body).expect("the tunnel accepts data"));
        scope.spawn(move || down.write_all(body).expect("the tunnel accepts data"));
        for end in [&mut client, &mut server] {
            let mut bytes = vec![0; body.len()];
            end.read_exact(&mut bytes)
                .expect("the tunnel delivers data");
            assert_same(&bytes, body);
        }
    });
    assert!(
        began.elapsed() >= least(2 * RATE, RATE),
        "the transfer took only {:?}",
        began.elapsed()
    );
}

#[test]
fn total_bandwidth_is_shared_fairly_between_clients() {
    let origin = Origin::start();
    let body = archive(1, 4 * RATE);
    origin.serve(PATH, Reply::file(&body));
    let gateway = trusting(&origin)
        .text("limits.total_bandwidth", "2MiB")
        .start();
    let open = |client: &str| {
        gateway
            .get(&origin.url(PATH))
            .header("X-Forwarded-For", client)
            .open()
    };
    let many: Vec<_> = (0..20).map(|_| open("10.0.0.1")).collect();
    let mut one = open("10.0.0.2");
    let readers: Vec<_> = many
        .into_iter()
        .map(|mut download| thread::spawn(move || download.read(4 * RATE / 20)))
        .collect();
    // The fair share is 1 MiB/s. One of 21 equal downloads would get a tenth of that.
    let began = Instant::now();
    one.read(2 * RATE);
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(10),
        "the other client needed {took:?} for two seconds of its share"
    );
    drop(one);
    for reader in readers {
        drop(reader.join().expect("no thread panicked"));
    }
}

#[test]
fn tunnel_waiting_for_bandwidth_is_not_idle() {
    let (listener, address) = listener();
    let builder = tunnelling_to(address).text("limits.bandwidth", "16KiB");
    let gateway = builder.text("proxy.tunnel_idle_timeout", "1s").start();
    let tunnels: Vec<_> = (0..40).map(|_| open(&gateway, &listener)).collect();
    // Forty tunnels share 16 KiB/s, so each waits for bandwidth longer than the idle timeout.
    let ends: Vec<_> = tunnels
        .into_iter()
        .map(|(mut client, mut server)| {
            thread::spawn(move || {
                server
                    .write_all(&[7; 3000])
                    .expect("the tunnel accepts data");
                let mut bytes = [0; 3000];
                client
                    .read_exact(&mut bytes)
                    .expect("the tunnel delivers all data");
                drop(server);
            })
        })
        .collect();
    for end in ends {
        end.join().expect("no thread panicked");
    }
}

#[test]
fn tunnel_delivers_sent_data_after_server_closes() {
    let (listener, address) = listener();
    let gateway = tunnelling_to(address)
        .text("limits.bandwidth", "40KiB")
        .start();
    let (mut client, mut server) = open(&gateway, &listener);
    // The first data uses up the burst, so the next data waits in the gateway.
    let first = archive(1, 64 << 10);
    server.write_all(&first).expect("the tunnel accepts data");
    client
        .read_exact(&mut vec![0; first.len()])
        .expect("the tunnel delivers data");
    let body = archive(2, 60_000);
    server.write_all(&body).expect("the tunnel accepts data");
    drop(server);
    // The server has closed and does not read this data.
    client.write_all(b"ping").expect("the tunnel accepts data");
    client.write_all(b"ping").expect("the tunnel accepts data");
    let mut bytes = Vec::new();
    client
        .read_to_end(&mut bytes)
        .expect("the tunnel ends cleanly");
    assert_same(&bytes, &body);
}

#[test]
fn client_pacing_is_not_counted_as_slow_origin() {
    let origin = Origin::start();
    let body = archive(1, 400_000);
    origin.serve("/latest/x", Reply::ok(&body));
    let builder = trusting(&origin).text("limits.bandwidth", "100KiB");
    let gateway = builder
        .text("fetch.min_speed", "10MiB")
        .text("fetch.idle_timeout", "1s")
        .start();
    gateway
        .get(&origin.url("/latest/x"))
        .send()
        .assert_body(200, &body);
}
