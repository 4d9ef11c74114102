//! Requests as tests describe them, and what their events add up to.

use crate::chain::{END, MASK};
use aquatint_diffusion::{Canvas, Counting, TokenId};
use aquatint_generate::{ChangeKind, ClassifierGuidance, DenoisingEvent, FinishReason, Part, Request, Settings};
use proptest::prelude::*;
use std::collections::BTreeMap;

const POLICIES: [&str; 8] =
    ["confidence", "margin", "entropy", "random", "ancestral", "first-hitting", "threshold:0.6", "entropy-bound:0.5"];
const REMASKINGS: [&str; 5] = ["none", "cap:0.3", "rescale:0.5", "conf:0.9", "loop:0.3"];

/// One request as a test describes it.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    before: Vec<TokenId>,
    count: usize,
    approximate: bool,
    between: Vec<TokenId>,
    second: usize,
    padding: usize,
    block: Option<usize>,
    steps: usize,
    policy: &'static str,
    remasking: &'static str,
    temperature: f64,
    guidance: f64,
    /// Guidance by a classifier in its place, where something is given in front.
    classifier: bool,
    penalty: f64,
    presence: f64,
    bias: f64,
    min_p: f64,
    edit: f64,
    seed: u64,
    parts: Parts,
}

/// Whether the second hole is filled in its own way, and which of the two begins first.
#[derive(Debug, Clone, Copy)]
enum Parts {
    One,
    Beside,
    Behind,
    Before,
}

impl Described {
    pub(crate) fn request(&self) -> Request {
        let mut canvas = Canvas::new();
        canvas.push_given(&self.before);
        canvas.push_open(self.count, self.approximate, MASK);
        canvas.push_given(&self.between);
        canvas.push_open(self.second, false, MASK);
        canvas.push_padding(self.padding, MASK);
        let mut builder = Settings::builder()
            .steps(self.steps)
            .policy_named(self.policy)
            .remasking_named(self.remasking)
            .temperature(self.temperature)
            .guidance_scale(self.guidance)
            .repetition_penalty(self.penalty)
            .presence_penalty(self.presence)
            .logit_bias([(3, self.bias)])
            .min_p(self.min_p)
            .edit_threshold(self.edit)
            .edit_steps(3)
            .seed(self.seed);
        if let Some(length) = self.block {
            builder = builder.block_length(length);
        }
        let settings = builder.build().expect("good settings");
        if matches!(self.parts, Parts::One) {
            let may = self.classifier && self.guidance == 1.0 && self.edit == 1.0;
            let target = self.before.first().filter(|_| may);
            let classifier =
                target.map(|target| ClassifierGuidance::new(vec![*target], 1.5, 2).expect("a good target"));
            let settings = settings.with_classifier(classifier);
            return Request::new(canvas, settings).with_ends(Some(END));
        }
        let own = Settings::builder().steps(self.steps.div_ceil(2)).counting(Counting::Cosine).seed(!self.seed);
        let own = own.guidance_scale(if self.presence > 0.0 { 1.5 } else { 1.0 }).build().expect("good settings");
        let (first, second) = (Part::new(settings).with_spans(vec![0]), Part::new(own));
        let parts = match self.parts {
            Parts::One | Parts::Beside => vec![first, second],
            Parts::Behind => vec![first, second.with_after(0)],
            Parts::Before => vec![first.with_after(1), second],
        };
        Request::of_parts(canvas, parts).with_ends(Some(END))
    }
}

pub(crate) fn described() -> impl Strategy<Value = Described> {
    let tokens = || prop::collection::vec(2..6u32, 0..4);
    let canvas = (tokens(), 1..6usize, any::<bool>(), tokens(), 0..4usize, 0..3usize);
    let sampling =
        (any::<bool>(), 1..9usize, prop::sample::select(&POLICIES[..]), prop::sample::select(&REMASKINGS[..]));
    let draw = (
        prop::sample::select(vec![0.0, 0.7, 1.0]),
        (prop::sample::select(vec![1.0, 2.5]), any::<bool>()),
        prop::sample::select(vec![1.0, 1.3]),
        prop::sample::select(vec![0.0, 0.7]),
        prop::sample::select(vec![0.0, -1.5]),
        prop::sample::select(vec![0.0, 0.3]),
        prop::sample::select(vec![1.0, 0.4]),
        (any::<u64>(), prop::sample::select(vec![Parts::One, Parts::One, Parts::Beside, Parts::Behind, Parts::Before])),
    );
    (canvas, sampling, draw).prop_map(|(canvas, (blocks, steps, policy, remasking), draw)| {
        let (before, count, approximate, between, second, padding) = canvas;
        let (temperature, (guidance, classifier), penalty, presence, bias, min_p, edit, (seed, parts)) = draw;
        // One block, or as many as there are open positions: both always divide.
        let block = blocks.then_some(1);
        #[rustfmt::skip]
        let described = Described {
            before, count, approximate, between, second, padding, block, steps, policy, remasking, temperature,
            guidance, classifier, penalty, presence, bias, min_p, edit, seed, parts,
        };
        described
    })
}

