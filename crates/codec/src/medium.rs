//! What codecs of one kind of samples share: how samples are read from files and become rows of an autoencoder, what
//! rows become, and what they cost in training.

use crate::quality::Quality;
use crate::{CodecError, Extent, Picture, Rate};
use aquatint_compute::Element;
use aquatint_network::AutoencoderSpec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// What a codec is, as its `config.json` and its recipe say it.
pub trait MediumConfig: Clone + Debug + PartialEq + Send + Sync + Serialize + DeserializeOwned {
    /// The kind of samples.
    type Medium: Medium<Config = Self>;
    /// The weights of the parts of the cost, as its recipe says them.
    type Cost: Copy + Debug + Default + PartialEq + Serialize + DeserializeOwned;
}

/// The weights of the parts of a medium's cost.
pub type CostOf<M> = <<M as Medium>::Config as MediumConfig>::Cost;

/// A kind of samples, as a configuration describes it. Touch or motion would be one more implementation.
pub trait Medium: Sized + Debug + Send + Sync {
    /// What the codec is, as its `config.json` and its recipe say it.
    type Config: MediumConfig<Medium = Self>;
    /// What is encoded.
    type Samples: Clone + Debug;
    /// Collects how well samples come back.
    type Quality: Quality<Samples = Self::Samples>;

    /// The name of the kind, in files and messages: `pictures`.
    const KIND: &'static str;
    /// The name of one span, in templates and models: `picture`.
    const DOMAIN: &'static str;
    /// The type of files that [`Medium::write`] writes, as in `data:` URLs.
    const MEDIA_TYPE: &'static str;
    /// How files of this kind are called.
    const FILES: FileNames;

    /// The medium of a configuration.
    ///
    /// # Errors
    /// When a setting cannot be what it is.
    fn new(config: &Self::Config) -> Result<Self, CodecError>;

    /// The autoencoder between rows and codes.
    fn spec(&self) -> &AutoencoderSpec;

    /// How many codes a span has.
    fn extent(&self) -> Extent;

    /// How much a code stands for.
    fn rate(&self) -> Rate;

    /// Samples from the bytes of a file, brought into the form of the codec; `name` is for messages.
    ///
    /// # Errors
    /// When they are of no known format, damaged, or too large.
    fn read(&self, name: &str, bytes: &[u8]) -> Result<Self::Samples, CodecError>;

    /// The bytes of a file with the first of [`FileNames::extensions`].
    ///
    /// # Errors
    /// When the samples have no form in a file.
    fn write(samples: &Self::Samples) -> Result<Vec<u8>, CodecError>;

    /// The samples in the form of the codec: a picture in its square, say. What [`Medium::read`] gives has it already.
    ///
    /// # Errors
    /// When they cannot be brought into it.
    fn fitted(&self, samples: &Self::Samples) -> Result<Self::Samples, CodecError>;

    /// The places of samples: as many codes they have.
    fn places(&self, samples: &Self::Samples) -> usize;

    /// The rows of all places.
    ///
    /// # Errors
    /// When the samples are not in the form of the codec.
    fn rows(&self, samples: &Self::Samples) -> Result<Vec<f32>, CodecError>;

    /// The samples that rows stand for.
    fn samples(&self, rows: &[f32]) -> Self::Samples;

    /// The cost of rows that came back for the samples that were `wanted`; its gradient with respect to the rows, times
    /// `weight`, is written to `gradient`.
    fn cost<E: Element>(&self, cost: &CostOf<Self>, rows: Returned<'_, E, Self::Samples>, gradient: &mut [E]) -> f64;

    /// The keys of a recipe's weights of the cost, with their values.
    fn cost_weights(cost: &CostOf<Self>) -> Vec<(&'static str, f64)>;

    /// The samples as a picture for people to look at, of the same size for all.
    fn picture(&self, samples: &Self::Samples) -> Picture;
}

/// Rows that came back, and what they should be.
#[derive(Debug, Clone, Copy)]
pub struct Returned<'a, E, S> {
    /// The rows of all places.
    pub rows: &'a [E],
    /// What was taken to codes.
    pub wanted: &'a S,
    /// What the gradient is multiplied by.
    pub weight: f64,
}

/// How files of a kind are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileNames {
    /// Extensions in lower case, that of written files first.
    pub extensions: &'static [&'static str],
    /// The table of a collection.
    pub table: &'static str,
    /// The column of the table that says what samples show or say.
    pub concept: &'static str,
}
