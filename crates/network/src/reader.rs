//! What a network does when it learns nothing: answers about rows, and what beliefs cost where the truth is known.

use crate::forward::Pass;
use crate::input::below;
use crate::row_query::{Ask, RowAnswer, RowQuery, answer_on_host};
use crate::weight_index::WeightIndex;
use crate::{ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec};
use aquatint_compute::{Device, Element, Parameters, ReadRow, Tape, Targets, Value};
use aquatint_diffusion::{LossTerm, Vectors};

/// The parts of a network that inference reads.
pub(crate) struct Reader<'a, D: Device> {
    pub(crate) spec: &'a NetworkSpec,
    pub(crate) parameters: &'a Parameters<D>,
    pub(crate) weight_index: &'a WeightIndex,
}

impl<D: Device> Reader<'_, D> {
    /// See [`crate::Denoiser::forward`].
    pub(crate) fn forward(
        &self,
        given: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let ForwardPass { input, cached } = given;
        let rows: Vec<u32> = queries.iter().map(|query| query.row).collect();
        if let Some(cached) = cached {
            return self.forward_cached(input, cached, &rows, queries, read);
        }
        if rows.is_empty() {
            input.check(self.spec)?;
            return Ok(Vec::new());
        }
        pass(self.spec, self.weight_index, input, &rows, |pass| {
            let mut tape = Tape::inferring(self.parameters);
            let hidden = pass.hidden(&mut tape)?;
            let evidence = Evidence::new(self.spec, self.parameters, self.weight_index, input, pass.asked)?;
            self.answer(&hidden, evidence.as_ref(), queries, read)
        })
    }

    /// The word vectors of a gaussian field, `[V, E]`.
    pub(crate) fn word_vectors(&self) -> Result<Option<Vec<f32>>, NetworkError> {
        word_vectors(self.parameters, self.weight_index)
    }

    /// Answers queries from hidden rows, one for each.
    pub(crate) fn answer(
        &self,
        hidden: &Value<D>,
        evidence: Option<&Evidence>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let mask = self.spec.mask_token;
        let head = self.parameters.prepared(self.weight_index.head.matrix)?;
        let expects = queries.iter().any(|query| matches!(query.ask, Ask::DrawExpecting(_)));
        let values = if expects { self.word_vectors()?.unwrap_or_default() } else { Vec::new() };
        let vectors = Vectors { size: self.spec.word_vector_size.unwrap_or(0), values: &values };
        answer_on_host(queries, self.spec.vocabulary_size, vectors, read, |rows, read| {
            self.parameters.device().linear_rows(rows.len(), hidden.buffer(), head, &|index, logits| {
                if let Some(mask) = mask {
                    logits[mask as usize] = f32::NEG_INFINITY;
                }
                if let Some(evidence) = evidence {
                    evidence.add(index, logits);
                }
                read(index, logits);
            })?;
            Ok(())
        })
    }

    /// See [`crate::Denoiser::nll`].
    pub(crate) fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        let asked = RowTargets::new(self.spec, rows)?;
        if asked.rows.is_empty() {
            input.check(self.spec)?;
            return Ok(Vec::new());
        }
        pass(self.spec, self.weight_index, input, &asked.rows, |pass| {
            let mut tape = Tape::inferring(self.parameters);
            let hidden = pass.hidden(&mut tape)?;
            Ok(tape.cross_entropy(&hidden, self.weight_index.head.matrix, asked.targets(self.spec))?)
        })
    }
}

fn word_vectors<D: Device>(
    parameters: &Parameters<D>,
    weight_index: &WeightIndex,
) -> Result<Option<Vec<f32>>, NetworkError> {
    let Some(field) = &weight_index.embedding.field else { return Ok(None) };
    let values = parameters.device().download(parameters.get(field.vectors)?);
    Ok(Some(values.into_iter().map(|value| value.to_f64() as f32).collect()))
}

/// What the points of a gaussian field speak for by themselves, which is added to the logits: by Bayes' rule a point `z`
/// of noise σ around `α e_v` speaks `α/σ² z · e_v` for token v (the output prior of Plaid, 2305.18619, section 3.3).
/// The network learns what is beyond it. No gradient flows through it.
pub(crate) struct Evidence {
    size: usize,
    vectors: Vec<f32>,
    /// Of each asked row, `α/σ² z`; empty where nothing is to be added.
    points: Vec<Vec<f32>>,
}

impl Evidence {
    /// `None` for a network without word vectors.
    pub(crate) fn new<D: Device>(
        spec: &NetworkSpec,
        parameters: &Parameters<D>,
        weight_index: &WeightIndex,
        input: &NetworkInput<'_>,
        asked: &[u32],
    ) -> Result<Option<Self>, NetworkError> {
        let (Some(size), Some(points)) = (spec.word_vector_size, input.points) else { return Ok(None) };
        let Some(vectors) = word_vectors(parameters, weight_index)? else { return Ok(None) };
        let weighted = |&row: &u32| {
            let (row, gain) = (row as usize, points.prior_logit_scale[row as usize]);
            if gain == 0.0 {
                return Vec::new();
            }
            let own = &vectors[input.tokens[row] as usize * size..][..size];
            let rest = points.offset(row);
            own.iter().zip(rest).map(|(e, r)| gain * (points.clean_weight[row] * e + r)).collect()
        };
        let points = asked.iter().map(weighted).collect();
        Ok(Some(Self { size, vectors, points }))
    }

    /// Adds to the logits of the asked row of that index.
    pub(crate) fn add(&self, index: usize, logits: &mut [f32]) {
        let point = &self.points[index];
        if point.is_empty() {
            return;
        }
        for (logit, vector) in logits.iter_mut().zip(self.vectors.chunks_exact(self.size)) {
            // −∞ stays what it is.
            *logit += dot(point, vector);
        }
    }
}

/// A product of vectors, in lanes that the compiler makes vector instructions of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for ((lane, x), y) in lanes.iter_mut().zip(a).zip(b) {
            *lane += x * y;
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// Checks that an input fits and runs `with` on what a pass over `rows` needs.
pub(crate) fn pass<R>(
    spec: &NetworkSpec,
    weight_index: &WeightIndex,
    input: &NetworkInput<'_>,
    rows: &[u32],
    with: impl FnOnce(Pass<'_>) -> Result<R, NetworkError>,
) -> Result<R, NetworkError> {
    input.check(spec)?;
    let asked = input.answering(spec, rows)?;
    let groups = input.sequence_of_row();
    let asked_groups: Vec<u32> = asked.iter().map(|&row| groups[row as usize]).collect();
    with(Pass { spec, weight_index, input: *input, groups: &groups, asked_groups: &asked_groups, asked: &asked })
}

/// Rows, targets and weights apart.
pub(crate) struct RowTargets {
    pub(crate) rows: Vec<u32>,
    pub(crate) ids: Vec<u32>,
    weights: Vec<f64>,
}

impl RowTargets {
    /// The same of terms, whose positions are rows.
    pub(crate) fn of_terms(spec: &NetworkSpec, terms: &[LossTerm]) -> Result<Self, NetworkError> {
        let row = |term: &LossTerm| LossRow { row: term.position as u32, target: term.target, weight: term.weight };
        Self::new(spec, &terms.iter().map(row).collect::<Vec<LossRow>>())
    }

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
