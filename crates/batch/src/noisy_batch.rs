//! The input and the loss terms of some canvases in one pass, and what predictions cost.

use crate::PackedBatch;
use aquatint_compute::softmax_row;
use aquatint_diffusion::{ContinuousState, Corrupted, Cost, LossTerm, TokenId};
use aquatint_network::{Denoiser, LossRow, NetworkError, NetworkInput, NetworkSpec, RowSlots, WholeRows};
use std::ops::Range;

/// The noisy rows of a [`PackedBatch`] and the terms of their loss.
#[derive(Debug, Clone, Default)]
pub struct NoisyBatch {
    /// The token that each row shows, `T`.
    pub tokens: Vec<TokenId>,
    /// The points that rows hold, under a continuous process.
    pub points: Option<ContinuousState>,
    /// The time of each sequence, for a network with time conditioning.
    pub times: Vec<f32>,
    /// The rows that cost something; the position of a term is its row in the batch.
    pub terms: Vec<LossTerm>,
    /// What the bound has besides the terms, in nats.
    pub constant: f64,
}

impl NoisyBatch {
    /// Clean rows without a term.
    pub fn new(rows: &PackedBatch) -> Self {
        Self { tokens: rows.tokens.clone(), ..Self::default() }
    }

    /// The causal objective: each row's own token, given those before it in its document. Every term weighs `weight`.
    pub fn causal(rows: &PackedBatch, begin: TokenId, weight: f64) -> Self {
        let term = |(position, &target)| LossTerm { position, target, weight, cost: Cost::CrossEntropy };
        Self {
            tokens: rows.shifted(begin),
            times: vec![0.0; rows.visibility.sequences().len()],
            terms: rows.tokens.iter().enumerate().map(term).collect(),
            ..Self::default()
        }
    }

    /// Puts the noise of a part of a canvas at its rows, with its terms and its constant.
    pub fn put(&mut self, part: Range<usize>, noisy: Corrupted) {
        self.tokens[part.clone()].copy_from_slice(&noisy.tokens);
        if let Some(points) = noisy.points {
            let length = self.tokens.len();
            let all = self.points.get_or_insert_with(|| ContinuousState::clean(length, points.size));
            for index in 0..points.len() {
                all.set(
                    part.start + index,
                    points.clean_weight[index],
                    points.offset(index),
                    points.prior_logit_scale[index],
                );
            }
        }
        self.constant += noisy.constant;
        let shifted = |term: LossTerm| LossTerm { position: part.start + term.position, ..term };
        self.terms.extend(noisy.terms.into_iter().map(shifted));
    }

    /// What the network reads; `self_conditioning` is as [`NoisyBatch::self_conditioning`] gives it.
    pub fn input<'a>(
        &'a self,
        rows: &'a PackedBatch,
        spec: &NetworkSpec,
        self_conditioning: Option<&'a [f32]>,
    ) -> NetworkInput<'a> {
        NetworkInput {
            tokens: &self.tokens,
            points: self.points.as_ref(),
            positions: &rows.positions,
            places: rows.places.as_deref().filter(|_| spec.position_axes() > 1),
            visibility: &rows.visibility,
            times: spec.reads_time().then_some(self.times.as_slice()),
            current: spec.tells_current().then_some(rows.current.as_slice()),
            self_conditioning,
        }
    }

    /// The rows of the terms, in their order.
    pub fn rows(&self) -> Vec<u32> {
        self.terms.iter().map(|term| term.position as u32).collect()
    }

    /// The rows with targets and weights, where each costs −log p of the network's own prediction; `None` where one
    /// costs something else.
    pub fn loss_rows(&self) -> Option<Vec<LossRow>> {
        let plain = |term: &LossTerm| {
            let LossTerm { position, target, weight, cost } = *term;
            (cost == Cost::CrossEntropy).then_some(LossRow { row: position as u32, target, weight })
        };
        self.terms.iter().map(plain).collect()
    }

    /// What a network with self-conditioning predicts without a prediction, `[T, V]` (or of rows of current blocks only,
    /// where the network tells them apart), as it is to be fed back (Chen et al., 2208.04202, section 3): rows without a
    /// term are predicted to be what they are, or nothing where blocks see only earlier ones. `None` for other networks.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn self_conditioning<D: Denoiser + ?Sized>(
        &self,
        model: &D,
        rows: &PackedBatch,
    ) -> Result<Option<Vec<f32>>, NetworkError> {
        let spec = model.spec();
        if spec.self_conditioning.is_none() {
            return Ok(None);
        }
        let size = spec.vocabulary_size;
        let mut prediction = vec![0.0; rows.tokens.len() * size];
        if spec.is_sure_of_known() {
            for (row, &token) in rows.tokens.iter().enumerate() {
                prediction[row * size + token as usize] = 1.0;
            }
        }
        let slots = RowSlots::new(self.terms.len());
        model.forward_rows(&self.input(rows, spec, None), &self.rows(), &|index, logits| {
            softmax_row(logits);
            slots.set(index, logits.to_vec());
        })?;
        for (term, probabilities) in self.terms.iter().zip(slots.into_vec()?) {
            prediction[term.position * size..][..size].copy_from_slice(&probabilities);
        }
        if spec.tells_current() {
            let of_rows = prediction.chunks(size.max(1)).zip(&rows.current);
            prediction = of_rows.filter(|(_, current)| **current).flat_map(|(row, _)| row).copied().collect();
        }
        Ok(Some(prediction))
    }

    /// The cost of each term in nats, in their order; not weighted.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn costs<D: Denoiser + ?Sized>(
        &self,
        model: &D,
        rows: &PackedBatch,
        self_conditioning: Option<&[f32]>,
    ) -> Result<Vec<f64>, NetworkError> {
        let input = self.input(rows, model.spec(), self_conditioning);
        if let Some(rows) = self.loss_rows() {
            return model.nll(&input, &rows);
        }
        model.costs(&input, &self.terms)
    }
}
