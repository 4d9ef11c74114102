//! The audit of blocks: what is refused does not stay, what cannot be repaired is no outcome, and events say what happened.

use crate::chain::{Chain, END, MASK, process};
use crate::constrained::{any_order, constrained, is_framed};
use crate::described::described;
use crate::real::{listening, small};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Canvas, Layout, Process, TokenId};
use aquatint_generate::{
    Audit, Cache, ChangeKind, DenoisingEvent, GenerateError, Offence, Outcome, Request, Settings, SettingsBuilder,
    generate, process_of,
};
use aquatint_network::{Denoiser, Network, ProcessSpec, SelfConditioningSpec};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

/// Refuses some tokens, and keeps which blocks it was given with what stood in them.
#[derive(Debug, Default)]
struct Refusing {
    tokens: Vec<TokenId>,
    repairs: usize,
    judged: Mutex<Vec<(Vec<usize>, Vec<TokenId>)>>,
}

impl Audit for Refusing {
    fn judge(&self, canvas: &Canvas, block: &[usize]) -> Option<Offence> {
        let held: Vec<TokenId> = block.iter().map(|position| canvas.tokens()[*position]).collect();
        self.judged.lock().unwrap().push((block.to_vec(), held));
        assert!(block.iter().all(|position| !canvas.is_open(*position)), "a block is judged when it is full");
        let offends =
            |position: &usize| canvas.is_committed(*position) && self.tokens.contains(&canvas.tokens()[*position]);
        let positions: Vec<usize> = (0..canvas.len()).filter(offends).collect();
        // What stands in a block that another part still fills is judged with that one.
        let is_in_block = |position: &usize| block.contains(position);
        positions.iter().any(is_in_block).then(|| Offence { positions, reason: "a token".to_owned() })
    }

    fn repairs(&self) -> usize {
        self.repairs
    }
}

fn refusing(tokens: &[TokenId], repairs: usize) -> Arc<Refusing> {
    Arc::new(Refusing { tokens: tokens.to_vec(), repairs, judged: Mutex::default() })
}

