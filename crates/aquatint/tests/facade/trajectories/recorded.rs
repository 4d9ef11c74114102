//! Recorded randomness: the draws of a reference, which the engine's own policies and draws repeat.

use super::golden::{Folder, Trajectory, ids};
use aquatint::compute::{ReadRow, RowDraw, Sampling, ShapedRow, shape_row};
use aquatint::diffusion::policy::{Ancestral, Entropy, Random};
use aquatint::diffusion::{
    Commit, CommitPolicy, Key, LossTerm, PlanPart, Proposal, Step, TokenId, Uniforms, Vectors, WordVectors,
};
use aquatint::network::{
    Denoiser, ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec, Query, RowAnswer, RowQuery, answer_on_host,
};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The token that a reference drew: of the tensors of a family, the trajectory, the pass, the position and its row.
pub(crate) type Draws = fn(&Folder, &Trajectory, usize, usize, &Row<'_>) -> TokenId;

/// A row of logits from which a token was drawn.
pub(crate) struct Row<'a> {
    /// The logits as they are.
    pub(crate) logits: &'a [f32],
    /// The temperature of the draw.
    pub(crate) temperature: f64,
}

/// A network whose draws are those of a reference: it looks for the uniform number that leads to the recorded token, and
/// leaves the draw to the ordinary code.
pub(crate) struct Recorded<'a> {
    network: &'a dyn Denoiser,
    folder: &'a Folder,
    trajectory: &'a Trajectory,
    draws: &'a Draws,
    pass: AtomicUsize,
    numbers: Arc<Numbers>,
}

/// The numbers that lead to the recorded tokens of the pass at hand, by position.
#[derive(Debug)]
struct Numbers {
    sampling: Sampling,
    uniforms: Mutex<BTreeMap<usize, f64>>,
}

impl Uniforms for Numbers {
    fn uniform(&self, position: usize, _: u64) -> f64 {
        // A query that is made before the pass has its number replaced in it.
        self.uniforms.lock().expect("no thread fails").get(&position).copied().unwrap_or(0.5)
    }
}

impl<'a> Recorded<'a> {
    pub(crate) fn new(
        network: &'a dyn Denoiser,
        folder: &'a Folder,
        trajectory: &'a Trajectory,
        draws: &'a Draws,
    ) -> Self {
        let settings = &trajectory.0["settings"];
        let number = |key: &str| settings[key].as_f64();
        let sampling = Sampling {
            temperature: number("temperature").expect("a temperature"),
            top_k: number("top_k").map(|k| k as usize).filter(|k| *k > 0),
            top_p: number("top_p"),
            ..Sampling::NONE
        };
        let numbers = Arc::new(Numbers { sampling, uniforms: Mutex::default() });
        Self { network, folder, trajectory, draws, pass: AtomicUsize::new(0), numbers }
    }

    /// The numbers by which the engine draws.
    pub(crate) fn uniforms(&self) -> Arc<dyn Uniforms> {
        self.numbers.clone()
    }
}

impl Denoiser for Recorded<'_> {
    fn spec(&self) -> &NetworkSpec {
        self.network.spec()
    }

    fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
        self.network.word_vectors()
    }

    fn forward(
        &self,
        pass: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let number = self.pass.fetch_add(1, Ordering::Relaxed);
        let (size, positions) = (self.spec().vocabulary_size, pass.input.positions);
        let whole: Vec<RowQuery<'_>> =
            queries.iter().map(|query| RowQuery { row: query.row, query: Query::WholeRow }).collect();
        let rows = Mutex::new(vec![Vec::new(); queries.len()]);
        self.network.forward(pass, &whole, &|index, logits| {
            rows.lock().expect("no thread fails")[index] = logits.to_vec();
        })?;
        let rows = rows.into_inner().expect("no thread fails");
        let sampling = self.numbers.sampling;
        let queries: Vec<RowQuery<'_>> = queries
            .iter()
            .zip(&rows)
            .map(|(&RowQuery { row, query }, logits)| {
                let position = positions[row as usize] as usize;
                let of = Row { logits, temperature: sampling.temperature };
                let token = (self.draws)(self.folder, self.trajectory, number, position, &of);
                let uniform = uniform_of(token, logits, &RowDraw::new(sampling, 0.5));
                self.numbers.uniforms.lock().expect("no thread fails").insert(position, uniform);
                match query {
                    Query::Draw(draw) => RowQuery { row, query: Query::Draw(RowDraw { uniform, ..draw }) },
                    other => RowQuery { row, query: other },
                }
            })
            .collect();
        answer_on_host(&queries, size, Vectors::default(), read, |_, read| {
            rows.iter().enumerate().for_each(|(index, logits)| read(index, &mut logits.clone()));
            Ok(())
        })
    }

    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        self.network.nll(input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        self.network.costs(input, terms)
    }

    fn token_gradients(
        &self,
        input: &NetworkInput<'_>,
        targets: &[LossRow],
        rows: &[u32],
    ) -> Result<Vec<f32>, NetworkError> {
        self.network.token_gradients(input, targets, rows)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.network.kv_cache_bytes(rows)
    }
}

