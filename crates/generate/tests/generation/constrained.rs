//! Constrained spans end in their language: under every policy, remasking, process and batch.

use crate::chain::{Chain, END, MASK, process};
use crate::described::{Described, described};
use crate::real::{listening, small};
use crate::refusals::{message, refused};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::constraint::{Cell, State, TokenAutomaton, TokenSet};
use aquatint_diffusion::{Canvas, Counting, Layout, Process, ProcessKind, TokenId};
use aquatint_generate::{
    AnyOrder, Change, ChangeKind, CommitOrder, Constraint, ConstraintError, DenoisingEvent, Outcome, Request, Settings,
    SettingsBuilder, SpanConstraint, SpanFiller, SpanStart, generate, process_of,
};
use aquatint_network::{Denoiser, Network, NetworkSpec, ProcessSpec, SelfConditioningSpec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `2 (3|4)* 5`: two tokens at least.
fn framed() -> Arc<TokenAutomaton> {
    let leads = |state: State| match state {
        0 => vec![(2, 1)],
        1 => vec![(3, 1), (4, 1), (5, 2)],
        _ => Vec::new(),
    };
    Arc::new(TokenAutomaton::new(0, vec![false, false, true], leads))
}

pub(crate) fn is_framed(text: &[TokenId]) -> bool {
    let [2, inner @ .., 5] = text else { return false };
    inner.iter().all(|token| [3, 4].contains(token))
}

pub(crate) fn constrained(request: Request, span: usize, constraint: impl Constraint + 'static) -> Request {
    request.with_constraints(vec![SpanConstraint { span, constraint: Arc::new(constraint) }])
}

pub(crate) fn any_order() -> AnyOrder {
    AnyOrder::new("test language", framed())
}

/// What a span of a filled canvas says.
fn text(outcome: &Outcome, span: usize) -> Vec<TokenId> {
    let span = &outcome.canvas.spans()[span];
    let written = span.positions.clone().filter(|position| !outcome.canvas.is_closed(*position));
    let tokens: Vec<TokenId> = written.map(|position| outcome.canvas.tokens()[position]).collect();
    match tokens.split_last() {
        Some((&END, before)) if span.approximate => before.to_vec(),
        _ => tokens,
    }
}

fn filled(denoiser: &dyn Denoiser, process: &dyn Process, requests: &[Request]) -> Vec<Outcome> {
    let outcomes = generate(denoiser, process, requests, &mut |_, _| ControlFlow::Continue(())).into_iter();
    outcomes.collect::<Result<_, _>>().expect("the requests are good")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_policy_and_remasking_ends_in_the_language_and_alone_as_in_a_batch(
        described in prop::collection::vec(described(), 1..4),
    ) {
        let chain = Chain::mixed(6);
        let requests = described.iter().map(Described::request).map(|request| {
            let spans = request.canvas.spans().iter().enumerate();
            // A span without positions has no text of the language, and one is too short for it.
            let long = spans.filter(|(_, span)| span.positions.len() > 1).map(|(span, _)| span);
            let constraints = long.map(|span| SpanConstraint { span, constraint: Arc::new(any_order()) }).collect();
            request.with_constraints(constraints)
        });
        let requests: Vec<Request> = requests.collect();
        let together = filled(&chain, &process(), &requests);
        for (request, outcome) in requests.iter().zip(&together) {
            prop_assert_eq!(&filled(&chain, &process(), std::slice::from_ref(request))[0], outcome);
            for constraint in &request.constraints {
                let text = text(outcome, constraint.span);
                prop_assert!(is_framed(&text), "{:?}: {:?}", text, request);
            }
        }
    }
}

fn span(length: usize, approximate: bool) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2]);
    canvas.push_open(length, approximate, MASK);
    canvas
}

fn settings(change: impl Fn(SettingsBuilder) -> SettingsBuilder, seed: u64) -> Settings {
    change(Settings::builder().steps(4).seed(seed)).build().unwrap()
}

