//! How the bytes of a text stand for characters: UTF-8, UTF-16 where it shows, or what a source names.

use encoding_rs::{Decoder, DecoderResult};
use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

/// A character encoding, by a name of the WHATWG Encoding Standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl FromStr for Encoding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The standard has one more, which stands for encodings that are not to be read.
        let known = encoding_rs::Encoding::for_label_no_replacement(text.as_bytes()).map(Self);
        known.ok_or(
            "unknown encoding; allowed: the names of the WHATWG Encoding Standard, such as `utf-8`, `utf-16le`, \
             `windows-1252`, `iso-8859-2`, `shift_jis`, `gb18030`",
        )
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.name().to_ascii_lowercase())
    }
}

/// How a file's text is encoded, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// UTF-8, behind so many bytes of a byte order mark.
    Utf8 { mark: usize },
    /// Another encoding. A byte order mark is the decoder's.
    Other(Encoding),
    /// No text that can be read: what it is, in words.
    NoText(&'static str),
}

/// The encoding of a text that begins with `start`; a byte order mark counts more than what was `named`.
pub(super) fn find(start: &[u8], named: Option<Encoding>) -> Found {
    match start {
        [0xEF, 0xBB, 0xBF, ..] => return Found::Utf8 { mark: 3 },
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => return Found::NoText("text in UTF-32"),
        [0xFF, 0xFE, ..] => return Found::Other(Encoding(encoding_rs::UTF_16LE)),
        [0xFE, 0xFF, ..] => return Found::Other(Encoding(encoding_rs::UTF_16BE)),
        _ => {}
    }
    match named {
        Some(Encoding(encoding)) if encoding == encoding_rs::UTF_8 => Found::Utf8 { mark: 0 },
        Some(encoding) => Found::Other(encoding),
        None => by_zeros(start),
    }
}

/// UTF-16 without a byte order mark: most texts have many characters below U+0100, and their upper bytes are zeros.
fn by_zeros(start: &[u8]) -> Found {
    if start.len() < 4 {
        return Found::Utf8 { mark: 0 };
    }
    let zeros = |parity: usize| start.iter().skip(parity).step_by(2).filter(|&&byte| byte == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), start.len() / 2);
    let many = |count: usize| 4 * count >= pairs;
    match (many(even), many(odd)) {
        (false, true) if 16 * even <= odd => Found::Other(Encoding(encoding_rs::UTF_16LE)),
        (true, false) if 16 * odd <= even => Found::Other(Encoding(encoding_rs::UTF_16BE)),
        (false, false) => Found::Utf8 { mark: 0 },
        _ => Found::NoText("UTF-32 or binary data, many zero bytes"),
    }
}

/// Another encoding as UTF-8.
pub(super) struct Transcoder {
    inner: Box<dyn BufRead>,
    decoder: Decoder,
    /// UTF-8 that was decoded and not given out: from `at` to `end`.
    decoded: Vec<u8>,
    at: usize,
    end: usize,
    ended: bool,
    malformed: u64,
}

/// Decoded at a time.
const BUFFER: usize = 1 << 16;
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

impl Transcoder {
    pub(super) fn new(inner: Box<dyn BufRead>, Encoding(encoding): Encoding) -> Self {
        let decoder = encoding.new_decoder();
        Self { inner, decoder, decoded: vec![0; BUFFER], at: 0, end: 0, ended: false, malformed: 0 }
    }

    /// Malformed sequences so far; each became U+FFFD.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }
}

impl Read for Transcoder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.end && !self.ended {
            let bytes = self.inner.fill_buf()?;
            let last = bytes.is_empty();
            let room = self.decoded.len() - REPLACEMENT.len();
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.decoded[..room], last);
            self.inner.consume(read);
            (self.at, self.end) = (0, written);
            match result {
                DecoderResult::InputEmpty => self.ended = last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    self.decoded[written..written + REPLACEMENT.len()].copy_from_slice(REPLACEMENT);
                    self.end += REPLACEMENT.len();
                    self.malformed += 1;
                }
            }
        }
        let count = into.len().min(self.end - self.at);
        into[..count].copy_from_slice(&self.decoded[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_show_in_the_first_bytes() {
        let utf16 = |text: &str, big: bool| -> Vec<u8> {
            text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
        };
        let (little, big) = (Encoding(encoding_rs::UTF_16LE), Encoding(encoding_rs::UTF_16BE));
        let latin: Encoding = "latin1".parse().unwrap();
        let zeros = Found::NoText("UTF-32 or binary data, many zero bytes");
        let cases: [(Vec<u8>, Option<Encoding>, Found); 13] = [
            (b"plain".to_vec(), None, Found::Utf8 { mark: 0 }),
            (Vec::new(), None, Found::Utf8 { mark: 0 }),
            (b"one \0 is no sign".to_vec(), None, Found::Utf8 { mark: 0 }),
            ("\u{FEFF}é".into(), Some(latin), Found::Utf8 { mark: 3 }),
            (b"caf\xE9".to_vec(), Some(latin), Found::Other(latin)),
            (utf16("\u{FEFF}猫", false), None, Found::Other(little)),
            (utf16("\u{FEFF}猫", true), Some(latin), Found::Other(big)),
            (utf16("A cat — 猫.", false), None, Found::Other(little)),
            (utf16("A cat — 猫.", true), None, Found::Other(big)),
            (b"\xFF\xFE\0\0A\0\0\0".to_vec(), None, Found::NoText("text in UTF-32")),
            (b"\0".to_vec(), None, Found::Utf8 { mark: 0 }),
            (b"A\0\0\0b\0\0\0".to_vec(), None, zeros),
            (vec![0; 64], None, zeros),
        ];
        for (start, named, expected) in cases {
            assert_eq!(find(&start, named), expected, "{start:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_standard() {
        assert_eq!("latin1".parse::<Encoding>().unwrap().to_string(), "windows-1252");
        assert_eq!("UTF-16LE".parse::<Encoding>().unwrap().to_string(), "utf-16le");
        for unknown in ["utf-7", "iso-2022-kr", "", "ansi"] {
            assert!(unknown.parse::<Encoding>().is_err(), "{unknown}");
        }
    }
}
