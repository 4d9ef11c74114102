//! The specification: every operation as plain loops over slices, for any element type, in the order of the formulas.
//!
//! Nothing here is fast and nothing should be: the fast paths are tested against these functions, and these functions
//! against finite differences in f64.

mod attention;
mod elementwise;
mod experts;
mod layer_norm;
mod loss;
mod norm;
mod optimiser;
mod products;
mod rope;
mod rows;

#[cfg(test)]
pub(crate) mod gradients;

pub(super) use attention::{attention, attention_backward, attention_rows};
pub(super) use elementwise::{
    add_columns, dropout, gated_add, gated_add_backward, gelu, gelu_backward, glu, glu_backward, modulate,
    modulate_backward, round_to_levels, round_to_levels_backward, scale_add, scale_rows, scale_rows_backward, silu,
    silu_backward,
};
pub(super) use experts::{combine, combine_backward, route_block, route_row, route_row_backward};
pub(super) use layer_norm::{layer_norm, layer_norm_backward};
pub(super) use loss::{ScalarHead, ScalarLoss, linear_cost_rows, linear_cross_entropy, linear_learn_rows};
pub(super) use norm::{rms_norm, rms_norm_backward};
pub(super) use optimiser::{adamw, sum_of_squares};
pub(super) use products::{SMALLEST, linear, linear_backward_input, linear_backward_weight, linear_quantised};
pub(super) use rope::{rope, rope_backward};
pub(super) use rows::{gather, scaled_points, scatter_add, write_rows};

use crate::Element;

/// `1 / (1 + e^-x)`.
pub(super) fn sigmoid<E: Element>(x: E) -> E {
    let one = E::from_f64(1.0);
    one / (one + (-x).exp())
}

/// `Σ a[i] b[i]`, summed from the left.
pub(super) fn dot<E: Element>(a: &[E], b: &[E]) -> E {
    let mut sum = E::default();
    for (&a, &b) in a.iter().zip(b) {
        sum += a * b;
    }
    sum
}
