//! Compressed files, known by their first bytes and not by their names.

use std::io::{self, BufRead, BufReader};

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Xz,
}

/// Read at a time from a decoder.
const BUFFER: usize = 1 << 17;
/// Memory of an xz decoder in KiB; `xz -9` needs 64 MiB.
const XZ_MEMORY: u32 = 1 << 20;
/// Binary logarithm of the largest window of a zstd decoder, as `zstd --long=31` writes it.
const ZSTD_WINDOW: u32 = 31;

impl Compression {
    /// By the first bytes of a file; `None` where they are none of a compressed file.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1F, 0x8B, 0x08, ..] => Some(Self::Gzip),
            // A frame of data, or one that is to be skipped, which some writers put in front.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some(Self::Zstd),
            [0xFD, b'7', b'z', b'X', b'Z', 0x00, ..] => Some(Self::Xz),
            _ => None,
        }
    }

    /// What was compressed; several compressed files, one behind another, are one.
    pub(super) fn decoder(self, file: impl BufRead + 'static) -> io::Result<Box<dyn BufRead>> {
        Ok(match self {
            Self::Gzip => buffered(flate2::bufread::MultiGzDecoder::new(file)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                buffered(decoder)
            }
            Self::Xz => buffered(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_MEMORY)),
        })
    }
}

fn buffered(decoder: impl io::Read + 'static) -> Box<dyn BufRead> {
    Box::new(BufReader::with_capacity(BUFFER, decoder))
}

/// The name of another way of packing by a file's first bytes.
pub(super) fn unsupported(start: &[u8]) -> Option<&'static str> {
    match start {
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, ..] => Some("compressed by bzip2"),
        [0x04, 0x22, 0x4D, 0x18, ..] => Some("compressed by LZ4"),
        [0x1F, 0x9D, ..] => Some("compressed by compress"),
        [b'P', b'K', 0x03, 0x04, ..] => Some("a ZIP archive"),
        [b'7', b'z', 0xBC, 0xAF, 0x27, 0x1C, ..] => Some("a 7-Zip archive"),
        [b'R', b'a', b'r', b'!', 0x1A, 0x07, ..] => Some("a RAR archive"),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some("a PDF document"),
        _ if start.get(257..262) == Some(b"ustar") => Some("a tar archive"),
        _ => None,
    }
}
