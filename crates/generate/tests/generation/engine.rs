//! The laws of the engine: whichever requests join, leave, wait or fail, each gets what it would have got alone.

use crate::chain::{Chain, END, MASK, process};
use crate::described::{Replay, described};
use aquatint_compute::ReadRow;
use aquatint_diffusion::{Canvas, LossTerm, Process, ProposalError, TokenId, WordVectors};
use aquatint_generate::{
    DenoisingEvent, Ended, Engine, FinishReason, GenerateError, Limits, Outcome, Part, Request, RequestId, Settings,
};
use aquatint_network::{
    Denoiser, ForwardPass, HostDenoiser, LossRow, NetworkError, NetworkInput, NetworkSpec, Query, RowAnswer, RowQuery,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

/// A request with the step before which it joins, and how many steps later it is cancelled.
#[derive(Debug, Clone)]
struct Guest {
    request: Request,
    joins: usize,
    leaves: Option<usize>,
}

/// What became of a request: its outcome, and its events in words.
type Served = (Result<Outcome, String>, Vec<String>);

/// Serves guests as they come and go.
fn serve(denoiser: &dyn Denoiser, limits: Limits, guests: &[Guest]) -> Vec<Served> {
    let process = process();
    let mut engine = Engine::borrowing(denoiser, &process, limits).unwrap();
    let mut ids: BTreeMap<RequestId, usize> = BTreeMap::new();
    let mut served: Vec<Served> = guests.iter().map(|_| (Err("it never ended".to_owned()), Vec::new())).collect();
    for step in 0.. {
        for (index, guest) in guests.iter().enumerate().filter(|(_, guest)| guest.joins == step) {
            ids.insert(engine.submit(guest.request.clone()).unwrap(), index);
        }
        for (id, index) in &ids {
            if guests[*index].leaves.is_some_and(|leaves| guests[*index].joins + leaves == step) {
                engine.cancel(*id);
            }
        }
        let ended = engine.step(&mut |id, event| {
            served[ids[&id]].1.push(format!("{event:?}"));
            ControlFlow::Continue(())
        });
        assert!(limits.allow(engine.in_flight()));
        for Ended { id, outcome } in ended {
            served[ids[&id]].0 = outcome.map_err(|error| error.to_string());
        }
        if engine.is_idle() && guests.iter().all(|guest| guest.joins <= step) {
            break;
        }
    }
    served
}

fn alone(denoiser: &dyn Denoiser, guest: &Guest) -> Served {
    serve(denoiser, Limits::NONE, &[Guest { joins: 0, ..guest.clone() }]).remove(0)
}

fn open(count: usize, seed: u64, policy: &str, guidance: f64) -> Request {
    let mut canvas = Canvas::new();
    canvas.push_given(&[2, 3]);
    canvas.push_open(count, true, MASK);
    let settings = Settings::builder().steps(count).policy_named(policy).guidance_scale(guidance).seed(seed);
    Request::new(canvas, settings.build().unwrap()).with_ends(Some(END))
}

fn guests() -> impl Strategy<Value = Vec<Guest>> {
    let guest = (described(), 0..7usize, prop::option::of(0..5usize));
    let guest = guest.prop_map(|(described, joins, leaves)| Guest { request: described.request(), joins, leaves });
    prop::collection::vec(guest, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_joins_and_leaves_each_request_is_served_as_if_it_were_alone(guests in guests()) {
        let chain = Chain::mixed(6);
        for (guest, served) in guests.iter().zip(serve(&chain, Limits::NONE, &guests)) {
            prop_assert_eq!(served, alone(&chain, guest));
        }
    }

    /// With little room requests wait, which changes when they are served and not what they get.
    #[test]
    fn a_request_that_waited_gets_what_it_would_have_got_at_once(guests in guests(), room in 24..60usize) {
        let chain = Chain::mixed(6);
        let guests: Vec<Guest> = guests.into_iter().map(|guest| Guest { leaves: None, ..guest }).collect();
        let limits = Limits { rows: room, ..Limits::NONE };
        let fits = |guest: &Guest| {
            Engine::borrowing(&chain, &process(), limits).unwrap().submit(guest.request.clone()).is_ok()
        };
        let guests: Vec<Guest> = guests.into_iter().filter(fits).collect();
        for (guest, served) in guests.iter().zip(serve(&chain, limits, &guests)) {
            prop_assert_eq!(served, alone(&chain, guest));
        }
    }
}

#[test]
fn joining_and_leaving_at_every_step_changes_nothing_for_anybody() {
    let chain = Chain::mixed(6);
    let host = Guest { request: open(6, 1, "confidence", 1.0), joins: 0, leaves: None };
    let host_alone = alone(&chain, &host);
    for joins in 0..8 {
        for leaves in (0..8).map(Some).chain([None]) {
            let guest = Guest { request: open(5, 2, "random", 2.0), joins, leaves };
            let served = serve(&chain, Limits::NONE, &[host.clone(), guest.clone()]);
            assert_eq!(served[0], host_alone, "joins {joins}, leaves {leaves:?}");
            assert_eq!(served[1], alone(&chain, &guest), "joins {joins}, leaves {leaves:?}");
        }
    }
}

#[test]
fn a_request_is_cancelled_at_every_step_with_what_it_has_by_then() {
    let chain = Chain::mixed(6);
    let process = process();
    let request = || {
        let mut canvas = Canvas::new();
        canvas.push_open(6, false, MASK);
        Request::new(canvas, Settings::builder().steps(6).seed(4).build().unwrap())
    };
    for steps in 0..6 {
        let mut engine = Engine::borrowing(&chain, &process, Limits::default()).unwrap();
        let id = engine.submit(request()).unwrap();
        let mut replay = Replay::default();
        let mut listen = |_: RequestId, event: DenoisingEvent<'_>| {
            replay.follow(event);
            ControlFlow::Continue(())
        };
        for _ in 0..steps {
            assert!(engine.step(&mut listen).is_empty());
        }
        assert!(engine.cancel(id));
        let outcome = engine.step(&mut listen).remove(0).outcome.unwrap();
        assert!(engine.is_idle() && !engine.cancel(id), "it is gone");
        assert_eq!((outcome.reason, outcome.statistics.steps), (FinishReason::Cancelled, steps));
        assert_eq!(outcome.canvas.committed_positions().len(), steps);
        if steps > 0 {
            assert_eq!(replay.tokens, outcome.canvas.tokens());
        }
        assert_eq!(replay.reason, Some(FinishReason::Cancelled));
    }
}

#[test]
fn a_request_cancelled_while_it_waits_only_finishes() {
    let chain = Chain::mixed(6);
    let process = process();
    let mut engine = Engine::borrowing(&chain, &process, Limits { rows: 10, ..Limits::NONE }).unwrap();
    let (first, second) = (engine.submit(open(6, 1, "confidence", 1.0)), engine.submit(open(6, 2, "confidence", 1.0)));
    let (first, second) = (first.unwrap(), second.unwrap());
    engine.step(&mut |_, _| ControlFlow::Continue(()));
    assert_eq!((engine.running(), engine.waiting()), (1, 1));
    assert!(engine.cancel(second));
    let mut events = Vec::new();
    let ended = engine.step(&mut |id, event| {
        events.extend((id != first).then(|| format!("{event:?}")));
        ControlFlow::Continue(())
    });
    assert_eq!((events.len(), engine.waiting()), (1, 0));
    assert!(events[0].starts_with("Finished { reason: Cancelled"), "{events:?}");
    let outcome = ended.into_iter().find(|ended| ended.id == second).unwrap().outcome.unwrap();
    assert_eq!((outcome.reason, outcome.tokens), (FinishReason::Cancelled, vec![2, 3]));
}

/// A chain that counts the rows of its passes, and may fail.
struct Patient {
    chain: Chain,
    /// A canvas that shows this token gets rows that are no numbers.
    poison: Option<TokenId>,
    /// The pass that fails, counted from 0.
    fails: Option<usize>,
    passes: AtomicUsize,
    most_rows: AtomicUsize,
}

impl Patient {
    fn new() -> Self {
        let (passes, most_rows) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { chain: Chain::mixed(6), poison: None, fails: None, passes, most_rows }
    }
}

impl HostDenoiser for Patient {
    fn host_spec(&self) -> &NetworkSpec {
        self.chain.host_spec()
    }

    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }

    fn host_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        self.most_rows.fetch_max(input.tokens.len(), Ordering::Relaxed);
        if self.fails == Some(self.passes.fetch_add(1, Ordering::Relaxed)) {
            return Err(NetworkError::Unanswered { given: 0, expected: rows.len() });
        }
        let sick = |row: u32| {
            let sequence = input.visibility.sequences().iter().find(|sequence| sequence.contains(&row)).unwrap();
            let mut tokens = input.tokens[sequence.start as usize..sequence.end as usize].iter();
            tokens.any(|token| Some(*token) == self.poison)
        };
        self.chain.host_rows(input, rows, &|index, logits| {
            if sick(rows[index]) {
                logits[3] = f32::NAN;
            }
            read(index, logits);
        })
    }
}

