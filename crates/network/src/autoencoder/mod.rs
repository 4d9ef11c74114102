//! Autoencoders: from the numbers at each place of a grid to one code for each, and back.
//!
//! ```text
//! codes = levels(encoder(rows))      rows' = decoder(codes)
//! ```
//! Both halves are transformers of the same layers as networks have. Codes are the levels of a few columns (finite scalar
//! quantisation: Mentzer et al., 2309.15505), through whose rounding the gradient goes straight.

mod half;
mod levels;
mod spec;

pub use levels::Levels;
pub use spec::AutoencoderSpec;

use crate::layers::{Declaration, Declared};
use crate::{NetworkError, TensorSpec, Weights};
use aquatint_compute::{Cpu, Device, DeviceError, Element, Parameters, Tape, Value, Visibility};
use half::{HalfSpec, HalfWeights, PassIndices};

/// An [`AutoencoderSpec`] with weights, on a device.
#[derive(Debug)]
pub struct Autoencoder<D: Device> {
    spec: AutoencoderSpec,
    weights: Weights<D>,
    encoder: HalfWeights,
    decoder: HalfWeights,
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
    fn encoder_half(&self) -> HalfSpec<'_> {
        let Self { grid, inputs, width, norm, .. } = *self;
        let (names, outputs) = (["encoder", "encoder.layers"], self.levels.columns());
        HalfSpec { names, grid, inputs, width, outputs, norm, layers: &self.encoder }
    }

    fn decoder_half(&self) -> HalfSpec<'_> {
        let Self { grid, outputs, width, norm, .. } = *self;
        let (names, inputs) = (["decoder", "decoder.layers"], self.levels.columns());
        HalfSpec { names, grid, inputs, width, outputs, norm, layers: &self.decoder }
    }

    fn declare<D: Device>(
        &self,
        parameters: &mut Parameters<D>,
    ) -> Result<(Declared, HalfWeights, HalfWeights), DeviceError> {
        let mut declaration = Declaration::new(parameters);
        let encoder = self.encoder_half().declare(&mut declaration)?;
        let decoder = self.decoder_half().declare(&mut declaration)?;
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

    /// The code of each place; `rows` are those of whole grids, `[T, inputs]`.
    ///
    /// # Errors
    /// When the rows are not those of whole grids, or the device fails.
    pub fn encode(&self, rows: &[f32]) -> Result<Vec<u32>, NetworkError> {
        let places = places("rows", rows.len(), self.spec.inputs, &self.spec)?;
        let indices = self.indices(places)?;
        let mut tape = Tape::inferring(&self.weights.parameters);
        let rows = constant(&mut tape, places, rows.iter().map(|&value| f64::from(value)))?;
        let coordinates = self.spec.encoder_half().forward(&mut tape, &self.encoder, &indices, &rows)?;
        let values = tape.round_to_levels(&coordinates, &indices.levels)?;
        Ok(codes(&self.spec.levels, &self.weights.device().download(values.buffer())))
    }

    /// What is given back for the codes of whole grids, `[T, outputs]`.
    ///
    /// # Errors
    /// When a code is none of those that there are, the codes are not those of whole grids, or the device fails.
    pub fn decode(&self, codes: &[u32]) -> Result<Vec<f32>, NetworkError> {
        let places = places("codes", codes.len(), 1, &self.spec)?;
        let limit = self.spec.levels.codes();
        if let Some(index) = codes.iter().position(|&code| code as usize >= limit) {
            let (parameter, reason) = ("codes", "the number of codes");
            return Err(NetworkError::InputRange { parameter, given: codes[index], index, limit, reason });
        }
        let indices = self.indices(places)?;
        let mut tape = Tape::inferring(&self.weights.parameters);
        let values = codes.iter().flat_map(|&code| self.spec.levels.values(code));
        let values = constant(&mut tape, places, values)?;
        let rows = self.spec.decoder_half().forward(&mut tape, &self.decoder, &indices, &values)?;
        let rows = self.weights.device().download(rows.buffer());
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
        cost: &mut CostOfRows<'_, D::Element>,
    ) -> Result<Reconstructed, NetworkError> {
        let places = places("rows", rows.len(), self.spec.inputs, &self.spec)?;
        let indices = self.indices(places)?;
        let Self { spec, weights, encoder, decoder, recomputed } = self;
        let (parameters, gradients) = weights.learning()?;
        let device = parameters.device();
        let mut tape = Tape::recording(parameters, *recomputed);
        let rows = constant(&mut tape, places, rows.iter().map(|&value| f64::from(value)))?;
        let coordinates = spec.encoder_half().forward(&mut tape, encoder, &indices, &rows)?;
        let values = tape.round_to_levels(&coordinates, &indices.levels)?;
        drop(coordinates);
        let returned = spec.decoder_half().forward(&mut tape, decoder, &indices, &values)?;
        let codes = codes(&spec.levels, &device.download(values.buffer()));
        drop(values);
        let given = device.download(returned.buffer());
        let mut gradient = vec![D::Element::default(); given.len()];
        let cost = cost(&given, &mut gradient);
        let gradient = device.upload(&gradient)?;
        tape.backward(returned, gradient, gradients)?;
        Ok(Reconstructed { cost, codes })
    }

    fn indices(&self, places: usize) -> Result<PassIndices<D>, NetworkError> {
        let (device, size) = (self.weights.device(), self.spec.places());
        let columns = self.spec.grid[1];
        let list = |of: &dyn Fn(usize) -> usize| {
            device.upload_indices(&(0..places).map(|place| of(place) as u32).collect::<Vec<u32>>())
        };
        Ok(PassIndices {
            sides: [list(&|place| place % size / columns)?, list(&|place| place % columns)?],
            positions: list(&|place| place % size)?,
            groups: list(&|place| place / size)?,
            visible: device.upload_visibility(&Visibility::full(&vec![size; places / size]))?,
            levels: device.upload_indices(self.spec.levels.of_columns())?,
        })
    }
}

/// The places of whole grids with so many numbers each.
fn places(
    parameter: &'static str,
    given: usize,
    columns: usize,
    spec: &AutoencoderSpec,
) -> Result<usize, NetworkError> {
    let whole = columns * spec.places();
    if given == 0 || !given.is_multiple_of(whole) {
        let expected = given.next_multiple_of(whole).max(whole);
        return Err(NetworkError::InputLength { parameter, given, expected, reason: "whole grids" });
    }
    Ok(given / columns)
}

fn constant<D: Device>(
    tape: &mut Tape<'_, D>,
    rows: usize,
    values: impl Iterator<Item = f64>,
) -> Result<Value<D>, DeviceError> {
    tape.constant(rows, &values.map(D::Element::from_f64).collect::<Vec<_>>())
}

fn codes<E: Element>(levels: &Levels, values: &[E]) -> Vec<u32> {
    let mut row = vec![0.0; levels.columns()];
    let code = |values: &[E]| {
        row.iter_mut().zip(values).for_each(|(row, value)| *row = value.to_f64());
        levels.code(&row)
    };
    values.chunks_exact(levels.columns()).map(code).collect()
}
