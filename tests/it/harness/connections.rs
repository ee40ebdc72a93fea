//! Many connections at once, and the resources that a process uses.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{DEADLINE, Gateway};

/// Raises this process's open file limit to the hard limit and returns that limit.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .expect("the soft limit can be raised to the hard limit");
    limit.maximum.unwrap_or(u64::MAX)
}

/// Connects from another loopback address.
pub fn connect_from(ip: &str, address: SocketAddr) -> TcpStream {
    let own = SocketAddr::new(ip.parse().expect("the address is valid"), 0);
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    // A gateway that another test starts must not inherit it.
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket is free");
    bind(&socket, &own).expect("the address is one of the loopback");
    connect(&socket, &address).expect("the gateway takes the connection");
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    stream
}

/// A persistent connection for small responses.
pub struct Kept {
    reader: BufReader<TcpStream>,
}

impl Kept {
    /// # Errors
    /// Returns the error of the system call.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::on(TcpStream::connect(address)?)
    }

    /// # Errors
    /// Returns the error of the system call.
    pub fn on(socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_nodelay(true)?;
        Ok(Self {
            reader: BufReader::with_capacity(1024, socket),
        })
    }

    /// Sends bytes unchanged.
    ///
    /// # Errors
    /// Returns the error of the system call.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Requests a target and reads the response. Returns the status and whether the
    /// connection stays open.
    ///
    /// # Errors
    /// Returns the error of the system call if there is no response.
    pub fn ask(&mut self, target: &str) -> io::Result<(u16, bool)> {
        self.send(
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8\r\n\r\n").as_bytes(),
        )?;
        let (mut status, mut left_bytes, mut stays) = (None, 0, true);
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                _ if line.is_empty() => break,
                Some(("content-length", value)) => {
                    left_bytes = value.parse().map_err(io::Error::other)?;
                }
                Some(("connection", "close")) => stays = false,
                None => {
                    status = line
                        .split(' ')
                        .nth(1)
                        .and_then(|status| status.parse().ok());
                }
                Some(_) => {}
            }
        }
        io::copy(&mut self.reader.by_ref().take(left_bytes), &mut io::sink())?;
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, stays))
    }
}

impl Gateway {
    /// Returns the peak memory of the process, in MiB.
    pub fn peak_memory_mib(&self) -> u64 {
        self.memory_mib("VmHWM:")
    }

    /// Returns the resident memory of the process, in MiB.
    pub fn resident_mib(&self) -> u64 {
        self.memory_mib("VmRSS:")
    }

    fn memory_mib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the gateway runs");
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .expect("the kernel reports the memory of a process");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number")
            / 1024
    }

    /// Returns the number of open files and connections of the process.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .expect("the gateway runs")
            .count()
    }
}
