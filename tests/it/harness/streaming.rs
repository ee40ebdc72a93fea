//! Responses that a test reads step by step. Each reports how its body ended.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::DEADLINE;
use super::answer::{Answer, Ended, Head};

/// A request whose response is unread.
pub struct Waiting {
    reader: BufReader<TcpStream>,
    is_head: bool,
    /// True for HTTP/1.0, which has no chunked coding.
    is_old: bool,
}

impl Waiting {
    /// Sends arbitrary bytes.
    #[track_caller]
    pub fn send(address: SocketAddr, bytes: &[u8], is_head: bool) -> Self {
        Self::try_send(address, bytes, is_head).expect("the gateway accepts the connection")
    }

    pub(super) fn try_send(address: SocketAddr, bytes: &[u8], is_head: bool) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout can be set");
        socket.set_nodelay(true).expect("an option can be set");
        // A server may respond and close before it has read the whole request: only
        // the response matters.
        drop(socket.write_all(bytes));
        let is_old = bytes
            .split(|byte| *byte == b'\r')
            .next()
            .is_some_and(|line| line.ends_with(b"HTTP/1.0"));
        Ok(Self {
            reader: BufReader::new(socket),
            is_head,
            is_old,
        })
    }

    /// Sends bytes on a connection that is open.
    #[track_caller]
    pub fn send_on(mut socket: TcpStream, bytes: &[u8], is_head: bool) -> Self {
        socket.write_all(bytes).expect("the connection is open");
        Self {
            reader: BufReader::new(socket),
            is_head,
            is_old: false,
        }
    }

    /// Reads the head of the response.
    #[track_caller]
    pub fn head(self) -> Streaming {
        self.try_head().expect("the response head can be read")
    }

    pub(super) fn try_head(mut self) -> io::Result<Streaming> {
        let head = read_head(&mut self.reader)?;
        assert!(
            !self.is_old || head.header("transfer-encoding").is_none(),
            "chunked response to HTTP/1.0: {head:#?}"
        );
        let framing = Framing::of(&head, self.is_head);
        Ok(Streaming {
            reader: self.reader,
            head,
            framing,
        })
    }

    /// Returns whether the first byte of the response has arrived.
    pub fn has_answer(&self) -> bool {
        let socket = self.reader.get_ref();
        socket
            .set_nonblocking(true)
            .expect("a socket can be made non-blocking");
        let has = socket.peek(&mut [0]).is_ok();
        socket
            .set_nonblocking(false)
            .expect("a socket can be made blocking");
        has
    }

    /// Reads the head of the response if one arrives before the connection ends.
    pub fn head_if_any(mut self) -> Option<Head> {
        read_head(&mut self.reader).ok()
    }
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Left(u64),
    /// Rest of the current chunk, in bytes.
    Chunked(u64),
    Done,
    UntilClose,
}

impl Framing {
    fn of(head: &Head, is_head: bool) -> Self {
        if is_head || head.status < 200 || matches!(head.status, 204 | 304) {
            return Self::Done;
        }
        if head
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
        {
            return Self::Chunked(0);
        }
        match head.header("content-length") {
            Some(length) => match length.parse().expect("a Content-Length is a number") {
                0 => Self::Done,
                length => Self::Left(length),
            },
            None => Self::UntilClose,
        }
    }
}

/// A response whose head was read and whose body is read by the test.
pub struct Streaming {
    reader: BufReader<TcpStream>,
    pub head: Head,
    framing: Framing,
}

