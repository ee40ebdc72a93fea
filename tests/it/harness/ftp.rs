//! A loopback FTP server that follows a script and records its commands.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wire::listen;
use super::{Body, lock};

/// Key under which the greeting is scripted.
pub const GREETING: &str = "greeting";

/// The date 2024-01-01 in the format of `MDTM`.
const MODIFIED: &str = "20240101000000";

/// Scripted reaction of the server to a command.
#[derive(Debug, Clone)]
pub enum Act {
    /// Normal behaviour.
    Usual,
    /// Sends this reply.
    Say(String),
    /// Sends nothing and keeps the connection open.
    Silence,
    HangUp,
    /// Sends this many bytes without an end of line.
    Babble(usize),
    /// For `RETR`: sends this many bytes, then this reply, or no reply if it is empty.
    Send(usize, &'static str),
    /// For `RETR`: sends this many bytes and keeps the data connection open.
    SendAndStay(usize),
    /// For `RETR`: sends the whole file and ignores `REST`.
    SendFromTheBeginning,
}

pub fn say(text: &str) -> Act {
    Act::Say(text.to_owned())
}

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, (Body, String)>>,
    scripts: Mutex<HashMap<String, (Vec<Act>, usize)>>,
    asked: Mutex<Vec<String>>,
    sockets: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
    closing: AtomicBool,
}

pub struct FtpServer {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl FtpServer {
    pub fn start() -> Self {
        let listener = listen("127.0.0.1");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::<Shared>::default();
        let accepting = shared.clone();
        thread::spawn(move || accept_all(&accepting, &listener));
        Self { shared, address }
    }

    /// Serves a file under the argument of `RETR`. Its date is old enough to serve as a validator.
    pub fn serve(&self, name: &str, body: &Body) {
        self.serve_of(name, body, MODIFIED);
    }

    pub fn serve_of(&self, name: &str, body: &Body, modified: &str) {
        lock(&self.shared.files).insert(name.to_owned(), (body.clone(), modified.to_owned()));
    }

    /// Sets the reactions to a command, in turn. The last one repeats.
    pub fn script(&self, verb: &str, acts: Vec<Act>) {
        lock(&self.shared.scripts).insert(verb.to_owned(), (acts, 0));
    }

    pub fn on(&self, verb: &str, act: Act) {
        self.script(verb, vec![act]);
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self, path: &str) -> String {
        format!("ftp://{}{path}", self.address)
    }

    /// Returns all received lines, in order.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }

    /// Returns how often a command was received.
    pub fn count(&self, verb: &str) -> usize {
        self.asked()
            .iter()
            .filter(|line| line.split(' ').next() == Some(verb))
            .count()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection, as a server does after an idle timeout.
    pub fn close_connections(&self) {
        for socket in lock(&self.shared.sockets).drain(..) {
            // It fails if the peer has closed already.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.close_connections();
        // Wakes the listener, so that it sees `closing`.
        drop(TcpStream::connect(self.address));
    }
}

fn accept_all(shared: &Arc<Shared>, listener: &TcpListener) {
    for socket in listener.incoming() {
        if shared.closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok(socket) = socket else { continue };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = shared.clone();
        thread::spawn(move || {
            lock(&shared.sockets).push(socket.try_clone().expect("a socket can be cloned"));
            let end = socket.try_clone().expect("a socket can be cloned");
            // A closed or reset connection is a normal end.
            drop(
                Conversation {
                    shared: &shared,
                    reader: BufReader::new(socket),
                    data: None,
                    offset: 0,
                }
                .run(),
            );
            // The clone in `sockets` would keep the connection open.
            drop(end.shutdown(Shutdown::Both));
        });
    }
}

struct Conversation<'a> {
    shared: &'a Shared,
    reader: BufReader<TcpStream>,
    data: Option<TcpListener>,
    offset: usize,
}

impl Conversation<'_> {
    fn run(mut self) -> io::Result<()> {
        if !self.act(GREETING, "", "220-hello\r\n and\r\n220 welcome")? {
            return Ok(());
        }
        loop {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&line)
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            lock(&self.shared.asked).push(line.clone());
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            if !self.act(verb, argument, &self.usual(verb, argument))? {
                return Ok(());
            }
        }
    }

