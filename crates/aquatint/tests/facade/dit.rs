//! The samplers of MDLM, BD3-LM and SEDD, followed step by step by the ordinary engine (golden/mdlm/README.md): the canvas
//! is the same before each pass that changes it.
//!
//! Their draws are hashed numbers. Where a reference draws a position, it takes the largest of `q / e` over the tokens and
//! the mask, with `e` exponential; q are the probabilities of the engine here: those of the tokens as its settings shape
//! them, and that of staying as its plan and its process have it.
//!
//! Known deviation: the references end at time 1e-5, and look once more at a canvas that is full by then.

use aquatint::checkpoint::Checkpoint;
use aquatint::compute::{Cpu, CpuPath, Cuda, Device, ReadRow, RowDraw, ShapedRow, WeightFormat, shape_row};
use aquatint::diffusion::policy::{Ancestral, FirstHitting};
use aquatint::diffusion::{
    Commit, CommitPolicy, Key, LossTerm, PlanPart, Proposal, Step, TimeGrid, TokenId, WordVectors,
};
use aquatint::generate::{Cache, DenoisingEvent, Request, Settings, SettingsBuilder, generate};
use aquatint::network::{
    Denoiser, DrawnRow, ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec, Query, RowAnswer, RowQuery,
};
use aquatint::{Canvas, Outcome};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of a call of the reference's generator, for the flat index in what it fills, in f32.
fn uniform(call: usize, index: usize) -> f64 {
    let mut z = (((call as u64) << 32) + index as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
}

/// What the reference divides a probability by.
fn exponential(call: usize, index: usize) -> f64 {
    1e-10 - (uniform(call, index) + 1e-10).ln()
}

/// How a reference numbers its calls.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Numbering {
    /// One for each pass, over all positions.
    Whole,
    /// One for each pass, over the positions of a block of so many.
    Blocks(usize),
    /// Three for each pass: a time, which changes nothing, the tokens of a block, and which position becomes final.
    FirstHitting(usize),
}

/// The draws of a trajectory: what the tokens of a pass came to.
#[derive(Debug)]
struct Draws {
    numbering: Numbering,
    vocabulary_size: usize,
    pass: AtomicUsize,
    /// At each position the largest `p / e` of the last pass.
    largest: Mutex<BTreeMap<usize, f64>>,
}

impl Draws {
    /// The call that gives the tokens of the pass of this number, and the index of a token at a position in it.
    fn place(&self, pass: usize, position: usize, token: usize) -> (usize, usize) {
        let (call, row) = match self.numbering {
            Numbering::Whole => (pass, position),
            Numbering::Blocks(length) => (pass, position % length),
            Numbering::FirstHitting(length) => (3 * pass + 1, position % length),
        };
        (call, row * self.vocabulary_size + token)
    }

    fn exponential(&self, pass: usize, position: usize, token: usize) -> f64 {
        let (call, index) = self.place(pass, position, token);
        exponential(call, index)
    }

    /// The token of a row, drawn by the numbers of the reference from what the draw's own settings make of the row.
    fn drawn(&self, pass: usize, position: usize, logits: &[f32], draw: &RowDraw<'_>) -> DrawnRow {
        let ShapedRow { summary, logits: shaped, retained } = shape_row(&mut logits.to_vec(), draw);
        let top = shaped.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight = |token: usize| match &retained {
            Some(retained) if !retained.contains(&(token as u32)) => 0.0,
            _ => ((shaped[token] - top) / draw.sampling.temperature).exp(),
        };
        let weights: Vec<f64> = (0..shaped.len()).map(weight).collect();
        let total: f64 = weights.iter().sum();
        let score = |token: usize| weights[token] / total / self.exponential(pass, position, token);
        let token = (0..weights.len()).max_by(|a, b| score(*a).total_cmp(&score(*b))).unwrap();
        self.largest.lock().unwrap_or_else(PoisonError::into_inner).insert(position, score(token));
        let probability = (f64::from(logits[token]) - summary.log_sum_exp).exp();
        DrawnRow { summary, token: Some((token as u32, probability)), best: Vec::new() }
    }

    /// The number of the last pass.
    fn last(&self) -> usize {
        self.pass.load(Ordering::Relaxed) - 1
    }
}

/// A network whose tokens are drawn by the numbers of a reference.
struct Followed<'a> {
    network: &'a dyn Denoiser,
    draws: Arc<Draws>,
}

