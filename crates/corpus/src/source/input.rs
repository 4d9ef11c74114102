//! The bytes of a text or JSON file, unpacked and as UTF-8.

use super::compression::{self, Compression};
use super::encoding::{self, Encoding, Found, Transcoder};
use crate::CorpusError;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

/// What is looked at to know a file's compression and encoding.
const START: u64 = 4096;
/// Read at a time.
const BUFFER: usize = 1 << 17;

/// A file's text as bytes of UTF-8, as far as it is well-formed.
pub(super) enum Input {
    /// It is UTF-8 itself.
    Plain(Box<dyn BufRead>),
    /// It is in another encoding.
    Transcoded(Box<BufReader<Transcoder>>),
}

impl Input {
    /// Opens a file of which `encoding` is known, or is to be known by its first bytes.
    pub(super) fn open(path: &Path, encoding: Option<Encoding>) -> Result<Self, CorpusError> {
        let read = || CorpusError::io("read", path);
        let file = BufReader::with_capacity(BUFFER, File::open(path).map_err(read())?);
        let (start, bytes) = peek(file).map_err(read())?;
        let (start, mut bytes): (_, Box<dyn BufRead>) = match Compression::of(&start) {
            Some(compression) => {
                let unpacked = compression.decoder(bytes).map_err(read())?;
                let (start, unpacked) = peek(unpacked).map_err(read())?;
                (start, Box::new(unpacked))
            }
            None => (start, Box::new(bytes)),
        };
        if let Some(found) = compression::unsupported(&start) {
            let hint = "unpack it; compressed by gzip, zstd or xz it is read as it is";
            return Err(CorpusError::NoText { path: path.to_path_buf(), found, hint });
        }
        match encoding::find(&start, encoding) {
            Found::Utf8 { mark } => {
                bytes.consume(mark);
                Ok(Self::Plain(bytes))
            }
            Found::Other(encoding) => {
                let transcoder = Transcoder::new(bytes, encoding);
                Ok(Self::Transcoded(Box::new(BufReader::with_capacity(BUFFER, transcoder))))
            }
            Found::NoText(found) => {
                let hint = "convert it to UTF-8, for example by `iconv`";
                Err(CorpusError::NoText { path: path.to_path_buf(), found, hint })
            }
        }
    }

    /// Malformed sequences so far of another encoding; each became U+FFFD. Those of UTF-8 are left to the reader.
    pub(super) fn malformed(&self) -> u64 {
        match self {
            Self::Plain(_) => 0,
            Self::Transcoded(transcoder) => transcoder.get_ref().malformed(),
        }
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(bytes) => bytes.read(into),
            Self::Transcoded(bytes) => bytes.read(into),
        }
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(bytes) => bytes.fill_buf(),
            Self::Transcoded(bytes) => bytes.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Plain(bytes) => bytes.consume(count),
            Self::Transcoded(bytes) => bytes.consume(count),
        }
    }
}

/// The first bytes of a stream, and the whole stream.
fn peek(mut bytes: impl BufRead) -> io::Result<(Vec<u8>, impl BufRead)> {
    let mut start = Vec::new();
    bytes.by_ref().take(START).read_to_end(&mut start)?;
    Ok((start.clone(), Cursor::new(start).chain(bytes)))
}
