//! What every codec is.

use crate::CodecError;

/// Between samples and the codes of a span. Another kind of sample is another implementation.
pub trait Codec {
    /// What is encoded: a picture or a sound, say.
    type Samples;

    /// Its name in files.
    fn kind(&self) -> &'static str;

    /// How many codes a span has, and how they lie beside each other.
    fn extent(&self) -> Extent;

    /// How much a code stands for.
    fn rate(&self) -> Rate;

    /// Codes that there are: ids are below it.
    fn vocabulary_size(&self) -> usize;

    /// The codes of samples, in reading order of a grid, else in order of time.
    ///
    /// # Errors
    /// When the samples do not fit the codec, or the device fails.
    fn encode(&self, samples: &Self::Samples) -> Result<Vec<u32>, CodecError>;

    /// The samples that codes stand for.
    ///
    /// # Errors
    /// When there are more or fewer codes than a span has places, one is out of range, or the device fails.
    fn decode(&self, codes: &[u32]) -> Result<Self::Samples, CodecError>;
}

/// How many codes a span has, and how they lie beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Rows and columns of a grid, the same for all samples.
    Grid([usize; 2]),
    /// A line, which is longer for longer samples.
    Line {
        /// The most codes of one.
        most: usize,
    },
}

/// How much a code stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Every picture has so many codes.
    PerPicture(usize),
    /// A second has so many codes.
    PerSecond(f64),
}