#[test]
fn a_request_that_fails_ends_alone_with_its_own_error() {
    let patient = Patient { poison: Some(5), ..Patient::new() };
    let well = |seed| {
        let request = open(4, seed, "random", 1.0).with_forbidden(vec![5]);
        Guest { request, joins: 0, leaves: None }
    };
    for guidance in [1.0, 2.0] {
        let mut canvas = Canvas::new();
        canvas.push_given(&[2]);
        canvas.push_open(3, false, MASK);
        canvas.push_given(&[5]);
        let settings = Settings::builder().steps(3).guidance_scale(guidance).build().unwrap();
        let sick = Guest { request: Request::new(canvas, settings), joins: 1, leaves: None };
        let guests = [well(1), sick, well(2)];
        let served = serve(&patient, Limits::NONE, &guests);
        assert_eq!(served[1].0.as_ref().unwrap_err(), "the model's prediction at position 1 cannot be used");
        assert!(!served[1].1.iter().any(|event| event.starts_with("Finished")), "{:?}", served[1].1);
        for index in [0, 2] {
            assert_eq!(served[index], alone(&patient, &guests[index]));
            assert!(served[index].0.is_ok());
        }
    }
}

#[test]
fn the_error_of_a_request_names_the_position_and_the_token() {
    let patient = Patient { poison: Some(2), ..Patient::new() };
    let process = process();
    let mut engine = Engine::borrowing(&patient, &process, Limits::default()).unwrap();
    engine.submit(open(2, 1, "random", 1.0)).unwrap();
    let error = engine.step(&mut |_, _| ControlFlow::Continue(())).remove(0).outcome.unwrap_err();
    assert!(matches!(error, GenerateError::Proposal { position: 2, source: ProposalError::NotANumber { token: 3 } }));
    assert!(engine.is_idle());
}

