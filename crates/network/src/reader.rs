//! What a network does when it learns nothing: answers about rows, and what predictions cost where the truth is known.

use crate::forward::{Pass, PassIndices};
use crate::input::below;
use crate::kv_cache::KvPool;
use crate::layer_visibility::{LayerVisibility, LayerVisible};
use crate::layers::HeadWeights;
use crate::routing_blocks;
use crate::row_query::{RowAnswer, RowQuery};
use crate::weight_index::WeightIndex;
use crate::{ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec};
use aquatint_compute::{
    CostKind, Device, DeviceError, Element, LinearOperands, LinearShape, LogitHead, LogitRows, Parameters, RatioCost,
    ReadRow, RowCost, ScaledPoints, Tape, Targets, TokenVectors,
};
use aquatint_diffusion::{Cost, Distance, LossTerm, Marginal, Ratio, WordVectors};
use std::sync::Arc;

/// The parts of a network that inference reads.
pub(crate) struct Reader<'a, D: Device> {
    pub(crate) spec: &'a NetworkSpec,
    pub(crate) parameters: &'a Parameters<D>,
    pub(crate) weight_index: &'a WeightIndex,
    /// The KV caches of all sequences.
    pub(crate) pool: &'a Arc<KvPool<D>>,
    /// The format in which likelihoods read the head.
    pub(crate) head: HeadFormat,
    /// The adapter that a pass applies, by its index.
    pub(crate) adapter: Option<usize>,
}

/// Tokens whose vectors are multiplied at a time.
const TOKENS: usize = 4096;

/// The format in which likelihoods read the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadFormat {
    /// As training multiplies by it.
    Trained,
    /// As it is prepared for generation: the only one that an inference network has.
    Prepared,
}

impl<D: Device> Reader<'_, D> {
    /// See [`crate::Denoiser::forward`].
    pub(crate) fn forward(
        &self,
        given: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let wanted = queries.len();
        let mut queries = queries.to_vec();
        pad(&mut queries, self.padded_rows(wanted), Clone::clone);
        let read = |index: usize, logits: &mut [f32]| {
            if index < wanted {
                read(index, logits);
            }
        };
        let mut answers = self.forward_padded(given, &queries, &read)?;
        answers.truncate(wanted);
        Ok(answers)
    }

    /// The same of any number of rows.
    fn forward_padded(
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
        pass(self, input, &rows, |pass, visible| {
            let mut tape = Tape::inferring(self.parameters).adding(self.adapter);
            let hidden = pass.hidden(&mut tape, visible)?;
            let evidence = self.evidence(input, pass.requested)?;
            self.answer(&hidden, evidence.as_ref(), queries, read)
        })
    }

    /// See [`crate::Denoiser::word_vectors`].
    pub(crate) fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
        let Some(TokenVectors { size, values }) = self.token_vectors()? else { return Ok(WordVectors::default()) };
        let values = self.parameters.device().download(values);
        Ok(WordVectors { size, values: values.into_iter().map(|value| value.to_f64() as f32).collect() })
    }

    /// See [`crate::Denoiser::costs`].
    pub(crate) fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        let mut requested = RowTargets::of_terms(self.spec, terms)?;
        if requested.rows.is_empty() {
            input.check(self.spec)?;
            return Ok(Vec::new());
        }
        let costs = self.padded_costs(terms, &mut requested);
        pass(self, input, &requested.rows, |pass, visible| {
            let mut tape = Tape::inferring(self.parameters).adding(self.adapter);
            let hidden = pass.hidden(&mut tape, visible)?;
            let evidence = self.evidence(input, pass.requested)?;
            let (head, vectors) = (self.logit_head(evidence.as_ref()), self.token_vectors()?);
            Ok(tape.costs(&hidden, head, &costs, vectors)?.into_iter().take(terms.len()).map(|row| row.cost).collect())
        })
    }

    /// What points speak for at the requested rows.
    pub(crate) fn evidence(
        &self,
        input: &NetworkInput<'_>,
        requested: &[u32],
    ) -> Result<Option<Evidence<'_, D>>, NetworkError> {
        Evidence::new(self.spec, self.parameters, self.weight_index, input, requested)
    }

    /// The word vectors of a gaussian field on the device.
    pub(crate) fn token_vectors(&self) -> Result<Option<TokenVectors<'_, D::Buffer>>, NetworkError> {
        let (Some(size), Some(field)) = (self.spec.word_vector_size, &self.weight_index.embedding.field) else {
            return Ok(None);
        };
        Ok(Some(TokenVectors { size, values: self.parameters.get(field.vectors)? }))
    }

    /// How logits are made of hidden rows.
    pub(crate) fn logit_head<'e>(&self, evidence: Option<&'e Evidence<'_, D>>) -> LogitHead<'e, D::Buffer> {
        let HeadWeights { matrix: weight, bias, .. } = self.weight_index.head;
        LogitHead {
            weight,
            bias,
            soft_cap: self.spec.head.soft_cap,
            forbidden: self.spec.mask_token,
            evidence: evidence.map(Evidence::operands),
        }
    }

    /// What is added to each token's logit.
    pub(crate) fn head_bias(&self) -> Result<Option<&D::Buffer>, DeviceError> {
        self.weight_index.head.bias.map(|bias| self.parameters.get(bias)).transpose()
    }

    /// See [`crate::Denoiser::nll`].
    pub(crate) fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        let mut requested = RowTargets::new(self.spec, rows)?;
        if requested.rows.is_empty() {
            input.check(self.spec)?;
            return Ok(Vec::new());
        }
        requested.pad(self.padded_rows(rows.len()));
        let mut costs = pass(self, input, &requested.rows, |pass, visible| {
            let mut tape = Tape::inferring(self.parameters).adding(self.adapter);
            let hidden = pass.hidden(&mut tape, visible)?;
            // What points speak for is added row by row.
            if self.head == HeadFormat::Trained && self.weight_index.embedding.field.is_none() {
                return Ok(tape.cross_entropy(&hidden, self.logit_head(None), requested.targets())?);
            }
            let evidence = self.evidence(input, pass.requested)?;
            let logits = LogitRows {
                rows: hidden.rows(),
                hidden: hidden.buffer(),
                head: self.parameters.prepared(self.weight_index.head.matrix)?,
                bias: self.head_bias()?,
                soft_cap: self.spec.head.soft_cap,
                forbidden: self.spec.mask_token,
                evidence: evidence.as_ref().map(Evidence::operands),
            };
            Ok(self.parameters.device().nll_rows(logits, &requested.ids)?)
        })?;
        costs.truncate(rows.len());
        Ok(costs)
    }

    /// With how many rows a pass is made that asks for so many.
    pub(crate) fn padded_rows(&self, rows: usize) -> usize {
        // Rows are counted where they choose experts.
        if self.spec.has_experts() { rows } else { self.parameters.device().padded_rows(rows) }
    }

    /// What terms cost as a device reads it, padded as their rows are: what is added weighs nothing.
    pub(crate) fn padded_costs(&self, terms: &[LossTerm], requested: &mut RowTargets) -> Vec<RowCost> {
        let mut costs: Vec<RowCost> = terms.iter().map(row_cost).collect();
        let rows = self.padded_rows(terms.len());
        requested.pad(rows);
        pad(&mut costs, rows, |cost| RowCost { weight: 0.0, ..*cost });
        costs
    }
}

