//! Guidance by a classifier, with networks whose predictions are known exactly.

use crate::chain::{Chain, MASK, process};
use crate::real::small;
use crate::refusals::{message, refused};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_compute::{ReadRow, Visibility};
use aquatint_diffusion::{Canvas, Layout, Process, ProcessKind, TokenId};
use aquatint_diffusion::{LossTerm, WordVectors};
use aquatint_generate::{
    ClassifierGuidance, ClassifierMethod, DenoisingEvent, Mark, MarkedOrder, Outcome, Part, Request, Settings,
    SettingsBuilder, Watermark, generate,
};
use aquatint_network::{
    Denoiser, ForwardPass, LossRow, Network, NetworkError, NetworkInput, NetworkSpec, ProcessSpec, RowAnswer, RowQuery,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A text that begins with `given`, of which `open` positions are open.
fn canvas(given: &[TokenId], open: usize) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(given);
    canvas.push_open(open, false, MASK);
    canvas
}

fn classifier(target: &[TokenId], scale: f64, candidates: usize) -> Option<ClassifierGuidance> {
    Some(ClassifierGuidance::new(target.to_vec(), scale, candidates).unwrap())
}

fn settings(change: impl Fn(SettingsBuilder) -> SettingsBuilder) -> Settings {
    change(Settings::builder()).build().unwrap()
}

/// The outcome of a request, and the forward passes that were announced.
fn filled(denoiser: &dyn Denoiser, process: &dyn Process, request: Request) -> (Outcome, usize) {
    let mut announced = 0;
    let mut outcomes = generate(denoiser, process, &[request], &mut |_, event| {
        if let DenoisingEvent::Started { forward_passes, .. } = event {
            announced = forward_passes;
        }
        ControlFlow::Continue(())
    });
    (outcomes.remove(0).unwrap(), announced)
}

/// Bayes: a network that predicts by one law writes by the law of texts that begin with the target, though no step reads the
/// target. At other scales the first of one open position follows its own weights.
#[test]
fn at_scale_1_texts_follow_the_law_of_those_that_begin_with_the_target() {
    const DRAWS: u64 = 6000;
    let chain = Chain::mixed(4);
    let check = |open: usize, scale: f64, policy: &str, weight: &dyn Fn(&[TokenId]) -> f64| {
        let requests: Vec<Request> = (0..DRAWS)
            .map(|seed| {
                let settings = settings(|builder| builder.steps(open).policy_named(policy).seed(seed));
                Request::new(canvas(&[2], open), settings.with_classifier(classifier(&[2], scale, 3)))
            })
            .collect();
        let mut counts: BTreeMap<Vec<TokenId>, f64> = BTreeMap::new();
        for outcome in generate(&chain, &process(), &requests, &mut |_, _| ControlFlow::Continue(())) {
            *counts.entry(outcome.unwrap().canvas.tokens()[1..].to_vec()).or_default() += 1.0;
        }
        let texts: Vec<Vec<TokenId>> = match open {
            1 => (1..4).map(|token| vec![token]).collect(),
            _ => (0..9).map(|n| vec![n / 3 + 1, n % 3 + 1]).collect(),
        };
        let total: f64 = texts.iter().map(|text| weight(text)).sum();
        let deviation = |text: &Vec<TokenId>| {
            let expected = DRAWS as f64 * weight(text) / total;
            (counts.get(text).unwrap_or(&0.0) - expected).powi(2) / expected
        };
        let (chi, degrees) = (texts.iter().map(deviation).sum::<f64>(), texts.len() as f64 - 1.0);
        assert!(
            chi < degrees + 5.0 * (2.0 * degrees).sqrt(),
            "{policy}, {scale}: chi squared {chi} of {degrees} degrees"
        );
    };
    for policy in ["random", "entropy", "sequential"] {
        check(2, 1.0, policy, &|text| chain.probability(&[&[2], text].concat()));
    }
    // p(v) p(target | v)^s, of which p(v) is what no step but the classifier's readings would change.
    let joint = |text: &[TokenId]| chain.probability(&[2, text[0]]);
    let prior = |text: &[TokenId]| (1..4).map(|first| chain.probability(&[first, text[0]])).sum::<f64>();
    for scale in [0.0, 2.0, 5.0] {
        check(1, scale, "sequential", &|text| prior(text) * (joint(text) / prior(text)).powf(scale));
    }
}

