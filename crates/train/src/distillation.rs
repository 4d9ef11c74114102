//! Distillation into fewer steps: a student learns to believe at once what its teacher believes two steps later.
//!
//! From a canvas that is noisy at the beginning of one of the student's `S` steps, the teacher takes two of its `2S` along
//! the process's own walk back; the student learns its belief about every position from the noisy canvas alone, by
//! `KL(teacher ‖ student)`. A position that the teacher makes final in its first step is believed as it was then. After a
//! round the student is the teacher of the next, with half as many steps.
//!
//! For masked diffusion that is self-distillation through time (SDTT, 2410.21035, section 3); for a field, where the walk
//! without churn is the probability flow, it is progressive distillation (Salimans & Ho, 2202.00512) of the belief, which
//! makes it consistent along the flow (consistency models, 2303.01469).
//!
//! Deviation: all positions of a canvas weigh alike, and each canvas as much as any other, whatever its time.

use crate::TrainError;
use crate::recipe::Distil;
use aquatint_batch::{NoisyBatch, PackedBatch};
use aquatint_compute::softmax_row;
use aquatint_diffusion::{
    Canvas, Corrupted, Draws, Key, LossTerm, PlanSettings, PlannedStep, Process, Proposal, Remasking, ReverseStep,
    Shaping, StepPlan, TimeGrid, Vectors, propose,
};
use aquatint_network::{Denoiser, RowSlots, WholeRows};
use std::ops::Range;

/// Stream of randomness under the run's seed.
const LESSONS: u64 = 5;

/// What a student is taught by.
pub(crate) struct Distillation {
    recipe: Distil,
    teacher: Box<dyn Denoiser>,
    key: Key,
    prompt: usize,
}

/// What a student is asked, and what its teacher believes there.
pub(crate) struct Lesson {
    pub(crate) question: NoisyBatch,
    /// Of each asked row, as the student's own softmax should be.
    pub(crate) beliefs: Vec<Vec<f32>>,
    /// What each row weighs before it is divided by the number of canvases of the step.
    pub(crate) weights: Vec<f64>,
}

/// One part of a canvas on the teacher's way.
struct Walk {
    part: Range<usize>,
    canvas: Canvas,
    steps: [PlannedStep; 2],
    draws: Draws,
    /// The positions of the part that are asked.
    open: Vec<usize>,
}

impl Distillation {
    pub(crate) fn new(recipe: Distil, teacher: Box<dyn Denoiser>, prompt: usize, seed: u64) -> Self {
        Self { recipe, teacher, key: Key::new(seed).fold(LESSONS), prompt }
    }

    /// Steps in which the student of a round is to fill a canvas.
    fn student_steps(&self, round: u64) -> usize {
        (self.recipe.steps >> (round + 1)).max(1)
    }

    /// Another teacher, for a new round.
    pub(crate) fn teach_by(&mut self, teacher: Box<dyn Denoiser>) {
        self.teacher = teacher;
    }

