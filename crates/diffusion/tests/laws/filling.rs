//! Whole canvases filled by a small denoiser: nothing given is touched, no mask is left, the law is the right one
//! (oracle 5), and neither batch nor order changes a canvas.

use crate::oracle::{chi_square, chi_square_limit, index, sequences};
use aquatint_diffusion::policy::{self, CommitPolicy};
use aquatint_diffusion::{
    Alphabet, Canvas, Key, Kind, Process, Proposal, Remasking, ReverseStep, Shaping, StepPlan, Vectors, process,
    propose, schedule,
};
use std::sync::Arc;

const MASK: u32 = 2;

/// A prediction in token 1 that depends on what is shown, and is consistent with no joint law, so that the order in
/// which positions are filled shows in the result.
fn prediction(shown: &[u32], position: usize) -> f64 {
    let sum: usize =
        shown.iter().enumerate().map(|(i, t)| (i + 2) * (*t as usize + 1) * if *t == MASK { 5 } else { 1 }).sum();
    0.1 + 0.8 * ((sum * 7 + position * 3) % 11) as f64 / 10.0
}

fn logits(shown: &[u32], position: usize) -> [f32; 3] {
    let p = prediction(shown, position);
    // The mask has a logit too; it has to be forbidden, not merely unlikely.
    [(1.0 - p).ln() as f32, p.ln() as f32, 1.0]
}

/// One canvas on its way.
struct Filling {
    canvas: Canvas,
    process: Arc<dyn Process>,
    plan: StepPlan,
    policy: Arc<dyn CommitPolicy>,
    remasking: Remasking,
    predictions: Vec<f64>,
    key: Key,
    next: usize,
}

impl Filling {
    fn new(mut canvas: Canvas, policy: &str, remasking: &str, steps: usize, seed: u64) -> Self {
        let schedule = schedule("linear").unwrap();
        let process = process("masked", Alphabet { size: 3, mask: Some(MASK) }, Arc::clone(&schedule)).unwrap();
        let (policy, remasking) = (policy::by_name(policy).unwrap(), remasking.parse().unwrap());
        let open = canvas.open_positions().len();
        let plan = StepPlan::new(&[open], steps, schedule.as_ref(), policy.as_ref(), &remasking).unwrap();
        process.begin(&mut canvas, Key::new(seed));
        let predictions = vec![0.0; canvas.len()];
        Self { canvas, process, plan, policy, remasking, predictions, key: Key::new(seed), next: 0 }
    }

    /// Takes one step; false when there is none left.
    fn step(&mut self) -> bool {
        let Some(&planned) = self.plan.blocks()[0].steps().get(self.next) else { return false };
        self.next += 1;
        let committed: Vec<(usize, f64)> =
            self.canvas.committed_positions().into_iter().map(|p| (p, self.predictions[p])).collect();
        let mut proposal = Proposal::new();
        for position in self.canvas.open_positions() {
            let draws = &mut self.key.at(position as u64, planned.number);
            let logits = logits(self.canvas.tokens(), position);
            proposal.insert(position, propose(&logits, &Shaping::NONE, &[MASK], &[], draws).unwrap());
        }
        let step = ReverseStep {
            process: self.process.as_ref(),
            policy: self.policy.as_ref(),
            remasking: &self.remasking,
            vectors: Vectors::default(),
            planned,
            key: self.key,
            settled: false,
            revise: false,
            commit_likeliest: false,
        };
        for position in step.take(&mut self.canvas, &proposal, &committed).unwrap().committed {
            self.predictions[position] = proposal.candidate(position).unwrap().probability;
        }
        true
    }

    fn finish(mut self) -> Canvas {
        while self.step() {}
        self.canvas
    }
}

fn template(open: usize) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&[1, 0]);
    canvas.push_open(open, false, 0);
    canvas.push_given(&[MASK, 1]);
    canvas.push_open(2, true, 0);
    canvas.push_padding(2, 0);
    canvas
}

