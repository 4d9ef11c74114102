//! What a network is given, and the checks that it fits the network.

use crate::{NetworkError, NetworkSpec};
use aquatint_compute::Visibility;
use aquatint_diffusion::ContinuousState;
use std::borrow::Cow;
use std::ops::Range;

/// A ragged batch of sequences, row after row, without padding. `T` is the number of rows, `B` of sequences.
#[derive(Debug, Clone, Copy)]
pub struct NetworkInput<'a> {
    /// The token of each row, `T`.
    pub tokens: &'a [u32],
    /// A point for each row, which is read in the token's place: `[T, V]`, mixtures of word vectors, which any network
    /// can read; or `[T, E]` for a network of a gaussian field, which reads nothing else. A point may have a share of
    /// its token's own (see [`ContinuousState`]).
    pub points: Option<&'a ContinuousState>,
    /// The position of each row, `T`, below the network's context length. Windows and answers go by it.
    pub positions: &'a [u32],
    /// The place of each row, by which queries and keys turn, `[T, A]`, below the network's context length; only for a
    /// network whose positions have several axes ([`NetworkSpec::position_axes`]). None at all is the position of each row
    /// on all axes.
    pub places: Option<&'a [u32]>,
    /// Which rows see which others.
    pub visibility: &'a Visibility,
    /// The time of each sequence, `B`; for a network with time conditioning, and for no other.
    pub times: Option<&'a [f32]>,
    /// Which rows are of a current block behind a causal prefix, `T`; for a network that computes these in another way
    /// ([`NetworkSpec::tells_current`]), and for no other.
    pub current: Option<&'a [bool]>,
    /// `[T, V]`: what was predicted of each row at the last step, a row of zeros where nothing was; with `current` a row
    /// for each that is, in their order. Only for a network with self-conditioning; none at all is the same as all zeros.
    pub self_conditioning: Option<&'a [f32]>,
}

/// A row whose clean token is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossRow {
    /// The row of the batch.
    pub row: u32,
    /// Its clean token.
    pub target: u32,
    /// What its cost weighs in the gradient.
    pub weight: f64,
}

impl<'a> NetworkInput<'a> {
    /// Tokens at these positions, and nothing else that a network may read.
    pub fn of_tokens(tokens: &'a [u32], positions: &'a [u32], visibility: &'a Visibility) -> Self {
        Self {
            tokens,
            points: None,
            positions,
            places: None,
            visibility,
            times: None,
            current: None,
            self_conditioning: None,
        }
    }

