//! One lesson: a canvas becomes noisy, the teacher takes two steps back, and what it then predicts is the target of the
//! one step that the student takes.

use crate::TrainError;
use crate::objective::Pass;
use aquatint_batch::{NoisyBatch, PackedBatch};
use aquatint_compute::softmax_row;
use aquatint_diffusion::{
    Canvas, Corrupted, Draws, Key, LossTerm, PlanSettings, PlannedStep, Process, Proposal, Remasking, ReverseStep,
    Shaping, StepPlan, TimeGrid, Vectors, propose,
};
use aquatint_generate::GenerateError;
use aquatint_network::{Denoiser, NetworkError, RowSlots, WholeRows};
use std::ops::Range;

/// A network that teaches, and how few steps it teaches.
pub(super) struct Teacher<'a> {
    pub(super) network: &'a dyn Denoiser,
    pub(super) process: &'a dyn Process,
    /// The randomness of the lessons.
    pub(super) key: Key,
    /// Steps in which the student is to fill a canvas.
    pub(super) student_steps: usize,
    /// So many tokens at the beginning of each document are given.
    pub(super) prompt: usize,
}

/// The rows of a student, and what its teacher predicts there.
pub(super) struct Lesson {
    pub(super) noisy: NoisyBatch,
    /// Of each requested row, `V` probabilities, as the student's own softmax should be.
    pub(super) targets: Vec<Vec<f32>>,
    /// What each row weighs before it is divided by the number of canvases of the step.
    pub(super) weights: Vec<f64>,
}

/// One part of a canvas on the teacher's way.
struct Walk {
    part: Range<usize>,
    canvas: Canvas,
    steps: [PlannedStep; 2],
    draws: Draws,
    /// The positions of the part with a loss term.
    open: Vec<usize>,
}

impl Teacher<'_> {
    /// The lesson of the canvases of a pass.
    pub(super) fn lesson(&self, pass: &Pass<'_>) -> Result<Lesson, TrainError> {
        let (rows, process) = (pass.rows, self.process);
        let word_vectors = self.network.word_vectors()?;
        let vectors = word_vectors.view();
        let (mut noisy, mut later) = (NoisyBatch::new(rows), NoisyBatch::new(rows));
        let mut walks = Vec::new();
        let mut weights = Vec::new();
        for (index, canvas) in rows.canvases.iter().enumerate() {
            let mut draws = self.key.at((pass.first + index) as u64, pass.step);
            let mut network_times = None;
            for part in rows.parts(canvas).into_iter().filter(|part| !part.is_empty()) {
                let open = rows.open(canvas, &part, self.prompt);
                let Some(steps) = self.steps(open.iter().filter(|open| **open).count(), &mut draws)? else {
                    continue;
                };
                let corrupted = process.corrupt(&rows.tokens[part.clone()], &open, steps[0].from, &mut draws);
                let positions: Vec<usize> = corrupted.terms.iter().map(|term| term.position).collect();
                network_times =
                    Some((corrupted.noise, process.network_time(steps[1].from, positions.len(), part.len())));
                weights.extend(positions.iter().map(|_| 1.0 / positions.len() as f64));
                let canvas = laid_out(process, &corrupted, &rows.tokens[part.clone()], vectors);
                noisy.put(part.clone(), Corrupted { constant: 0.0, ..corrupted });
                walks.push(Walk { part, canvas, steps, draws: draws.clone(), open: positions });
            }
            // A canvas without rows has no sequence.
            if !canvas.is_empty() {
                let (now, then) = network_times.unwrap_or_default();
                noisy.times.push(now as f32);
                later.times.push(then as f32);
            }
        }
        let mut first = self.logits(&noisy, rows)?;
        let mut requested = 0;
        // The requested rows that are open at the second step, by their index among all.
        let mut left = Vec::new();
        for walk in &mut walks {
            let count = walk.open.len();
            let logits = &mut first[requested..requested + count];
            left.extend(walk.advance(process, logits, vectors)?.into_iter().map(|index| requested + index));
            requested += count;
            let read = process.network_input(&walk.canvas, 0..0, 0, self.key);
            let terms = noisy.terms[requested - count..requested].iter();
            let terms = terms.map(|term| LossTerm { position: term.position - walk.part.start, ..*term });
            let terms = terms.filter(|term| walk.canvas.is_open(term.position)).collect();
            later.put(
                walk.part.clone(),
                Corrupted { tokens: read.tokens, points: read.points, terms, noise: 0.0, constant: 0.0 },
            );
        }
        let second = self.logits(&later, rows)?;
        let mut walk_of = walks.iter().flat_map(|walk| std::iter::repeat_n(walk, walk.open.len())).enumerate();
        let mut second = left.into_iter().zip(second).peekable();
        let mut targets = Vec::with_capacity(first.len());
        for (logits, (index, walk)) in first.into_iter().zip(&mut walk_of) {
            let position = noisy.terms[index].position - walk.part.start;
            let mut target = match second.next_if(|(open, _)| *open == index) {
                Some((_, mut logits)) => {
                    process.posterior_logits(walk.canvas.tokens()[position], walk.steps[1].from, &mut logits);
                    logits
                }
                None => logits,
            };
            // What the student's process will add to its words by itself is taken out of them.
            let mut evidence = vec![0.0; target.len()];
            process.posterior_logits(noisy.tokens[walk.part.start + position], walk.steps[0].from, &mut evidence);
            target.iter_mut().zip(evidence).for_each(|(logit, evidence)| *logit -= evidence);
            softmax_row(&mut target);
            targets.push(target);
        }
        Ok(Lesson { noisy, targets, weights })
    }

    /// Two steps of the teacher, which are one of the student's, drawn evenly.
    fn steps(&self, open: usize, draws: &mut Draws) -> Result<Option<[PlannedStep; 2]>, TrainError> {
        if open == 0 {
            return Ok(None);
        }
        let process = self.process;
        let policy = process.policy();
        let (steps, grid) = (2 * self.student_steps, TimeGrid::default());
        let settings = PlanSettings {
            // Of a field, the flow; a discrete process walks as it does.
            churn: Some(0.0),
            ..PlanSettings::new(steps, process.schedule(), policy.as_ref(), &Remasking::None, &grid)
        };
        let plan = StepPlan::with_settings(&[open], &settings).map_err(NetworkError::from)?;
        let planned = plan.blocks()[0].steps();
        let pairs = planned.len() / 2;
        let pair = draws.below(pairs as u64) as usize;
        Ok(Some([planned[2 * pair], planned[2 * pair + 1]]))
    }

    /// The teacher's logits of the requested rows.
    fn logits(&self, noisy: &NoisyBatch, rows: &PackedBatch) -> Result<Vec<Vec<f32>>, TrainError> {
        let requested = noisy.rows();
        let prediction = noisy.self_conditioning(self.network, rows)?;
        let input = noisy.input(rows, self.network.spec(), prediction.as_deref());
        let slots = RowSlots::new(requested.len());
        self.network.forward_rows(&input, &requested, &|index, logits| slots.set(index, logits.to_vec()))?;
        Ok(slots.into_vec()?)
    }
}