impl Streaming {
    /// Reads exactly `count` bytes of the body.
    #[track_caller]
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let got = self
                .read_some(count - bytes.len())
                .expect("more of the body can be read");
            assert!(
                !got.is_empty(),
                "the body ended after {} bytes of {count}",
                bytes.len()
            );
            bytes.extend(got);
        }
        bytes
    }

    /// Reads the rest of the body.
    #[track_caller]
    pub fn finish(mut self) -> Answer {
        let mut body = Vec::new();
        let ended = loop {
            match self.read_some(64 << 10) {
                Ok(bytes) if bytes.is_empty() => break self.how_it_ended(),
                Ok(bytes) => body.extend(bytes),
                Err(error) if is_timeout(&error) => {
                    panic!("the body stalled after {} bytes", body.len())
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break Ended::Cut,
                Err(error) => panic!("the body could not be read: {error}"),
            }
        };
        Answer {
            status: self.head.status,
            head: self.head,
            body,
            ended,
        }
    }

    /// Reads the rest of a delimited body. The connection stays open for more requests.
    #[track_caller]
    pub fn finish_open(mut self) -> (Self, Vec<u8>) {
        let mut body = Vec::new();
        loop {
            let bytes = self
                .read_some(64 << 10)
                .expect("more of the body can be read");
            if bytes.is_empty() {
                assert_eq!(
                    self.how_it_ended(),
                    Ended::Whole,
                    "way in which the body ended"
                );
                return (self, body);
            }
            body.extend(bytes);
        }
    }

    /// Reads the rest of a delimited body, and the head of the next response
    /// on the same connection.
    #[track_caller]
    pub fn next(mut self) -> (Self, Answer) {
        let mut body = Vec::new();
        loop {
            let bytes = self
                .read_some(64 << 10)
                .expect("more of the body can be read");
            if bytes.is_empty() {
                break;
            }
            body.extend(bytes);
        }
        let answer = Answer {
            status: self.head.status,
            ended: self.how_it_ended(),
            head: self.head,
            body,
        };
        (
            Waiting {
                reader: self.reader,
                is_head: false,
                is_old: false,
            }
            .head(),
            answer,
        )
    }

    /// Returns the connection for a tunnel, with the bytes that were already read from it.
    pub fn into_socket(self) -> (TcpStream, Vec<u8>) {
        let early = self.reader.buffer().to_vec();
        (self.reader.into_inner(), early)
    }

    fn how_it_ended(&self) -> Ended {
        match self.framing {
            Framing::Done => Ended::Whole,
            Framing::UntilClose => Ended::Unframed,
            Framing::Left(_) | Framing::Chunked(_) => Ended::Cut,
        }
    }

    /// Reads between one byte and `limit` bytes. Returns nothing at the end, whether clean or not.
    fn read_some(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        if let Framing::Chunked(0) = self.framing {
            match read_chunk_size(&mut self.reader)? {
                None => return Ok(Vec::new()),
                Some(0) => self.framing = Framing::Done,
                Some(size) => self.framing = Framing::Chunked(size),
            }
        }
        let limit = match self.framing {
            Framing::Done => 0,
            Framing::Left(left) | Framing::Chunked(left) => {
                limit.min(usize::try_from(left).unwrap_or(limit))
            }
            Framing::UntilClose => limit,
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; limit];
        let count = loop {
            match self.reader.read(&mut bytes) {
                // A signal may interrupt the call on a loaded machine.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        bytes.truncate(count);
        let count = count as u64;
        self.framing = match self.framing {
            Framing::Left(left) if left == count => Framing::Done,
            Framing::Left(left) => Framing::Left(left - count),
            Framing::Chunked(left) if left == count && count > 0 => {
                // Without the line's end the next chunk is missing too: the next read
                // then reports the cut.
                drop(read_line(&mut self.reader));
                Framing::Chunked(0)
            }
            Framing::Chunked(left) => Framing::Chunked(left - count),
            same => same,
        };
        Ok(bytes)
    }
}

pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn read_head(reader: &mut BufReader<TcpStream>) -> io::Result<Head> {
    let line = read_line(reader)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("{line:?} is no status line")))?;
    let reason = line.splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            return Ok(Head {
                status,
                reason,
                headers,
            });
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| io::Error::other(format!("{line:?} is no header")))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&line)
        .trim_end_matches(['\r', '\n'])
        .to_owned())
}

/// Returns `None` if the connection ended instead of a chunk.
fn read_chunk_size(reader: &mut BufReader<TcpStream>) -> io::Result<Option<u64>> {
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let line = read_line(reader)?;
    let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
        .map_err(io::Error::other)?;
    if size == 0 {
        // Expects the empty line only: tests send no trailers.
        read_line(reader)?;
    }
    Ok(Some(size))
}