impl Denoiser for Followed<'_> {
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
        _: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let number = self.draws.pass.fetch_add(1, Ordering::Relaxed);
        let positions = pass.input.positions;
        let whole: Vec<RowQuery<'_>> =
            queries.iter().map(|query| RowQuery { row: query.row, query: Query::WholeRow }).collect();
        let answers = Mutex::new(vec![RowAnswer::Read; queries.len()]);
        self.network.forward(pass, &whole, &|index, logits| {
            let RowQuery { row, query } = queries[index];
            let Query::Draw(draw) = query else { panic!("{query:?}") };
            let drawn = self.draws.drawn(number, positions[row as usize] as usize, logits, &draw);
            answers.lock().unwrap_or_else(PoisonError::into_inner)[index] = RowAnswer::Drawn(drawn);
        })?;
        Ok(answers.into_inner().unwrap_or_else(PoisonError::into_inner))
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

/// The policies `ancestral` and `first-hitting` by the numbers of a reference.
#[derive(Debug)]
struct ByNumbers(Arc<Draws>);

impl CommitPolicy for ByNumbers {
    fn name(&self) -> String {
        "by recorded numbers".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, _: Key) -> Commit {
        let pass = self.0.last();
        if let Numbering::FirstHitting(_) = self.0.numbering {
            let chosen = (uniform(3 * pass + 2, 0) * proposal.len() as f64) as usize;
            return Commit { positions: vec![proposal.positions()[chosen]] };
        }
        let largest = self.0.largest.lock().unwrap_or_else(PoisonError::into_inner);
        let mask = self.0.vocabulary_size - 1;
        Ancestral.select_by(step, proposal, |position| {
            let staying = proposal.candidate(position).map_or(1.0, |candidate| Ancestral::staying(step, candidate));
            let mask = staying / self.0.exponential(pass, position, mask);
            // A number on this or that side of the probability, as the race between the mask and the tokens ends.
            if (1.0 - staying) * largest[&position] > mask { 1.0 } else { staying.next_down() }
        })
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        match self.0.numbering {
            Numbering::FirstHitting(_) => FirstHitting.steps(open, requested),
            Numbering::Whole | Numbering::Blocks(_) => Ancestral.steps(open, requested),
        }
    }

    fn reads(&self) -> PlanPart {
        Ancestral.reads()
    }
}

/// Trajectories that are one here, and how the engine is set up for them.
struct Case {
    names: &'static [&'static str],
    numbering: Numbering,
    /// The tokens that are given.
    prompt: &'static [TokenId],
    settings: fn(SettingsBuilder) -> SettingsBuilder,
}

