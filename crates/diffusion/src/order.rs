//! The network of a learnt order: from what is known of each open position to the logit of committing it now (Jazbec et
//! al., "Learning unmasking policies for diffusion language models", 2512.09106).
//!
//! Two layers with a mean between them, so that a position knows of all others, beside a linear map that skips both:
//!
//! ```text
//! h_i     = silu(A f_i + a)
//! k_i     = silu(B h_i + C mean(h) + b)
//! logit_i = u · k_i + s · f_i + c
//! ```
//!
//! It reads no tokens and no activations of the model, so that one order serves any model, vocabulary and length.
//! Deviations: the paper has a layer of attention over confidences alone. A mean costs time in proportion to the positions,
//! and more features than confidence are there anyway ([`OrderFeatures`]).

mod choice;
mod features;

pub use choice::OrderChoice;
pub use features::OrderFeatures;

use crate::{Key, SettingError};

/// The widest network. Each completion that is drawn in training has a gradient of its own in memory, 1.1 MB at this width; and
/// wider ones would take longer than a small model.
const WIDEST: usize = 256;

/// How steeply more of more probable positions a fresh network commits, as a multiple of the log-odds.
const FIRST_SLOPE: f64 = 2.0;

/// One tensor of an [`OrderNetwork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderTensor {
    /// Its name in files.
    pub name: &'static str,
    /// Rows and columns; a vector has one of them.
    rows: usize,
    columns: Option<usize>,
}

impl OrderTensor {
    /// Rows and columns, or the length of a vector.
    pub fn shape(&self) -> Vec<usize> {
        std::iter::once(self.rows).chain(self.columns).collect()
    }

    fn len(&self) -> usize {
        self.rows * self.columns.unwrap_or(1)
    }
}

/// Places of the tensors in their order.
const INNER: usize = 0;
const INNER_BIAS: usize = 1;
const OWN: usize = 2;
const MEAN: usize = 3;
const OUTER_BIAS: usize = 4;
const LOGIT: usize = 5;
const SKIP: usize = 6;
const LOGIT_BIAS: usize = 7;
const TENSORS: usize = 8;

/// Numbers for each tensor, row-major: weights, or the derivatives with respect to them.
pub type OrderNumbers = [Vec<f64>; TENSORS];

/// What chooses the positions to commit.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderNetwork {
    width: usize,
    weights: OrderNumbers,
}

/// What a pass computes.
struct Pass {
    inner: Vec<f64>,
    hidden: Vec<f64>,
    mean: Vec<f64>,
    outer: Vec<f64>,
    logits: Vec<f64>,
}

impl OrderNetwork {
    /// The tensors of a network of this width, in their order.
    ///
    /// # Errors
    /// When the width is 0 or above 256.
    pub fn tensors(width: usize) -> Result<[OrderTensor; TENSORS], SettingError> {
        if !(1..=WIDEST).contains(&width) {
            return Err(SettingError::new("width", width, format!("1 to {WIDEST}")));
        }
        let features = OrderFeatures::COUNT;
        let matrix = |name, rows, columns| OrderTensor { name, rows, columns: Some(columns) };
        let vector = |name, rows| OrderTensor { name, rows, columns: None };
        Ok([
            matrix("inner.weight", width, features),
            vector("inner.bias", width),
            matrix("outer.own.weight", width, width),
            matrix("outer.mean.weight", width, width),
            vector("outer.bias", width),
            vector("logit.hidden", width),
            vector("logit.features", features),
            vector("logit.bias", 1),
        ])
    }

    /// A network with these weights, by name, row-major.
    ///
    /// # Errors
    /// When the width is none, or a tensor is missing, has another length or a value that is no finite number.
    pub fn new(width: usize, give: &mut dyn FnMut(&OrderTensor) -> Option<Vec<f32>>) -> Result<Self, SettingError> {
        let mut weights = OrderNumbers::default();
        for (weights, tensor) in weights.iter_mut().zip(Self::tensors(width)?) {
            let values = give(&tensor).unwrap_or_default();
            if values.len() != tensor.len() || values.iter().any(|value| !value.is_finite()) {
                let given = format!("{} values for `{}`", values.len(), tensor.name);
                return Err(SettingError::new("order", given, format!("{} finite numbers", tensor.len())));
            }
            *weights = values.into_iter().map(f64::from).collect();
        }
        Ok(Self { width, weights })
    }

    /// The weights with which learning begins: a soft threshold, of which half the positions of this probability are
    /// committed, and layers that have no part in it yet.
    ///
    /// # Errors
    /// When the width is none, or the threshold lies outside of (0, 1).
    pub fn fresh(width: usize, threshold: f64, seed: u64) -> Result<Self, SettingError> {
        if !(threshold > 0.0 && threshold < 1.0) {
            return Err(SettingError::new("threshold", threshold, "above 0 and below 1"));
        }
        let mut weights = OrderNumbers::default();
        for (place, (weights, tensor)) in weights.iter_mut().zip(Self::tensors(width)?).enumerate() {
            let mut draws = Key::new(seed).fold(place as u64 + 1).at(0, 0);
            let deviation = match place {
                INNER => (1.0 / OrderFeatures::COUNT as f64).sqrt(),
                OWN | MEAN => (0.5 / width as f64).sqrt(),
                _ => 0.0,
            };
            // As they are in a file: exact in f32.
            *weights = (0..tensor.len()).map(|_| f64::from((deviation * draws.normal()) as f32)).collect();
        }
        let bias = -FIRST_SLOPE * (threshold / (1.0 - threshold)).ln();
        weights[SKIP][OrderFeatures::LOG_ODDS] = FIRST_SLOPE * OrderFeatures::LOG_ODDS_UNIT;
        weights[LOGIT_BIAS][0] = f64::from(bias as f32);
        Ok(Self { width, weights })
    }

