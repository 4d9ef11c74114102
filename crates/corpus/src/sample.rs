//! A sample of the texts that fits memory, to train a vocabulary on.

use crate::{CorpusError, Source, cut};

/// Texts are taken in parts of about this many bytes: many authors matter more than long stretches of one.
const PART: usize = 4096;

/// About `bytes` bytes of text, taken evenly from all documents of all sources (everything, where there is less), in
/// order; one part at least where there is any text. Every source counts once, whatever its `repeat`. `progress`
/// receives the bytes of text that were read so far, twice over all, and returns whether to go on.
///
/// # Errors
/// When a source cannot be read, and [`CorpusError::Stopped`].
pub fn sample(
    sources: &[Source],
    bytes: u64,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Vec<String>, CorpusError> {
    let mut total = 0u64;
    each_passage(sources, &mut |text| {
        total += text.len() as u64;
        progress(total)
    })?;
    let share = if total == 0 { 1.0 } else { (bytes as f64 / total as f64).min(1.0) };
    let (mut passed, mut taken, mut sample, mut first, mut read) = (0.0, 0.0, Vec::new(), None, total);
    each_passage(sources, &mut |text| {
        for part in cut::parts(text, PART) {
            let length = part.len() as f64;
            passed += length;
            // What has been taken follows the line `share · passed` as closely as whole parts allow.
            if taken + length / 2.0 <= share * passed {
                taken += length;
                sample.push(part.to_owned());
            } else if first.is_none() {
                first = Some(part.to_owned());
            }
        }
        read += text.len() as u64;
        progress(read)
    })?;
    if sample.is_empty() {
        sample.extend(first);
    }
    Ok(sample)
}

/// Passes on the text of every passage; stops when `receive` says so.
fn each_passage(sources: &[Source], receive: &mut dyn FnMut(&str) -> bool) -> Result<(), CorpusError> {
    for source in sources {
        for passage in source.passages()? {
            if !receive(&passage?.text) {
                return Err(CorpusError::Stopped);
            }
        }
    }
    Ok(())
}