    /// Reacts to a command. Returns false if the connection must end.
    fn act(&mut self, verb: &str, argument: &str, usual: &str) -> io::Result<bool> {
        let act = {
            let mut scripts = lock(&self.shared.scripts);
            scripts.get_mut(verb).map_or(Act::Usual, |(acts, turn)| {
                *turn += 1;
                acts[(*turn - 1).min(acts.len() - 1)].clone()
            })
        };
        match act {
            Act::Usual if verb == "RETR" => {
                self.send(argument, usize::MAX, Some("226 done"), false)?;
            }
            Act::Usual => self.usually(verb, argument, usual)?,
            Act::Say(text) => self.say(&text)?,
            Act::Silence => {
                self.await_end();
                return Ok(false);
            }
            Act::HangUp => return Ok(false),
            Act::Babble(count) => self.reader.get_mut().write_all(&vec![b'2'; count])?,
            Act::Send(count, "") => {
                self.send(argument, count, None, false)?;
                self.await_end();
                return Ok(false);
            }
            Act::Send(count, end) => self.send(argument, count, Some(end), false)?,
            Act::SendAndStay(count) => self.send(argument, count, None, true)?,
            Act::SendFromTheBeginning => {
                self.offset = 0;
                self.send(argument, usize::MAX, Some("226 done"), false)?;
            }
        }
        Ok(true)
    }

    fn usual(&self, verb: &str, argument: &str) -> String {
        let file = lock(&self.shared.files).get(argument).cloned();
        match (verb, file) {
            ("USER", _) => "331 and the password?".to_owned(),
            ("PASS", _) => "230 welcome".to_owned(),
            ("TYPE", _) => "200 as you like".to_owned(),
            ("REST", _) => "350 from there".to_owned(),
            ("SIZE", Some((body, _))) => format!("213 {}", body.len()),
            ("MDTM", Some((_, modified))) => format!("213 {modified}"),
            ("SIZE" | "MDTM", None) => "550 no such file".to_owned(),
            ("AUTH", _) => "530 please log in".to_owned(),
            _ => "500 what?".to_owned(),
        }
    }

    fn usually(&mut self, verb: &str, argument: &str, usual: &str) -> io::Result<()> {
        match verb {
            "REST" => self.offset = argument.parse().map_err(io::Error::other)?,
            "EPSV" | "PASV" => {
                let listener = listen("127.0.0.1");
                let port = listener.local_addr()?.port();
                self.data = Some(listener);
                return self.say(&match verb {
                    "EPSV" => format!("229 here (|||{port}|)"),
                    // Another address, as a server behind NAT reports.
                    _ => format!("227 here (127,0,0,2,{},{})", port / 256, port % 256),
                });
            }
            _ => {}
        }
        self.say(usual)
    }

    fn send(&mut self, name: &str, count: usize, end: Option<&str>, stays: bool) -> io::Result<()> {
        let Some((body, _)) = lock(&self.shared.files).get(name).cloned() else {
            return self.say("550 no such file");
        };
        let Some(listener) = self.data.take() else {
            return self.say("425 where to?");
        };
        let (mut data, _) = listener.accept()?;
        let start = std::mem::take(&mut self.offset).min(body.len());
        let stop = start.saturating_add(count).min(body.len());
        self.say("150 it comes")?;
        data.write_all(&body[start..stop])?;
        if stays {
            self.await_end();
        }
        drop(data);
        end.map_or(Ok(()), |end| self.say(end))
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.reader
            .get_mut()
            .write_all(format!("{text}\r\n").as_bytes())
    }

    fn await_end(&mut self) {
        let mut sink = [0; 1024];
        while self.reader.read(&mut sink).is_ok_and(|count| count > 0) {}
    }
}

/// Returns a `PASV` reply with another address and port.
pub fn passive(address: Ipv4Addr, port: u16) -> Act {
    let [a, b, c, d] = address.octets();
    Act::Say(format!(
        "227 there ({a},{b},{c},{d},{},{})",
        port / 256,
        port % 256
    ))
}
