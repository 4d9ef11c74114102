//! What a network does when it learns nothing: beliefs, and what they cost where the truth is known.

use crate::forward::Pass;
use crate::input::below;
use crate::wiring::Wiring;
use crate::{LossRow, NetworkError, NetworkInput, NetworkSpec};
use aquatint_compute::{Device, Parameters, ReadRow, Tape, Targets, Value};

/// The parts of a network that inference reads.
pub(crate) struct Reader<'a, D: Device> {
    pub(crate) spec: &'a NetworkSpec,
    pub(crate) parameters: &'a Parameters<D>,
    pub(crate) wiring: &'a Wiring,
}

impl<D: Device> Reader<'_, D> {
    /// See [`crate::Denoiser::denoise_each`].
    pub(crate) fn denoise_each(
        &self,
        input: &NetworkInput<'_>,
        rows: &[u32],
        read: &ReadRow<'_>,
    ) -> Result<(), NetworkError> {
        if rows.is_empty() {
            return input.check(self.spec);
        }
        pass(self.spec, self.wiring, input, rows, |pass| {
            let mut tape = Tape::inferring(self.parameters);
            let hidden = pass.hidden(&mut tape)?;
            self.answer(&hidden, rows.len(), read)
        })
    }

    /// Hands out the logits of hidden rows.
    pub(crate) fn answer(&self, hidden: &Value<D>, rows: usize, read: &ReadRow<'_>) -> Result<(), NetworkError> {
        let mask = self.spec.mask_token;
        let head = self.parameters.prepared(self.wiring.head)?;
        self.parameters.device().linear_rows(rows, hidden.buffer(), head, &|index, logits| {
            if let Some(mask) = mask {
                logits[mask as usize] = f32::NEG_INFINITY;
            }
            read(index, logits);
        })?;
        Ok(())
    }

    /// See [`crate::Denoiser::measure`].
    pub(crate) fn measure(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        let asked = Asked::new(self.spec, rows)?;
        if asked.rows.is_empty() {
            input.check(self.spec)?;
            return Ok(Vec::new());
        }
        pass(self.spec, self.wiring, input, &asked.rows, |pass| {
            let mut tape = Tape::inferring(self.parameters);
            let hidden = pass.hidden(&mut tape)?;
            Ok(tape.cross_entropy(&hidden, self.wiring.head, asked.targets(self.spec))?)
        })
    }
}

/// Checks that an input fits and runs `with` on what a pass over `rows` needs.
pub(crate) fn pass<R>(
    spec: &NetworkSpec,
    wiring: &Wiring,
    input: &NetworkInput<'_>,
    rows: &[u32],
    with: impl FnOnce(Pass<'_>) -> Result<R, NetworkError>,
) -> Result<R, NetworkError> {
    input.check(spec)?;
    let asked = input.answering(spec, rows)?;
    let groups = input.sequence_of_row();
    let asked_groups: Vec<u32> = asked.iter().map(|&row| groups[row as usize]).collect();
    with(Pass { spec, wiring, input: *input, groups: &groups, asked_groups: &asked_groups, asked: &asked })
}

/// Rows, targets and weights apart.
pub(crate) struct Asked {
    pub(crate) rows: Vec<u32>,
    pub(crate) ids: Vec<u32>,
    weights: Vec<f64>,
}

impl Asked {
    /// Takes them apart after checking that the targets can be.
    pub(crate) fn new(spec: &NetworkSpec, rows: &[LossRow]) -> Result<Self, NetworkError> {
        if let Some(LossRow { row, target, .. }) = rows.iter().find(|row| Some(row.target) == spec.mask_token) {
            return Err(NetworkError::MaskTarget { row: *row, target: *target });
        }
        let ids: Vec<u32> = rows.iter().map(|row| row.target).collect();
        below("targets", &ids, spec.vocabulary_size, "the size of the vocabulary")?;
        let (rows, weights) = rows.iter().map(|row| (row.row, row.weight)).unzip();
        Ok(Self { rows, ids, weights })
    }

    pub(crate) fn targets(&self, spec: &NetworkSpec) -> Targets<'_> {
        Targets { ids: &self.ids, weights: &self.weights, forbidden: spec.mask_token }
    }
}
