//! Time conditioning: what each sequence is conditioned on, `silu(W₂ silu(W₁ features(time) + b₁) + b₂)`.
//!
//! Times are read as sinusoidal features: Vaswani et al., 1706.03762, section 3.5, of a number x that follows from the
//! time ([`TimeInput`]): `[cos(x f₀) …, sin(x f₀) …]` with `fᵢ = 10000^(−i / (features / 2))`. `model.time_embedder.*`
//! has no name in Llama checkpoints.

use super::{Affine, Declaration};
use crate::tensor::Init;
use crate::{NetworkSpec, TimeInput, TimeSpec};
use aquatint_compute::{Device, DeviceError, Element, Tape, Value};

/// The weights that read times.
#[derive(Debug)]
pub(crate) struct TimeWeights {
    spec: TimeSpec,
    input: Affine,
    output: Affine,
}

impl TimeWeights {
    /// `None` for a network without time conditioning.
    pub(crate) fn declare<D: Device>(
        declaration: &mut Declaration<'_, D>,
        spec: &NetworkSpec,
    ) -> Result<Option<Self>, DeviceError> {
        let Some(time) = spec.time_conditioning else { return Ok(None) };
        let width = spec.condition_width();
        let input = declaration.affine("model.time_embedder.input_proj", [width, time.features], Init::MATRIX)?;
        let output = declaration.affine("model.time_embedder.output_proj", [width, width], Init::MATRIX)?;
        Ok(Some(Self { spec: time, input, output }))
    }

    /// `[times, width]`, the condition of each time.
    pub(crate) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        times: &[f32],
    ) -> Result<Value<D>, DeviceError> {
        let time = tape.constant(times.len(), &features::<D::Element>(times, self.spec))?;
        let inner = tape.linear(&time, self.input.0, Some(self.input.1))?;
        let inner = tape.silu(&inner)?;
        let outer = tape.linear(&inner, self.output.0, Some(self.output.1))?;
        tape.silu(&outer)
    }

    /// Operations of `sequences` times.
    pub(crate) fn operations(spec: &NetworkSpec, sequences: u64) -> u64 {
        let width = spec.condition_width();
        spec.time_conditioning.map_or(0, |time| 2 * sequences * (width * (time.features + width)) as u64)
    }
}

/// `[times, features]`.
fn features<E: Element>(times: &[f32], spec: TimeSpec) -> Vec<E> {
    let half = spec.features / 2;
    let mut out = Vec::with_capacity(times.len() * spec.features);
    for &time in times {
        let read = match spec.input {
            TimeInput::Thousandths => 1000.0 * f64::from(time),
            TimeInput::Sigma { largest } => (-(-f64::from(time)).ln_1p()).min(largest),
            TimeInput::Nothing => 0.0,
        };
        let angle = |i: usize| read * 10000f64.powf(-(i as f64) / half as f64);
        out.extend((0..half).map(|i| E::from_f64(angle(i).cos())));
        out.extend((0..half).map(|i| E::from_f64(angle(i).sin())));
    }
    out
}
