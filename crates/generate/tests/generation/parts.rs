//! Requests of several parts: a text by blocks and a picture by all its positions, side by side or one after the other.

use crate::chain::{Chain, END, MASK, process};
use crate::described::Replay;
use crate::real::small;
use crate::refusals::{message, refused};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Canvas, Counting, Domain, Layout, Process, ProcessKind, TokenId};
use aquatint_generate::{
    Cache, DenoisingEvent, FinishReason, Outcome, Part, Request, Settings, SettingsBuilder, generate, ineffective,
    predict, process_of,
};
use aquatint_network::{Denoiser, Network, NetworkSpec, ProcessSpec, SelfConditioningSpec, TimeSpec};
use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};

/// Tokens of text, with the one that ends it, and codes of pictures.
const TEXT: Range<TokenId> = END..8;
const CODES: Range<TokenId> = 8..14;

/// A token, a hole of text, a picture of two rows of three, a token.
fn story_and_picture() -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2]);
    canvas.push_span(&[None; 7], true, Domain::line(TEXT), MASK).unwrap();
    canvas.push_span(&[None; 6], false, Domain::grid(CODES, 2, 3), MASK).unwrap();
    canvas.push_given(&[3]);
    canvas
}

fn words() -> SettingsBuilder {
    Settings::builder().steps(2).block_length(2).seed(5)
}

fn codes() -> SettingsBuilder {
    Settings::builder().steps(5).counting(Counting::Cosine).seed(6)
}

fn request(words: SettingsBuilder, codes: SettingsBuilder) -> Request {
    let parts = vec![Part::new(words.build().unwrap()), Part::new(codes.build().unwrap()).with_spans(vec![1])];
    Request::of_parts(story_and_picture(), parts).with_ends(Some(END))
}

/// An event of a part, in the order of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Began(usize),
    Step(usize),
    Ended(usize),
}

fn filled(denoiser: &dyn Denoiser, process: &dyn Process, requests: &[Request]) -> Vec<Outcome> {
    let outcomes = generate(denoiser, process, requests, &mut |_, _| ControlFlow::Continue(())).into_iter();
    outcomes.collect::<Result<_, _>>().expect("the requests are good")
}

fn followed(denoiser: &dyn Denoiser, request: &Request) -> (Outcome, Vec<Moment>) {
    let (mut replay, mut moments) = (Replay::default(), Vec::new());
    let process = process();
    let outcome = generate(denoiser, &process, std::slice::from_ref(request), &mut |_, event| {
        replay.follow(event);
        moments.extend(match event {
            DenoisingEvent::BlockStarted { part, .. } => Some(Moment::Began(part)),
            DenoisingEvent::Step { part, .. } => Some(Moment::Step(part)),
            DenoisingEvent::BlockCommitted { part, .. } => Some(Moment::Ended(part)),
            _ => None,
        });
        ControlFlow::Continue(())
    });
    let outcome = outcome.into_iter().next().unwrap().expect("a good request");
    assert_eq!(replay.tokens, outcome.canvas.tokens());
    (outcome, moments)
}

fn positions(moments: &[Moment], of: impl Fn(&Moment) -> bool) -> Vec<usize> {
    (0..moments.len()).filter(|index| of(&moments[*index])).collect()
}

fn holds(outcome: &Outcome, span: usize, ids: &Range<TokenId>) -> bool {
    let mut positions = outcome.canvas.spans()[span].positions.clone();
    positions.all(|position| {
        outcome.canvas.is_closed(position)
            || outcome.canvas.is_committed(position) && ids.contains(&outcome.canvas.tokens()[position])
    })
}

#[test]
fn a_text_by_blocks_and_a_picture_settle_side_by_side_each_in_its_domain() {
    let chain = Chain::mixed(14);
    let mut texts = BTreeSet::new();
    for seed in 0..20 {
        let (outcome, moments) = followed(&chain, &request(words().seed(seed), codes().seed(seed + 100)));
        assert!(holds(&outcome, 0, &TEXT) && holds(&outcome, 1, &CODES), "{:?}", outcome.canvas.tokens());
        texts.insert(outcome.tokens.clone());
        // Both begin before either takes a step, and take their steps by turns.
        assert_eq!(moments[..3], [Moment::Began(0), Moment::Began(1), Moment::Step(0)]);
        let [of_text, of_picture] = [0, 1].map(|part| positions(&moments, |moment| *moment == Moment::Step(part)));
        assert!(of_text.get(1).is_none_or(|second| of_picture[0] < *second));
        let (of_text, of_picture) = (of_text.len(), of_picture.len());
        assert_eq!(of_picture, 5);
        assert_eq!(positions(&moments, |moment| *moment == Moment::Ended(1)).len(), 1);
        // The canvas is read once for both.
        assert_eq!(outcome.statistics.forward_passes, of_text.max(of_picture));
        assert_eq!(outcome.statistics.steps, of_text + of_picture);
    }
    assert!(texts.len() > 15, "{} of 20", texts.len());
}