#[test]
fn every_process_ends_in_the_language() {
    let spec = |kind: ProcessKind, vectors: Option<usize>| {
        small(|spec: &mut NetworkSpec| {
            (spec.mask_token, spec.word_vector_size) = (None, vectors);
            spec.process = ProcessSpec { kind, ..ProcessSpec::default() };
        })
    };
    let specs = [
        spec("uniform".parse().unwrap(), None),
        spec("gaussian:4".parse().unwrap(), Some(4)),
        spec("simplex".parse().unwrap(), None),
        small(|spec| spec.self_conditioning = Some(SelfConditioningSpec::Added)),
        small(|spec| spec.attention = Layout::Block { length: 4 }),
        small(|spec| (spec.attention, spec.mask_token) = (Layout::Causal, None)),
    ];
    for spec in specs {
        let name = format!("{:?} {:?}", spec.process, spec.attention);
        let is_causal = spec.attention == Layout::Causal;
        let process = process_of(&spec, Some(6)).unwrap();
        let network = listening(Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap());
        let mut changes: Vec<fn(SettingsBuilder) -> SettingsBuilder> =
            vec![|b| b, |b| b.temperature(0.0), |b| b.top_k(1), |b| b.top_p(0.1).temperature(0.3)];
        if process.revises() {
            changes.push(|b| b.revise(true).policy_named("entropy-bound:0.5"));
            changes.push(|b| b.correctors(1).churn(0.5));
        } else if !is_causal {
            changes.push(|b| b.guidance_scale(2.0));
        }
        for (number, change) in changes.iter().enumerate() {
            for approximate in [true, false] {
                let request = |seed| Request::new(span(9, approximate), settings(change, seed)).with_ends(Some(END));
                let requests: Vec<Request> = (0..4).map(|seed| constrained(request(seed), 0, any_order())).collect();
                for outcome in filled(&network, process.as_ref(), &requests) {
                    assert!(is_framed(&text(&outcome, 0)), "{name}, {number}: {outcome:?}");
                }
            }
        }
    }
}

#[test]
fn tokens_that_a_span_holds_already_are_part_of_its_text() {
    let mut canvas = span(6, true);
    canvas.commit(3, 4).unwrap();
    let chain = Chain::mixed(6);
    let request = |canvas: &Canvas, seed| {
        constrained(Request::new(canvas.clone(), settings(|b| b, seed)).with_ends(Some(END)), 0, any_order())
    };
    for seed in 0..20 {
        let outcome = filled(&chain, &process(), &[request(&canvas, seed)]).remove(0);
        assert!(is_framed(&text(&outcome, 0)) && outcome.canvas.tokens()[3] == 4, "{outcome:?}");
    }
    canvas.commit(1, 4).unwrap();
    assert_eq!(
        refused(&chain, request(&canvas, 0)),
        "span 0 of the canvas cannot be filled as the test language says <- no text agrees with the tokens that the \
         span holds already | open more of the span, or change what is written in it"
    );
}

#[test]
fn spans_that_cannot_be_filled_are_refused_with_the_shortest_length() {
    let chain = Chain::mixed(6);
    let of = |length, approximate, forbidden: &[TokenId], number| {
        let request = Request::new(span(length, approximate), Settings::default()).with_ends(Some(END));
        refused(&chain, constrained(request.with_forbidden(forbidden.to_vec()), number, any_order()))
    };
    assert_eq!(
        of(1, true, &[], 0),
        "span 0 of the canvas cannot be filled as the test language says <- the text takes at least 2 tokens, and 1 \
         positions are open | leave at least 2 positions open (`max_tokens`)"
    );
    assert_eq!(
        of(1, false, &[], 0),
        "span 0 of the canvas cannot be filled as the test language says <- no text has exactly 1 tokens; the shortest \
         one has 2 | let the hole have about that many tokens, as in `[[~16]]`"
    );
    assert_eq!(
        of(3, true, &[5], 0),
        "span 0 of the canvas cannot be filled as the test language says <- the model's tokens cannot write any text of \
         it | choose a model whose tokenizer has a token for each byte"
    );
    assert_eq!(
        of(3, true, &[], 1),
        "`constraint` is for span 1; allowed: for one of the canvas's 1 spans, counted from 0"
    );
}