/// Checks the events of one request against the grammar and replays them over the canvas.
#[derive(Default)]
pub(crate) struct Replay {
    stage: Stage,
    /// How far each part has come.
    parts: BTreeMap<usize, Progress>,
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) closed: Vec<usize>,
    pub(crate) reason: Option<FinishReason>,
    passes: usize,
    passes_so_far: usize,
}

#[derive(Debug, Default, PartialEq, Clone, Copy)]
enum Stage {
    #[default]
    Nothing,
    Begun,
    Finished,
}

/// The block that a part is in, or was in last.
#[derive(Default)]
struct Progress {
    block: Option<usize>,
    step: usize,
    is_inside: bool,
}

impl Replay {
    pub(crate) fn follow(&mut self, event: DenoisingEvent<'_>) {
        match event {
            DenoisingEvent::Started { canvas, forward_passes } => {
                assert_eq!(self.stage, Stage::Nothing);
                self.tokens = canvas.tokens().to_vec();
                self.passes = forward_passes;
                self.stage = Stage::Begun;
            }
            DenoisingEvent::BlockStarted { part, block, of, positions, .. } => {
                assert_eq!(self.stage, Stage::Begun);
                let own = self.parts.entry(part).or_default();
                assert!(block < of && own.block.is_none_or(|before| before < block) && !positions.is_empty());
                assert!(!own.is_inside);
                *own = Progress { block: Some(block), step: 0, is_inside: true };
            }
            DenoisingEvent::Step {
                part,
                block,
                step,
                of,
                changes,
                alternatives,
                entropy,
                closed,
                open,
                forward_passes,
            } => {
                assert!(entropy >= 0.0 && [0, changes.len()].contains(&alternatives.len()));
                let own = self.parts.entry(part).or_default();
                assert_eq!((self.stage, own.is_inside, own.block, own.step), (Stage::Begun, true, Some(block), step));
                own.step += 1;
                assert!(step < of && changes.is_sorted_by(|a, b| a.position < b.position) && closed.is_sorted());
                for change in changes {
                    assert!((0.0..=1.0).contains(&change.confidence), "{change:?}");
                    match change.kind {
                        ChangeKind::Committed => assert_eq!(self.tokens[change.position], MASK),
                        ChangeKind::Refined => panic!("nothing of this process mends what it shows"),
                        ChangeKind::Edited => assert!(![MASK, change.token].contains(&self.tokens[change.position])),
                        ChangeKind::Renoised => assert_ne!(self.tokens[change.position], MASK),
                    }
                    assert_eq!(change.token == MASK, change.kind == ChangeKind::Renoised);
                    self.tokens[change.position] = change.token;
                }
                self.closed.extend(closed);
                assert!(open <= self.tokens.len());
                assert!((self.passes_so_far..=self.passes).contains(&forward_passes));
                self.passes_so_far = forward_passes;
            }
            DenoisingEvent::BlockCommitted { part, block, .. } => {
                let own = self.parts.entry(part).or_default();
                assert_eq!((self.stage, own.is_inside, own.block), (Stage::Begun, true, Some(block)));
                own.is_inside = false;
            }
            DenoisingEvent::Finished { reason, statistics } => {
                assert_ne!(self.stage, Stage::Finished);
                let is_between = self.stage == Stage::Begun && self.parts.values().all(|own| !own.is_inside);
                assert!(reason == FinishReason::Cancelled || is_between);
                assert!(statistics.forward_passes <= self.passes);
                let is_whole = reason != FinishReason::Cancelled;
                assert!(!is_whole || statistics.forward_passes == self.passes_so_far);
                (self.stage, self.reason) = (Stage::Finished, Some(reason));
            }
        }
    }
}