    /// The index of each row on each of so many axes, `[T, A]`.
    pub(crate) fn on_axes(&self, axes: usize) -> Cow<'a, [u32]> {
        match (self.places, axes) {
            (Some(places), _) => Cow::Borrowed(places),
            (None, 1) => Cow::Borrowed(self.positions),
            (None, _) => self.positions.iter().flat_map(|position| std::iter::repeat_n(*position, axes)).collect(),
        }
    }

    /// Refuses an input that does not fit a network.
    pub(crate) fn check(&self, spec: &NetworkSpec) -> Result<(), NetworkError> {
        let rows = self.visibility.len();
        let size = spec.vocabulary_size;
        length("tokens", self.tokens.len(), rows, "one for each row of `visibility`")?;
        below("tokens", self.tokens, size, "the size of the vocabulary")?;
        match self.points {
            Some(points) => {
                length("points", points.len(), rows, "one for each row of `visibility`")?;
                let expected = spec.word_vector_size.unwrap_or(size);
                length("points", points.size, expected, "coordinates, as the network's space has")?;
            }
            None if spec.word_vector_size.is_some() => {
                let reason = "the network reads points between its word vectors: give one for each row";
                return Err(NetworkError::InputPart { parameter: "points", given: false, reason });
            }
            None => {}
        }
        length("positions", self.positions.len(), rows, "one for each row of `visibility`")?;
        below("positions", self.positions, spec.context_length, "the context length of the network")?;
        match (spec.position_axes(), self.places) {
            (_, None) => {}
            (1, Some(_)) => {
                let reason = "positions of the network have one axis: leave them out";
                return Err(NetworkError::InputPart { parameter: "places", given: true, reason });
            }
            (axes, Some(places)) => {
                length("places", places.len(), axes * rows, "an index on each axis for each row of `visibility`")?;
                below("places", places, spec.context_length, "the context length of the network")?;
            }
        }
        match (spec.reads_time(), self.times) {
            (false, None) => {}
            (true, Some(times)) => {
                length("times", times.len(), self.visibility.sequences().len(), "one for each sequence")?;
            }
            (true, None) => {
                let reason = "the network is conditioned on time: give one for each sequence";
                return Err(NetworkError::InputPart { parameter: "times", given: false, reason });
            }
            (false, Some(_)) => {
                let reason = "the network is not conditioned on time: leave it out";
                return Err(NetworkError::InputPart { parameter: "times", given: true, reason });
            }
        }
        match (spec.tells_current(), self.current) {
            (false, None) => {}
            (true, Some(current)) => length("current", current.len(), rows, "one for each row of `visibility`")?,
            (true, None) => {
                let reason = "the network computes rows of the current block in another way: say which they are";
                return Err(NetworkError::InputPart { parameter: "current", given: false, reason });
            }
            (false, Some(_)) => {
                let reason = "the network computes all rows alike: leave it out";
                return Err(NetworkError::InputPart { parameter: "current", given: true, reason });
            }
        }
        if let Some(prediction) = self.self_conditioning {
            if spec.self_conditioning.is_none() {
                let reason = "the network has no self-conditioning: leave it out";
                return Err(NetworkError::InputPart { parameter: "self_conditioning", given: true, reason });
            }
            let (rows, reason) = match self.current {
                Some(current) => (count(current), "rows of current blocks times the vocabulary"),
                None => (rows, "rows of `visibility` times the vocabulary"),
            };
            length("self_conditioning", prediction.len(), rows * size, reason)?;
        }
        Ok(())
    }

    /// For each requested row, the row that answers for it: itself, or under a logit shift that of the position before,
    /// if it sees one.
    pub(crate) fn answering(&self, spec: &NetworkSpec, rows: &[u32]) -> Result<Vec<u32>, NetworkError> {
        below("rows", rows, self.visibility.len(), "the number of rows of `visibility`")?;
        Ok(rows.iter().map(|&row| spec.head.answering_row(row, || self.before(row))).collect())
    }

    /// The row of the position before that a row sees. It is the row's neighbour, except at the beginning of a noisy
    /// block in training: such a row sees the clean rows of earlier blocks, and the last of them holds that position. In
    /// inference the same clean token is the neighbour.
    fn before(&self, row: u32) -> Option<u32> {
        let visible = self.visibility.row(row as usize);
        let neighbour = row.checked_sub(1).filter(|before| visible.iter().any(|range| range.contains(before)));
        let position = self.positions[row as usize].checked_sub(1);
        let last_of = |range: &Range<u32>| if range.is_empty() { None } else { range.end.checked_sub(1) };
        let is_before = |last: &u32| Some(self.positions[*last as usize]) == position;
        neighbour.or_else(|| visible.iter().filter_map(last_of).find(is_before))
    }

    /// The sequence of each row.
    pub(crate) fn sequence_of_row(&self) -> Vec<u32> {
        let sequences = (0u32..).zip(self.visibility.sequences());
        sequences.flat_map(|(index, rows): (u32, &Range<u32>)| rows.clone().map(move |_| index)).collect()
    }
}

/// How many rows are of current blocks.
pub(crate) fn count(current: &[bool]) -> usize {
    current.iter().filter(|current| **current).count()
}

fn length(parameter: &'static str, given: usize, expected: usize, reason: &'static str) -> Result<(), NetworkError> {
    if given == expected { Ok(()) } else { Err(NetworkError::InputLength { parameter, given, expected, reason }) }
}

pub(crate) fn below(
    parameter: &'static str,
    given: &[u32],
    limit: usize,
    reason: &'static str,
) -> Result<(), NetworkError> {
    match given.iter().position(|&entry| entry as usize >= limit) {
        None => Ok(()),
        Some(index) => Err(NetworkError::InputRange { parameter, given: given[index], index, limit, reason }),
    }
}
