//! What a network is given to read while it is timed: sequences of one length, of tokens that mean nothing.

use aquatint_compute::Visibility;
use aquatint_diffusion::{ContinuousState, Key, TokenId};
use aquatint_network::{LossRow, NetworkError, NetworkInput, NetworkSpec, RowLayout};

/// A batch of equal sequences.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) sequences: usize,
    pub(crate) length: usize,
    tokens: Vec<TokenId>,
    /// Of a gaussian field, which reads nothing else: points of pure noise.
    points: Option<ContinuousState>,
    positions: Vec<u32>,
    pub(crate) visibility: Visibility,
    times: Option<Vec<f32>>,
    /// Which rows are of the current block, where the network tells them apart.
    current: Option<Vec<bool>>,
    /// The rows whose logits are wanted, or whose tokens are to be learned.
    pub(crate) requested: Vec<u32>,
}

impl Batch {
    /// `sequences` of `length` positions each, `requested` of them with logits, spread evenly over the sequence.
    pub(crate) fn new(
        spec: &NetworkSpec,
        sequences: usize,
        length: usize,
        requested: usize,
    ) -> Result<Self, NetworkError> {
        let mut rows = RowLayout::default();
        let starts: Vec<usize> = (0..sequences).map(|_| rows.push(spec.attention, length, &[]).start).collect();
        let current = spec.tells_current().then(|| rows.current().to_vec());
        let (positions, visibility) = rows.finish()?;
        let spread = |start: usize| (0..requested).map(move |index| (start + index * length / requested.max(1)) as u32);
        Ok(Self {
            sequences,
            length,
            tokens: tokens(spec, 0, sequences * length),
            points: spec.word_vector_size.map(|size| noise(size, sequences * length)),
            positions,
            visibility,
            current,
            times: spec.reads_time().then(|| vec![0.5; sequences]),
            requested: starts.into_iter().flat_map(spread).collect(),
        })
    }

    /// What the network reads.
    pub(crate) fn input(&self) -> NetworkInput<'_> {
        NetworkInput {
            tokens: &self.tokens,
            points: self.points.as_ref(),
            positions: &self.positions,
            places: None,
            visibility: &self.visibility,
            times: self.times.as_deref(),
            current: self.current.as_deref(),
            self_conditioning: None,
        }
    }

    /// The requested rows as what is to be learned, each weighing alike.
    pub(crate) fn targets(&self, spec: &NetworkSpec) -> Vec<LossRow> {
        let weight = 1.0 / self.requested.len().max(1) as f64;
        let targets = tokens(spec, 1, self.requested.len());
        self.requested.iter().zip(targets).map(|(&row, target)| LossRow { row, target, weight }).collect()
    }
}

/// Points of pure noise.
fn noise(size: usize, count: usize) -> ContinuousState {
    let mut draws = Key::new(0).fold(2).at(0, 0);
    let rest = (0..count * size).map(|_| draws.normal() as f32).collect();
    ContinuousState { size, clean_weight: vec![0.0; count], offset: rest, prior_logit_scale: vec![1.0; count] }
}

/// Tokens drawn from the whole vocabulary but the mask.
pub(crate) fn tokens(spec: &NetworkSpec, stream: u64, count: usize) -> Vec<TokenId> {
    let mut draws = Key::new(0).fold(stream).at(0, 0);
    let size = spec.vocabulary_size as u64;
    let draw = |_| {
        let token = draws.below(size);
        // The mask's place goes to its neighbour; a vocabulary with a mask has two tokens or more.
        let is_mask = spec.mask_token.is_some_and(|mask| u64::from(mask) == token);
        if is_mask { ((token + 1) % size) as TokenId } else { token as TokenId }
    };
    (0..count).map(draw).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use aquatint_diffusion::Layout;
    use aquatint_network::{AttentionSpec, FeedForwardSpec, LayerSpec, NormSpec};

    /// A small network with a mask.
    pub(crate) fn spec(attention: Layout) -> NetworkSpec {
        let heads = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(4, 2, 2) };
        let layer = LayerSpec::new(heads, FeedForwardSpec::new(12));
        NetworkSpec { context_length: 16, attention, mask_token: Some(10), ..NetworkSpec::new(11, 8, vec![layer; 2]) }
    }

    #[test]
    fn sequences_see_themselves_alone_and_requested_rows_are_spread() {
        let spec = spec(Layout::Block { length: 4 });
        let batch = Batch::new(&spec, 2, 8, 2).unwrap();
        assert_eq!(batch.requested, [0, 4, 8, 12]);
        assert_eq!(batch.visibility.row(9)[0], 8..12);
        assert_eq!(batch.visibility.row(13)[0], 8..16);
        assert_eq!(batch.input().positions[7..9], [7, 0]);
        assert!(batch.input().tokens.iter().all(|token| Some(*token) != spec.mask_token));
        let field = NetworkSpec { word_vector_size: Some(3), ..spec };
        let points = Batch::new(&field, 2, 8, 2).unwrap();
        assert_eq!(points.input().points.map(|points| (points.len(), points.size)), Some((16, 3)));
    }
}
