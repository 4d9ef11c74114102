//! DiffusionGemma's `generate()` (golden/diffusion_gemma/README.md): the canvas before each pass and its mean entropy, and
//! the text in the end. What is random there is recorded: the tokens of random canvases, and where they are not the most
//! probable ones, the proposals.
//!
//! A finished row of a batch is frozen there, and gone here. Behind an end token there is padding there, and nothing here.

use super::golden::{Folder, Trajectory, ids};
use super::recorded::uniform_of;
use aquatint::Canvas;
use aquatint::checkpoint::Checkpoint;
use aquatint::compute::{Cpu, CpuPath, Cuda, Device, Memory, ReadRow, RowDraw, Sampling, WeightFormat};
use aquatint::diffusion::policy::EntropyBound;
use aquatint::diffusion::{
    Alphabet, Commit, CommitPolicy, Corrupted, Draws, Key, Level, LossTerm, Noise, NoiseSchedule, PlanPart, Process,
    Proposal, Stability, Step, Time, TokenId, Uniforms, Vectors, WordVectors,
};
use aquatint::generate::{Cache, ConfidenceOf, DenoisingEvent, Request, Settings, StopAt, generate};
use aquatint::network::{Denoiser, ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec, RowAnswer, RowQuery};
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// The token of padding.
const PAD: TokenId = 320;
/// Positions of a canvas.
const CANVAS: usize = 16;

/// What is recorded of one row of a trajectory.
#[derive(Debug)]
struct Recording {
    prompt: Vec<TokenId>,
    /// The canvas before each pass.
    canvases: Vec<Vec<TokenId>>,
    /// Of each canvas its first pass.
    starts: Vec<usize>,
    /// One at the start of each canvas, one after each pass.
    uniforms: Vec<Vec<TokenId>>,
    /// Of each pass.
    entropies: Vec<f64>,
    /// Of each pass, where they are not the most probable tokens.
    proposals: Option<Vec<Vec<TokenId>>>,
    result: Vec<TokenId>,
    steps: usize,
    temperatures: (f64, f64),
}

impl Recording {
    fn new(folder: &Folder, trajectory: &Trajectory, row: usize) -> Self {
        let value = &trajectory.0;
        let of_passes = |key: &str| -> Vec<Vec<TokenId>> {
            value[key].as_array().unwrap().iter().map(|pass| ids(&pass[row])).collect()
        };
        let named = |key: &str| value[key].as_str();
        let tensor = |name: &str| -> Vec<Vec<f64>> {
            let rows = folder.tensors.shape(name)[1];
            let all: Vec<&[f64]> = folder.tensors.values(name).chunks(CANVAS).collect();
            all.iter().skip(row).step_by(rows).map(|values| values.to_vec()).collect()
        };
        let tokens = |name: &str| -> Vec<Vec<TokenId>> {
            let token = |value: f64| value as TokenId;
            tensor(name).into_iter().map(|values| values.into_iter().map(token).collect()).collect()
        };
        let (canvases, uniforms) = (of_passes("canvases"), tokens(named("uniforms").unwrap()));
        let mut starts: Vec<usize> = Vec::new();
        for (pass, canvas) in canvases.iter().enumerate() {
            if uniforms[pass + starts.len()] == *canvas {
                starts.push(pass);
            }
        }
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / CANVAS as f64;
        Self {
            prompt: trajectory.prompt(row),
            starts,
            uniforms,
            entropies: tensor(named("entropies").unwrap()).into_iter().map(mean).collect(),
            proposals: named("proposals").map(tokens),
            result: ids(&value["sequences"][row]),
            steps: trajectory.count("max_denoising_steps"),
            temperatures: (trajectory.number("t_max"), trajectory.number("t_min")),
            canvases,
        }
    }

    /// The temperature of a pass of a canvas.
    fn temperature(&self, index: usize) -> f64 {
        let (first, last) = self.temperatures;
        last + (first - last) * (self.steps - index) as f64 / self.steps as f64
    }
}

/// The numbers by which a row draws its tokens, of the pass at hand.
#[derive(Debug)]
struct Numbers {
    recording: Arc<Recording>,
    /// By position.
    uniforms: Mutex<BTreeMap<usize, f64>>,
    /// The canvas at hand, and its passes so far.
    passes: Mutex<(usize, usize)>,
}

