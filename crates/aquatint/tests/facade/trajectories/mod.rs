//! What the samplers of each family of checkpoints do, followed step by step by the engine: the canvas is the same before
//! each pass as in the recorded trajectories (golden/FAMILY/README.md), on the scalar and the fastest path, some on an
//! emulated GPU and all on a real one.
//!
//! A [`Case`] names a trajectory and says its settings in our words. Passes that change nothing (a prefill, a block that
//! is stored) have no state of their own here.

mod a2d;
mod diffusion_gemma;
mod dream;
mod fast_dllm_v2;
mod golden;
mod illada;
mod llada;
mod llada2_moe;
mod llada_moe;
mod mmada;
mod recorded;
mod rnd1;
mod sdar;
mod sdar_moe;

use aquatint::Canvas;
use aquatint::checkpoint::Checkpoint;
use aquatint::compute::{Cpu, CpuPath, Cuda, Device, Memory, WeightFormat};
use aquatint::diffusion::{Domain, Layout, PositionState, Span, TokenId, Uniforms};
use aquatint::generate::{DenoisingEvent, Request, Settings, SettingsBuilder, generate};
use aquatint::network::Denoiser;
use golden::{Folder, Trajectory};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A trajectory and how the engine is set up to follow it.
pub(crate) struct Case {
    /// Its name in `golden.json`.
    pub(crate) name: &'static str,
    /// Its settings.
    pub(crate) settings: fn(SettingsBuilder, &Trajectory) -> SettingsBuilder,
    /// The tokens that the reference drew, where it drew any.
    pub(crate) draws: Option<recorded::Draws>,
    /// The layout by which the network is read, where it is not that of its `config.json`.
    pub(crate) layout: Option<fn(&Trajectory) -> Layout>,
    /// What its holes hold, where that is not any token.
    pub(crate) domain: Option<fn(&Trajectory, usize) -> Domain>,
    /// How many passes of it are followed on an emulated GPU, too; a real one follows all.
    pub(crate) emulated: usize,
}

impl Case {
    /// A trajectory without recorded draws of tokens.
    pub(crate) const fn new(name: &'static str, settings: fn(SettingsBuilder, &Trajectory) -> SettingsBuilder) -> Self {
        Self { name, settings, draws: None, layout: None, domain: None, emulated: 0 }
    }
}

impl Case {
    /// The same, followed on an emulated GPU as well: one of each kind, since that takes a second for every ten passes.
    pub(crate) const fn emulated(self) -> Self {
        Self { emulated: usize::MAX, ..self }
    }

    /// The same with the first passes only, which tell whether a family's network is read there as elsewhere.
    pub(crate) const fn begun(self) -> Self {
        Self { emulated: 3, ..self }
    }
}

/// Follows all trajectories of a family, each of which has to have a case, and reports all that differ.
pub(crate) fn follow(family: &str, cases: &[Case]) {
    follow_in(&Folder::open(family), cases);
}