/// Repeats the last of some items until there are so many.
pub(crate) fn pad<T>(items: &mut Vec<T>, count: usize, again: impl Fn(&T) -> T) {
    if let Some(last) = items.last().map(&again) {
        let missing = count.saturating_sub(items.len());
        items.extend(std::iter::repeat_with(|| again(&last)).take(missing));
    }
}

impl<D: Device> Reader<'_, D> {
    /// See [`crate::Denoiser::token_gradients`].
    pub(crate) fn token_gradients(
        &self,
        input: &NetworkInput<'_>,
        targets: &[LossRow],
        rows: &[u32],
    ) -> Result<Vec<f32>, NetworkError> {
        let size = self.spec.vocabulary_size;
        let requested = RowTargets::new(self.spec, targets)?;
        if input.points.is_some() {
            let reason = "gradients by tokens are of rows that read tokens: leave them out";
            return Err(NetworkError::InputPart { parameter: "points", given: true, reason });
        }
        input.check(self.spec)?;
        below("rows", rows, input.visibility.len(), "the number of rows of `visibility`")?;
        if self.parameters.has_on_demand() {
            return Err(NetworkError::NoGradients { reason: "experts are read when rows are routed to them" });
        }
        let mut of_tokens = vec![0.0; rows.len() * size];
        if requested.rows.is_empty() || rows.is_empty() {
            return Ok(of_tokens);
        }
        let (device, width) = (self.parameters.device(), self.spec.width);
        let gradient = pass(self, input, &requested.rows, |pass, visible| {
            let mut tape = Tape::recording(self.parameters, 0).adding(self.adapter);
            let tokens = pass.embedded(&mut tape)?;
            let tokens = tape.leaf(tokens);
            let hidden = pass.hidden_of(&mut tape, tokens, visible)?;
            Ok(tape.leaf_gradient(hidden, self.logit_head(None), requested.targets())?)
        })?;
        let Some(gradient) = gradient else { return Ok(of_tokens) };
        let mut of_rows = device.uninitialised(rows.len() * width)?;
        device.gather(width, &gradient, &device.upload_indices(rows)?, &mut of_rows);
        // The table may be compact or stored, so that a part of it at a time is there in full.
        let tokens: Vec<u32> = (0..size as u32).collect();
        for part in tokens.chunks(TOKENS) {
            let indices = device.upload_indices(part)?;
            let mut tape = Tape::inferring(self.parameters);
            let vectors = self.weight_index.embedding.vectors(&mut tape, self.spec, part, &indices)?;
            let shape = LinearShape { rows: rows.len(), inputs: width, outputs: part.len() };
            let (x, weight) = (&of_rows, vectors.buffer());
            let mut products = device.uninitialised(rows.len() * part.len())?;
            device.linear(LinearOperands { shape, x, weight, bias: None, accumulate: false }, &mut products);
            let products = device.download(&products);
            for (row, products) in of_tokens.chunks_exact_mut(size).zip(products.chunks_exact(part.len())) {
                for (&token, product) in part.iter().zip(products) {
                    // The gradient is that of costs.
                    row[token as usize] = -product.to_f64() as f32;
                }
            }
        }
        Ok(of_tokens)
    }
}