#[test]
fn a_pass_that_fails_ends_those_it_read_and_nobody_who_waits() {
    let patient = Patient { fails: Some(1), ..Patient::new() };
    let process = process();
    let mut engine = Engine::borrowing(&patient, &process, Limits { rows: 16, ..Limits::NONE }).unwrap();
    let request = |seed| open(6, seed, "confidence", 1.0);
    let ids: Vec<RequestId> = (0..3).map(|seed| engine.submit(request(seed)).unwrap()).collect();
    let mut outcomes = BTreeMap::new();
    while !engine.is_idle() {
        outcomes.extend(
            engine.step(&mut |_, _| ControlFlow::Continue(())).into_iter().map(|ended| (ended.id, ended.outcome)),
        );
    }
    for id in &ids[..2] {
        assert!(matches!(outcomes[id], Err(GenerateError::Network(_))), "{:?}", outcomes[id]);
    }
    let well = Guest { request: request(2), joins: 0, leaves: None };
    assert_eq!(outcomes[&ids[2]].as_ref().ok(), alone(&Chain::mixed(6), &well).0.as_ref().ok());
}

#[test]
fn no_pass_is_larger_than_the_limits_and_nobody_overtakes() {
    let patient = Patient::new();
    let process = process();
    let limits = Limits { rows: 20, ..Limits::NONE };
    let mut engine = Engine::borrowing(&patient, &process, limits).unwrap();
    // Rows: 2 given and the open ones; guided requests read twice.
    let sizes = [(8, 1.0), (4, 1.0), (7, 2.0), (1, 1.0), (6, 1.0), (8, 2.0), (2, 1.0)];
    let ids: Vec<RequestId> = sizes
        .iter()
        .zip(0..)
        .map(|(&(open_, s), seed)| engine.submit(open(open_, seed, "random", s)).unwrap())
        .collect();
    assert_eq!((engine.running(), engine.waiting()), (0, sizes.len()));
    let (mut begun, mut ended) = (Vec::new(), 0);
    while !engine.is_idle() {
        ended += engine
            .step(&mut |id, event| {
                begun.extend(matches!(event, DenoisingEvent::Started { .. }).then_some(id));
                ControlFlow::Continue(())
            })
            .len();
        assert!(engine.in_flight().rows <= limits.rows);
    }
    assert_eq!((begun, ended), (ids, sizes.len()));
    let most = patient.most_rows.load(Ordering::Relaxed);
    assert!(most <= limits.rows && most > 10, "{most}: requests share passes where they fit");
}

