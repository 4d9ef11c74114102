//! What a network says of some tokens.

use aquatint_network::{Denoiser, NetworkInput, RowLayout, WholeRows};

/// Logits of all rows of twelve tokens that are one sequence in the network's own layout; the same for every network, so
/// that networks with the same weights give the same.
///
/// # Panics
/// Where the network refuses.
pub fn some_logits(network: &dyn Denoiser) -> Vec<f32> {
    let tokens: Vec<u32> = (0..12).map(|i| 5 + i * 3).collect();
    let mut rows = RowLayout::default();
    rows.push(network.spec().attention, tokens.len(), &[]);
    let (positions, visibility) = rows.finish().expect("a sequence of twelve rows");
    let input = NetworkInput::of_tokens(&tokens, &positions, &visibility);
    let all: Vec<u32> = (0..tokens.len() as u32).collect();
    network.logits(&input, &all).expect("a network that reads tokens alone")
}
