//! Tests of the messages to a service manager, by the protocol of sd_notify.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::harness::Gateway;

/// Timeout of the wait for a message.
const PATIENCE: Duration = Duration::from_mins(1);

/// Receives one message.
fn message(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let count = socket.recv(&mut buffer).expect("a message arrives");
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

/// Starts a gateway whose service manager listens on the socket, and stops it.
fn assert_reports_states(socket: &UnixDatagram, address: &str) {
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("the timeout is not zero");
    let mut gateway = Gateway::builder().env("NOTIFY_SOCKET", address).start();
    assert_eq!(message(socket), "READY=1");
    gateway.request("GET", "/readyz").send().assert_status(200);
    gateway.stop();
    assert_eq!(message(socket), "STOPPING=1");
    socket
        .set_nonblocking(true)
        .expect("a socket can be set so");
    assert!(
        socket.recv(&mut [0; 256]).is_err(),
        "there is no third message"
    );
}

#[test]
fn service_manager_learns_start_and_stop() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket can be bound");
    assert_reports_states(&socket, path.to_str().expect("the path is text"));
}

#[test]
fn socket_of_service_manager_may_be_abstract() {
    let name = format!("millpond-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("the name is short");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket can be bound");
    assert_reports_states(&socket, &format!("@{name}"));
}

#[test]
fn missing_service_manager_prevents_no_start() {
    let gateway = Gateway::builder()
        .env("NOTIFY_SOCKET", "/nonexistent/notify")
        .start();
    gateway.request("GET", "/readyz").send().assert_status(200);
    gateway.log().wait_for("the missing socket", |event| {
        event["level"] == "WARN" && event.to_string().contains("NOTIFY_SOCKET")
    });
}