#[test]
fn a_span_of_exact_length_has_a_limit() {
    let chain = |state: State| if state < 1999 { vec![(2, state + 1)] } else { vec![(2, state)] };
    let accepting = (0..2000).map(|state| state == 1999).collect();
    let constraint = AnyOrder::new("long text", Arc::new(TokenAutomaton::new(0, accepting, chain)));
    let begin = |cells: usize, closing| {
        let cells = vec![Cell::Free; cells];
        constraint
            .begin(&SpanStart { cells: &cells, closing, forbidden: &[], before: Some(&[]), after: Some(&[]) })
            .map(|_| ())
    };
    assert_eq!(begin(33_555, None), Err(ConstraintError::TooLong { positions: 33_555, most: 33_554 }));
    assert_eq!(begin(33_555, Some(END)), Ok(()));
    assert_eq!(begin(2_100, None), Ok(()));
}

/// The language from left to right: it only takes what stands at the beginning.
#[derive(Debug)]
struct Ordered(AnyOrder);

#[derive(Debug)]
struct OrderedFiller(Box<dyn SpanFiller>);

impl Constraint for Ordered {
    fn name(&self) -> String {
        self.0.name()
    }

    fn order(&self) -> CommitOrder {
        CommitOrder::LeftToRight
    }

    fn begin(&self, span: &SpanStart<'_>) -> Result<Box<dyn SpanFiller>, ConstraintError> {
        Ok(Box::new(OrderedFiller(self.0.begin(span)?)))
    }
}