impl Uniforms for Numbers {
    fn uniform(&self, position: usize, _: u64) -> f64 {
        self.uniforms.lock().unwrap().get(&position).copied().unwrap_or(0.5)
    }
}

impl Numbers {
    /// Counts a pass over a canvas; its number in that canvas.
    fn count(&self, canvas: usize) -> usize {
        let mut passes = self.passes.lock().unwrap();
        *passes = if passes.0 == canvas { (canvas, passes.1 + 1) } else { (canvas, 1) };
        passes.1 - 1
    }

    /// Finds the number that leads to the recorded token of a position.
    fn find(&self, position: usize, index: usize, logits: &[f32]) {
        let (canvas, place) = place(position, &self.recording);
        let likeliest = || {
            let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            logits.iter().position(|logit| *logit == top).unwrap() as TokenId
        };
        let proposals = self.recording.proposals.as_ref();
        let token = proposals.map_or_else(likeliest, |all| all[self.recording.starts[canvas] + index][place]);
        let sampling = Sampling { temperature: self.recording.temperature(index), ..Sampling::NONE };
        let uniform = uniform_of(token, logits, &RowDraw::new(sampling, 0.5));
        self.uniforms.lock().unwrap().insert(position, uniform);
    }
}

/// The canvas of a position, and its place there.
fn place(position: usize, recording: &Recording) -> (usize, usize) {
    let behind = position - recording.prompt.len();
    (behind / CANVAS, behind % CANVAS)
}

/// A network whose draws are those of the reference.
struct Drawing<'a> {
    network: &'a dyn Denoiser,
    rows: Vec<Arc<Numbers>>,
}

impl Denoiser for Drawing<'_> {
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
        let NetworkInput { tokens, positions, visibility, .. } = *pass.input;
        let sequences = visibility.sequences();
        // The row of the trajectory that each sequence is, by its prompt.
        let owners: Vec<&Arc<Numbers>> = sequences
            .iter()
            .map(|rows| {
                let own = &tokens[rows.start as usize..];
                self.rows.iter().find(|row| own.starts_with(&row.recording.prompt)).unwrap()
            })
            .collect();
        let sequence_of = |row: u32| sequences.iter().position(|rows| rows.contains(&row)).unwrap();
        let mut counted: BTreeMap<usize, usize> = BTreeMap::new();
        for query in queries {
            let sequence = sequence_of(query.row);
            let position = positions[query.row as usize] as usize;
            let count = || owners[sequence].count(place(position, &owners[sequence].recording).0);
            counted.entry(sequence).or_insert_with(count);
        }
        self.network.forward(pass, queries, &|index, logits| {
            let row = queries[index].row;
            let sequence = sequence_of(row);
            owners[sequence].find(positions[row as usize] as usize, counted[&sequence], logits);
            read(index, logits);
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

/// The process of the network with recorded noise: tokens in the order in which they are drawn.
#[derive(Debug)]
struct RecordedNoise {
    process: Arc<dyn Process>,
    tokens: Arc<Mutex<VecDeque<TokenId>>>,
}

impl Process for RecordedNoise {
    fn noise(&self, _: &mut Draws) -> Noise {
        let token = self.tokens.lock().unwrap().pop_front().expect("a recorded token");
        Noise { token, point: None, prior_logit_scale: 0.0 }
    }

    fn name(&self) -> String {
        self.process.name()
    }
    fn schedule(&self) -> &dyn NoiseSchedule {
        self.process.schedule()
    }
    fn noise_tokens(&self) -> &[TokenId] {
        self.process.noise_tokens()
    }
    fn first_token(&self) -> Option<TokenId> {
        self.process.first_token()
    }
    fn point_size(&self) -> Option<usize> {
        self.process.point_size()
    }
    fn reads_points(&self) -> bool {
        self.process.reads_points()
    }
    fn vector_size(&self) -> Option<usize> {
        self.process.vector_size()
    }
    fn level(&self, t: Time) -> Option<Level> {
        self.process.level(t)
    }
    fn revises(&self) -> bool {
        self.process.revises()
    }
    fn policy(&self) -> Arc<dyn CommitPolicy> {
        self.process.policy()
    }
    fn is_bounded(&self) -> bool {
        self.process.is_bounded()
    }
    fn learns_bound(&self) -> bool {
        self.process.learns_bound()
    }
    fn has_fixed_count(&self) -> bool {
        self.process.has_fixed_count()
    }
    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.process.corrupt(clean, open, t, draws)
    }
    fn corrupt_for_bound(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted {
        self.process.corrupt_for_bound(clean, open, t, draws)
    }
    fn corrupt_count(&self, clean: &[TokenId], open: &[bool], count: usize, draws: &mut Draws) -> Option<Corrupted> {
        self.process.corrupt_count(clean, open, count, draws)
    }
    fn network_time(&self, t: Time, noisy: usize, length: usize) -> f64 {
        self.process.network_time(t, noisy, length)
    }
    fn evidence(&self, shown: TokenId, t: Time) -> Option<f32> {
        self.process.evidence(shown, t)
    }
    fn shown_evidence(&self, shown: TokenId, t: Time) -> f32 {
        self.process.shown_evidence(shown, t)
    }
    fn mass(&self, log_sum_exp: f64) -> f64 {
        self.process.mass(log_sum_exp)
    }
    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key, vectors: Vectors<'_>) {
        self.process.renoise(canvas, positions, step, key, vectors);
    }
    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key) {
        self.process.advance(canvas, proposal, step, key);
    }
}