/// The outcome of a request; the canvas as its events add up to it is compared with that of the outcome, and no position of a
/// committed block changes.
fn filled(denoiser: &dyn Denoiser, process: &dyn Process, request: &Request) -> Result<Outcome, GenerateError> {
    let mut shown: BTreeMap<usize, Option<TokenId>> = BTreeMap::new();
    let (mut block, mut settled): (BTreeMap<usize, Vec<usize>>, Vec<usize>) = (BTreeMap::new(), Vec::new());
    let mut outcomes = generate(denoiser, process, std::slice::from_ref(request), &mut |_, event| {
        match event {
            DenoisingEvent::BlockStarted { part, positions, .. } => drop(block.insert(part, positions.to_vec())),
            DenoisingEvent::BlockCommitted { part, .. } => settled.extend(&block[&part]),
            DenoisingEvent::Step { changes, of, step, .. } => {
                assert!(step < of, "{step} of {of}");
                for change in changes {
                    assert!(!settled.contains(&change.position), "{change:?}");
                    let token = (change.kind != ChangeKind::Renoised).then_some(change.token);
                    shown.insert(change.position, token);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    let outcome = outcomes.remove(0)?;
    let canvas = &outcome.canvas;
    for (position, token) in shown {
        let held = canvas.is_committed(position).then(|| canvas.tokens()[position]);
        if !canvas.is_closed(position) {
            assert_eq!(token, held, "position {position}");
        }
    }
    Ok(outcome)
}

fn canvas(open: usize) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2, 5]);
    canvas.push_open(open, false, MASK);
    canvas.push_given(&[3]);
    canvas
}

fn request(open: usize, settings: SettingsBuilder, audit: &Arc<Refusing>) -> Request {
    Request::new(canvas(open), settings.build().unwrap()).with_ends(Some(END)).with_audit(Some(audit.clone()))
}

#[test]
fn refused_tokens_are_written_anew_at_their_positions_and_nowhere_else() {
    let chain = Chain::mixed(6);
    let mut repaired = 0;
    for (seed, temperature) in (0..60).flat_map(|seed| [(seed, 0.0), (seed, 1.0)]) {
        let settings = || {
            Settings::builder().steps(3).block_length(4).temperature(temperature).seed(seed).policy_named("confidence")
        };
        let audit = refusing(&[4], 9);
        let outcome = filled(&chain, &process(), &request(12, settings(), &audit)).unwrap();
        assert!(!outcome.canvas.tokens().contains(&4) && outcome.canvas.open_positions().is_empty());
        repaired += outcome.statistics.repairs;
        let judged = audit.judged.lock().unwrap();
        // Each block is judged until it passes.
        assert_eq!(judged.len(), 3 + outcome.statistics.repairs);
        for pair in judged.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let [(_, before), (_, after)] = pair else { unreachable!() };
            for (old, new) in before.iter().zip(after) {
                assert_eq!(old == new, *old != 4, "only what offends is written anew: {pair:?}");
            }
        }
        let free = filled(&chain, &process(), &request(12, settings(), &refusing(&[], 9))).unwrap();
        let plain = Request::new(canvas(12), settings().build().unwrap()).with_ends(Some(END));
        assert_eq!(free, filled(&chain, &process(), &plain).unwrap(), "an audit that lets all pass changes nothing");
        if !free.canvas.tokens().contains(&4) {
            assert_eq!(outcome, free);
        }
    }
    assert!(repaired > 60, "{repaired}");
}

#[test]
fn what_offends_after_the_last_repair_is_refused_with_its_reason() {
    let chain = Chain::mixed(6);
    let run = |tokens: &[TokenId], repairs| {
        let audit = refusing(tokens, repairs);
        let settings = Settings::builder().steps(2).block_length(6).seed(1);
        (filled(&chain, &process(), &request(6, settings, &audit)), audit)
    };
    // Every token offends.
    let (refused, audit) = run(&[2, 3, 4, 5], 2);
    let error = refused.unwrap_err();
    assert!(matches!(&error, GenerateError::Refused { reason, repairs: 2 } if reason == "a token"), "{error:?}");
    assert_eq!(error.to_string(), "what was written is refused: a token");
    assert_eq!(audit.judged.lock().unwrap().len(), 3);
    let (refused, audit) = run(&[2, 3, 4, 5], 0);
    assert!(matches!(refused, Err(GenerateError::Refused { repairs: 0, .. })));
    assert_eq!(audit.judged.lock().unwrap().len(), 1);
}

/// Opens the first positions of a block again, once.
#[derive(Debug)]
struct Reopening {
    count: usize,
    judged: Mutex<usize>,
}

impl Audit for Reopening {
    fn judge(&self, _: &Canvas, block: &[usize]) -> Option<Offence> {
        let mut judged = self.judged.lock().unwrap();
        *judged += 1;
        (*judged == 1).then(|| Offence { positions: block[..self.count].to_vec(), reason: "the first".to_owned() })
    }

    fn repairs(&self) -> usize {
        1
    }
}

#[test]
fn a_repair_takes_the_steps_that_the_plan_has_for_what_is_open() {
    let passes = |count: usize, steps: usize| {
        let settings = Settings::builder().steps(steps).policy_named("sequential").seed(3).build().unwrap();
        let audit = Reopening { count, judged: Mutex::default() };
        let request = Request::new(canvas(12), settings).with_audit(Some(Arc::new(audit)));
        filled(&Chain::mixed(6), &process(), &request).unwrap().statistics.forward_passes
    };
    // One position a step, two and four.
    assert_eq!([1, 5, 12].map(|count| passes(count, 12)), [13, 17, 24]);
    assert_eq!([1, 5, 12].map(|count| passes(count, 6)), [7, 9, 12]);
    assert_eq!([1, 5, 12].map(|count| passes(count, 3)), [4, 5, 6]);
}

#[test]
fn where_every_token_was_refused_at_a_position_that_is_what_the_error_says() {
    let settings = Settings::builder().steps(2).seed(1);
    let audit = refusing(&(0..100).collect::<Vec<TokenId>>(), 1_000);
    let error = filled(&Chain::mixed(6), &process(), &request(2, settings, &audit)).unwrap_err();
    assert!(matches!(error, GenerateError::Refused { repairs: 1..10, .. }), "{error:?}");
}

/// Offends by what no block has.
#[derive(Debug)]
struct Elsewhere;

impl Audit for Elsewhere {
    fn judge(&self, _: &Canvas, _: &[usize]) -> Option<Offence> {
        Some(Offence { positions: vec![0, 1], reason: "the beginning".to_owned() })
    }

    fn repairs(&self) -> usize {
        9
    }
}

#[test]
fn what_is_not_of_the_block_cannot_be_opened_again() {
    let request = Request::new(canvas(4), Settings::builder().steps(2).seed(1).build().unwrap());
    let refused = filled(&Chain::mixed(6), &process(), &request.with_audit(Some(Arc::new(Elsewhere))));
    assert!(matches!(refused, Err(GenerateError::Refused { repairs: 0, .. })), "{refused:?}");
}

#[test]
fn a_request_that_is_refused_leaves_the_others_alone() {
    let chain = Chain::mixed(6);
    let settings = || Settings::builder().steps(3).block_length(4).seed(5);
    let requests = [
        request(8, settings(), &refusing(&[2, 3, 4, 5], 1)),
        request(8, settings(), &refusing(&[4], 9)),
        request(8, settings(), &refusing(&[], 1)),
    ];
    let together = generate(&chain, &process(), &requests, &mut |_, _| ControlFlow::Continue(()));
    assert!(matches!(together[0], Err(GenerateError::Refused { .. })));
    for index in [1, 2] {
        assert_eq!(together[index].as_ref().unwrap(), &filled(&chain, &process(), &requests[index]).unwrap());
    }
}

/// That a request is refused at the first offence, which nothing can repair, and that none of its blocks is committed.
fn assert_refused_at_once(denoiser: &dyn Denoiser, request: Request) {
    let audit = refusing(&(0..100).collect::<Vec<TokenId>>(), 9);
    assert_refused(denoiser, request.with_audit(Some(audit.clone())), 0);
    assert_eq!(audit.judged.lock().unwrap().len(), 1);
}

/// That an audit that lets all pass changes nothing.
fn assert_passed_unchanged(denoiser: &dyn Denoiser, request: &Request) {
    let passing = request.clone().with_audit(Some(refusing(&[], 0)));
    let of = |request: &Request| filled(denoiser, &process(), request).unwrap();
    assert_eq!(of(&passing), of(request));
}

/// That a request is refused after so many repairs, and that none of its blocks is committed.
fn assert_refused(denoiser: &dyn Denoiser, request: Request, after: usize) {
    let mut outcomes = generate(denoiser, &process(), &[request], &mut |_, event| {
        assert!(!matches!(event, DenoisingEvent::BlockCommitted { .. } | DenoisingEvent::Finished { .. }), "{event:?}");
        ControlFlow::Continue(())
    });
    let outcome = outcomes.remove(0);
    assert!(matches!(outcome, Err(GenerateError::Refused { repairs, .. }) if repairs == after), "{outcome:?}");
}

/// A free span and, behind it, one that a constraint keeps.
fn half_constrained(settings: SettingsBuilder, audit: &Arc<Refusing>) -> Request {
    let mut canvas = canvas(4);
    canvas.push_open(5, false, MASK);
    let request = Request::new(canvas, settings.build().unwrap()).with_ends(Some(END)).with_audit(Some(audit.clone()));
    constrained(request, 1, any_order())
}

/// What a constraint drew stays, since another token there could leave the language: what is free is written anew beside it.
#[test]
fn what_a_constraint_keeps_is_not_written_anew() {
    let chain = Chain::mixed(6);
    let span = |outcome: &Outcome, number: usize| -> Vec<TokenId> {
        outcome.canvas.spans()[number].positions.clone().map(|position| outcome.canvas.tokens()[position]).collect()
    };
    let (mut repaired, mut refused) = (0, 0);
    for seed in 0..40 {
        let settings = || Settings::builder().steps(3).seed(seed);
        // The one span is the constraint's, and every token offends.
        assert_refused_at_once(&chain, constrained(request(5, settings(), &refusing(&[], 0)), 0, any_order()));
        let free = filled(&chain, &process(), &half_constrained(settings(), &refusing(&[], 9))).unwrap();
        let held = span(&free, 1);
        assert!(is_framed(&held));
        let guarded = half_constrained(settings(), &refusing(&[4], 9));
        if held.contains(&4) {
            // The free span is written anew once, where it offends; then what offends is the constraint's alone.
            assert_refused(&chain, guarded, usize::from(span(&free, 0).contains(&4)));
            refused += 1;
        } else {
            let outcome = filled(&chain, &process(), &guarded).unwrap();
            assert!(!outcome.canvas.tokens().contains(&4));
            assert_eq!(span(&outcome, 1), held);
            repaired += outcome.statistics.repairs;
        }
    }
    assert!(repaired > 0 && refused > 0, "{repaired} repaired, {refused} refused");
}

#[test]
fn what_drafts_wrote_is_refused_without_a_repair() {
    let spec = small(|spec| spec.attention = Layout::CausalPrefix { length: 4 });
    let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap();
    for seed in 0..6 {
        let settings = Settings::builder().self_speculation(true).seed(seed).build().unwrap();
        let mut canvas = Canvas::new();
        canvas.push_given(&[2, 5]);
        canvas.push_open(9, false, MASK);
        let request = || Request::new(canvas.clone(), settings.clone()).with_ends(Some(END));
        assert_refused_at_once(&network, request());
        assert_passed_unchanged(&network, &request());
    }
}

#[test]
fn what_insertions_and_deletions_wrote_is_refused_without_a_repair() {
    let chain = Chain::mixed(6);
    for seed in 0..20 {
        let settings = Settings::builder().steps(3).edit_threshold(0.2).edit_steps(4).delete_token(4).insert_token(5);
        let settings = settings.seed(seed).build().unwrap();
        let request = || Request::new(canvas(6), settings.clone()).with_ends(Some(END));
        assert_refused_at_once(&chain, request());
        assert_passed_unchanged(&chain, &request());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// No block has more positions than it may be repaired, and none of them takes the refused token twice: nothing is refused.
    #[test]
    fn under_every_policy_and_remasking_nothing_refused_stays(described in described()) {
        let chain = Chain::mixed(7);
        let request = described.request();
        let audit = refusing(&[6], request.canvas.open_positions().len());
        let is_written = |canvas: &Canvas| (0..canvas.len()).any(|at| canvas.is_committed(at) && canvas.tokens()[at] == 6);
        match filled(&chain, &process(), &described.request().with_audit(Some(audit))) {
            Ok(outcome) => {
                prop_assert!(!is_written(&outcome.canvas), "{:?}", request);
                prop_assert!(outcome.canvas.open_positions().is_empty());
            }
            // Requests that cannot be served without an audit cannot with one.
            Err(error) => {
                let without = filled(&chain, &process(), &request);
                prop_assert!(without.is_err(), "{}: {:?}", error, request);
                prop_assert_eq!(error.to_string(), without.unwrap_err().to_string());
            }
        }
    }
}

/// Every process and layout: nothing refused stays, and an exact cache has the rows of what stands there.
#[test]
fn every_process_and_layout_ends_without_what_is_refused() {
    let spec = |kind: &str, vectors| {
        small(|spec| {
            (spec.mask_token, spec.word_vector_size) = (None, vectors);
            spec.process = ProcessSpec { kind: kind.parse().unwrap(), ..ProcessSpec::default() };
        })
    };
    let specs = [
        spec("uniform", None),
        spec("gaussian:4", Some(4)),
        spec("simplex", None),
        small(|_| {}),
        small(|spec| spec.self_conditioning = Some(SelfConditioningSpec::Added)),
        small(|spec| spec.attention = Layout::Block { length: 4 }),
        small(|spec| spec.attention = Layout::CausalPrefix { length: 4 }),
        small(|spec| (spec.attention, spec.mask_token) = (Layout::Causal, None)),
    ];
    for spec in specs {
        let name = format!("{:?} {:?}", spec.process, spec.attention);
        let process = process_of(&spec, Some(6)).unwrap();
        let caches = match spec.attention {
            Layout::Full => vec![Cache::None],
            _ => vec![Cache::None, Cache::Exact],
        };
        let network = listening(Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap());
        let mut repairs = 0;
        for seed in 0..6 {
            let outcomes = caches.iter().map(|cache| {
                // Half of the vocabulary.
                let audit = refusing(&(20..40).collect::<Vec<TokenId>>(), 30);
                let mut canvas = Canvas::new();
                canvas.push_given(&[2, 5]);
                canvas.push_open(10, false, MASK);
                let settings = Settings::builder().steps(3).seed(seed).cache(*cache).build().unwrap();
                let request = Request::new(canvas, settings).with_ends(Some(END)).with_audit(Some(audit));
                filled(&network, process.as_ref(), &request).unwrap_or_else(|error| panic!("{name}: {error}"))
            });
            let outcomes: Vec<Outcome> = outcomes.collect();
            for outcome in &outcomes {
                assert!(outcome.tokens.iter().all(|token| *token < 20), "{name}: {:?}", outcome.tokens);
                assert_eq!(outcome.tokens, outcomes[0].tokens, "{name}");
                repairs += outcome.statistics.repairs;
            }
        }
        assert!(repairs > 0, "{name}");
    }
}
