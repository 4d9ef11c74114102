//! A codec that is learned: a medium before and behind an autoencoder.

use crate::folder;
use crate::medium::Medium;
use crate::{Codec, CodecError, Extent, Rate};
use aquatint_checkpoint::{CodecFiles, Storage};
use aquatint_compute::Device;
use aquatint_network::Autoencoder;
use std::path::Path;

/// A codec of a medium on a device.
#[derive(Debug)]
pub struct LearnedCodec<D: Device, M: Medium> {
    config: M::Config,
    medium: M,
    autoencoder: Autoencoder<D>,
}

impl<D: Device, M: Medium> LearnedCodec<D, M> {
    /// A codec that has learned nothing.
    ///
    /// # Errors
    /// When a setting cannot be what it is, or the device lacks the memory.
    pub fn new(device: D, config: M::Config, seed: u64) -> Result<Self, CodecError> {
        let medium = M::new(&config)?;
        let autoencoder = Autoencoder::new(device, medium.spec().clone(), seed)?;
        Ok(Self { config, medium, autoencoder })
    }

    /// The codec in a folder, or in the binary.
    ///
    /// # Errors
    /// When it holds none of this kind, its files do not fit each other, or the device lacks the memory.
    pub fn open(files: impl Into<CodecFiles>, device: D) -> Result<Self, CodecError> {
        let (config, weights) = folder::open::<M::Config>(&files.into(), M::KIND)?;
        let medium = M::new(&config)?;
        let spec = medium.spec().clone();
        let (tensors, mut failed) = (spec.tensors(), None);
        let autoencoder = Autoencoder::from_weights(device, spec, &mut folder::values(&weights, &tensors, &mut failed));
        match (autoencoder, failed) {
            (_, Some(error)) => Err(error.into()),
            (autoencoder, None) => Ok(Self { config, medium, autoencoder: autoencoder? }),
        }
    }

    /// Writes the codec's folder, or replaces the weights in one that holds the same codec.
    ///
    /// # Errors
    /// When the folder holds something else, or cannot be written.
    pub fn save(&self, folder: &Path, storage: Storage) -> Result<(), CodecError> {
        folder::save(folder, &self.config, self.autoencoder.weights(), storage)
    }

    /// What it is.
    pub fn config(&self) -> &M::Config {
        &self.config
    }

    /// What stands between its samples and its rows.
    pub fn medium(&self) -> &M {
        &self.medium
    }

    /// The network in it.
    pub fn autoencoder(&self) -> &Autoencoder<D> {
        &self.autoencoder
    }

    /// The same, to be trained.
    pub fn autoencoder_mut(&mut self) -> &mut Autoencoder<D> {
        &mut self.autoencoder
    }

    /// What stands between samples and rows, and the network, to be trained.
    pub fn parts_mut(&mut self) -> (&M, &mut Autoencoder<D>) {
        (&self.medium, &mut self.autoencoder)
    }

    /// The rows of several samples one after another, and the places of each.
    ///
    /// # Errors
    /// When samples are not in the form of the codec.
    pub fn rows(&self, samples: &[&M::Samples]) -> Result<(Vec<f32>, Vec<usize>), CodecError> {
        let (mut rows, mut lengths) = (Vec::new(), Vec::with_capacity(samples.len()));
        for samples in samples {
            rows.extend(self.medium.rows(samples)?);
            lengths.push(self.medium.places(samples));
        }
        Ok((rows, lengths))
    }

    /// The codes of several samples, in one pass; they are in the form of the codec.
    ///
    /// # Errors
    /// As [`Codec::encode`].
    pub fn encode_all(&self, samples: &[&M::Samples]) -> Result<Vec<Vec<u32>>, CodecError> {
        if samples.is_empty() {
            return Ok(Vec::new());
        }
        let (rows, lengths) = self.rows(samples)?;
        let codes = self.autoencoder.encode(&rows, &lengths)?;
        Ok(parts(&codes, lengths.iter().copied()).map(<[u32]>::to_vec).collect())
    }

    /// What comes back as rows for the codes of several samples, in one pass.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    pub fn decode_rows(&self, codes: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, CodecError> {
        if codes.is_empty() {
            return Ok(Vec::new());
        }
        codes.iter().try_for_each(|codes| self.require_extent(codes.len()))?;
        let lengths: Vec<usize> = codes.iter().map(Vec::len).collect();
        let rows = self.autoencoder.decode(&codes.concat(), &lengths)?;
        let outputs = self.autoencoder.spec().outputs;
        Ok(parts(&rows, lengths.iter().map(|length| length * outputs)).map(<[f32]>::to_vec).collect())
    }

    /// The samples that codes stand for, in one pass.
    ///
    /// # Errors
    /// As [`Codec::decode`].
    pub fn decode_all(&self, codes: &[Vec<u32>]) -> Result<Vec<M::Samples>, CodecError> {
        Ok(self.decode_rows(codes)?.iter().map(|rows| self.medium.samples(rows)).collect())
    }

    fn require_extent(&self, codes: usize) -> Result<(), CodecError> {
        let (fits, allowed) = match self.medium.extent() {
            Extent::Grid([rows, columns]) => (codes == rows * columns, format!("{} codes", rows * columns)),
            Extent::Line { most } => ((1..=most).contains(&codes), format!("1 to {most} codes")),
        };
        match fits {
            true => Ok(()),
            false => Err(CodecError::Setting { key: "codes", given: format!("a list of {codes}"), allowed }),
        }
    }
}

/// Consecutive parts of these lengths.
fn parts<T>(all: &[T], lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = &[T]> {
    let mut rest = all;
    lengths.map(move |length| {
        let (part, behind) = rest.split_at(length);
        rest = behind;
        part
    })
}

impl<D: Device, M: Medium> Codec for LearnedCodec<D, M> {
    type Samples = M::Samples;

    fn kind(&self) -> &'static str {
        M::KIND
    }

    fn extent(&self) -> Extent {
        self.medium.extent()
    }

    fn rate(&self) -> Rate {
        self.medium.rate()
    }

    fn vocabulary_size(&self) -> usize {
        self.autoencoder.spec().levels.codes()
    }

    /// Samples of any size are brought into the form of the codec first ([`Medium::fitted`]).
    fn encode(&self, samples: &M::Samples) -> Result<Vec<u32>, CodecError> {
        Ok(self.encode_all(&[&self.medium.fitted(samples)?])?.concat())
    }

    fn decode(&self, codes: &[u32]) -> Result<M::Samples, CodecError> {
        self.require_extent(codes.len())?;
        let rows = self.decode_rows(&[codes.to_vec()])?;
        Ok(self.medium.samples(&rows.concat()))
    }
}
