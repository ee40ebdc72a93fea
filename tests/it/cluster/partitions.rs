//! Nodes that cannot reach each other for a while.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::stage::{await_state, free_address, node, owners};
use crate::harness::{Gate, Origin, Reply, archive, assert_same, listen};

/// A network to one address, which can be cut. Bytes wait then, and no connection ends.
#[derive(Clone)]
struct Network {
    address: SocketAddr,
    cut: Arc<(Mutex<bool>, Condvar)>,
}

impl Network {
    fn to(address: SocketAddr, ip: &str) -> Self {
        let listener = listen(ip);
        let network = Self {
            address: listener.local_addr().expect("a listener has an address"),
            cut: Arc::default(),
        };
        let own = network.clone();
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                // Without a node at the address, the connection ends.
                if let Ok(far) = TcpStream::connect(address) {
                    own.carry(&near, &far);
                    own.carry(&far, &near);
                }
            }
        });
        network
    }

    fn carry(&self, from: &TcpStream, to: &TcpStream) {
        let clone = |socket: &TcpStream| socket.try_clone().expect("a socket can be cloned");
        let (mut from, mut to, network) = (clone(from), clone(to), self.clone());
        thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                network.await_whole();
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            network.await_whole();
            // The other side may have closed it already.
            let _ = to.shutdown(Shutdown::Write);
        });
    }

    fn set_cut(&self, is_cut: bool) {
        let (state, changed) = &*self.cut;
        *state.lock().expect("no thread panics with the lock") = is_cut;
        changed.notify_all();
    }

    fn await_whole(&self) {
        let (state, changed) = &*self.cut;
        let state = state.lock().expect("no thread panics with the lock");
        let whole = changed.wait_while(state, |is_cut| *is_cut);
        drop(whole.expect("no thread panics with the lock"));
    }
}

#[test]
fn partition_costs_no_byte() {
    let (origin, gate) = (Origin::start(), Gate::new());
    let (first, second) = (free_address("127.0.0.84"), free_address("127.0.0.85"));
    let networks = [
        Network::to(second, "127.0.0.86"),
        Network::to(first, "127.0.0.87"),
    ];
    let [left, right] = [("left", first), ("right", second)].map(|(name, address)| {
        let peer = networks[usize::from(name == "right")].address;
        let builder = node(name, address, &[peer]).origin(&origin);
        // The test asks for the states often.
        let builder = builder.set("limits.exempt_clients", "[\"127.0.0.1/32\"]");
        builder.start()
    });
    let set_cut = |is_cut| networks.iter().for_each(|network| network.set_cut(is_cut));
    let await_both = |state| {
        await_state(&left, networks[0].address, state);
        await_state(&right, networks[1].address, state);
    };
    await_both("ready");
    let paths = (0..100).map(|number| format!("/pub/cut-{number}.0.tar.gz"));
    let of_right = paths.filter(|path| owners(&left, &origin.url(path))[0] == "right");
    let paths: Vec<_> = of_right.take(3).collect();

    // Within a body.
    let (path, body) = (&paths[0], archive(14, 900_000));
    let half = Reply::file(&body).gate_at(400_000, &gate);
    origin.script(path, vec![half, Reply::file(&body)]);
    let mut client = left.get(&origin.url(path)).open();
    let begin = client.read(300_000);
    gate.await_reached(1);
    set_cut(true);
    let answer = client.finish();
    gate.open();
    assert_same(&[begin, answer.body].concat(), &body);

    // New targets are fetched by each side.
    let (path, body) = (&paths[1], archive(15, 50_000));
    origin.serve(path, Reply::file(&body));
    for gateway in [&left, &right] {
        gateway.assert_serves(&origin.url(path), &body);
    }
    assert_eq!(origin.count(path), 2);
    await_both("silent");

    set_cut(false);
    await_both("ready");
    let (path, body) = (&paths[2], archive(16, 50_000));
    origin.serve(path, Reply::file(&body));
    for gateway in [&left, &right] {
        gateway.assert_serves(&origin.url(path), &body);
    }
    assert_eq!(origin.count(path), 1);
}
