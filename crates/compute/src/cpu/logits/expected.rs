//! The token vector that a row expects, beside a draw from it.

use crate::cpu::cost::Vectors;
use crate::cpu::{draw_row, softmax_row};
use crate::{DrawnRow, RowDraw, TokenVectors};

/// As [`draw_row`], and the token vector expected under the temperature of the draw, by which a continuous state is
/// sharpened like a draw; `E` coordinates, none where no token was drawn. It spoils the logits.
pub fn draw_row_expecting(
    logits: &mut [f32],
    row: &RowDraw<'_>,
    vectors: TokenVectors<'_, [f32]>,
) -> (DrawnRow, Vec<f32>) {
    let drawn = draw_row(logits, row);
    let expected = match (drawn.summary.likeliest, drawn.token) {
        (Some(likeliest), Some(_)) => expected(logits, likeliest, row.sampling.temperature as f32, vectors),
        _ => Vec::new(),
    };
    (drawn, expected)
}

fn expected(
    logits: &mut [f32],
    likeliest: usize,
    temperature: f32,
    TokenVectors { size, values }: TokenVectors<'_, [f32]>,
) -> Vec<f32> {
    if temperature == 0.0 {
        return values[likeliest * size..][..size].to_vec();
    }
    logits.iter_mut().for_each(|logit| *logit /= temperature);
    softmax_row(logits);
    Vectors { size, values }.expected(logits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sampling;

    #[test]
    fn a_row_expects_the_mean_of_what_it_allows_at_the_temperature_of_the_draw() {
        let vectors = [1.0, 0.0, 0.0, 1.0, 5.0, 5.0];
        let expected = |temperature, forbidden: &[u32]| {
            let sampling = Sampling { temperature, top_k: Some(1), ..Sampling::NONE };
            let draw = RowDraw { forbidden, biases: &[(0, -9.0)], ..RowDraw::new(sampling, 0.5) };
            let mut logits = [0.8_f32.ln(), 0.2_f32.ln(), 3.0];
            draw_row_expecting(&mut logits, &draw, TokenVectors { size: 2, values: &vectors[..] }).1
        };
        let near = |found: Vec<f32>, truth: [f32; 2]| {
            assert!(found.len() == 2 && found.iter().zip(truth).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        };
        near(expected(1.0, &[2]), [0.8, 0.2]);
        near(expected(0.5, &[2]), [0.64 / 0.68, 0.04 / 0.68]);
        assert_eq!(expected(0.0, &[2]), [1.0, 0.0]);
        assert_eq!(expected(1.0, &[0, 1, 2]), [0.0; 0]);
    }
}