impl SpanFiller for OrderedFiller {
    fn draw(&mut self, cells: &[Cell<'_>]) -> Result<Vec<TokenId>, ConstraintError> {
        assert!(cells.is_sorted_by_key(|cell| match cell {
            Cell::Fixed(_) => 0,
            Cell::Row(_) => 1,
            Cell::Free => 2,
        }));
        self.0.draw(cells)
    }
}

#[test]
fn a_constraint_from_left_to_right_has_its_span_committed_so() {
    let chain = Chain::mixed(6);
    for policy in ["confidence", "random", "ancestral", "threshold:0.5", "last", "first-hitting"] {
        for seed in 0..10 {
            let settings = settings(|b| b.policy_named(policy).block_length(5), seed);
            let request = Request::new(span(12, true), settings).with_ends(Some(END));
            let mut order = Vec::new();
            let outcome =
                generate(&chain, &process(), &[constrained(request, 0, Ordered(any_order()))], &mut |_, event| {
                    if let DenoisingEvent::Step { changes, .. } = event {
                        let committed = |change: &&Change| change.kind == ChangeKind::Committed;
                        order.extend(changes.iter().filter(committed).map(|change| change.position));
                    }
                    ControlFlow::Continue(())
                });
            let outcome = outcome.into_iter().next().unwrap().unwrap();
            assert!(is_framed(&text(&outcome, 0)) && order.is_sorted(), "{policy}: {order:?} {outcome:?}");
        }
    }
    let remasked = settings(|b| b.remasking_named("cap:0.2"), 0);
    assert_eq!(
        refused(&chain, constrained(Request::new(span(9, true), remasked), 0, Ordered(any_order()))),
        "`remasking` is cap:0.2; allowed: none | the test language is kept from left to right, so nothing is taken back"
    );
}

#[test]
fn a_policy_that_counts_commits_as_many_from_left_to_right_as_it_would_anywhere() {
    let chain = Chain::mixed(6);
    let commits = |policy: &str, seed| {
        let settings = settings(|b| b.policy_named(policy).counting(Counting::Even), seed);
        let request = Request::new(span(12, false), settings);
        let mut commits = Vec::new();
        let outcome =
            generate(&chain, &process(), &[constrained(request, 0, Ordered(any_order()))], &mut |_, event| {
                if let DenoisingEvent::Step { changes, .. } = event {
                    commits.push(changes.iter().filter(|change| change.kind == ChangeKind::Committed).count());
                }
                ControlFlow::Continue(())
            });
        assert!(is_framed(&text(outcome[0].as_ref().unwrap(), 0)));
        commits
    };
    for policy in ["confidence", "random", "sequential", "entropy", "margin", "dynamic:1"] {
        (0..10).for_each(|seed| assert_eq!(commits(policy, seed), [3, 3, 3, 3], "{policy}"));
    }
    // Each of twelve positions is final in a step with the probability of the plan: a quarter of them in the last one.
    let last: usize = (0..100).map(|seed| commits("ancestral", seed).last().copied().unwrap_or(0)).sum();
    assert!((250..350).contains(&last), "{last} of 1200 positions in the last step");
}

#[test]
fn several_spans_from_left_to_right_share_what_a_policy_commits() {
    let chain = Chain::mixed(6);
    for (policy, seed) in
        ["confidence", "random", "entropy", "margin"].into_iter().flat_map(|p| (0..20).map(move |s| (p, s)))
    {
        let settings = settings(|b| b.policy_named(policy).counting(Counting::Even), seed);
        let mut canvas = Canvas::new();
        canvas.push_given(&[2]);
        canvas.push_open(6, false, MASK);
        canvas.push_given(&[3]);
        canvas.push_open(6, false, MASK);
        let spans = [0, 1].map(|span| SpanConstraint { span, constraint: Arc::new(Ordered(any_order())) });
        let request = Request::new(canvas, settings).with_constraints(spans.into());
        let mut commits = Vec::new();
        let outcome = generate(&chain, &process(), &[request], &mut |_, event| {
            if let DenoisingEvent::Step { changes, .. } = event {
                commits.push(changes.iter().filter(|change| change.kind == ChangeKind::Committed).count());
            }
            ControlFlow::Continue(())
        });
        let outcome = outcome[0].as_ref().unwrap();
        assert!([0, 1].iter().all(|span| is_framed(&text(outcome, *span))));
        assert_eq!(commits, [3, 3, 3, 3], "{policy}, seed {seed}");
    }
}

/// `2 (3|4)* 5` from left to right, a token at a time: each is drawn from its prediction among those that leave the text
/// room to end. Adds up the predictions that it was given.
#[derive(Debug)]
struct Stepwise(Arc<AtomicUsize>);

/// The tokens that may come next, with so many positions behind.
fn allowed(before: &[TokenId], behind: usize) -> Vec<TokenId> {
    match before {
        [] => vec![2],
        [.., 5 | END] => vec![END],
        _ if behind == 0 => vec![5],
        _ => vec![3, 4, 5],
    }
}

impl Constraint for Stepwise {
    fn name(&self) -> String {
        "stepwise language".to_owned()
    }

    fn order(&self) -> CommitOrder {
        CommitOrder::LeftToRight
    }