/// The same of the trajectories in a file.
pub(crate) fn follow_in(folder: &Folder, cases: &[Case]) {
    let mut names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    let mut recorded: Vec<&str> = folder.names().collect();
    names.sort_unstable();
    recorded.sort_unstable();
    assert_eq!(names, recorded, "the trajectories of {}", folder.path().display());
    let paths = CpuPath::available();
    let ends: BTreeSet<String> = [paths.first(), paths.last()].into_iter().flatten().map(ToString::to_string).collect();
    let mut differences = Vec::new();
    for path in paths.into_iter().filter(|path| ends.contains(&path.to_string())) {
        let device = Cpu::<f32>::new(path, 1).expect("an available path");
        differences.extend(on(device, folder, &cases.iter().collect::<Vec<_>>(), &path.to_string()));
    }
    for device in Cuda::tested() {
        let words = device.describe();
        let followed: Vec<&Case> =
            cases.iter().filter(|case| case.emulated > 0 || !words.contains("emulated")).collect();
        differences.extend(on(device, folder, &followed, &words));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What differs on a device.
fn on<D: Device>(device: D, folder: &Folder, cases: &[&Case], words: &str) -> Vec<String> {
    let own = Checkpoint::load(folder.path()).expect("a checkpoint");
    let network = own.inference_network(device.clone(), WeightFormat::F32).expect("a network");
    let mut differences = Vec::new();
    let is_emulated = words.contains("emulated");
    for case in cases.iter().copied() {
        let most = if is_emulated { case.emulated } else { usize::MAX };
        let trajectory = folder.trajectory(case.name);
        let (mut checkpoint, relaid);
        let (of, network): (&Checkpoint, &dyn Denoiser) = match case.layout {
            None => (&own, &network),
            Some(layout) => {
                checkpoint = Checkpoint::load(folder.path()).expect("a checkpoint");
                checkpoint.spec.attention = layout(&trajectory);
                relaid = checkpoint.inference_network(device.clone(), WeightFormat::F32).expect("a network");
                (&checkpoint, &relaid)
            }
        };
        let difference = match &case.draws {
            None => difference(network, of, &trajectory, (case, most), None),
            Some(draws) => {
                let recorded = recorded::Recorded::new(network, folder, &trajectory, draws);
                let uniforms = recorded.uniforms();
                difference(&recorded, of, &trajectory, (case, most), Some(uniforms))
            }
        };
        differences.extend(difference.map(|difference| format!("{} on {words}: {difference}", case.name)));
    }
    differences
}

/// The first canvas that is another one than the reference's, of so many passes; `None` where there is none.
fn difference(
    network: &dyn Denoiser,
    checkpoint: &Checkpoint,
    trajectory: &Trajectory,
    (case, most): (&Case, usize),
    uniforms: Option<Arc<dyn Uniforms>>,
) -> Option<String> {
    let process = checkpoint.spec.process().expect("a process").expect("a diffusion model");
    let mask = checkpoint.spec.mask_token.expect("a mask");
    let settings = (case.settings)(Settings::builder().temperature(0.0), trajectory).build().expect("settings");
    let mut canvases: Vec<Canvas> = trajectory.canvases(mask);
    if let Some(domain) = case.domain.map(|domain| domain(trajectory, checkpoint.spec.vocabulary_size)) {
        canvases.iter_mut().for_each(|canvas| *canvas = holding(canvas, &domain));
    }
    let request = |canvas: &Canvas| {
        let uniforms = uniforms.clone();
        Request { uniforms, ..Request::new(canvas.clone(), settings.clone()) }
    };
    let requests: Vec<Request> = canvases.iter().map(request).collect();
    let mut now: Vec<Vec<TokenId>> = canvases.iter().map(|canvas| canvas.tokens().to_vec()).collect();
    let mut states: Vec<Vec<Vec<TokenId>>> = now.iter().map(|tokens| vec![tokens.clone()]).collect();
    let outcomes = generate(network, process.as_ref(), &requests, &mut |row, event| {
        if let DenoisingEvent::Step { changes, .. } = event {
            changes.iter().for_each(|change| now[row][change.position] = change.token);
            states[row].push(now[row].clone());
        }
        if states[row].len() > most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    for (row, outcome) in outcomes.into_iter().enumerate() {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Some(error.to_string()),
        };
        // What falls away behind an end token may show anything.
        let left_away = trajectory.left_away(row, &canvases[row]);
        let falls = |position: &usize| outcome.canvas.is_closed(*position) || left_away.contains(position);
        let closed: Vec<usize> = (0..outcome.canvas.len()).filter(falls).collect();
        let mut expected = changing(trajectory.states(row, &canvases[row], mask), &closed, mask);
        let shown = changing(std::mem::take(&mut states[row]), &closed, mask);
        if most < usize::MAX {
            expected.truncate(shown.len());
        }
        let first = expected.iter().zip(&shown).position(|(expected, shown)| expected != shown);
        let longer = (expected.len() != shown.len()).then(|| expected.len().min(shown.len()));
        if let Some(pass) = first.or(longer) {
            let (passes, canvas) = (expected.len(), expected.get(pass));
            let own = shown.get(pass);
            let tokens = |canvas: &Vec<TokenId>| -> Vec<String> {
                let other = own.filter(|own| own.len() == canvas.len());
                let differs = |at: &usize| other.is_none_or(|own| own[*at] != canvas[*at]);
                let pair = |at: usize| format!("{at}: {} for {}", other.map_or(0, |own| own[at]), canvas[at]);
                (0..canvas.len()).filter(differs).map(pair).collect()
            };
            let tokens = canvas.map(tokens).unwrap_or_default();
            return Some(format!("row {row}, canvas {pass} of {passes} ({} here): {tokens:?}", shown.len()));
        }
    }
    None
}

/// The same canvas, whose holes hold what a domain says.
fn holding(canvas: &Canvas, domain: &Domain) -> Canvas {
    let state = |position: usize| Some((canvas.tokens()[position], canvas.state(position)?));
    let positions: Vec<(TokenId, PositionState)> = (0..canvas.len()).filter_map(state).collect();
    let spans: Vec<Span> = canvas.spans().iter().map(|span| Span { domain: domain.clone(), ..span.clone() }).collect();
    Canvas::from_positions(&positions, &spans).expect("the spans of a canvas")
}

/// The states without those that repeat the one before, and with the mask where positions are closed in the end.
fn changing(mut states: Vec<Vec<TokenId>>, closed: &[usize], mask: TokenId) -> Vec<Vec<TokenId>> {
    states.iter_mut().for_each(|state| closed.iter().for_each(|position| state[*position] = mask));
    states.dedup();
    states
}
