//! Autoencoders: from the numbers at each place of a grid or a line to one code for each, and back.
//!
//! ```text
//! codes = levels(encoder(rows))      rows' = decoder(codes)
//! ```
//! Both halves are transformers of the same layers as networks have. Codes are the levels of a few columns (finite scalar
//! quantisation: Mentzer et al., 2309.15505), through whose rounding the gradient goes straight.

mod levels;
mod spec;

pub use levels::Levels;
pub use spec::AutoencoderSpec;

use crate::layers::{Declaration, Declared};
use crate::tower::{Read, Reads, Tower, TowerWeights};
use crate::{NetworkError, TensorSpec, Weights};
use aquatint_compute::{Cpu, Device, DeviceError, Element, Parameters, Tape};

/// An [`AutoencoderSpec`] with weights, on a device.
#[derive(Debug)]
pub struct Autoencoder<D: Device> {
    spec: AutoencoderSpec,
    weights: Weights<D>,
    encoder: TowerWeights,
    decoder: TowerWeights,
    recomputed: usize,
}

/// The cost of rows that came back, `[T, outputs]`; fills in its gradient with respect to them.
pub type CostOfRows<'a, E> = dyn FnMut(&[E], &mut [E]) -> f64 + 'a;

/// What a pass of learning gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconstructed {
    /// What it costs.
    pub cost: f64,
    /// The code of each place.
    pub codes: Vec<u32>,
}

impl AutoencoderSpec {
    fn encoder_tower(&self) -> Tower<'_> {
        let Self { places, inputs, width, norm, .. } = *self;
        let (names, outputs) = (["encoder", "encoder.layers"], self.levels.columns());
        Tower { names, places, reads: Reads::Numbers(inputs), width, outputs, norm, layers: &self.encoder }
    }

    fn decoder_tower(&self) -> Tower<'_> {
        let Self { places, outputs, width, norm, .. } = *self;
        let (names, columns) = (["decoder", "decoder.layers"], self.levels.columns());
        Tower { names, places, reads: Reads::Numbers(columns), width, outputs, norm, layers: &self.decoder }
    }

    fn declare<D: Device>(
        &self,
        parameters: &mut Parameters<D>,
    ) -> Result<(Declared, TowerWeights, TowerWeights), DeviceError> {
        let mut declaration = Declaration::new(parameters);
        let encoder = self.encoder_tower().declare(&mut declaration)?;
        let decoder = self.decoder_tower().declare(&mut declaration)?;
        Ok((declaration.finish(), encoder, decoder))
    }

    /// All tensors, in a stable order.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        // The order is that of an autoencoder on any device, and its places hold nothing.
        let declared = self.declare(&mut Parameters::new(Cpu::<f32>::scalar()));
        declared.expect("a processor has room for buffers of no length").0.tensors
    }
}

impl<D: Device> Autoencoder<D> {
    /// An autoencoder with random weights; the same seed gives the same ones on every device.
    ///
    /// # Errors
    /// When the description cannot be, or the device lacks the memory.
    pub fn new(device: D, spec: AutoencoderSpec, seed: u64) -> Result<Self, NetworkError> {
        let mut autoencoder = Self::empty(device, spec)?;
        autoencoder.weights.draw(seed)?;
        Ok(autoencoder)
    }

    /// An autoencoder with given weights, asked for by name, row-major.
    ///
    /// # Errors
    /// When the description cannot be, a tensor is missing or has another length, or the device lacks the memory.
    pub fn from_weights(
        device: D,
        spec: AutoencoderSpec,
        weights: &mut dyn FnMut(&str) -> Option<Vec<f32>>,
    ) -> Result<Self, NetworkError> {
        let mut autoencoder = Self::empty(device, spec)?;
        autoencoder.weights.take(weights)?;
        Ok(autoencoder)
    }

    fn empty(device: D, spec: AutoencoderSpec) -> Result<Self, NetworkError> {
        spec.validate()?;
        let mut parameters = Parameters::new(device);
        let (declared, encoder, decoder) = spec.declare(&mut parameters)?;
        let weights = Weights::empty(parameters, declared)?;
        Ok(Self { spec, weights, encoder, decoder, recomputed: 0 })
    }

    /// What it is.
    pub fn spec(&self) -> &AutoencoderSpec {
        &self.spec
    }

    /// Its tensors on the device.
    pub fn weights(&self) -> &Weights<D> {
        &self.weights
    }

    /// The same, to be trained or replaced.
    pub fn weights_mut(&mut self) -> &mut Weights<D> {
        &mut self.weights
    }