impl Walk {
    /// Takes the first step; adds the process's evidence to the teacher's logits and returns the indices of the rows
    /// that are left open.
    fn advance(
        &mut self,
        process: &dyn Process,
        logits: &mut [Vec<f32>],
        vectors: Vectors<'_>,
    ) -> Result<Vec<usize>, TrainError> {
        let [planned, _] = self.steps;
        let mut proposal = Proposal::new();
        for (&position, logits) in self.open.iter().zip(logits.iter_mut()) {
            process.posterior_logits(self.canvas.tokens()[position], planned.from, logits);
            let candidate = propose(logits, &Shaping::NONE, process.noise_tokens(), &[], &mut self.draws);
            let candidate = candidate.map_err(|source| GenerateError::Proposal { position, source })?;
            let mut probabilities = logits.clone();
            softmax_row(&mut probabilities);
            let expected = if vectors.size > 0 { vectors.expected(&probabilities) } else { Vec::new() };
            proposal.insert_expecting(position, candidate, expected);
        }
        let (policy, key) = (process.policy(), Key::new(self.draws.next_u64()));
        let (policy, remasking) = (policy.as_ref(), &Remasking::None);
        let step = ReverseStep {
            process,
            policy,
            remasking,
            vectors,
            planned,
            key,
            settled: false,
            revise: false,
            commit_likeliest: false,
        };
        step.take(&mut self.canvas, &proposal, &[]).map_err(GenerateError::from)?;
        let is_open = |(_, position): &(usize, &usize)| self.canvas.is_open(**position);
        Ok(self.open.iter().enumerate().filter(is_open).map(|(index, _)| index).collect())
    }
}

/// A corrupted part as a canvas: what was corrupted is open, everything else given.
fn laid_out(process: &dyn Process, noisy: &Corrupted, clean: &[u32], vectors: Vectors<'_>) -> Canvas {
    let mut canvas = Canvas::new();
    let mut terms = noisy.terms.iter().map(|term| term.position).peekable();
    for (position, &token) in noisy.tokens.iter().enumerate() {
        match terms.next_if_eq(&position) {
            Some(_) => canvas.push_open(1, false, token),
            None => canvas.push_given(&[token]),
        }
    }
    canvas.hold_points(process.point_size());
    if let Some(points) = &noisy.points {
        for term in &noisy.terms {
            let position = term.position;
            // The canvas knows no words: a share of a word's own point becomes a point like any other.
            let own = vectors.of(clean[position]).iter().map(|e| points.clean_weight[position] * e);
            let own = own.chain(std::iter::repeat(0.0));
            let point: Vec<f32> = points.offset(position).iter().zip(own).map(|(rest, own)| rest + own).collect();
            canvas.hold(position, &point, points.prior_logit_scale[position]);
        }
    }
    canvas
}