const POLICIES: [&str; 9] = [
    "confidence",
    "margin",
    "entropy",
    "random",
    "ancestral",
    "first-hitting",
    "threshold:0.7",
    "entropy-bound:0.5",
    "last",
];
const REMASKINGS: [&str; 5] = ["none", "cap:0.2", "rescale:0.5", "conf", "loop:0.1"];

#[test]
fn every_policy_fills_every_open_position_and_touches_no_other() {
    for policy in POLICIES {
        for remasking in REMASKINGS {
            for (seed, steps) in [1, 3, 8, 40].into_iter().enumerate() {
                let before = template(7);
                let after = Filling::new(before.clone(), policy, remasking, steps, seed as u64).finish();
                assert_eq!(after.open_positions(), [0usize; 0], "{policy}, {remasking}, {steps} steps");
                for position in 0..before.len() {
                    match before.kind(position) {
                        Some(Kind::Open) => assert!(after.tokens()[position] < MASK, "{policy}, {remasking}: a mask"),
                        _ => assert_eq!(after.tokens()[position], before.tokens()[position], "{policy}, {remasking}"),
                    }
                }
            }
        }
    }
}

#[test]
fn remasking_takes_something_back() {
    let mut filling = Filling::new(template(12), "ancestral", "rescale:0.8", 30, 5);
    let (mut most, mut fell) = (0, false);
    while filling.step() {
        let committed = filling.canvas.committed_positions().len();
        fell |= committed < most;
        most = most.max(committed);
    }
    assert!(fell);
}

/// A canvas is the same alone, in a batch of unlike ones, and whatever the order in which the batch takes its steps.
#[test]
fn a_seed_gives_the_same_canvas_at_any_batch_size() {
    for policy in POLICIES {
        for remasking in ["none", "cap:0.2", "conf"] {
            let filling =
                |seed: u64| Filling::new(template(4 + seed as usize), policy, remasking, 6 + seed as usize, seed);
            let alone: Vec<Canvas> = (0..5).map(|seed| filling(seed).finish()).collect();
            let mut batch: Vec<Filling> = (0..5).rev().map(filling).collect();
            while batch.iter_mut().fold(false, |any, one| one.step() | any) {}
            let together: Vec<Canvas> = batch.into_iter().rev().map(|one| one.canvas).collect();
            assert_eq!(alone, together, "{policy}, {remasking}");
        }
    }
    let tokens = |seed| Filling::new(template(20), "confidence", "none", 20, seed).finish().tokens().to_vec();
    assert_eq!(tokens(1), tokens(1));
    assert_ne!(tokens(1), tokens(2));
}

/// The exact law of filling three positions one by one in a uniformly random order.
fn one_by_one() -> Vec<f64> {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let law = |result: Vec<u32>| -> f64 {
        let along = |order: &[usize; 3]| {
            let mut shown = [MASK; 3];
            let chance = |position: &usize| {
                let p = prediction(&shown, *position);
                shown[*position] = result[*position];
                if result[*position] == 1 { p } else { 1.0 - p }
            };
            order.iter().map(chance).product::<f64>() / 6.0
        };
        orders.iter().map(along).sum()
    };
    sequences(2, 3).map(law).collect()
}

/// Oracle 5: first hitting and ancestral sampling in many steps have the same law, which is the one by one law; few
/// ancestral steps have another one.
#[test]
fn first_hitting_has_the_law_of_ancestral_sampling() {
    let exact = one_by_one();
    assert!((exact.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let statistic = |policy: &str, steps: usize| {
        let mut observed = vec![0; 8];
        for seed in 0..8000 {
            let mut canvas = Canvas::new();
            canvas.push_open(3, false, MASK);
            let canvas = Filling::new(canvas, policy, "none", steps, seed).finish();
            observed[index(canvas.tokens(), 2)] += 1;
        }
        chi_square(&observed, &exact)
    };
    let (hitting, many, few) = (statistic("first-hitting", 1), statistic("ancestral", 300), statistic("ancestral", 1));
    assert!(hitting < chi_square_limit(7), "first hitting: {hitting}");
    assert!(many < chi_square_limit(7), "ancestral: {many}");
    assert!(few > 2.0 * chi_square_limit(7), "the test could not tell a wrong law: {few}");
}