#[test]
fn one_part_of_all_spans_is_the_request_of_one_part() {
    let chain = Chain::mixed(14);
    for builder in [words(), codes(), words().guidance_scale(2.0).remasking_named("cap:0.3")] {
        let settings = builder.build().unwrap();
        let whole = Request::new(story_and_picture(), settings.clone()).with_ends(Some(END));
        let named = Part::new(settings).with_spans(vec![0, 1]);
        let named = Request::of_parts(story_and_picture(), vec![named]).with_ends(Some(END));
        assert_eq!(followed(&chain, &named), followed(&chain, &whole));
    }
}

#[test]
fn the_unconditional_branch_is_read_for_the_parts_that_want_it_and_no_longer() {
    let chain = Chain::mixed(14);
    let passes = |request: &Request| followed(&chain, request).0.statistics.forward_passes;
    let steps = |request: &Request, part: usize| {
        positions(&followed(&chain, request).1, |moment| *moment == Moment::Step(part)).len()
    };
    let picture = request(words(), codes().guidance_scale(2.0));
    let (text, codes_of) = (steps(&picture, 0), steps(&picture, 1));
    assert!(text > codes_of, "the text takes longer");
    assert_eq!(passes(&picture), text + codes_of);
    let both = request(words().guidance_scale(3.0), codes().guidance_scale(2.0));
    assert_eq!(passes(&both), 2 * steps(&both, 0).max(steps(&both, 1)));
    // A part without guidance is filled as if the other one had none, as far as they do not see each other: alone.
    let unguided = request(words(), codes());
    assert_eq!(passes(&unguided), steps(&unguided, 0).max(steps(&unguided, 1)));
}

#[test]
fn a_part_waits_for_another_one_until_that_is_filled() {
    let chain = Chain::mixed(14);
    for (first, last) in [(0, 1), (1, 0)] {
        let mut request = request(words(), codes());
        request.parts[last].after = Some(first);
        let (outcome, moments) = followed(&chain, &request);
        let end = positions(&moments, |moment| *moment == Moment::Ended(first)).into_iter().max().unwrap();
        assert!(positions(&moments, |moment| *moment == Moment::Began(last)).iter().all(|begin| *begin > end));
        assert_eq!(outcome.statistics.forward_passes, outcome.statistics.steps);
        assert!(holds(&outcome, 0, &TEXT) && holds(&outcome, 1, &CODES));
    }
}

#[test]
fn an_end_token_closes_its_text_and_leaves_the_picture() {
    // A text that ends at once.
    let sure = |token: usize| {
        (0..14)
            .map(|t| {
                if t == token {
                    0.9
                } else if t == 0 {
                    0.0
                } else {
                    0.1 / 12.0
                }
            })
            .collect()
    };
    let chain = Chain::new(sure(END as usize), (0..14).map(|_| sure(END as usize)).collect());
    let request = request(words().temperature(0.0), codes().temperature(0.0));
    let (outcome, _) = followed(&chain, &request);
    assert!((2..8).all(|position| outcome.canvas.is_closed(position)));
    assert!(holds(&outcome, 1, &CODES));
    assert_eq!((outcome.tokens.len(), outcome.reason), (8, FinishReason::Filled), "the last span is the picture");
}