    /// Of how many layers, from the first, training keeps the input only; see
    /// [`Learner::recompute_activations`](crate::Learner::recompute_activations).
    pub fn recompute_activations(&mut self, layers: usize) {
        self.recomputed = layers;
    }

    /// The code of each place; `rows` are those of samples with so many places each, `[T, inputs]`.
    ///
    /// # Errors
    /// When there are more or fewer rows than places, a sample has no places or others than the grid's, or the device
    /// fails.
    pub fn encode(&self, rows: &[f32], lengths: &[usize]) -> Result<Vec<u32>, NetworkError> {
        let places = self.spec.places.count("rows", rows.len(), self.spec.inputs, lengths)?;
        let device = self.weights.device();
        let indices = self.spec.places.indices(device, lengths)?;
        let levels = device.upload_indices(self.spec.levels.of_columns())?;
        let mut tape = Tape::inferring(&self.weights.parameters);
        let rows = Read::numbers(&mut tape, places, rows.iter().map(|&value| f64::from(value)))?;
        let coordinates = self.spec.encoder_tower().forward(&mut tape, &self.encoder, &indices, &rows)?;
        let values = tape.round_to_levels(&coordinates, &levels)?;
        Ok(codes(&self.spec.levels, &device.download(values.buffer())))
    }

    /// What is given back for the codes of samples with so many places each, `[T, outputs]`.
    ///
    /// # Errors
    /// When a code is none of those that there are, and as [`Autoencoder::encode`].
    pub fn decode(&self, codes: &[u32], lengths: &[usize]) -> Result<Vec<f32>, NetworkError> {
        let places = self.spec.places.count("codes", codes.len(), 1, lengths)?;
        let limit = self.spec.levels.codes();
        if let Some(index) = codes.iter().position(|&code| code as usize >= limit) {
            let (parameter, reason) = ("codes", "the number of codes");
            return Err(NetworkError::InputRange { parameter, given: codes[index], index, limit, reason });
        }
        let device = self.weights.device();
        let indices = self.spec.places.indices(device, lengths)?;
        let mut tape = Tape::inferring(&self.weights.parameters);
        let values = codes.iter().flat_map(|&code| self.spec.levels.values(code));
        let values = Read::numbers(&mut tape, places, values)?;
        let rows = self.spec.decoder_tower().forward(&mut tape, &self.decoder, &indices, &values)?;
        let rows = device.download(rows.buffer());
        Ok(rows.into_iter().map(|value| value.to_f64() as f32).collect())
    }

    /// Takes rows to codes and back. `cost` is handed what came back, `[T, outputs]`, fills in the gradient of its cost
    /// with respect to it, and returns the cost; the gradients of all weights are added to what was collected since they
    /// were last cleared.
    ///
    /// # Errors
    /// As [`Autoencoder::encode`], and when the device lacks the memory.
    pub fn forward_backward(
        &mut self,
        rows: &[f32],
        lengths: &[usize],
        cost: &mut CostOfRows<'_, D::Element>,
    ) -> Result<Reconstructed, NetworkError> {
        let places = self.spec.places.count("rows", rows.len(), self.spec.inputs, lengths)?;
        let Self { spec, weights, encoder, decoder, recomputed } = self;
        let (parameters, gradients) = weights.learning()?;
        let device = parameters.device();
        let indices = spec.places.indices(device, lengths)?;
        let levels = device.upload_indices(spec.levels.of_columns())?;
        let mut tape = Tape::recording(parameters, *recomputed);
        let rows = Read::numbers(&mut tape, places, rows.iter().map(|&value| f64::from(value)))?;
        let coordinates = spec.encoder_tower().forward(&mut tape, encoder, &indices, &rows)?;
        let values = tape.round_to_levels(&coordinates, &levels)?;
        drop(coordinates);
        let codes = codes(&spec.levels, &device.download(values.buffer()));
        let returned = spec.decoder_tower().forward(&mut tape, decoder, &indices, &Read::Numbers(values))?;
        let given = device.download(returned.buffer());
        let mut gradient = vec![D::Element::default(); given.len()];
        let cost = cost(&given, &mut gradient);
        let gradient = device.upload(&gradient)?;
        tape.backward(returned, gradient, gradients)?;
        Ok(Reconstructed { cost, codes })
    }
}

fn codes<E: Element>(levels: &Levels, values: &[E]) -> Vec<u32> {
    let mut row = vec![0.0; levels.columns()];
    let code = |values: &[E]| {
        row.iter_mut().zip(values).for_each(|(row, value)| *row = value.to_f64());
        levels.code(&row)
    };
    values.chunks_exact(levels.columns()).map(code).collect()
}
