//! Each operation of a [`crate::Device`] as launches and products: one file for each concern.

mod attention;
mod elementwise;
mod experts;
mod linear;
mod logits;
mod loss;
mod memory;
mod norm;
mod optimiser;