#[test]
fn what_could_never_fit_is_refused_with_its_numbers() {
    let chain = Chain::mixed(6);
    let process = process();
    let mut engine = Engine::borrowing(&chain, &process, Limits { rows: 15, bytes: 1000, ..Limits::NONE }).unwrap();
    let error = engine.submit(open(8, 0, "random", 2.0)).unwrap_err();
    // Two readings of ten rows, of which the logits over six tokens are kept.
    assert_eq!(error.to_string(), "the request takes 20 rows and 480 bytes; the limits are 15 rows and 1000 bytes");
    assert_eq!(error.hint().as_deref(), Some("leave fewer positions open, or raise the limits"));
    let fits = engine.submit(open(8, 0, "random", 1.0)).unwrap();
    assert_eq!((fits.to_string(), engine.waiting()), ("0".to_owned(), 1), "a refused request takes no number");
    let mut engine = Engine::borrowing(&chain, &process, Limits { rows: 100, bytes: 479, ..Limits::NONE }).unwrap();
    assert!(matches!(engine.submit(open(8, 0, "random", 2.0)), Err(GenerateError::BeyondLimits { .. })));
}

#[test]
fn a_plan_of_more_steps_than_the_limit_is_refused_before_it_waits() {
    let chain = Chain::mixed(6);
    let process = process();
    let long = |steps: usize| {
        let settings = Settings::builder().steps(steps).block_length(2).policy_named("ancestral").build().unwrap();
        Request { parts: vec![Part::new(settings)], ..open(8, 0, "random", 1.0) }
    };
    let mut engine = Engine::borrowing(&chain, &process, Limits { steps: 400, ..Limits::NONE }).unwrap();
    assert!(engine.submit(long(100)).is_ok());
    let error = engine.submit(long(101)).unwrap_err();
    assert_eq!(error.to_string(), "`steps` is 404 over all blocks; allowed: up to 400 over all blocks");
    assert_eq!((engine.waiting(), error.hint().is_some()), (1, true));
}

/// A denoiser that answers something else than it is asked.
struct Deaf(Chain);

impl Denoiser for Deaf {
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
        let summary = |query: &RowQuery<'_>| RowQuery { row: query.row, query: Query::Summary { best: 1 } };
        self.0.forward(pass, &queries.iter().map(summary).collect::<Vec<_>>(), read)
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
        self.0.token_gradients(input, targets, rows)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.0.kv_cache_bytes(rows)
    }
}

#[test]
fn an_answer_to_another_query_is_an_error() {
    let deaf = Deaf(Chain::mixed(6));
    let drawn = alone(&deaf, &Guest { request: open(3, 1, "random", 1.0), joins: 0, leaves: None });
    assert_eq!(drawn.0.unwrap_err(), "the network did not answer what it was asked about position 2");
    // Of a guided request whole rows are asked for, and none comes.
    let whole = alone(&deaf, &Guest { request: open(3, 1, "random", 2.0), joins: 0, leaves: None });
    assert_eq!(whole.0.unwrap_err(), "the network failed");
}

/// A scheduler's thread owns the engine; requests come to it and outcomes leave it through channels.
#[test]
fn an_engine_that_owns_its_network_moves_into_a_thread() {
    let denoiser: Arc<dyn Denoiser> = Arc::new(Chain::mixed(6));
    let process: Arc<dyn Process> = Arc::new(process());
    let mut engine = Engine::new(Arc::clone(&denoiser), process, Limits::default()).unwrap();
    let (submit, requests) = mpsc::channel::<Request>();
    let (tell, outcomes) = mpsc::channel();
    let scheduler = std::thread::spawn(move || {
        let mut open = true;
        while open || !engine.is_idle() {
            if engine.is_idle() {
                match requests.recv() {
                    Ok(request) => drop(engine.submit(request)),
                    Err(_) => open = false,
                }
            }
            requests.try_iter().for_each(|request| drop(engine.submit(request)));
            for ended in engine.step(&mut |_, _| ControlFlow::Continue(())) {
                tell.send(ended).unwrap();
            }
        }
    });
    let request = |seed| open(5, seed, "random", 1.0);
    (0..8).for_each(|seed| submit.send(request(seed)).unwrap());
    drop(submit);
    scheduler.join().unwrap();
    let outcomes: BTreeMap<String, Outcome> =
        outcomes.iter().map(|ended: Ended| (ended.id.to_string(), ended.outcome.unwrap())).collect();
    for seed in 0..8 {
        let guest = Guest { request: request(seed), joins: 0, leaves: None };
        assert_eq!(Ok(&outcomes[&seed.to_string()]), alone(denoiser.as_ref(), &guest).0.as_ref());
    }
}