/// What the points of a gaussian field speak for by themselves, which is added to the logits: by Bayes' rule a point
/// `z` of noise σ around `α e_v` speaks `α/σ² z · e_v` for token v (the output prior of Plaid, 2305.18619, section
/// 3.3). The network learns what is beyond it. No gradient flows through it.
pub(crate) struct Evidence<'a, D: Device> {
    pub(crate) size: usize,
    pub(crate) vectors: &'a D::Buffer,
    /// `α/σ² z` of each requested row, zeros where nothing is to be added.
    pub(crate) points: D::Buffer,
}

impl<'a, D: Device> Evidence<'a, D> {
    /// `None` for a network without word vectors.
    pub(crate) fn new(
        spec: &NetworkSpec,
        parameters: &'a Parameters<D>,
        weight_index: &WeightIndex,
        input: &NetworkInput<'_>,
        requested: &[u32],
    ) -> Result<Option<Self>, NetworkError> {
        let field = &weight_index.embedding.field;
        let (Some(size), Some(points), Some(field)) = (spec.word_vector_size, input.points, field) else {
            return Ok(None);
        };
        let (device, vectors) = (parameters.device(), parameters.get(field.vectors)?);
        let rows = || requested.iter().map(|&row| row as usize);
        let upload = |values: &mut dyn Iterator<Item = f32>| {
            let values: Vec<D::Element> = values.map(|value| D::Element::from_f64(f64::from(value))).collect();
            device.upload(&values)
        };
        let operands = ScaledPoints {
            size,
            vectors,
            tokens: &device.upload_indices(&rows().map(|row| input.tokens[row]).collect::<Vec<u32>>())?,
            weights: &upload(&mut rows().map(|row| points.clean_weight[row]))?,
            offsets: &upload(&mut rows().flat_map(|row| points.offset(row).iter().copied()))?,
            scales: &upload(&mut rows().map(|row| points.prior_logit_scale[row]))?,
        };
        let mut scaled = device.uninitialised(requested.len() * size)?;
        device.scaled_points(operands, &mut scaled);
        Ok(Some(Self { size, vectors, points: scaled }))
    }

    /// As the device reads it.
    pub(crate) fn operands(&self) -> aquatint_compute::Evidence<'_, D::Buffer> {
        aquatint_compute::Evidence { size: self.size, points: &self.points, vectors: self.vectors }
    }
}

/// Checks that an input fits and runs `with` on what a pass over `rows` needs.
pub(crate) fn pass<D: Device, R>(
    reader: &Reader<'_, D>,
    input: &NetworkInput<'_>,
    rows: &[u32],
    with: impl FnOnce(Pass<'_, D>, &LayerVisible<D>) -> Result<R, NetworkError>,
) -> Result<R, NetworkError> {
    let Reader { spec, parameters, weight_index, .. } = *reader;
    input.check(spec)?;
    let requested = input.answering(spec, rows)?;
    let device = parameters.device();
    let blocks = spec.routing_length().map(|length| routing_blocks::starts(length, input.visibility));
    let of_rows = (&input.sequence_of_row()[..], blocks.as_deref());
    let indices = PassIndices::new(device, spec, input, of_rows, &requested)?;
    let visibility = LayerVisibility::new(spec, input.visibility, input.positions, input.current)?;
    let visible = visibility.upload::<D>(|visibility| Ok(device.upload_visibility(visibility)?))?;
    with(Pass { spec, weight_index, input: *input, indices: &indices, requested: &requested }, &visible)
}

/// What a term costs, as a device reads it.
fn row_cost(term: &LossTerm) -> RowCost {
    let kind = match term.cost {
        Cost::CrossEntropy => CostKind::CrossEntropy,
        Cost::Ratio(Ratio { shown, marginal, posterior }) => {
            let Marginal { alpha, text, masked, alphabet } = marginal;
            CostKind::Ratio(RatioCost { shown, alpha, text, masked, mask: alphabet.mask, posterior })
        }
        Cost::Distance(Distance) => CostKind::Distance,
    };
    RowCost { target: term.target, weight: term.weight, kind }
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

    /// Repeats the last row, which then weighs nothing, until there are so many.
    pub(crate) fn pad(&mut self, rows: usize) {
        pad(&mut self.rows, rows, Clone::clone);
        pad(&mut self.ids, rows, Clone::clone);
        pad(&mut self.weights, rows, |_| 0.0);
    }

    pub(crate) fn targets(&self) -> Targets<'_> {
        Targets { ids: &self.ids, weights: &self.weights }
    }
}