/// Follows all trajectories of a family on the slowest and the fastest path of the processor, and those of a few steps on a
/// GPU, where many take long when it is emulated.
fn follow(family: &str, cases: &[Case]) {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../golden", family].iter().collect();
    let golden: Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap();
    let trajectories = golden["trajectories"].as_array().unwrap();
    let names: BTreeSet<&str> = trajectories.iter().map(|trajectory| trajectory["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        cases.iter().flat_map(|case| case.names.iter().copied()).collect(),
        "the trajectories of {family}"
    );
    let checkpoint = Checkpoint::load(&folder).unwrap();
    let paths = CpuPath::available();
    for case in cases {
        let of = |trajectory: &&Value| case.names.iter().any(|name| trajectory["name"] == *name);
        let trajectories: Vec<&Value> = trajectories.iter().filter(of).collect();
        for path in [paths.first(), paths.last()].into_iter().flatten() {
            follow_on(Cpu::<f32>::new(*path, 1).unwrap(), &checkpoint, case, &trajectories);
        }
        let is_short = trajectories.iter().all(|trajectory| trajectory["passes"].as_u64() < Some(30));
        let is_short = is_short && trajectories[0]["settings"]["steps"].as_u64() < Some(30);
        for device in Cuda::tested().into_iter().filter(|_| is_short) {
            follow_on(device, &checkpoint, case, &trajectories);
        }
    }
}

fn follow_on<D: Device>(device: D, checkpoint: &Checkpoint, case: &Case, trajectories: &[&Value]) {
    let words = format!("{:?} on {}", case.names, device.describe());
    let network = checkpoint.inference_network(device, WeightFormat::F32).unwrap();
    let (mask, process) = (checkpoint.spec.mask_token.unwrap(), checkpoint.spec.process().unwrap().unwrap());
    let ids =
        |row: &Value| -> Vec<u32> { row.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect() };
    let changing = |trajectory: &Value| -> Vec<Vec<u32>> {
        let mut states: Vec<Vec<u32>> = trajectory["states"].as_array().unwrap().iter().map(|s| ids(&s[0])).collect();
        let length = states.last().unwrap().len();
        states.iter_mut().for_each(|state| state.resize(length, mask));
        states.dedup();
        states
    };
    let expected: Vec<Vec<Vec<u32>>> = trajectories.iter().map(|trajectory| changing(trajectory)).collect();
    let length = expected[0][0].len();

    let draws = Arc::new(Draws {
        numbering: case.numbering,
        vocabulary_size: checkpoint.spec.vocabulary_size,
        pass: AtomicUsize::new(0),
        largest: Mutex::default(),
    });
    let policy = Arc::new(ByNumbers(Arc::clone(&draws)));
    let settings = (case.settings)(Settings::builder().policy(policy)).build().unwrap();
    let mut canvas = Canvas::new();
    canvas.push_given(case.prompt);
    canvas.push_open(length - case.prompt.len(), false, mask);
    let mut now = canvas.tokens().to_vec();
    let mut states = vec![now.clone()];
    let followed = Followed { network: &network, draws };
    let outcomes = generate(&followed, process.as_ref(), &[Request::new(canvas, settings)], &mut |_, event| {
        if let DenoisingEvent::Step { changes, .. } = event {
            changes.iter().for_each(|change| now[change.position] = change.token);
            states.push(now.clone());
        }
        ControlFlow::Continue(())
    });
    states.dedup();
    let [Ok(Outcome { canvas, .. })] = &outcomes[..] else { panic!("{words}: {outcomes:?}") };
    for expected in &expected {
        for (index, (state, expected)) in states.iter().zip(expected).enumerate() {
            assert_eq!(state, expected, "{words}, canvas {index}");
        }
        assert_eq!(states.len(), expected.len(), "{words}");
    }
    assert_eq!(canvas.tokens(), now, "{words}");
}

#[test]
fn mdlm_walks_back_as_its_own_samplers_do() {
    let case = |names, settings| Case { names, numbering: Numbering::Whole, prompt: &[], settings };
    follow(
        "mdlm",
        &[
            case(&["ddpm", "ddpm_cache", "analytic"], |settings| settings.steps(16)),
            case(&["ddpm_cache_64"], |settings| settings.steps(64)),
        ],
    );
}

#[test]
fn sedd_walks_back_as_its_own_predictors_do() {
    let case = |names, settings| Case { names, numbering: Numbering::Whole, prompt: &[], settings };
    follow(
        "sedd",
        &[
            case(&["euler", "analytic"], |settings| settings.steps(16)),
            case(&["euler_64"], |settings| settings.steps(64)),
        ],
    );
}

/// Times of 12 steps from 1 in which a mask stays with the probabilities of the reference, which takes `t − 1/12` for the
/// end of a step that begins at `t`, one of 12 even times from 1 to 0.
fn times_of_bd3lm() -> TimeGrid {
    let mut times = vec![1.0];
    for step in 0..11 {
        let stays = 1.0 - (1.0 / 12.0) / (1.0 - f64::from(step) / 11.0);
        times.push(times.last().unwrap() * stays);
    }
    times.push(0.0);
    times.reverse();
    TimeGrid::of_times(times).unwrap()
}

#[test]
fn bd3lm_fills_blocks_as_its_own_samplers_do() {
    let case = |names, numbering, settings| Case { names, numbering, prompt: &[320], settings };
    let first_hitting = Numbering::FirstHitting(4);
    follow(
        "bd3lm",
        &[
            case(&["first_hitting"], first_hitting, |settings| settings.cache(Cache::None)),
            case(&["first_hitting_cache"], first_hitting, |settings| settings.cache(Cache::Exact)),
            case(&["first_hitting_nucleus"], first_hitting, |settings| settings.cache(Cache::None).top_p(0.9)),
            case(&["steps"], Numbering::Blocks(4), |settings| {
                settings.cache(Cache::None).steps(12).time_grid(times_of_bd3lm())
            }),
        ],
    );
}
