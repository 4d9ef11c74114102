//! A sample of the texts that fits memory, to train a vocabulary on.

use crate::{CorpusError, Source, cut};

/// Texts are taken in parts of about this many bytes: many authors matter more than long stretches of one.
const PART: usize = 4096;

/// About `bytes` bytes of text, taken evenly from all documents of all sources (everything, where there is less), in
/// order. Every source counts once, whatever its `repeat`.
///
/// # Errors
/// When a source cannot be read.
pub fn sample(sources: &[Source], bytes: u64) -> Result<Vec<String>, CorpusError> {
    let mut total = 0u64;
    for source in sources {
        for passage in source.passages()? {
            total += passage?.text.len() as u64;
        }
    }
    let share = if total == 0 { 1.0 } else { (bytes as f64 / total as f64).min(1.0) };
    let (mut passed, mut taken, mut sample) = (0.0, 0.0, Vec::new());
    for source in sources {
        for passage in source.passages()? {
            for part in cut::parts(&passage?.text, PART) {
                let length = part.len() as f64;
                passed += length;
                // What has been taken follows the line `share · passed` as closely as whole parts allow.
                if taken + length / 2.0 <= share * passed {
                    taken += length;
                    sample.push(part.to_owned());
                }
            }
        }
    }
    Ok(sample)
}
