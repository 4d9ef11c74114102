//! How well samples come back, and how much of the codes is used.

mod codes;
mod pictures;
mod sounds;
mod structure;

pub use codes::CodeCounts;
pub use pictures::{PictureFigures, PictureQuality};
pub use sounds::{SoundFigures, SoundQuality};

use crate::{Codec, CodecError, LearnedCodec, Medium};
use aquatint_compute::Device;
use serde::Serialize;

/// Collects how well samples come back from their codes.
pub trait Quality {
    /// What is measured.
    type Samples;

    /// Nothing measured yet, of a codec with so many codes.
    fn new(codes: usize) -> Self;

    /// Takes samples of which others came back from `codes`; both are of one size.
    fn add(&mut self, original: &Self::Samples, returned: &Self::Samples, codes: &[u32]);

    /// What was found.
    fn reconstruction(&self) -> Reconstruction;
}

/// How well samples came back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reconstruction {
    /// Pictures.
    Pictures(PictureFigures),
    /// Sounds.
    Sounds(SoundFigures),
}

/// Samples that are measured in one pass.
const PER_PASS: usize = 32;

/// Takes samples to codes and back: how well they came back, and what they came back as. `progress` receives the number
/// so far and returns whether to go on. All samples are in the form of the codec.
///
/// # Errors
/// When samples are not in the form of the codec, the device fails, or it is not to go on.
pub fn measure<D: Device, M: Medium>(
    codec: &LearnedCodec<D, M>,
    samples: &[&M::Samples],
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<(Reconstruction, Vec<M::Samples>), CodecError> {
    let mut quality = M::Quality::new(codec.vocabulary_size());
    let mut all = Vec::with_capacity(samples.len());
    for originals in samples.chunks(PER_PASS) {
        if !progress(all.len()) {
            return Err(CodecError::Stopped);
        }
        let codes = codec.encode_all(originals)?;
        for ((original, returned), codes) in originals.iter().zip(codec.decode_all(&codes)?).zip(&codes) {
            quality.add(original, &returned, codes);
            all.push(returned);
        }
    }
    Ok((quality.reconstruction(), all))
}

/// How well samples come back from their rows alone, without codes: what no codec of the medium does better.
///
/// # Errors
/// When samples are not in the form of the codec, or it is not to go on.
pub fn measure_rows<M: Medium>(
    medium: &M,
    samples: &[&M::Samples],
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Reconstruction, CodecError> {
    let mut quality = M::Quality::new(medium.spec().levels.codes());
    for (index, original) in samples.iter().enumerate() {
        if !progress(index) {
            return Err(CodecError::Stopped);
        }
        quality.add(original, &medium.samples(&medium.rows(original)?), &[]);
    }
    Ok(quality.reconstruction())
}