#[test]
fn a_request_that_is_cancelled_ends_all_its_parts() {
    let chain = Chain::mixed(14);
    let process = process();
    for cancelled in 0..2 {
        let mut finished = 0;
        let outcomes = generate(&chain, &process, &[request(words(), codes())], &mut |_, event| match event {
            DenoisingEvent::Step { part, step: 1, .. } if part == cancelled => ControlFlow::Break(()),
            DenoisingEvent::Finished { reason, .. } => {
                assert_eq!(reason, FinishReason::Cancelled);
                finished += 1;
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        });
        assert_eq!(finished, 1);
        assert!(!outcomes[0].as_ref().unwrap().canvas.open_positions().is_empty());
    }
}

/// A small network of three axes, changed.
fn network(path: CpuPath, threads: usize, change: impl Fn(&mut NetworkSpec)) -> Network<Cpu<f32>> {
    let spec = small(|spec| {
        spec.layers.iter_mut().for_each(|layer| layer.attention.rope.axes = 3);
        change(spec);
    });
    Network::new(Cpu::<f32>::new(path, threads).unwrap(), spec, 1).unwrap()
}

/// A request of every order beside plain ones.
fn unlike() -> Vec<Request> {
    unlike_with(|builder| builder)
}

/// The same with a change of what decides how canvases are read.
fn unlike_with(change: impl Fn(SettingsBuilder) -> SettingsBuilder) -> Vec<Request> {
    let words = || change(words());
    let plain = |open: usize| {
        let mut canvas = Canvas::new();
        canvas.push_given(&[4, 5, 6]);
        canvas.push_open(open, true, MASK);
        Request::new(canvas, change(Settings::builder().steps(3).seed(1)).build().unwrap()).with_ends(Some(END))
    };
    let ordered = |last: usize| {
        let mut request = request(words().guidance_scale(1.5), codes().temperature(0.5));
        request.parts[last].after = Some(1 - last);
        request
    };
    let guided = request(words().edit_threshold(0.05).edit_steps(2), codes().guidance_scale(2.0));
    let remasked = request(words().remasking_named("cap:0.2").steps(4), codes().policy_named("margin"));
    vec![plain(6), request(words(), codes()), ordered(0), guided, plain(9), ordered(1), remasked]
}

#[test]
fn parts_in_a_batch_beside_plain_requests_change_nothing_for_anybody() {
    let changes: [fn(&mut NetworkSpec); 3] = [
        |_| {},
        |spec| spec.self_conditioning = Some(SelfConditioningSpec::Added),
        |spec| spec.attention = Layout::Block { length: 4 },
    ];
    for (change, path) in
        changes.into_iter().flat_map(|change| CpuPath::available().into_iter().map(move |path| (change, path)))
    {
        let (one, two) = (network(path, 1, change), network(path, 2, change));
        let together = filled(&two, &process(), &unlike());
        for (request, outcome) in unlike().iter().zip(&together) {
            assert_eq!(&filled(&one, &process(), std::slice::from_ref(request))[0], outcome, "{path}");
            assert!(outcome.canvas.open_positions().is_empty());
        }
    }
}

#[test]
fn an_exact_cache_changes_nothing_of_parts_and_reads_fewer_rows() {
    let network = network(CpuPath::best(), 1, |spec| spec.attention = Layout::Block { length: 4 });
    let of = |cache: Cache| filled(&network, &process(), &unlike_with(|builder| builder.cache(cache)));
    for (none, exact) in of(Cache::None).iter().zip(of(Cache::Exact)) {
        assert_eq!(none.canvas, exact.canvas);
        assert!(exact.statistics.rows_read < none.statistics.rows_read);
    }
}

#[test]
fn approximate_caches_of_parts_are_exact_where_they_are_refreshed_at_every_step() {
    let network = network(CpuPath::best(), 1, |_| {});
    let parts = |builder: fn(SettingsBuilder) -> SettingsBuilder| request(builder(words()), codes());
    let none = filled(&network, &process(), &[parts(|builder| builder)]).remove(0);
    let prefix = parts(|builder| builder.cache(Cache::Prefix).cache_refresh(1));
    let dual = parts(|builder| builder.cache(Cache::Dual).cache_refresh(1));
    for refreshed in [prefix, dual] {
        assert_eq!(filled(&network, &process(), &[refreshed]).remove(0).canvas, none.canvas);
    }
    let dual = filled(&network, &process(), &[parts(|builder| builder.cache(Cache::Dual))]).remove(0);
    assert!(dual.canvas.open_positions().is_empty() && dual.statistics.rows_read < none.statistics.rows_read);
}

#[test]
fn a_domain_leaves_out_what_suppressed_tokens_do() {
    let network = network(CpuPath::best(), 1, |_| {});
    let canvas = |domain: Domain| {
        let mut canvas = Canvas::new();
        canvas.push_given(&[2, 3]);
        canvas.push_span(&[None; 6], false, domain, MASK).unwrap();
        canvas
    };
    let size = network.spec().vocabulary_size as TokenId;
    for scale in [1.0, 2.0] {
        let settings = codes().guidance_scale(scale);
        let own = Request::new(canvas(Domain::line(CODES)), settings.clone().build().unwrap());
        let others = (0..CODES.start).chain(CODES.end..size);
        let suppressed = Request::new(canvas(Domain::ANY), settings.suppress_tokens(others).build().unwrap());
        let [own, suppressed] = [own, suppressed].map(|request| filled(&network, &process(), &[request]).remove(0));
        assert_eq!((own.tokens, own.statistics), (suppressed.tokens, suppressed.statistics));
    }
}

#[test]
fn what_is_forbidden_in_text_is_written_where_it_is_of_a_domain() {
    let network = network(CpuPath::best(), 1, |_| {});
    let mut canvas = Canvas::new();
    canvas.push_given(&[2]);
    canvas.push_open(4, false, MASK);
    canvas.push_span(&[None; 6], false, Domain::grid(CODES, 2, 3), MASK).unwrap();
    let size = network.spec().vocabulary_size as TokenId;
    let no_text: Vec<TokenId> = [END].into_iter().chain(TEXT.end..size).collect();
    for seed in 0..5 {
        let settings = codes().seed(seed).logit_bias([(CODES.start, 5.0)]).build().unwrap();
        let request = Request::new(canvas.clone(), settings).with_forbidden(no_text.clone());
        assert_eq!(ineffective(&request, network.spec(), &process()).unwrap(), Vec::new());
        let outcome = filled(&network, &process(), std::slice::from_ref(&request)).remove(0);
        assert!(holds(&outcome, 0, &(END + 1..TEXT.end)) && holds(&outcome, 1, &CODES), "{:?}", outcome.tokens);
    }
}

#[test]
fn a_picture_is_read_in_rows_where_the_network_has_axes_for_them() {
    let canvas = |domain: Domain| {
        let mut canvas = Canvas::new();
        canvas.push_given(&[2, 3]);
        canvas.push_span(&[None; 6], false, domain, MASK).unwrap();
        canvas.push_given(&[4]);
        canvas
    };
    let of = |network: &Network<Cpu<f32>>, domain: Domain| {
        let request = Request::new(canvas(domain), Settings::builder().steps(6).temperature(0.0).build().unwrap());
        let confidence = |event: DenoisingEvent<'_>| match event {
            DenoisingEvent::Step { changes, .. } => changes.iter().map(|change| change.confidence.to_bits()).collect(),
            _ => Vec::new(),
        };
        let mut all = Vec::new();
        let _ = generate(network, &process(), &[request], &mut |_, event| {
            all.extend(confidence(event));
            ControlFlow::Continue(())
        });
        all
    };
    let (line, grid) = (Domain::line(2..40), Domain::grid(2..40, 2, 3));
    let several = network(CpuPath::best(), 1, |_| {});
    let one = network(CpuPath::best(), 1, |spec| spec.layers.iter_mut().for_each(|l| l.attention.rope.axes = 1));
    assert_eq!(of(&several, line.clone()), of(&one, line.clone()));
    assert_eq!(of(&one, grid.clone()), of(&one, line.clone()));
    assert_ne!(of(&several, grid), of(&several, line));
}

