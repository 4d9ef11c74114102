//! What a sound that came back costs beside the one that was given.
//!
//! Means of `ρ(e)` over frames and bands of the log-mel spectrum: of its values, and of the differences of neighbours in
//! time and between bands, without which what is uncertain comes back smooth.

use super::robust;
use serde::{Deserialize, Serialize};

/// The weights of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SoundCost {
    /// Of the level of each band.
    pub level: f64,
    /// Of the differences of neighbours.
    pub edges: f64,
}

impl Default for SoundCost {
    fn default() -> Self {
        Self { level: 1.0, edges: 0.5 }
    }
}

impl SoundCost {
    /// The cost of frames `given` for `wanted`, `[frames, bands]`; its gradient with respect to `given`, times `weight`, is
    /// written to `gradient`.
    pub fn of(&self, given: &[f64], wanted: &[f32], bands: usize, weight: f64, gradient: &mut [f64]) -> f64 {
        let errors: Vec<f64> = given.iter().zip(wanted).map(|(given, wanted)| given - f64::from(*wanted)).collect();
        gradient.fill(0.0);
        let mut sum = 0.0;
        let of_level = self.level / errors.len().max(1) as f64;
        for (error, gradient) in errors.iter().zip(gradient.iter_mut()) {
            let (cost, slope) = robust(*error);
            sum += of_level * cost;
            *gradient += weight * of_level * slope;
        }
        let frames = errors.len() / bands.max(1);
        let pairs = frames.saturating_sub(1) * bands + frames * bands.saturating_sub(1);
        let of_edges = self.edges / pairs.max(1) as f64;
        let mut edge = |one: usize, other: usize| {
            let (cost, slope) = robust(errors[other] - errors[one]);
            sum += of_edges * cost;
            gradient[other] += weight * of_edges * slope;
            gradient[one] -= weight * of_edges * slope;
        };
        for frame in 0..frames {
            for band in 0..bands {
                let at = frame * bands + band;
                if band + 1 < bands {
                    edge(at, at + 1);
                }
                if frame + 1 < frames {
                    edge(at, at + bands);
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let cost = SoundCost { level: 0.7, edges: 1.3 };
        let value = |i: usize| (i * 11 % 31) as f32 / 30.0;
        let wanted: Vec<f32> = (0..12).map(value).collect();
        let mut given: Vec<f64> = (5..17).map(|i| f64::from(value(i))).collect();
        let mut gradient = vec![0.0; 12];
        cost.of(&given, &wanted, 4, 2.0, &mut gradient);
        for place in 0..12 {
            let mut at = |by: f64| {
                given[place] += by;
                let cost = cost.of(&given, &wanted, 4, 1.0, &mut [0.0; 12]);
                given[place] -= by;
                cost
            };
            let expected = 2.0 * (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((expected - gradient[place]).abs() < 1e-6, "{place}: {}, expected {expected}", gradient[place]);
        }
        assert_eq!(cost.of(&[0.5; 12], &[0.5; 12], 4, 1.0, &mut gradient), 0.0);
    }
}
