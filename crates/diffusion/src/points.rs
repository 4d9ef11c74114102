//! What positions hold where they do not hold tokens: points of a continuous space.
//!
//! The space belongs to the process: for a simplex field it has a coordinate for each token of the vocabulary, for a
//! gaussian field those of the word vectors. A position whose token is known is told by a signal of 1, since only the
//! network knows where its token's point lies.

use crate::TokenId;

/// One point for each position: `signal · (the point of its token) + rest`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Points {
    /// Coordinates of a point.
    pub size: usize,
    /// `[L]`: how much of its token's own point is in each position's.
    pub signal: Vec<f32>,
    /// `[L, size]`: the rest.
    pub rest: Vec<f32>,
    /// `[L]`: the logit that a unit of the product of a point with a token's own point speaks for that token, as Bayes'
    /// rule has it for gaussian noise (α/σ²); 0 where nothing is to be added to what the network says.
    pub evidence: Vec<f32>,
}

impl Points {
    /// Points of `length` positions that are their tokens' own.
    pub fn clean(length: usize, size: usize) -> Self {
        Self { size, signal: vec![1.0; length], rest: vec![0.0; length * size], evidence: vec![0.0; length] }
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.signal.len()
    }

    /// Whether there is no position.
    pub fn is_empty(&self) -> bool {
        self.signal.is_empty()
    }

    /// The rest of a position's point; none beyond the end.
    pub fn rest(&self, position: usize) -> &[f32] {
        self.rest.get(position * self.size..(position + 1) * self.size).unwrap_or_default()
    }

    /// Lets a position hold `signal · (the point of its token) + rest`; nothing happens beyond the end.
    pub fn set(&mut self, position: usize, signal: f32, rest: &[f32], evidence: f32) {
        let size = self.size;
        if let Some(place) = self.rest.get_mut(position * size..(position + 1) * size).filter(|p| p.len() == rest.len())
        {
            place.copy_from_slice(rest);
            self.signal[position] = signal;
            self.evidence[position] = evidence;
        }
    }

    /// Lets a position hold its token's own point.
    pub fn settle(&mut self, position: usize) {
        let size = self.size;
        if let Some(place) = self.rest.get_mut(position * size..(position + 1) * size) {
            place.fill(0.0);
            self.signal[position] = 1.0;
            self.evidence[position] = 0.0;
        }
    }

    /// The points of some positions, in the order given.
    pub fn of(&self, positions: &[usize]) -> Self {
        let mut picked = Self::clean(positions.len(), self.size);
        for (index, &position) in positions.iter().enumerate() {
            picked.set(index, self.signal[position], self.rest(position), self.evidence[position]);
        }
        picked
    }

    /// Appends the points of other positions, of the same size.
    pub fn append(&mut self, other: &Self) {
        self.size = other.size;
        self.signal.extend_from_slice(&other.signal);
        self.rest.extend_from_slice(&other.rest);
        self.evidence.extend_from_slice(&other.evidence);
    }
}

/// What a network reads of a canvas: a token for each position and, under a continuous process, its point.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    /// Tokens; those of positions without signal are only what a reader sees.
    pub tokens: Vec<TokenId>,
    /// Points, where the process has them.
    pub points: Option<Points>,
}