#[test]
fn processes_that_revise_open_positions_fill_parts_within_their_domains() {
    let spec = small(|spec| spec.process = ProcessSpec { kind: ProcessKind::Uniform, ..ProcessSpec::default() });
    let process = process_of(&spec, None).unwrap();
    let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap();
    let together = filled(&network, process.as_ref(), &unlike()[1..3]);
    for (request, outcome) in unlike()[1..3].iter().zip(&together) {
        assert!(holds(outcome, 0, &TEXT) && holds(outcome, 1, &CODES), "{:?}", outcome.canvas.tokens());
        assert_eq!(&filled(&network, process.as_ref(), std::slice::from_ref(request))[0], outcome);
    }
}

#[test]
fn what_changes_nothing_of_a_part_is_named_with_it() {
    let chain = Chain::mixed(14);
    let found = |request: &Request| -> Vec<String> {
        let all = ineffective(request, chain.spec(), &process()).unwrap();
        all.iter().map(|setting| setting.to_string()).collect()
    };
    assert!(found(&request(words(), codes())).is_empty());
    let request = request(words(), codes().suppress_tokens(TEXT).block_length(9));
    assert_eq!(
        found(&request),
        [
            "`block_length` of part 1 has no effect: 6 open positions are one block of 6, and none of 9",
            "`suppress_tokens` of part 1 has no effect: none of its tokens is ever written here",
        ]
    );
}