/// The uniform number in the middle of those by which a token is drawn from a row.
pub(crate) fn uniform_of(token: TokenId, logits: &[f32], draw: &RowDraw<'_>) -> f64 {
    let ShapedRow { logits: shaped, retained, .. } = shape_row(&mut logits.to_vec(), draw);
    let retained = retained.unwrap_or_else(|| (0..shaped.len() as TokenId).collect());
    let top = shaped.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |token: &TokenId| ((shaped[*token as usize] - top) / draw.sampling.temperature).exp();
    let total: f64 = retained.iter().map(weight).sum();
    // A position that was not open for the reference any more has no token of its own.
    let Some(place) = retained.iter().position(|retained| *retained == token) else { return 0.5 };
    let before: f64 = retained[..place].iter().map(weight).sum();
    (before + weight(&token) / 2.0) / total
}

/// The token that the Gumbel-max draw of LLaDA's `generate.py` chooses: the largest `e^l / (−ln u)^temperature`.
pub(crate) fn gumbel_choice(row: &Row<'_>, uniforms: &[f64]) -> TokenId {
    let score = |(logit, uniform): (&f32, &f64)| f64::from(*logit) - row.temperature * (-uniform.ln()).ln();
    let scores: Vec<f64> = row.logits.iter().zip(uniforms).map(score).collect();
    (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).expect("tokens") as TokenId
}

/// The policy `random` with recorded numbers for its own: at each pass one for each position of the canvas.
#[derive(Debug)]
pub(crate) struct RecordedOrder {
    /// `[passes, positions]`.
    pub(crate) uniforms: Vec<f64>,
    /// Positions.
    pub(crate) length: usize,
}

impl CommitPolicy for RecordedOrder {
    fn name(&self) -> String {
        "recorded random".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        let row = step.planned.number as usize * self.length;
        Random.select_by(step, proposal, |position| self.uniforms[row + position])
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        Random.steps(open, requested)
    }

    fn reads(&self) -> PlanPart {
        Random.reads()
    }
}

/// The positions that a reference commits at each pass, in an order of its own.
#[derive(Debug)]
pub(crate) struct RecordedPositions {
    /// Those of each pass, ascending.
    passes: Vec<Vec<usize>>,
}

impl RecordedPositions {
    /// The positions that differ between the states of a trajectory, of one row and whole sequences.
    pub(crate) fn of(trajectory: &Trajectory) -> Self {
        let states: Vec<Vec<TokenId>> =
            trajectory.0["states"].as_array().expect("states").iter().map(|state| ids(&state[0])).collect();
        let changed = |pair: &[Vec<TokenId>]| (0..pair[0].len()).filter(|at| pair[0][*at] != pair[1][*at]).collect();
        Self { passes: states.windows(2).map(changed).collect() }
    }
}

impl CommitPolicy for RecordedPositions {
    fn name(&self) -> String {
        "recorded positions".to_owned()
    }

    fn select(&self, step: &Step, _: &Proposal, _: Key) -> Commit {
        let positions = self.passes[step.planned.number as usize].clone();
        assert_eq!(positions.len(), step.commits, "as many as are planned");
        Commit { positions }
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        Entropy.steps(open, requested)
    }

    fn reads(&self) -> PlanPart {
        Entropy.reads()
    }
}

/// The policy `ancestral` with recorded numbers for its own: at each pass one for each position that is open, of which a
/// low one commits.
#[derive(Debug)]
pub(crate) struct RecordedFates {
    /// The numbers of each pass.
    pub(crate) passes: Vec<Vec<f64>>,
}

impl CommitPolicy for RecordedFates {
    fn name(&self) -> String {
        "recorded ancestral".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        let uniforms = &self.passes[step.planned.number as usize];
        assert_eq!(uniforms.len(), proposal.len(), "a number for each open position");
        let place = |position| proposal.positions().binary_search(&position).expect("a proposed position");
        Ancestral.select_by(step, proposal, |position| 1.0 - uniforms[place(position)])
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        Ancestral.steps(open, requested)
    }

    fn reads(&self) -> PlanPart {
        Ancestral.reads()
    }
}