/// At scale 0 the target is hidden and nothing is followed: what classifier-free guidance writes at scale 0.
#[test]
fn at_scale_0_the_text_is_one_without_the_target() {
    let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), small(|_| ()), 1).unwrap();
    for seed in 0..8 {
        let base = |builder: SettingsBuilder| builder.steps(6).policy_named("sequential").seed(seed);
        let of = |settings: Settings| filled(&network, &process(), Request::new(canvas(&[7], 6), settings)).0.tokens;
        let without = of(settings(|builder| base(builder).guidance_scale(0.0)));
        assert_eq!(of(settings(base).with_classifier(classifier(&[7], 0.0, 4))), without);
        assert_ne!(of(settings(base).with_classifier(classifier(&[7], 1e4, 39))), without);
    }
}

/// What stands in front of the target begins all texts, and the text behind it is read as it is.
#[test]
fn the_target_stands_behind_the_begin_token_and_more_may_be_given_behind_it() {
    let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), small(|_| ()), 1).unwrap();
    let of = |given: &[TokenId], scale: f64| {
        let text = |seed| {
            let settings = settings(|builder| builder.steps(5).policy_named("sequential").seed(seed));
            let settings = settings.with_classifier(classifier(&given[1..2], scale, 39));
            let request = Request::new(canvas(given, 5), settings).with_begin(Some(2));
            filled(&network, &process(), request).0.tokens[given.len()..].to_vec()
        };
        (0..16).map(text).collect::<Vec<_>>()
    };
    // Which target is hidden makes no difference at scale 0, and what is given behind it does.
    assert_eq!(of(&[2, 5, 6], 0.0), of(&[2, 9, 6], 0.0));
    assert_ne!(of(&[2, 5, 6], 0.0), of(&[2, 5, 8], 0.0));
    assert_ne!(of(&[2, 5, 6], 500.0), of(&[2, 9, 6], 500.0));
}

/// The chain, as if the log-probability of what it predicts were linear in what it reads: its gradients are differences.
struct Linear(Chain);

impl Denoiser for Linear {
    fn spec(&self) -> &NetworkSpec {
        self.0.spec()
    }

    fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
        self.0.word_vectors()
    }

    fn forward(
        &self,
        pass: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        self.0.forward(pass, queries, read)
    }

    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        self.0.nll(input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        self.0.costs(input, terms)
    }

    fn token_gradients(
        &self,
        input: &NetworkInput<'_>,
        targets: &[LossRow],
        rows: &[u32],
    ) -> Result<Vec<f32>, NetworkError> {
        let mut slopes = Vec::new();
        for row in rows {
            for token in 0..self.spec().vocabulary_size as u32 {
                let mut tokens = input.tokens.to_vec();
                tokens[*row as usize] = token;
                let costs = self.nll(&NetworkInput { tokens: &tokens, ..*input }, targets)?;
                // What is added to all tokens changes nothing.
                slopes.push(
                    7.0 - costs.iter().zip(targets).map(|(cost, target)| target.weight * cost).sum::<f64>() as f32,
                );
            }
        }
        Ok(slopes)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.0.kv_cache_bytes(rows)
    }
}

/// Where it is linear, what a token does for the target is the same by its gradient as by reading the canvas with it.
#[test]
fn to_first_order_a_linear_network_is_guided_as_exactly() {
    let linear = Linear(Chain::mixed(4));
    for policy in ["sequential", "random", "confidence"] {
        for (seed, steps) in [(1, 5), (2, 5), (3, 2), (4, 1), (5, 3)] {
            let of = |method: ClassifierMethod| {
                let settings = settings(|builder| builder.steps(steps).policy_named(policy).seed(seed));
                let guidance = classifier(&[2], 1.5, 4).map(|classifier| classifier.with_method(method));
                let request = Request::new(canvas(&[2], 5), settings.with_classifier(guidance));
                filled(&linear, &process(), request)
            };
            let ((exact, _), (outcome, announced)) = (of(ClassifierMethod::Exact), of(ClassifierMethod::FirstOrder));
            assert_eq!(outcome.tokens, exact.tokens, "{policy}, {steps} steps");
            // One reading and its gradient a step.
            assert_eq!((outcome.statistics.forward_passes, announced), (2 * steps, 2 * steps), "{policy}");
        }
    }
}

