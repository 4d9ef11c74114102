//! What positions hold where they do not hold tokens: points of a continuous space.
//!
//! The space belongs to the process: for a simplex field it has a coordinate for each token of the vocabulary, for a
//! gaussian field those of the word vectors. A position whose token is known is given a clean weight of 1, since only the
//! network knows where its token's point lies.

use crate::TokenId;

/// One point for each position: `clean_weight · (the point of its token) + offset`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContinuousState {
    /// Coordinates of a point.
    pub size: usize,
    /// `[L]`: how much of its token's own point is in each position's.
    pub clean_weight: Vec<f32>,
    /// `[L, size]`: the rest.
    pub offset: Vec<f32>,
    /// `[L]`: the logit that a unit of the product of a point with a token's own point speaks for that token, as Bayes'
    /// rule has it for gaussian noise (α/σ²); 0 where nothing is to be added to the network's logits.
    pub prior_logit_scale: Vec<f32>,
}

impl ContinuousState {
    /// Points of `length` positions that are their tokens' own.
    pub fn clean(length: usize, size: usize) -> Self {
        Self {
            size,
            clean_weight: vec![1.0; length],
            offset: vec![0.0; length * size],
            prior_logit_scale: vec![0.0; length],
        }
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.clean_weight.len()
    }

    /// Whether there is no position.
    pub fn is_empty(&self) -> bool {
        self.clean_weight.is_empty()
    }

    /// The offset of a position's point; none beyond the end.
    pub fn offset(&self, position: usize) -> &[f32] {
        self.offset.get(position * self.size..(position + 1) * self.size).unwrap_or_default()
    }

    /// Lets a position hold `clean_weight · (the point of its token) + offset`; nothing happens beyond the end.
    pub fn set(&mut self, position: usize, clean_weight: f32, offset: &[f32], prior_logit_scale: f32) {
        let size = self.size;
        if let Some(place) =
            self.offset.get_mut(position * size..(position + 1) * size).filter(|p| p.len() == offset.len())
        {
            place.copy_from_slice(offset);
            self.clean_weight[position] = clean_weight;
            self.prior_logit_scale[position] = prior_logit_scale;
        }
    }

    /// Lets a position hold its token's own point.
    pub fn settle(&mut self, position: usize) {
        let size = self.size;
        if let Some(place) = self.offset.get_mut(position * size..(position + 1) * size) {
            place.fill(0.0);
            self.clean_weight[position] = 1.0;
            self.prior_logit_scale[position] = 0.0;
        }
    }

    /// The points of some positions, in the order given.
    pub fn of(&self, positions: &[usize]) -> Self {
        let mut picked = Self::clean(positions.len(), self.size);
        for (index, &position) in positions.iter().enumerate() {
            picked.set(index, self.clean_weight[position], self.offset(position), self.prior_logit_scale[position]);
        }
        picked
    }

    /// Appends the points of other positions, of the same size.
    pub fn append(&mut self, other: &Self) {
        self.size = other.size;
        self.clean_weight.extend_from_slice(&other.clean_weight);
        self.offset.extend_from_slice(&other.offset);
        self.prior_logit_scale.extend_from_slice(&other.prior_logit_scale);
    }
}

/// What a network reads of a canvas: a token for each position and, under a continuous process, its point.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NoisyInput {
    /// Tokens; those of positions without signal are only what a reader sees.
    pub tokens: Vec<TokenId>,
    /// Points, where the process has them.
    pub points: Option<ContinuousState>,
}
