//! A denoiser in closed form: texts are a Markov chain, whose prediction about any masked position given all others is
//! known exactly by the forward-backward recursion. It plays the network that has learned its data perfectly.

use aquatint_compute::ReadRow;
use aquatint_diffusion::{Layout, Linear, Masked, TokenId, WordVectors};
use aquatint_network::{
    AttentionSpec, FeedForwardSpec, HostDenoiser, LayerSpec, NetworkError, NetworkInput, NetworkSpec,
};
use std::sync::Arc;

/// The mask's id in every vocabulary here.
pub(crate) const MASK: TokenId = 0;
/// The end token's id.
pub(crate) const END: TokenId = 1;

/// Texts over the tokens 1 to V - 1: the first one follows `start`, each other one the row of `next` of the one before.
pub(crate) struct Chain {
    spec: NetworkSpec,
    pub(crate) start: Vec<f64>,
    pub(crate) next: Vec<Vec<f64>>,
}

impl Chain {
    /// A chain of these laws, whose entry 0 is the mask's and has to be 0.
    pub(crate) fn new(start: Vec<f64>, next: Vec<Vec<f64>>) -> Self {
        Self { spec: spec(start.len(), Layout::Full), start, next }
    }

    /// A chain of `size` tokens, the mask among them, with some structure and no zero.
    pub(crate) fn mixed(size: usize) -> Self {
        let law = |row: usize| {
            let weight = |token: usize| if token == 0 { 0.0 } else { 1.0 + ((row * 7 + token * 5) % 11) as f64 };
            let total: f64 = (0..size).map(weight).sum();
            (0..size).map(|token| weight(token) / total).collect::<Vec<f64>>()
        };
        Self::new(law(3), (0..size).map(law).collect())
    }

    /// Probability of a whole text.
    pub(crate) fn probability(&self, text: &[TokenId]) -> f64 {
        let first = text.first().map_or(1.0, |token| self.start[*token as usize]);
        text.windows(2).fold(first, |p, pair| p * self.next[pair[0] as usize][pair[1] as usize])
    }

    /// The prediction about each position given all tokens that are no mask.
    pub(crate) fn predictions(&self, tokens: &[TokenId]) -> Vec<Vec<f64>> {
        let size = self.start.len();
        let allows = |position: usize, token: usize| tokens[position] == MASK || tokens[position] as usize == token;
        let mut forward = vec![self.start.clone()];
        for position in 1..tokens.len() {
            let before = &forward[position - 1];
            let reach = |token: usize| -> f64 {
                (0..size).filter(|t| allows(position - 1, *t)).map(|t| before[t] * self.next[t][token]).sum()
            };
            forward.push((0..size).map(reach).collect());
        }
        let mut backward = vec![vec![1.0; size]; tokens.len()];
        for position in (0..tokens.len().saturating_sub(1)).rev() {
            let after = backward[position + 1].clone();
            let reach = |token: usize| -> f64 {
                (0..size).filter(|t| allows(position + 1, *t)).map(|t| self.next[token][t] * after[t]).sum()
            };
            backward[position] = (0..size).map(reach).collect();
        }
        let normalise = |(f, b): (&Vec<f64>, &Vec<f64>)| {
            let joint: Vec<f64> = f.iter().zip(b).map(|(f, b)| f * b).collect();
            let total: f64 = joint.iter().sum();
            joint.into_iter().map(|p| p / total).collect()
        };
        forward.iter().zip(&backward).map(normalise).collect()
    }
}

impl HostDenoiser for Chain {
    fn host_spec(&self) -> &NetworkSpec {
        &self.spec
    }

    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }

    fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        let mut predictions = Vec::new();
        for sequence in input.visibility.sequences() {
            predictions.extend(self.predictions(&input.tokens[sequence.start as usize..sequence.end as usize]));
        }
        for (index, row) in rows.iter().enumerate() {
            read(index, &mut predictions[*row as usize].iter().map(|p| p.ln() as f32).collect::<Vec<f32>>());
        }
        Ok(())
    }
}

/// A description with this vocabulary; the sizes of a network that does not exist are all 1.
pub(crate) fn spec(vocabulary_size: usize, attention: Layout) -> NetworkSpec {
    NetworkSpec {
        context_length: 32,
        attention,
        mask_token: Some(MASK),
        ..NetworkSpec::new(
            vocabulary_size,
            1,
            vec![LayerSpec::new(AttentionSpec::new(1, 1, 1), FeedForwardSpec::new(1))],
        )
    }
}

/// The masked process over these vocabularies.
pub(crate) fn process() -> Masked {
    Masked::new(MASK, Arc::new(Linear))
}