/// The further it is followed, the more the token of the steepest slope is written, of the canvas without its target.
#[test]
fn to_first_order_a_network_writes_the_token_of_the_steepest_slope() {
    let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), small(|_| ()), 1).unwrap();
    for (target, first) in [(7, 5), (9, 5), (7, 11)] {
        let settings = settings(|builder| builder.steps(1).policy_named("sequential"));
        let guidance = classifier(&[target], 1e6, 1).map(|own| own.with_method(ClassifierMethod::FirstOrder));
        let request = Request::new(canvas(&[target, first], 1), settings.with_classifier(guidance));
        let written = filled(&network, &process(), request).0.tokens[2];
        let (tokens, visibility) = ([MASK, first, MASK], Visibility::full(&[3]));
        let input = NetworkInput::of_tokens(&tokens, &[0, 1, 2], &visibility);
        let slopes = network.token_gradients(&input, &[LossRow { row: 0, target, weight: 1.0 }], &[2]).unwrap();
        let steepest = (0..).zip(&slopes).filter(|(token, _)| *token != MASK).max_by(|a, b| a.1.total_cmp(b.1));
        assert_eq!(Some(written), steepest.map(|(token, _)| token), "towards {target} behind {first}");
    }
}

/// A prediction in closed form has no gradients, which is said.
#[test]
fn to_first_order_what_has_no_gradients_is_refused() {
    let settings = settings(|builder| builder.steps(2).policy_named("sequential"));
    let guidance = classifier(&[2], 1.0, 1).map(|own| own.with_method(ClassifierMethod::FirstOrder));
    let request = Request::new(canvas(&[2], 2), settings.with_classifier(guidance));
    let mut outcomes = generate(&Chain::mixed(4), &process(), &[request], &mut |_, _| ControlFlow::Continue(()));
    let error = outcomes.remove(0).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "the gradients of what is predicted are not known: predictions are in closed form");
}

#[test]
fn methods_are_read_back_by_their_names() {
    for method in ClassifierMethod::ALL {
        assert_eq!(method.to_string().parse::<ClassifierMethod>().unwrap(), method);
    }
    let error = "second-order".parse::<ClassifierMethod>().unwrap_err().to_string();
    assert_eq!(error, "`classifier_method` is second-order; allowed: exact, first-order");
}

/// The canvas as it stands and each candidate of each position that a step writes; where the policy cannot choose before, of all
/// that are open.
#[test]
fn forward_passes_are_counted_and_announced() {
    let chain = Chain::mixed(4);
    let of = |policy: &str, steps: usize, candidates: usize| {
        let settings = settings(|builder| builder.steps(steps).policy_named(policy));
        let request = Request::new(canvas(&[2], 4), settings.with_classifier(classifier(&[2], 1.0, candidates)));
        let (outcome, announced) = filled(&chain, &process(), request);
        (outcome.statistics.forward_passes, announced)
    };
    for policy in ["sequential", "random", "confidence"] {
        assert_eq!(of(policy, 4, 2), (4 + 4 + 4 * 2, 4 + 4 + 4 * 2), "{policy}");
        // Two positions a step; there are three tokens, and the mask is none.
        assert_eq!(of(policy, 2, 9), (2 + 2 + 4 * 3, 2 + 2 + 4 * 4), "{policy}");
    }
    // At scale 0 nothing is read.
    let base = settings(|builder| builder.steps(4).policy_named("sequential"));
    let of = |settings: Settings| {
        let (outcome, announced) = filled(&chain, &process(), Request::new(canvas(&[2], 4), settings));
        (outcome.statistics.forward_passes, announced)
    };
    assert_eq!(of(base.clone().with_classifier(classifier(&[2], 0.0, 2))).0, 4);
    // A mark on the order chooses for itself: all that is open is tried.
    let marked = base.with_watermark(Some(Arc::new(AnyOrder))).with_classifier(classifier(&[2], 1.0, 2));
    assert_eq!(of(marked), (4 + 4 + (4 + 3 + 2 + 1) * 2, 4 + 4 + 4 * 4 * 2));
}

/// A mark on the order that is content with any.
#[derive(Debug)]
struct AnyOrder;

impl Watermark for AnyOrder {
    fn name(&self) -> &'static str {
        "any"
    }

    fn mark(&self) -> Mark<'_> {
        Mark::Order(self)
    }
}

impl MarkedOrder for AnyOrder {
    fn width(&self) -> usize {
        2
    }

    fn score(&self, _: &[Option<TokenId>], _: usize, _: TokenId) -> f64 {
        1.0
    }
}

/// More canvases than one pass has.
#[test]
fn long_texts_are_read_in_several_passes() {
    let network =
        Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), small(|spec| spec.context_length = 600), 1);
    let network = network.unwrap();
    let of = |candidates: usize| {
        let settings = settings(|builder| builder.steps(2).policy_named("sequential").temperature(0.0).seed(3));
        let given = [&[7][..], &[9; 595]].concat();
        let mut canvas = canvas(&given, 4);
        canvas.push_padding(3, MASK);
        let settings = settings.with_classifier(classifier(&[7], 1e4, candidates));
        filled(&network, &process(), Request::new(canvas, settings)).0
    };
    let (few, all) = (of(1), of(39));
    assert_eq!(all.statistics.forward_passes, 2 + 2 + 4 * 39);
    assert_eq!(all.statistics.rows_read, 600 * all.statistics.forward_passes);
    assert_ne!(few.tokens, all.tokens);
}

