//! What a network does when it learns nothing: beliefs, and what they cost where the truth is known.

use crate::forward::Pass;
use crate::input::below;
use crate::wiring::Wiring;
use crate::{LossRow, NetworkError, NetworkInput, NetworkSpec};
use aquatint_compute::{Device, Element, Parameters, Tape, Targets};

/// The parts of a network that inference reads.
pub(crate) struct Reader<'a, D: Device> {
    pub(crate) spec: &'a NetworkSpec,
    pub(crate) parameters: &'a Parameters<D>,
    pub(crate) wiring: &'a Wiring,
}

impl<D: Device> Reader<'_, D> {
    /// See [`crate::Denoiser::denoise`].
    pub(crate) fn denoise(&self, input: &NetworkInput<'_>, rows: &[u32]) -> Result<Vec<f32>, NetworkError> {
        if rows.is_empty() {
            input.check(self.spec)?;
            return Ok(Vec::new());
        }
        let size = self.spec.vocabulary_size;
        pass(self.spec, self.wiring, input, rows, |pass| {
            let device = self.parameters.device();
            let mut tape = Tape::inferring(self.parameters);
            let hidden = pass.hidden(&mut tape)?;
            let mut logits = device.uninitialised(rows.len() * size)?;
            let head = self.parameters.prepared(self.wiring.head)?;
            device.linear_prepared(rows.len(), hidden.buffer(), head, None, false, &mut logits);
            let mut logits: Vec<f32> = device.download(&logits).into_iter().map(|l| l.to_f64() as f32).collect();
            if let Some(mask) = self.spec.mask_token {
                for row in logits.chunks_exact_mut(size) {
                    row[mask as usize] = f32::NEG_INFINITY;
                }
            }
            Ok(logits)
        })
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
    ids: Vec<u32>,
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
