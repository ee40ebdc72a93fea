//! The page docs/guides/dns-geography.md: BIND with its files leads each network to its gateways.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use tempfile::TempDir;

use crate::harness::{DNS_NAME, eventually};
use crate::specs::page::{blocks, read_page};

/// Time after which a query is sent again.
const QUERY_WAIT: Duration = Duration::from_secs(1);

/// A server with the files of the page, until it is dropped.
struct PageServer {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl PageServer {
    fn start() -> Self {
        let page = read_page("docs/guides/dns-geography.md");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let zones = blocks(&page, "zone");
        assert_eq!(zones.len(), 3, "the page has the zones of three views");
        for (zone, name) in zones.iter().zip(["south", "north", "others"]) {
            let file = folder.path().join(format!("{name}.zone"));
            fs::write(file, zone).expect("the folder can be written");
        }
        // The networks of the page, on loopback.
        let views = blocks(&page, "named")[0]
            .replace("10.1.0.0/16", "127.0.1.0/24")
            .replace("10.2.0.0/16", "127.0.2.0/24");
        // Another process may take the port before the server does: the wait below then fails.
        let free = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = free.local_addr().expect("a socket has an address");
        drop(free);
        let (own, port) = (folder.path().display(), address.port());
        let options = format!(
            "options {{ directory \"{own}\"; listen-on port {port} {{ 127.0.0.1; }}; \
             listen-on-v6 {{ none; }}; pid-file none; session-keyfile none; recursion no; \
             notify no; dnssec-validation no; }};\ncontrols {{ }};\n"
        );
        let file = folder.path().join("named.conf");
        fs::write(&file, options + &views).expect("the folder can be written");
        let child = Command::new("/usr/sbin/named")
            .args(["-g", "-n", "1", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("named of the Debian package bind9 can be started");
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    /// Returns the addresses of the gateways for a client.
    fn addresses_for(&self, client: &str) -> BTreeSet<String> {
        let answer = eventually("named answers", || self.ask(client).ok());
        let answers = answer.answers.iter();
        answers.map(|record| record.data.to_string()).collect()
    }

    fn ask(&self, client: &str) -> io::Result<Message> {
        let mut message = Message::query();
        let name = Name::from_ascii(format!("{DNS_NAME}.")).expect("the name is valid");
        message.add_query(Query::query(name, RecordType::A));
        let socket = UdpSocket::bind((client, 0))?;
        socket.set_read_timeout(Some(QUERY_WAIT))?;
        socket.connect(self.address)?;
        socket.send(&message.to_vec().expect("a message can be written"))?;
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes)?;
        Message::from_vec(&bytes[..length]).map_err(io::Error::other)
    }
}

impl Drop for PageServer {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn each_network_gets_its_own_gateways() {
    let server = PageServer::start();
    for (client, gateways) in [
        ("127.0.1.7", &["192.0.2.11", "192.0.2.12"][..]),
        ("127.0.2.7", &["192.0.2.21"]),
        ("127.0.3.7", &["192.0.2.11", "192.0.2.12", "192.0.2.21"]),
    ] {
        let gateways = gateways.iter().map(|address| (*address).to_owned());
        assert_eq!(server.addresses_for(client), gateways.collect(), "{client}");
    }
}
