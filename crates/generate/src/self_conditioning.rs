//! Self-conditioning: the prediction of the last step, fed back as a mixture of word vectors (Analog Bits, 2208.04202,
//! section 3).
//!
//! A noisy row gets the prediction of the step before, a row that is known one that is sure of its token, or none where
//! blocks see only earlier ones; that is what a network with self-conditioning is trained on. At the first step there is
//! none at all.

use crate::prediction::softmax;
use aquatint_diffusion::{Layout, TokenId};

/// The positions whose logits are fed back, ascending: every noisy one that the current block sees, not only those that
/// this step may fill.
pub(crate) fn fed_back(
    visible: &[usize],
    block: &[usize],
    layout: Layout,
    is_noise: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let end = match layout.block_length() {
        Some(_) => block.last().map_or(0, |last| last + 1),
        None => usize::MAX,
    };
    visible.iter().copied().filter(|position| *position < end && is_noise(*position)).collect()
}

/// What a network said at the noisy positions of a canvas.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PreviousPrediction {
    positions: Vec<usize>,
    /// `V`.
    vocabulary_size: usize,
    /// `[positions, V]`.
    probabilities: Vec<f32>,
}

impl PreviousPrediction {
    /// The softmax of each row of logits `[positions, V]` at a temperature; the positions ascend.
    pub(crate) fn new(positions: Vec<usize>, logits: Vec<f32>, vocabulary_size: usize, temperature: f64) -> Self {
        let mut probabilities = logits;
        for row in probabilities.chunks_mut(vocabulary_size.max(1)) {
            let prediction = softmax(row, temperature);
            row.iter_mut().zip(prediction).for_each(|(logit, probability)| *logit = probability as f32);
        }
        Self { positions, vocabulary_size, probabilities }
    }

    /// `[visible, V]`: the prediction of each visible position. `known` gives the token of a position that is not noise,
    /// which the prediction is sure of or silent about. A position that became noise since has none yet, which is a row
    /// of zeros.
    pub(crate) fn rows(
        &self,
        visible: &[usize],
        known: impl Fn(usize) -> Option<TokenId>,
        is_sure_of_known: bool,
    ) -> Vec<f32> {
        let vocabulary_size = self.vocabulary_size;
        let mut rows = vec![0.0; visible.len() * vocabulary_size];
        for (row, &position) in rows.chunks_mut(vocabulary_size.max(1)).zip(visible) {
            if let Some(token) = known(position) {
                if let Some(probability) = row.get_mut(token as usize).filter(|_| is_sure_of_known) {
                    *probability = 1.0;
                }
            } else if let Ok(index) = self.positions.binary_search(&position) {
                row.copy_from_slice(&self.probabilities[index * vocabulary_size..][..vocabulary_size]);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sure_of_what_is_known_and_empty_where_nothing_was_said() {
        let previous = PreviousPrediction::new(vec![1, 3], vec![0.0, 0.0, 1000.0, 0.0], 2, 1.0);
        let known = |position| (position == 0).then_some(1);
        assert_eq!(previous.rows(&[0, 1, 2, 3], known, true), [0.0, 1.0, 0.5, 0.5, 0.0, 0.0, 1.0, 0.0]);
        let known = |position| (position < 2).then_some(1);
        assert_eq!(previous.rows(&[0, 1, 2, 3], known, false), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn blocks_feed_back_what_they_see_and_no_later_block() {
        let noise = |position| position > 1;
        assert_eq!(fed_back(&[0, 1, 2, 4, 5, 8], &[4, 5], Layout::Block { length: 4 }, noise), [2, 4, 5]);
        assert_eq!(fed_back(&[0, 1, 2, 4, 5, 8], &[4, 5], Layout::Full, noise), [2, 4, 5, 8]);
    }
}
