//! Two towers beside each other, one over pictures and one over texts: vectors of length 1 that are near each other where a
//! picture shows what a text says (CLIP: Radford et al., 2103.00020).
//!
//! ```text
//! p = unit(mean over places (tower(patches)))      t = unit(mean over places (tower(tokens)))
//! ```
//! Departs from the paper in that both vectors are means over places, without a token of their own, and in the target where
//! a batch has several pairs that fit each other (`contrast.rs`).

mod contrast;

use crate::layers::{Declaration, Declared};
use crate::places::Places;
use crate::spec::{check_size, refuse};
use crate::tower::{Read, Reads, Tower, TowerWeights, check_tower};
use crate::{LayerSpec, NetworkError, NormSpec, TensorSpec, Weights};
use aquatint_compute::{Cpu, Device, DeviceError, Element, Parameters, Tape, Value};
use contrast::{Contrast, normalised, scale};

/// The name of the logarithm of what cosines are multiplied by.
const LOG_SCALE: &str = "log_scale";
/// What it begins as, as in CLIP.
const FIRST_SCALE: f64 = 1.0 / 0.07;

/// A tower over pictures and one over texts.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoTowersSpec {
    /// Rows and columns of the patches of a picture.
    pub grid: [usize; 2],
    /// Numbers of a patch.
    pub inputs: usize,
    /// Tokens that there are.
    pub tokens: usize,
    /// Tokens of a text at most.
    pub text_length: usize,
    /// `D`: columns of the residual stream of both towers.
    pub width: usize,
    /// `E`: numbers of a vector.
    pub outputs: usize,
    /// The norm behind the layers of each tower.
    pub norm: NormSpec,
    /// The layers over pictures.
    pub pictures: Vec<LayerSpec>,
    /// The layers over texts.
    pub texts: Vec<LayerSpec>,
}

/// A [`TwoTowersSpec`] with weights, on a device.
#[derive(Debug)]
pub struct TwoTowers<D: Device> {
    spec: TwoTowersSpec,
    weights: Weights<D>,
    pictures: TowerWeights,
    texts: TowerWeights,
    /// The parameter of [`LOG_SCALE`].
    log_scale: usize,
    recomputed: usize,
}

/// Pictures and texts that belong together, to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a> {
    /// The patches of all pictures, `[N · places, inputs]`.
    pub pictures: &'a [f32],
    /// The tokens of all texts, one after another.
    pub tokens: &'a [u32],
    /// Tokens of each text.
    pub lengths: &'a [usize],
    /// What each pair is of: those of the same label fit each other.
    pub labels: &'a [u32],
    /// What the gradient is multiplied by.
    pub weight: f64,
}

/// What pairs cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matched {
    /// The mean cross entropy of the right text and the right picture, in nats.
    pub cost: f64,
    /// Pictures whose nearest text has their label.
    pub hits: usize,
}

struct Towers {
    declared: Declared,
    pictures: TowerWeights,
    texts: TowerWeights,
    log_scale: usize,
}

impl TwoTowersSpec {
    fn picture_tower(&self) -> Tower<'_> {
        let Self { grid, inputs, width, outputs, norm, .. } = *self;
        let (places, reads) = (Places::Grid(grid), Reads::Numbers(inputs));
        Tower { names: ["pictures", "pictures.layers"], places, reads, width, outputs, norm, layers: &self.pictures }
    }

    fn text_tower(&self) -> Tower<'_> {
        let Self { tokens, width, outputs, norm, .. } = *self;
        let (places, reads) = (self.text_places(), Reads::Tokens(tokens));
        Tower { names: ["texts", "texts.layers"], places, reads, width, outputs, norm, layers: &self.texts }
    }

    /// A text is seen as a whole.
    fn text_places(&self) -> Places {
        Places::Line { window: self.text_length }
    }

    fn places(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    fn declare<D: Device>(&self, parameters: &mut Parameters<D>) -> Result<Towers, DeviceError> {
        let mut declaration = Declaration::new(parameters);
        let pictures = self.picture_tower().declare(&mut declaration)?;
        let texts = self.text_tower().declare(&mut declaration)?;
        let log_scale = declaration.vector(LOG_SCALE, 1, FIRST_SCALE.ln())?;
        Ok(Towers { declared: declaration.finish(), pictures, texts, log_scale })
    }

    /// All tensors, in a stable order.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        // The order is that of towers on any device, and their places hold nothing.
        let towers = self.declare(&mut Parameters::new(Cpu::<f32>::scalar()));
        towers.expect("a processor has room for buffers of no length").declared.tensors
    }

    /// Refuses a description that no two towers can have.
    ///
    /// # Errors
    /// With the parameter, its value and what is allowed.
    pub fn validate(&self) -> Result<(), NetworkError> {
        Places::Grid(self.grid).validate()?;
        for (key, size) in [
            ("inputs", self.inputs),
            ("tokens", self.tokens),
            ("text_length", self.text_length),
            ("width", self.width),
            ("outputs", self.outputs),
        ] {
            check_size(key, size)?;
        }
        self.norm.validate()?;
        check_tower(&self.pictures)?;
        check_tower(&self.texts)
    }
}