#[test]
fn parts_that_cannot_be_filled_are_refused_in_words() {
    let chain = Chain::mixed(14);
    let refusal = |request: Request| refused(&chain, request);
    let with = |change: fn(&mut Request)| {
        let mut request = request(words(), codes());
        change(&mut request);
        refusal(request)
    };
    let cases = [
        (with(|request| request.parts.clear()), "`parts` is 0; allowed: 1 or more"),
        (
            with(|request| request.parts[1].spans = Some(vec![2])),
            "`spans` is 2 in part 1; allowed: numbers of the canvas's 2 spans, counted from 0",
        ),
        (
            with(|request| request.parts[0].spans = Some(vec![1])),
            "`spans` is 1 in part 1; allowed: spans that no other part has; part 0 has it too",
        ),
        (
            with(|request| request.parts[1].spans = None),
            "`spans` is missing in 2 parts; allowed: given in all parts but one, which has the rest",
        ),
        (
            with(|request| {
                request.parts.truncate(1);
                request.parts[0].spans = Some(vec![1]);
            }),
            "`spans` is without span 0; allowed: a part for each span with open positions",
        ),
        (
            with(|request| request.parts[1].after = Some(2)),
            "`after` is 2 in part 1; allowed: numbers of the 2 parts, counted from 0",
        ),
        (
            with(|request| request.parts[1].after = Some(1)),
            "`after` is 1 in part 1; allowed: a part that does not wait for this one",
        ),
        (
            refusal(request(words(), codes().cache(Cache::Prefix))),
            "`cache` is prefix; allowed: nothing, as in the first part",
        ),
    ];
    for (given, expected) in cases {
        assert!(given.starts_with(expected), "{given}");
    }
    let (mut foreign, mut causal) = (story_and_picture(), Canvas::new());
    foreign.push_span(&[None; 2], false, Domain::line(12..15), MASK).unwrap();
    let foreign = Request::new(foreign, Settings::default());
    let expected = "`domain` is tokens 12 to 15 in span 2; allowed: one token or more, below 14";
    assert!(refusal(foreign).starts_with(expected));
    causal.push_span(&[None; 2], false, Domain::grid(2..9, 2, 1), MASK).unwrap();
    let network = |change: fn(&mut NetworkSpec)| network(CpuPath::best(), 1, change);
    let left_to_right = network(|spec| (spec.attention, spec.mask_token) = (Layout::Causal, None));
    let order = process_of(left_to_right.spec(), Some(END)).unwrap();
    let causal = Request::new(causal, Settings::default());
    let given = generate(&left_to_right, order.as_ref(), &[causal], &mut |_, _| ControlFlow::Continue(())).remove(0);
    let given = message(&given.unwrap_err());
    assert!(given.starts_with("`domain` is 2 rows of 1 in span 0; allowed: a line"), "{given}");
    let timed = network(|spec| spec.time_conditioning = Some(TimeSpec::new(8)));
    let given = refused(&timed, request(words(), codes()));
    assert!(
        given.starts_with("`parts` is 2; allowed: 1, since the model reads one time for the whole canvas"),
        "{given}"
    );
    let drafting = network(|spec| spec.attention = Layout::CausalPrefix { length: 4 });
    let given = refused(&drafting, behind());
    assert!(given.contains("writes from left to right"), "{given}");
    let sub_blocks = network(|spec| spec.attention = Layout::Block { length: 4 });
    let given = refused(&sub_blocks, request(words().cache(Cache::Dual), codes()));
    assert!(given.starts_with("`cache` is dual; allowed: none, exact, where a request has several parts"), "{given}");
}

/// Two parts with nothing given behind them.
fn behind() -> Request {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2]);
    canvas.push_open(2, false, MASK);
    canvas.push_open(2, false, MASK);
    let settings = || Settings::builder().steps(2).build().unwrap();
    Request::of_parts(canvas, vec![Part::new(settings()), Part::new(settings()).with_spans(vec![1])])
}

#[test]
fn a_position_is_predicted_by_the_settings_of_its_part() {
    let (chain, process) = (Chain::mixed(14), process());
    let request = request(words().suppress_tokens([4]), codes().suppress_tokens([9]));
    let tokens = |positions: &[usize]| -> Vec<BTreeSet<TokenId>> {
        let found = predict(&chain, &process, &request, positions, 14).unwrap().into_iter();
        found.map(|of| of.alternatives.into_iter().map(|(token, _)| token).collect()).collect()
    };
    let codes: BTreeSet<TokenId> = CODES.filter(|token| *token != 9).collect();
    assert_eq!(tokens(&[1, 9]), [TEXT.filter(|token| *token != 4).collect(), codes.clone()]);
    // What is given is of the part that has no spans of its own, also where it becomes a span by itself.
    let given = tokens(&[0, 9]);
    assert!(given[0].contains(&9) && !given[0].contains(&4), "{given:?}");
    assert_eq!(given[1], codes);
    let none = Request { parts: Vec::new(), ..request };
    let error = predict(&chain, &process, &none, &[1], 14).unwrap_err().to_string();
    assert_eq!(error, "`parts` is 0; allowed: 1 or more");
}
