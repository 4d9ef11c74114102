//! An answer that is read as it comes.

use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read};
use std::net::TcpStream;

/// What is left of the body.
#[derive(Debug)]
enum Rest {
    /// Bytes of this chunk that are left, and others may follow.
    Chunk(u64),
    /// So many bytes, or all until the end.
    Plain(Option<u64>),
    Done,
}

/// An answer whose body is read as it comes. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Stream {
    reader: BufReader<TcpStream>,
    status: u16,
    headers: Vec<(String, String)>,
    rest: Rest,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServerEvent {
    /// `message` where it has no name.
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

impl ServerEvent {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {:?}", self.data))
    }
}

impl Stream {
    /// Reads the head of an answer.
    pub(super) fn open(connection: TcpStream) -> Self {
        let mut reader = BufReader::new(connection);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let header = |name: &str| headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        let rest = match header("transfer-encoding") {
            Some((_, value)) if value == "chunked" => Rest::Chunk(0),
            _ => Rest::Plain(header("content-length").map(|(_, length)| length.parse().unwrap())),
        };
        Self { reader, status, headers, rest }
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// One line without its end; `None` at the end of the body.
    pub(crate) fn line(&mut self) -> Option<String> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while self.read(&mut byte).unwrap() > 0 {
            if byte[0] == b'\n' {
                return Some(String::from_utf8(line).unwrap().trim_end_matches('\r').to_owned());
            }
            line.push(byte[0]);
        }
        assert!(line.is_empty(), "the last line has no end: {line:?}");
        None
    }

    /// The next line as JSON.
    pub(crate) fn json_line(&mut self) -> Option<Value> {
        self.line().map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
    }

    /// The next server-sent event; comments are passed over.
    pub(crate) fn event(&mut self) -> Option<ServerEvent> {
        let (mut name, mut id, mut data) = (None, None, Vec::new());
        loop {
            let line = self.line()?;
            match line.split_once(':').map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value))) {
                Some(("event", value)) => name = Some(value.to_owned()),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => data.push(value.to_owned()),
                None if line.is_empty() && (name.is_some() || !data.is_empty()) => break,
                _ => {}
            }
        }
        let name = name.unwrap_or_else(|| "message".to_owned());
        Some(ServerEvent { name, id, data: data.join("\n") })
    }

    /// All events that are still to come.
    pub(crate) fn events(mut self) -> Vec<ServerEvent> {
        std::iter::from_fn(|| self.event()).collect()
    }

    fn next_chunk(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        if line == "\r\n" {
            // The end of the chunk before.
            line.clear();
            self.reader.read_line(&mut line)?;
        }
        u64::from_str_radix(line.trim(), 16).map_err(|_| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Rest::Chunk(0) = self.rest {
            self.rest = match self.next_chunk()? {
                0 => Rest::Done,
                length => Rest::Chunk(length),
            };
        }
        let (Rest::Chunk(left) | Rest::Plain(Some(left))) = &mut self.rest else {
            return if let Rest::Plain(None) = self.rest { self.reader.read(into) } else { Ok(0) };
        };
        let most = into.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        // Reading nothing waits for more, and a server may leave the connection open.
        if most == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut into[..most])?;
        *left -= count as u64;
        Ok(count)
    }
}