impl<D: Device> TwoTowers<D> {
    /// Towers with random weights; the same seed gives the same ones on every device.
    ///
    /// # Errors
    /// When the description cannot be, or the device lacks the memory.
    pub fn new(device: D, spec: TwoTowersSpec, seed: u64) -> Result<Self, NetworkError> {
        let mut towers = Self::empty(device, spec)?;
        towers.weights.draw(seed)?;
        Ok(towers)
    }

    /// Towers with given weights, asked for by name, row-major.
    ///
    /// # Errors
    /// When the description cannot be, a tensor is missing or has another length, or the device lacks the memory.
    pub fn from_weights(
        device: D,
        spec: TwoTowersSpec,
        weights: &mut dyn FnMut(&str) -> Option<Vec<f32>>,
    ) -> Result<Self, NetworkError> {
        let mut towers = Self::empty(device, spec)?;
        towers.weights.take(weights)?;
        Ok(towers)
    }

    fn empty(device: D, spec: TwoTowersSpec) -> Result<Self, NetworkError> {
        spec.validate()?;
        let mut parameters = Parameters::new(device);
        let Towers { declared, pictures, texts, log_scale } = spec.declare(&mut parameters)?;
        let weights = Weights::empty(parameters, declared)?;
        Ok(Self { spec, weights, pictures, texts, log_scale, recomputed: 0 })
    }

    /// What they are.
    pub fn spec(&self) -> &TwoTowersSpec {
        &self.spec
    }

    /// Their tensors on the device.
    pub fn weights(&self) -> &Weights<D> {
        &self.weights
    }

    /// The same, to be trained or replaced.
    pub fn weights_mut(&mut self) -> &mut Weights<D> {
        &mut self.weights
    }

    /// Of how many layers of each tower, from the first, training keeps the input only; see
    /// [`Learner::recompute_activations`](crate::Learner::recompute_activations).
    pub fn recompute_activations(&mut self, layers: usize) {
        self.recomputed = layers;
    }

    /// What cosines are multiplied by to be logits.
    pub fn scale(&self) -> f64 {
        let values = self.weights.device().download(&self.weights.parameters.values()[self.log_scale]);
        values.first().map_or(1.0, |value| scale(value.to_f64()))
    }

    /// The vectors of pictures, from their patches, `[N · places, inputs]`: `[N, E]`, each of length 1.
    ///
    /// # Errors
    /// When there are more or fewer numbers than whole pictures have, or the device fails.
    pub fn picture_vectors(&self, patches: &[f32]) -> Result<Vec<f32>, NetworkError> {
        let each = self.spec.places() * self.spec.inputs;
        let lengths = vec![self.spec.places(); patches.len() / each];
        let device = self.weights.device();
        let rows = Places::Grid(self.spec.grid).count("pictures", patches.len(), self.spec.inputs, &lengths)?;
        let indices = Places::Grid(self.spec.grid).indices(device, &lengths)?;
        let mut tape = Tape::inferring(&self.weights.parameters);
        let read = Read::numbers(&mut tape, rows, patches.iter().map(|&value| f64::from(value)))?;
        let out = self.spec.picture_tower().forward(&mut tape, &self.pictures, &indices, &read)?;
        Ok(self.units(&out, &lengths))
    }

    /// The vectors of texts with so many tokens each: `[N, E]`, each of length 1.
    ///
    /// # Errors
    /// When there are more or fewer tokens, a text has none or too many, a token is none of those that there are, or the
    /// device fails.
    pub fn text_vectors(&self, tokens: &[u32], lengths: &[usize]) -> Result<Vec<f32>, NetworkError> {
        self.check_texts(tokens, lengths)?;
        let device = self.weights.device();
        let indices = self.spec.text_places().indices(device, lengths)?;
        let ids = device.upload_indices(tokens)?;
        let mut tape = Tape::inferring(&self.weights.parameters);
        let out = self.spec.text_tower().forward(&mut tape, &self.texts, &indices, &Read::Tokens(&ids))?;
        Ok(self.units(&out, lengths))
    }