#[test]
fn a_classifier_that_cannot_guide_is_refused() {
    let network_of = |spec| Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap();
    let network = |change: fn(&mut aquatint_network::NetworkSpec)| network_of(small(change));
    let of = |target: &[TokenId], change: fn(SettingsBuilder) -> SettingsBuilder| {
        let settings = settings(change).with_classifier(classifier(target, 1.0, 4));
        refused(&network(|_| ()), Request::new(canvas(&[2, 3], 4), settings))
    };
    let other = "`classifier_target` is other tokens; allowed: what the text begins with | write it in front of the \
                 text, too; it has to end where a token of the model ends";
    assert_eq!(of(&[3], |builder| builder), other);
    assert_eq!(of(&[2, 3, MASK], |builder| builder), other);
    assert!(
        of(&[2], |builder| builder.guidance_scale(2.0))
            .starts_with("`classifier_target` is set; allowed: either a classifier or a guidance scale other than 1")
    );
    assert!(
        of(&[2], |builder| builder.edit_threshold(0.5))
            .starts_with("`classifier_target` is set; allowed: an edit threshold of 1")
    );
    let plain = settings(|builder| builder).with_classifier(classifier(&[2], 1.0, 4));
    let blocks = network(|spec| spec.attention = Layout::Block { length: 4 });
    let fitting = "`classifier_target` is set; allowed: models of masks in which every position sees all others, without \
                   self-conditioning";
    assert!(refused(&blocks, Request::new(canvas(&[2, 3], 4), plain.clone())).starts_with(fitting));
    let uniform = ProcessSpec { kind: ProcessKind::Uniform, ..ProcessSpec::default() };
    let uniform = network_of(small(|spec| spec.process = uniform));
    let process = uniform.spec().process().unwrap().unwrap();
    let request = Request::new(canvas(&[2, 3], 4), plain.clone());
    let outcomes = generate(&uniform, process.as_ref(), &[request], &mut |_, _| ControlFlow::Continue(()));
    assert!(message(outcomes[0].as_ref().unwrap_err()).starts_with(fitting));
    // A prediction about the first position is in no row.
    let shifted = network(|spec| spec.head.logit_shift = true);
    let request = |begin| Request::new(canvas(&[2, 3], 4), plain.clone()).with_begin(begin);
    assert!(
        refused(&shifted, request(None)).starts_with("`classifier_target` is set; allowed: texts with a begin token")
    );
    let second = settings(|builder| builder).with_classifier(classifier(&[3], 1.0, 4));
    filled(&shifted, &crate::chain::process(), Request::new(canvas(&[2, 3], 4), second).with_begin(Some(2)));
    let mut long = canvas(&[2], 800);
    long.push_padding(1, MASK);
    let wide = network(|spec| spec.context_length = 900);
    let many = settings(|builder| builder).with_classifier(classifier(&[2], 1.0, 39));
    assert_eq!(
        refused(&wide, Request::new(long, many)),
        "`classifier_candidates` is 39 for blocks of 800 positions; allowed: 4194304 rows a step, where each candidate of a \
         position takes 801 | try fewer candidates, or set a shorter `block_length`"
    );
    let mut two = canvas(&[2, 3], 4);
    two.push_given(&[3]);
    two.push_open(2, false, MASK);
    let parts = vec![Part::new(plain.clone()), Part::new(plain.clone()).with_spans(vec![1])];
    let request = Request { parts, ..Request::new(two, plain) };
    assert!(
        refused(&network(|_| ()), request).starts_with("`classifier_target` is set; allowed: canvases of text alone")
    );
}

#[test]
fn numbers_out_of_range_are_refused() {
    let of = |target: &[TokenId], scale, candidates| {
        ClassifierGuidance::new(target.to_vec(), scale, candidates).unwrap_err().to_string()
    };
    assert_eq!(of(&[], 1.0, 8), "`classifier_target` is empty; allowed: one token or more");
    for scale in [-0.5, f64::NAN, f64::INFINITY, 2e6] {
        assert!(of(&[2], scale, 8).starts_with("`classifier_scale` is "), "{scale}");
    }
    for candidates in [0, 1025] {
        assert!(of(&[2], 1.0, candidates).ends_with("allowed: from 1 to 1024"), "{candidates}");
    }
}
