//! What a picture that came back costs beside the one that was given.
//!
//! Three means, each of `ρ(e) = √(e² + ε²) − ε` (Charbonnier et al., 1994), which is quadratic for small errors and
//! linear for large ones: of colour, over black and over white, in premultiplied numbers, so that what lies under a
//! transparent pixel does not count; of alpha; of edges, the differences of neighbouring pixels along rows and columns.

use super::robust;
use serde::{Deserialize, Serialize};

/// The weights of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PictureCost {
    /// Of colour.
    pub colour: f64,
    /// Of alpha.
    pub alpha: f64,
    /// Of edges.
    pub edges: f64,
}

impl Default for PictureCost {
    fn default() -> Self {
        Self { colour: 1.0, alpha: 0.5, edges: 0.5 }
    }
}

impl PictureCost {
    /// The cost of a square picture `given` for `wanted`, both premultiplied and of as many pixels; its gradient with
    /// respect to `given`, times `weight`, is written to `gradient`, which has as many, too.
    pub fn of(&self, given: &[[f64; 4]], wanted: &[[f32; 4]], weight: f64, gradient: &mut [[f64; 4]]) -> f64 {
        let size = given.len().isqrt();
        let errors: Vec<[f64; 4]> = given
            .iter()
            .zip(wanted)
            .map(|(given, wanted)| std::array::from_fn(|channel| given[channel] - f64::from(wanted[channel])))
            .collect();
        gradient.fill([0.0; 4]);
        let mut sum = 0.0;
        let pixels = given.len() as f64;
        let (of_colour, of_alpha) = (self.colour / (6.0 * pixels), self.alpha / pixels);
        for (error, gradient) in errors.iter().zip(gradient.iter_mut()) {
            let (cost, slope) = robust(error[3]);
            sum += of_alpha * cost;
            gradient[3] += weight * of_alpha * slope;
            for channel in 0..3 {
                let (black, on_black) = robust(error[channel]);
                let (white, on_white) = robust(error[channel] - error[3]);
                sum += of_colour * (black + white);
                gradient[channel] += weight * of_colour * (on_black + on_white);
                gradient[3] -= weight * of_colour * on_white;
            }
        }
        let pairs = 2 * size * size.saturating_sub(1);
        let of_edges = self.edges / (4 * pairs).max(1) as f64;
        let mut edge = |one: usize, other: usize| {
            for channel in 0..4 {
                let (cost, slope) = robust(errors[other][channel] - errors[one][channel]);
                sum += of_edges * cost;
                gradient[other][channel] += weight * of_edges * slope;
                gradient[one][channel] -= weight * of_edges * slope;
            }
        };
        for row in 0..size {
            for column in 0..size {
                let at = row * size + column;
                if column + 1 < size {
                    edge(at, at + 1);
                }
                if row + 1 < size {
                    edge(at, at + size);
                }
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: usize) -> Vec<[f64; 4]> {
        let value = |i: usize| ((i * step + 5) % 31) as f64 / 30.0;
        (0..count).map(|i| [value(4 * i), value(4 * i + 1), value(4 * i + 2), value(4 * i + 3)]).collect()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let cost = PictureCost { colour: 0.7, alpha: 0.4, edges: 1.3 };
        let wanted: Vec<[f32; 4]> = numbers(9, 11).iter().map(|pixel| pixel.map(|value| value as f32)).collect();
        let mut given = numbers(9, 7);
        let mut gradient = vec![[0.0; 4]; 9];
        cost.of(&given, &wanted, 2.0, &mut gradient);
        for pixel in 0..9 {
            for channel in 0..4 {
                let mut at = |by: f64| {
                    given[pixel][channel] += by;
                    let cost = cost.of(&given, &wanted, 1.0, &mut [[0.0; 4]; 9]);
                    given[pixel][channel] -= by;
                    cost
                };
                let expected = 2.0 * (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((expected - gradient[pixel][channel]).abs() < 1e-8, "{pixel} {channel}");
            }
        }
    }

    #[test]
    fn a_picture_costs_nothing_beside_itself() {
        let given = numbers(16, 3);
        let wanted: Vec<[f32; 4]> = given.iter().map(|pixel| pixel.map(|value| value as f32)).collect();
        let exact: Vec<[f64; 4]> = wanted.iter().map(|pixel| pixel.map(f64::from)).collect();
        let mut gradient = vec![[1.0; 4]; 16];
        assert_eq!(PictureCost::default().of(&exact, &wanted, 1.0, &mut gradient), 0.0);
        assert_eq!(gradient, vec![[0.0; 4]; 16]);
    }
}