    /// What pairs cost; adds the gradient of `weight · cost` to what was collected since the gradients were last cleared.
    /// The pairs of a call are compared with each other and with no others.
    ///
    /// # Errors
    /// As [`TwoTowers::picture_vectors`] and [`TwoTowers::text_vectors`], when there are not as many pictures, texts and
    /// labels, and when the device lacks the memory.
    pub fn forward_backward(&mut self, pairs: Pairs<'_>) -> Result<Matched, NetworkError> {
        let Pairs { pictures, tokens, lengths, labels, weight } = pairs;
        self.check_texts(tokens, lengths)?;
        if labels.len() != lengths.len() {
            return refuse("labels", labels.len(), format!("as many as there are texts, {}", lengths.len()));
        }
        let Self { spec, weights, pictures: picture_weights, texts: text_weights, log_scale, recomputed } = self;
        let grid = Places::Grid(spec.grid);
        let sides = vec![spec.places(); lengths.len()];
        let rows = grid.count("pictures", pictures.len(), spec.inputs, &sides)?;
        let (parameters, gradients) = weights.learning()?;
        let device = parameters.device();
        let (of_pictures, of_texts) = (grid.indices(device, &sides)?, spec.text_places().indices(device, lengths)?);
        let ids = device.upload_indices(tokens)?;
        let mut picture_tape = Tape::recording(parameters, *recomputed);
        let read = Read::numbers(&mut picture_tape, rows, pictures.iter().map(|&value| f64::from(value)))?;
        let picture_rows = spec.picture_tower().forward(&mut picture_tape, picture_weights, &of_pictures, &read)?;
        drop(read);
        let mut text_tape = Tape::recording(parameters, *recomputed);
        let text_rows = spec.text_tower().forward(&mut text_tape, text_weights, &of_texts, &Read::Tokens(&ids))?;
        let value = device.download(&parameters.values()[*log_scale]);
        let contrasted = Contrast {
            pictures: &means(&device.download(picture_rows.buffer()), &sides, spec.outputs),
            texts: &means(&device.download(text_rows.buffer()), lengths, spec.outputs),
            columns: spec.outputs,
            labels,
            log_scale: value.first().map_or(0.0, |value| value.to_f64()),
        }
        .of();
        let slope = device.upload(&spread::<D::Element>(&contrasted.d_pictures, &sides, spec.outputs, weight))?;
        picture_tape.backward(picture_rows, slope, gradients)?;
        let slope = device.upload(&spread::<D::Element>(&contrasted.d_texts, lengths, spec.outputs, weight))?;
        text_tape.backward(text_rows, slope, gradients)?;
        // One number, which no operation of a tape multiplies by; a frozen one has no gradient.
        let collected = &mut gradients.buffers_mut()[*log_scale];
        if let [so_far] = device.download(collected)[..] {
            let sum = so_far.to_f64() + weight * contrasted.d_log_scale;
            device.write(collected, &[D::Element::from_f64(sum)]);
        }
        Ok(Matched { cost: contrasted.cost, hits: contrasted.hits })
    }

    /// What pairs of vectors cost, `[N, E]` each, of length 1.
    ///
    /// # Errors
    /// When there are not as many of both as there are labels.
    pub fn compare(&self, pictures: &[f32], texts: &[f32], labels: &[u32]) -> Result<Matched, NetworkError> {
        for (parameter, given) in [("pictures", pictures.len()), ("texts", texts.len())] {
            let (expected, reason) = (labels.len() * self.spec.outputs, "a vector for each label");
            if given != expected || expected == 0 {
                return Err(NetworkError::InputLength { parameter, given, expected, reason });
            }
        }
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let (pictures, texts, columns) = (&wide(pictures)[..], &wide(texts)[..], self.spec.outputs);
        let contrasted = Contrast { pictures, texts, columns, labels, log_scale: self.scale().ln() }.of();
        Ok(Matched { cost: contrasted.cost, hits: contrasted.hits })
    }

    fn check_texts(&self, tokens: &[u32], lengths: &[usize]) -> Result<(), NetworkError> {
        self.spec.text_places().count("tokens", tokens.len(), 1, lengths)?;
        let most = self.spec.text_length;
        if let Some(length) = lengths.iter().find(|length| **length > most) {
            return refuse("lengths", length, format!("1 to {most} tokens"));
        }
        let limit = self.spec.tokens;
        match tokens.iter().position(|&token| token as usize >= limit) {
            Some(index) => {
                let (parameter, reason) = ("tokens", "the number of tokens");
                Err(NetworkError::InputRange { parameter, given: tokens[index], index, limit, reason })
            }
            None => Ok(()),
        }
    }

    fn units(&self, rows: &Value<D>, lengths: &[usize]) -> Vec<f32> {
        let means = means(&self.weights.device().download(rows.buffer()), lengths, self.spec.outputs);
        normalised(&means, self.spec.outputs).0.into_iter().map(|value| value as f32).collect()
    }
}

/// The mean of the rows of each sample.
fn means<E: Element>(rows: &[E], lengths: &[usize], columns: usize) -> Vec<f64> {
    let (mut means, mut rest) = (Vec::with_capacity(lengths.len() * columns), rows);
    for &length in lengths {
        let (own, behind) = rest.split_at(length * columns);
        let mut sum = vec![0.0; columns];
        for row in own.chunks_exact(columns) {
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value.to_f64());
        }
        means.extend(sum.into_iter().map(|sum| sum / length as f64));
        rest = behind;
    }
    means
}

/// The gradient of each row from that of the mean of its sample.
fn spread<E: Element>(gradients: &[f64], lengths: &[usize], columns: usize, weight: f64) -> Vec<E> {
    let mut rows = Vec::new();
    for (gradient, &length) in gradients.chunks_exact(columns).zip(lengths) {
        let share = weight / length as f64;
        let row: Vec<E> = gradient.iter().map(|value| E::from_f64(share * value)).collect();
        (0..length).for_each(|_| rows.extend_from_slice(&row));
    }
    rows
}
