//! How a file is read, known by its name.

use super::files::UnreadReason;
use std::path::Path;
use std::str::FromStr;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text: one document, or several with separators between them.
    Text,
    /// JSON lines: an object in each line, one document each.
    Json,
    /// A Parquet table: one document a row.
    Parquet,
}

/// Endings of the names of text and JSON files that are compressed in a way that is read.
const COMPRESSED: [&str; 3] = ["gz", "zst", "xz"];
/// Endings of what would have to be unpacked first, whatever a source's `format` is.
const PACKED: [&str; 11] = ["7z", "bz2", "lz4", "lzma", "rar", "tar", "tbz2", "tgz", "txz", "z", "zip"];

impl Format {
    /// What the file at `path` holds by its name, or else `fallback`. Plain `.json` files lie beside many corpora as
    /// their description, so in a folder they need a fallback, too; `listed` says that the file was found in a folder.
    pub(super) fn of(path: &Path, fallback: Option<Self>, listed: bool) -> Result<Self, UnreadReason> {
        // File names may be of any bytes; the endings are ASCII.
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_ascii_lowercase()).unwrap_or_default();
        let (rest, ending) = split(&name);
        if let Some(ending) = PACKED.into_iter().find(|packed| packed.as_bytes() == ending) {
            return Err(UnreadReason::Packed(ending));
        }
        let is_compressed = COMPRESSED.iter().any(|compressed| compressed.as_bytes() == ending);
        match if is_compressed { split(rest).1 } else { ending } {
            b"txt" | b"text" => Ok(Self::Text),
            b"jsonl" | b"ndjson" => Ok(Self::Json),
            b"json" if is_compressed || !listed => Ok(Self::Json),
            b"parquet" if !is_compressed => Ok(Self::Parquet),
            b"tar" => Err(UnreadReason::Packed("tar")),
            _ => fallback.ok_or(UnreadReason::UnknownEnding),
        }
    }
}

/// A name in front of its last dot and behind it; the latter is empty where there is no dot.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(dot) => (&name[..dot], &name[dot + 1..]),
        None => (name, b""),
    }
}

impl FromStr for Format {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "parquet" => Ok(Self::Parquet),
            _ => Err("unknown format; allowed: `text`, `json`, `parquet`"),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Parquet => "parquet",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_files_are_read() {
        let of = |name: &str, listed| Format::of(Path::new(name), None, listed);
        for name in ["a.txt", "A.TXT", "a.b.text", "a.txt.gz", "a.TXT.ZST", "a.text.xz"] {
            assert_eq!(of(name, true), Ok(Format::Text), "{name}");
        }
        for name in ["a.jsonl", "a.ndjson", "a.jsonl.zst", "c4.json.gz"] {
            assert_eq!(of(name, true), Ok(Format::Json), "{name}");
        }
        assert_eq!(of("a.json", false), Ok(Format::Json));
        assert_eq!(of("a.json", true), Err(UnreadReason::UnknownEnding));
        assert_eq!(of("a.parquet", true), Ok(Format::Parquet));
        for (name, packed) in [("a.txt.bz2", "bz2"), ("a.tar.gz", "tar"), ("a.ZIP", "zip"), ("a.tgz", "tgz")] {
            assert_eq!(of(name, false), Err(UnreadReason::Packed(packed)), "{name}");
        }
        for name in ["a", "a.md", "a.gz", "txt", "a.parquet.gz"] {
            assert_eq!(of(name, false), Err(UnreadReason::UnknownEnding), "{name}");
            assert_eq!(Format::of(Path::new(name), Some(Format::Text), true), Ok(Format::Text), "{name}");
        }
    }

    #[test]
    fn formats_are_written_as_they_are_read() {
        for format in [Format::Text, Format::Json, Format::Parquet] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("csv".parse::<Format>().is_err());
    }
}
