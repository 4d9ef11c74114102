//! What is read of an archive, within bounds: names and headers take no more memory than they need, whatever they are
//! packed to and whatever they say of themselves.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::rc::Rc;
use tar::Entry;

/// The most bytes between two entries: a header, and longer names where there are any. They are held in memory.
const MOST_BETWEEN_ENTRIES: u64 = 1 << 20;

/// How many bytes may be read before the next entry has to begin.
#[derive(Debug, Clone)]
pub(super) struct Allowance(Rc<Cell<u64>>);

/// The bytes of an archive, unpacked.
pub(super) struct Unpacked {
    inner: Box<dyn Read>,
    allowance: Allowance,
}

/// The bytes of an archive, which is compressed where its name ends in `zst`.
pub(super) fn open(path: &Path) -> io::Result<(Unpacked, Allowance)> {
    let file = BufReader::new(File::open(path)?);
    let inner: Box<dyn Read> = match path.extension().is_some_and(|extension| extension == "zst") {
        true => Box::new(zstd::Decoder::with_buffer(file)?),
        false => Box::new(file),
    };
    let allowance = Allowance(Rc::new(Cell::new(MOST_BETWEEN_ENTRIES)));
    Ok((Unpacked { inner, allowance: allowance.clone() }, allowance))
}

impl Allowance {
    /// Lets an entry that has begun be read or passed over, and the next one begin.
    pub(super) fn renew<R: Read>(&self, entry: &Entry<'_, R>) -> io::Result<()> {
        // A sparse file is shorter in the archive than it says that it is.
        let length = match entry.header().entry_type().is_gnu_sparse() {
            true => entry.header().entry_size()?,
            false => entry.size(),
        };
        self.0.set(length.saturating_add(MOST_BETWEEN_ENTRIES));
        Ok(())
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.0.get();
        if left == 0 && !buffer.is_empty() {
            let most = format!("an entry has a name or other headers of more than {MOST_BETWEEN_ENTRIES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, most));
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.allowance.0.set(left - read as u64);
        Ok(read)
    }
}