    fn begin(&self, _: &SpanStart<'_>) -> Result<Box<dyn SpanFiller>, ConstraintError> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
}

impl SpanFiller for Stepwise {
    fn draw(&mut self, cells: &[Cell<'_>]) -> Result<Vec<TokenId>, ConstraintError> {
        let (mut text, mut drawn) = (Vec::new(), Vec::new());
        for (place, cell) in cells.iter().enumerate() {
            match cell {
                Cell::Fixed(token) => text.push(*token),
                Cell::Free => break,
                Cell::Row(row) => {
                    self.0.fetch_add(1, Ordering::SeqCst);
                    let token = row.draw(&TokenSet::new(allowed(&text, cells.len() - place - 1)));
                    text.push(token);
                    drawn.push(token);
                }
            }
        }
        Ok(drawn)
    }
}

#[test]
fn texts_from_left_to_right_have_the_law_of_one_draw_a_position_and_no_draw_is_thrown_away() {
    const SEEDS: u64 = 6000;
    let chain = Chain::mixed(6);
    // The law of each text: its tokens one after another, each from the prediction given those before it.
    let mut law: Vec<(Vec<TokenId>, f64)> = Vec::new();
    let mut begun = vec![(Vec::new(), 1.0)];
    while let Some((text, probability)) = begun.pop() {
        if text.len() == 4 {
            law.push((text, probability));
            continue;
        }
        let mut canvas = vec![2];
        canvas.extend(&text);
        canvas.resize(5, MASK);
        // What comes behind the end falls away and is not drawn.
        let next = allowed(&text, 4 - text.len() - 1);
        let row = &chain.predictions(&canvas)[text.len() + 1];
        let total: f64 = next.iter().map(|token| row[*token as usize]).sum();
        for token in next {
            let longer = [&text[..], &[token]].concat();
            begun.push((longer, probability * row[token as usize] / total));
        }
    }
    assert!((law.iter().map(|(_, probability)| probability).sum::<f64>() - 1.0).abs() < 1e-9);

    let rows = Arc::new(AtomicUsize::new(0));
    let mut counts: BTreeMap<Vec<TokenId>, usize> = BTreeMap::new();
    let mut committed = 0;
    let requests: Vec<Request> = (0..SEEDS)
        .map(|seed| {
            let settings = Settings::builder().steps(4).seed(seed).policy_named("sequential").build().unwrap();
            let request = Request::new(span(4, true), settings).with_ends(Some(END));
            constrained(request, 0, Stepwise(Arc::clone(&rows)))
        })
        .collect();
    let outcomes = generate(&chain, &process(), &requests, &mut |_, event| {
        if let DenoisingEvent::Step { changes, .. } = event {
            committed += changes.iter().filter(|change| change.kind == ChangeKind::Committed).count();
        }
        ControlFlow::Continue(())
    });
    for outcome in outcomes {
        let mut text = text(&outcome.unwrap(), 0);
        text.resize(4, END);
        *counts.entry(text).or_default() += 1;
    }
    for (text, probability) in &law {
        let found = counts.remove(text).unwrap_or(0) as f64 / SEEDS as f64;
        let deviation = (probability * (1.0 - probability) / SEEDS as f64).sqrt();
        assert!((found - probability).abs() < 4.5 * deviation + 1e-9, "{text:?}: {found}, its law {probability}");
    }
    assert!(counts.is_empty(), "texts that the law has not: {counts:?}");
    assert_eq!(rows.load(Ordering::SeqCst), committed, "only what becomes final is drawn");
}

#[test]
fn a_constraint_changes_nothing_for_others_and_costs_no_pass() {
    let chain = Chain::mixed(6);
    let request = |seed| Request::new(span(9, true), settings(|b| b, seed)).with_ends(Some(END));
    let free: Vec<Request> = (0..4).map(request).collect();
    let mut mixed = free.clone();
    mixed.extend((0..4).map(|seed| constrained(request(seed), 0, any_order())));
    let together = filled(&chain, &process(), &mixed);
    assert_eq!(together[..4], filled(&chain, &process(), &free));
    assert!(together[4..].iter().all(|outcome| outcome.statistics.forward_passes <= 4));
    let error =
        generate(&chain, &process(), &[constrained(request(0), 3, any_order())], &mut |_, _| ControlFlow::Continue(()));
    assert!(message(error[0].as_ref().unwrap_err()).contains("span 3"));
}