/// The entropy bound of the engine, which puts the recorded noise of what is not accepted in its place.
#[derive(Debug)]
struct RecordedBound {
    bound: EntropyBound,
    recording: Arc<Recording>,
    tokens: Arc<Mutex<VecDeque<TokenId>>>,
}

impl CommitPolicy for RecordedBound {
    fn name(&self) -> String {
        self.bound.name()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        let accepted = self.bound.select(step, proposal, key);
        let left = proposal.positions().iter().filter(|position| !accepted.positions.contains(position));
        let drawn = left.map(|&position| {
            let (canvas, place) = place(position, &self.recording);
            self.recording.uniforms[self.recording.starts[canvas] + step.planned.index + canvas + 1][place]
        });
        self.tokens.lock().unwrap().extend(drawn);
        accepted
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        self.bound.steps(open, requested)
    }

    fn reads(&self) -> PlanPart {
        self.bound.reads()
    }
}

/// Follows a trajectory; says how it differs.
fn follow(network: &dyn Denoiser, folder: &Folder, name: &str, cache: Cache) -> Result<(), String> {
    let trajectory = folder.trajectory(name);
    let rows = trajectory.0["prompt"].as_array().unwrap().len();
    let recordings: Vec<Arc<Recording>> =
        (0..rows).map(|row| Arc::new(Recording::new(folder, &trajectory, row))).collect();
    let tokens = Arc::new(Mutex::new(VecDeque::new()));
    let (open, settings) = (trajectory.count("max_new_tokens"), &trajectory.0["settings"]);
    let ends = settings["eos_token_id"].as_array().cloned().unwrap_or_else(|| vec![settings["eos_token_id"].clone()]);
    let ends: Vec<TokenId> = ends.iter().map(|end| end.as_u64().unwrap() as TokenId).collect();
    let stability =
        Stability::new(trajectory.count("stability_threshold"), trajectory.number("confidence_threshold")).unwrap();
    let mut requests = Vec::new();
    let mut drawing = Drawing { network, rows: Vec::new() };
    for recording in &recordings {
        let mut canvas = Canvas::new();
        canvas.push_given(&recording.prompt);
        canvas.push_open(open, true, 0);
        // Of a canvas that is never begun, nothing is recorded.
        for start in 0..open / CANVAS {
            let own = recording.starts.get(start).map(|pass| recording.uniforms[pass + start].clone());
            tokens.lock().unwrap().extend(own.unwrap_or_else(|| vec![0; CANVAS]));
        }
        let bound = EntropyBound::new(trajectory.number("entropy_bound")).unwrap();
        let policy = RecordedBound { bound, recording: Arc::clone(recording), tokens: Arc::clone(&tokens) };
        let (first, last) = recording.temperatures;
        let settings = Settings::builder()
            .steps(recording.steps)
            .temperature(first)
            .final_temperature(last)
            .policy(Arc::new(policy))
            .revise(true)
            .commit_likeliest(true)
            .stability(stability.clone())
            .confidence_of(ConfidenceOf::Shaped { temperature: None })
            .stop_at(StopAt::Block)
            .cache(cache)
            .build()
            .unwrap();
        let (uniforms, passes) = (Mutex::default(), Mutex::new((usize::MAX, 0)));
        let numbers = Arc::new(Numbers { recording: Arc::clone(recording), uniforms, passes });
        requests.push(Request {
            uniforms: Some(numbers.clone()),
            ..Request::new(canvas, settings).with_ends(ends.clone())
        });
        drawing.rows.push(numbers);
    }
    let spec = network.spec();
    let alphabet = Alphabet { size: spec.vocabulary_size, mask: spec.mask_token };
    let process = RecordedNoise { process: spec.process.build(alphabet).unwrap(), tokens };
    let mut now: Vec<Vec<TokenId>> = vec![Vec::new(); rows];
    let mut differences = Vec::new();
    let mut followed = vec![0; rows];
    let outcomes = generate(&drawing, &process, &requests, &mut |row, event| {
        let recording = &recordings[row];
        match event {
            DenoisingEvent::Started { canvas, .. } => now[row] = canvas.tokens().to_vec(),
            DenoisingEvent::Step { block, step, changes, entropy, .. } => {
                let pass = recording.starts[block] + step;
                let own = &now[row][recording.prompt.len() + block * CANVAS..][..CANVAS];
                if own != recording.canvases[pass] {
                    differences.push(format!("row {row}, pass {pass}: {own:?} for {:?}", recording.canvases[pass]));
                    return ControlFlow::Break(());
                }
                let expected = recording.entropies[pass];
                if (entropy - expected).abs() > 1e-3 {
                    differences.push(format!("row {row}, pass {pass}: entropy {entropy} for {expected}"));
                }
                followed[row] = pass + 1;
                changes.iter().for_each(|change| now[row][change.position] = change.token);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    for (row, outcome) in outcomes.into_iter().enumerate() {
        let recording = &recordings[row];
        let canvas = outcome.map_err(|error| error.to_string())?.canvas;
        let expected = |position: usize| recording.result.get(position).copied().unwrap_or(PAD);
        let shown = |position: usize| if canvas.is_closed(position) { PAD } else { canvas.tokens()[position] };
        let wrong: Vec<usize> = (0..canvas.len()).filter(|position| shown(*position) != expected(*position)).collect();
        if !wrong.is_empty() {
            differences.push(format!("row {row}: other tokens in the end at {wrong:?}"));
        }
        // All passes of the reference, but for those of a row that is frozen.
        if rows == 1 && followed[row] != recording.canvases.len() {
            differences.push(format!("{} passes for {}", followed[row], recording.canvases.len()));
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
}

/// Follows trajectories on a device; what differs.
fn on<D: Device>(device: D, folder: &Folder, names: &[&str], cache: Cache) -> Vec<String> {
    let words = device.describe();
    let checkpoint = Checkpoint::load(folder.path()).unwrap();
    let network = checkpoint.inference_network(device, WeightFormat::F32).unwrap();
    let follow = |name: &&str| follow(&network, folder, name, cache).err().map(|error| (name.to_string(), error));
    names.iter().filter_map(follow).map(|(name, error)| format!("{name} on {words}, {cache} cache: {error}")).collect()
}

#[test]
fn diffusion_gemma_is_followed_pass_by_pass() {
    let folder = Folder::open("diffusion_gemma");
    let names: Vec<&str> = folder.names().collect();
    assert_eq!(names.len(), 8);
    let mut differences = Vec::new();
    for path in CpuPath::available() {
        differences.extend(on(Cpu::<f32>::new(path, 1).unwrap(), &folder, &names, Cache::Exact));
    }
    differences.extend(on(Cpu::<f32>::scalar(), &folder, &["adaptive_stop_any", "ends"], Cache::None));
    for device in Cuda::tested() {
        let emulated = device.describe().contains("emulated");
        let names = if emulated { vec!["adaptive_stop_any"] } else { names.clone() };
        differences.extend(on(device, &folder, &names, Cache::Exact));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
