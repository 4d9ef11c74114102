//! Time conditioning: what each sequence is conditioned on, `silu(W₂ silu(W₁ features(time) + b₁) + b₂)`.
//!
//! Times are read as sinusoidal features: Vaswani et al., 1706.03762, section 3.5, of the time in thousandths as in DiT
//! (2212.09748): `[cos(1000 t f₀) …, sin(1000 t f₀) …]` with `fᵢ = 10000^(−i / (features / 2))`. `model.time_embedder.*`
//! has no name in Llama checkpoints.

use super::{Affine, Declaration};
use crate::NetworkSpec;
use crate::tensor::Init;
use aquatint_compute::{Device, DeviceError, Element, Tape, Value};

/// The weights that read times.
#[derive(Debug)]
pub(crate) struct TimeWeights {
    features: usize,
    input: Affine,
    output: Affine,
}

impl TimeWeights {
    /// `None` for a network without time conditioning.
    pub(crate) fn declare<D: Device>(
        declaration: &mut Declaration<'_, D>,
        spec: &NetworkSpec,
    ) -> Result<Option<Self>, DeviceError> {
        let Some(features) = spec.time_conditioning else { return Ok(None) };
        let width = spec.width;
        let input = declaration.affine("model.time_embedder.input_proj", [width, features], Init::MATRIX)?;
        let output = declaration.affine("model.time_embedder.output_proj", [width, width], Init::MATRIX)?;
        Ok(Some(Self { features, input, output }))
    }

    /// `[times, width]`.
    pub(crate) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        times: &[f32],
    ) -> Result<Value<D>, DeviceError> {
        let time = tape.constant(times.len(), &features::<D::Element>(times, self.features))?;
        let inner = tape.linear(&time, self.input.0, Some(self.input.1))?;
        let inner = tape.silu(&inner)?;
        let outer = tape.linear(&inner, self.output.0, Some(self.output.1))?;
        tape.silu(&outer)
    }

    /// Operations of `sequences` times.
    pub(crate) fn operations(spec: &NetworkSpec, sequences: u64) -> u64 {
        spec.time_conditioning.map_or(0, |features| 2 * sequences * (spec.width * (features + spec.width)) as u64)
    }
}

/// `[times, features]`.
fn features<E: Element>(times: &[f32], features: usize) -> Vec<E> {
    let half = features / 2;
    let mut out = Vec::with_capacity(times.len() * features);
    for &time in times {
        let angle = |i: usize| 1000.0 * f64::from(time) * 10000f64.powf(-(i as f64) / half as f64);
        out.extend((0..half).map(|i| E::from_f64(angle(i).cos())));
        out.extend((0..half).map(|i| E::from_f64(angle(i).sin())));
    }
    out
}