    /// What the canvases of a pass, the first of which is the `first` of its step, are asked in a round.
    pub(crate) fn lesson(
        &self,
        process: &dyn Process,
        rows: &PackedBatch,
        (step, first): (u64, usize),
        round: u64,
    ) -> Result<Lesson, TrainError> {
        let values = self.teacher.word_vectors()?.unwrap_or_default();
        let vectors = Vectors { size: process.vector_size().unwrap_or(0), values: &values };
        let (mut question, mut later) = (NoisyBatch::new(rows), NoisyBatch::new(rows));
        let mut walks = Vec::new();
        let mut weights = Vec::new();
        for (index, canvas) in rows.canvases.iter().enumerate() {
            let mut draws = self.key.at((first + index) as u64, step);
            let mut told = None;
            for part in rows.parts(canvas).into_iter().filter(|part| !part.is_empty()) {
                let open = rows.open(canvas, &part, self.prompt);
                let Some(steps) = self.steps(process, open.iter().filter(|open| **open).count(), round, &mut draws)?
                else {
                    continue;
                };
                let noisy = process.corrupt(&rows.tokens[part.clone()], &open, steps[0].from, &mut draws);
                let positions: Vec<usize> = noisy.terms.iter().map(|term| term.position).collect();
                told = Some((noisy.noise, process.network_time(steps[1].from, positions.len(), part.len())));
                weights.extend(positions.iter().map(|_| 1.0 / positions.len() as f64));
                let canvas = laid_out(process, &noisy, &rows.tokens[part.clone()], vectors);
                question.put(part.clone(), Corrupted { constant: 0.0, ..noisy });
                walks.push(Walk { part, canvas, steps, draws: draws.clone(), open: positions });
            }
            // A canvas without rows has no sequence.
            if !canvas.is_empty() {
                let (now, then) = told.unwrap_or_default();
                question.times.push(now as f32);
                later.times.push(then as f32);
            }
        }
        let mut beliefs = self.read(&question, rows)?;
        let mut asked = 0;
        // The asked rows that are open at the second step, by their index among all.
        let mut left = Vec::new();
        for walk in &mut walks {
            let count = walk.open.len();
            let first_beliefs = &mut beliefs[asked..asked + count];
            left.extend(walk.advance(process, first_beliefs, vectors)?.into_iter().map(|index| asked + index));
            asked += count;
            let shown = process.network_input(&walk.canvas, false, 0, self.key);
            let terms = question.terms[asked - count..asked]
                .iter()
                .map(|term| LossTerm { position: term.position - walk.part.start, ..*term });
            let terms = terms.filter(|term| walk.canvas.is_open(term.position)).collect();
            later.put(
                walk.part.clone(),
                Corrupted { tokens: shown.tokens, points: shown.points, terms, noise: 0.0, constant: 0.0 },
            );
        }
        let second = self.read(&later, rows)?;
        let mut walk_of = walks.iter().flat_map(|walk| std::iter::repeat_n(walk, walk.open.len())).enumerate();
        let mut second = left.into_iter().zip(second).peekable();
        let mut targets = Vec::with_capacity(beliefs.len());
        for (belief, (index, walk)) in beliefs.into_iter().zip(&mut walk_of) {
            let position = question.terms[index].position - walk.part.start;
            let mut belief = match second.next_if(|(open, _)| *open == index) {
                Some((_, mut logits)) => {
                    process.posterior_logits(walk.canvas.tokens()[position], walk.steps[1].from, &mut logits);
                    logits
                }
                None => belief,
            };
            // What the student's process will add to its words by itself is taken out of them.
            let mut evidence = vec![0.0; belief.len()];
            process.posterior_logits(question.tokens[walk.part.start + position], walk.steps[0].from, &mut evidence);
            belief.iter_mut().zip(evidence).for_each(|(logit, evidence)| *logit -= evidence);
            softmax_row(&mut belief);
            targets.push(belief);
        }
        Ok(Lesson { question, beliefs: targets, weights })
    }

    /// Two steps of the teacher, which are one of the student's, drawn evenly.
    fn steps(
        &self,
        process: &dyn Process,
        open: usize,
        round: u64,
        draws: &mut Draws,
    ) -> Result<Option<[PlannedStep; 2]>, TrainError> {
        if open == 0 {
            return Ok(None);
        }
        let policy = process.policy();
        let settings = PlanSettings {
            steps: 2 * self.student_steps(round),
            schedule: process.schedule(),
            policy: policy.as_ref(),
            remasking: &Remasking::None,
            grid: &TimeGrid::default(),
            correctors: 0,
            // Of a field, the flow; a discrete process walks as it does.
            churn: Some(0.0),
        };
        let plan = StepPlan::with_settings(&[open], &settings).map_err(aquatint_network::NetworkError::from)?;
        let planned = plan.blocks()[0].steps();
        let pairs = planned.len() / 2;
        let pair = draws.below(pairs as u64) as usize;
        Ok(Some([planned[2 * pair], planned[2 * pair + 1]]))
    }

    /// What the teacher says of the asked rows, as logits.
    fn read(&self, question: &NoisyBatch, rows: &PackedBatch) -> Result<Vec<Vec<f32>>, TrainError> {
        let asked = question.rows();
        let belief = question.self_conditioning(self.teacher.as_ref(), rows)?;
        let input = question.input(rows, self.teacher.spec(), belief.as_deref());
        let slots = RowSlots::new(asked.len());
        self.teacher.forward_rows(&input, &asked, &|index, logits| slots.set(index, logits.to_vec()))?;
        Ok(slots.into_vec()?)
    }
}

impl Walk {
    /// Takes the first step; turns the teacher's logits into its belief and returns the indices of the rows that are left
    /// open.
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
            let candidate =
                candidate.map_err(|source| aquatint_generate::GenerateError::Proposal { position, source })?;
            let mut belief = logits.clone();
            softmax_row(&mut belief);
            let expected = if vectors.size > 0 { vectors.expected(&belief) } else { Vec::new() };
            proposal.insert_expecting(position, candidate, expected);
        }
        let (policy, key) = (process.policy(), Key::new(self.draws.next_u64()));
        let (policy, remasking) = (policy.as_ref(), &Remasking::None);
        let step = ReverseStep { process, policy, remasking, vectors, planned, key, settled: false, revise: false };
        step.take(&mut self.canvas, &proposal, &[]).map_err(aquatint_generate::GenerateError::from)?;
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