    /// Rows of its inner layers.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Its weights, in the order of its tensors.
    pub fn weights(&self) -> &OrderNumbers {
        &self.weights
    }

    /// The logit of committing each position now, in the order of the features.
    pub fn logits(&self, features: &OrderFeatures) -> Vec<f64> {
        self.pass(features).logits
    }

    /// Adds to `gradient` the derivatives of `Σ slopes · logits` with respect to the weights.
    pub fn backward(&self, features: &OrderFeatures, slopes: &[f64], gradient: &mut OrderNumbers) {
        let (width, count) = (self.width, features.len());
        if count == 0 {
            return;
        }
        let Pass { inner, hidden, mean, outer, .. } = self.pass(features);
        let mut of_hidden = vec![0.0; hidden.len()];
        let mut of_mean = vec![0.0; width];
        for (index, row) in features.rows().enumerate() {
            let slope = slopes[index];
            let own = index * width..(index + 1) * width;
            let (hidden, outer) = (&hidden[own.clone()], &outer[own.clone()]);
            gradient[LOGIT_BIAS][0] += slope;
            add(&mut gradient[SKIP], slope, row);
            let of_outer: Vec<f64> = outer
                .iter()
                .zip(&self.weights[LOGIT])
                .map(|(value, weight)| slope * weight * silu_slope(*value))
                .collect();
            for (gradient, value) in gradient[LOGIT].iter_mut().zip(outer) {
                *gradient += slope * silu(*value);
            }
            for (neuron, slope) in of_outer.iter().enumerate() {
                let weights = neuron * width..(neuron + 1) * width;
                gradient[OUTER_BIAS][neuron] += slope;
                add(&mut gradient[OWN][weights.clone()], *slope, hidden);
                add(&mut gradient[MEAN][weights.clone()], *slope, &mean);
                add(&mut of_hidden[own.clone()], *slope, &self.weights[OWN][weights.clone()]);
                add(&mut of_mean, *slope, &self.weights[MEAN][weights]);
            }
        }
        for (index, row) in features.rows().enumerate() {
            for (neuron, shared) in of_mean.iter().enumerate() {
                let place = index * width + neuron;
                let slope = (of_hidden[place] + shared / count as f64) * silu_slope(inner[place]);
                gradient[INNER_BIAS][neuron] += slope;
                add(&mut gradient[INNER][neuron * row.len()..(neuron + 1) * row.len()], slope, row);
            }
        }
    }

    fn pass(&self, features: &OrderFeatures) -> Pass {
        let (width, count) = (self.width, features.len());
        let [inner_weight, inner_bias, own, mean_weight, outer_bias, logit, skip, bias] = &self.weights;
        let mut inner = Vec::with_capacity(count * width);
        for row in features.rows() {
            inner.extend((0..width).map(|neuron| inner_bias[neuron] + dot(matrix_row(inner_weight, neuron, row), row)));
        }
        let hidden: Vec<f64> = inner.iter().map(|value| silu(*value)).collect();
        let mut mean = vec![0.0; width];
        for row in hidden.chunks_exact(width) {
            add(&mut mean, 1.0 / count as f64, row);
        }
        // What all positions share is computed once.
        let shared: Vec<f64> =
            (0..width).map(|neuron| outer_bias[neuron] + dot(matrix_row(mean_weight, neuron, &mean), &mean)).collect();
        let mut outer = Vec::with_capacity(count * width);
        for row in hidden.chunks_exact(width) {
            outer.extend((0..width).map(|neuron| shared[neuron] + dot(matrix_row(own, neuron, row), row)));
        }
        let logits = features.rows().zip(outer.chunks_exact(width)).map(|(row, outer)| {
            let of_layers: f64 = outer.iter().zip(logit).map(|(value, weight)| weight * silu(*value)).sum();
            dot(skip, row) + of_layers + bias[0]
        });
        let logits = logits.collect();
        Pass { inner, hidden, mean, outer, logits }
    }
}

/// The row of a matrix that is multiplied with `with`.
fn matrix_row<'a>(matrix: &'a [f64], row: usize, with: &[f64]) -> &'a [f64] {
    &matrix[row * with.len()..(row + 1) * with.len()]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, values: &[f64]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += factor * value);
}

/// The logistic function.
fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

fn silu(value: f64) -> f64 {
    value * sigmoid(value)
}

fn silu_slope(value: f64) -> f64 {
    let share = sigmoid(value);
    share * (1.0 + value * (1.0 - share))
}
