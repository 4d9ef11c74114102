//! Rows that a request takes over from another one change nothing but the work.

use crate::chain::{Chain, END, MASK, process};
use crate::real::{listening, routed_by_blocks, small};
use aquatint_compute::{Cpu, CpuPath, Cuda};
use aquatint_diffusion::{Canvas, Layout, LeftToRight, Process, TokenId};
use aquatint_generate::{Cache, Ended, Engine, Limits, Outcome, Request, RequestId, Settings, SettingsBuilder};
use aquatint_network::{Denoiser, Network, NetworkSpec, SelfConditioningSpec};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// What stands before a text of a causal network.
const BEGIN: TokenId = 2;

/// Room for the rows of a few texts of the small network.
const ROOM: Limits = Limits { reuse_bytes: 1 << 20, ..Limits::NONE };

fn in_blocks(change: impl Fn(&mut NetworkSpec)) -> Network<Cpu<f32>> {
    let spec = small(|spec| {
        spec.attention = Layout::Block { length: 4 };
        spec.context_length = 256;
        change(spec);
    });
    listening(Network::new(Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), spec, 1).unwrap())
}

/// A continuation of some tokens.
fn continued(given: &[TokenId], open: usize, change: fn(SettingsBuilder) -> SettingsBuilder) -> Request {
    let mut canvas = Canvas::new();
    canvas.push_given(given);
    canvas.push_open(open, true, MASK);
    let settings = change(Settings::builder().steps(3).seed(given.len() as u64)).build().unwrap();
    Request::new(canvas, settings).with_ends(Some(END))
}

/// What is said before the text goes on: tokens that depend on all of `start`.
fn said(start: u32, count: usize) -> Vec<TokenId> {
    (0..count as u32).map(|i| 2 + (start + 7 * i + i * i) % 30).collect()
}

/// Serves each request before the step in which it joins; outcomes are in the order of the requests.
fn serve(engine: &mut Engine<'_>, guests: &[(usize, Request)]) -> Vec<Outcome> {
    let mut ids: BTreeMap<RequestId, usize> = BTreeMap::new();
    let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
    for step in 0.. {
        for (index, (_, request)) in guests.iter().enumerate().filter(|(_, (joins, _))| *joins == step) {
            ids.insert(engine.submit(request.clone()).unwrap(), index);
        }
        for Ended { id, outcome } in engine.step(&mut |_, _| ControlFlow::Continue(())) {
            outcomes.insert(ids[&id], outcome.unwrap());
        }
        if engine.is_idle() && guests.iter().all(|(joins, _)| *joins <= step) {
            break;
        }
    }
    outcomes.into_values().collect()
}

fn alone(denoiser: &dyn Denoiser, process: &dyn Process, request: &Request) -> Outcome {
    serve(&mut Engine::borrowing(denoiser, process, Limits::NONE).unwrap(), &[(0, request.clone())]).remove(0)
}

/// Fills the turns of a conversation one after the other, each after all before it and some tokens more, and checks that
/// each is what it is in an engine of its own. Returns the rows that the turns took over.
fn converse(engine: &mut Engine<'_>, denoiser: &dyn Denoiser, process: &dyn Process, first: u32) -> Vec<usize> {
    let mut text = said(first, 13);
    let mut reused = Vec::new();
    for turn in 0..4 {
        let request = continued(&text, 9 + turn, |settings| settings);
        let outcome = serve(engine, &[(0, request.clone())]).remove(0);
        let expected = alone(denoiser, process, &request);
        assert_eq!((&outcome.canvas, outcome.reason), (&expected.canvas, expected.reason), "turn {turn}");
        let statistics = outcome.statistics;
        assert_eq!(expected.statistics.rows_reused, 0);
        // What is taken over is read by nobody; of the last block that is given some rows may be read at each step.
        assert!(statistics.rows_read + statistics.rows_reused <= expected.statistics.rows_read);
        assert_eq!(statistics.rows_read < expected.statistics.rows_read, statistics.rows_reused > 0);
        reused.push(statistics.rows_reused);
        text = [outcome.tokens, said(first + 100 + turn as u32, 6)].concat();
    }
    reused
}

#[test]
fn a_conversation_takes_its_earlier_turns_over_and_says_the_same() {
    let changes: [fn(&mut NetworkSpec); 5] = [
        |_| {},
        routed_by_blocks,
        |spec| spec.head.logit_shift = true,
        |spec| spec.layers.iter_mut().for_each(|layer| layer.attention.window = Some(6)),
        |spec| {
            spec.head.logit_shift = true;
            spec.layers[0].attention.window = Some(3);
            spec.layers[1].attention.window = Some(9);
        },
    ];
    for change in changes {
        let network = in_blocks(change);
        let process = process();
        let mut engine = Engine::borrowing(&network, &process, ROOM).unwrap();
        let reused = converse(&mut engine, &network, &process, 3);
        assert_eq!(reused[0], 0);
        assert!(reused[1..].iter().all(|rows| *rows >= 12 && rows % 4 == 0), "{reused:?}");
        assert!(reused.is_sorted(), "{reused:?}");
        // Somebody else's text begins with other tokens.
        assert_eq!(converse(&mut engine, &network, &process, 4)[0], 0);
    }
}

/// What is stored behind a causal prefix follows from the tokens before it, row by row.
#[test]
fn a_conversation_behind_a_causal_prefix_takes_every_earlier_row_over() {
    let network = in_blocks(|spec| spec.attention = Layout::CausalPrefix { length: 4 });
    let process = process();
    let mut engine = Engine::borrowing(&network, &process, ROOM).unwrap();
    let reused = converse(&mut engine, &network, &process, 3);
    assert_eq!(reused[0], 0);
    // The last block was never stored; all before it was.
    assert!(reused[1..].iter().all(|rows| *rows >= 13) && reused.is_sorted(), "{reused:?}");
    assert_eq!(converse(&mut engine, &network, &process, 4)[0], 0);
}

/// The rows stay on the device of the network.
#[test]
fn a_gpu_takes_earlier_turns_over_and_says_the_same() {
    for device in Cuda::tested() {
        let spec = small(|spec| {
            spec.attention = Layout::Block { length: 4 };
            spec.context_length = 256;
            spec.head.logit_shift = true;
        });
        let network = Network::new(device, spec, 1).unwrap();
        let process = process();
        let mut engine = Engine::borrowing(&network, &process, ROOM).unwrap();
        let reused = converse(&mut engine, &network, &process, 3);
        assert!(reused[1] >= 12 && reused.is_sorted() && engine.reusable_bytes() > 0, "{reused:?}");
    }
}

#[test]
fn a_causal_conversation_takes_its_earlier_turns_over_and_says_the_same() {
    let spec = small(|spec| {
        (spec.attention, spec.mask_token, spec.context_length) = (Layout::Causal, None, 256);
    });
    let network = listening(Network::new(Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), spec, 1).unwrap());
    let process = LeftToRight::new(BEGIN);
    let mut engine = Engine::borrowing(&network, &process, ROOM).unwrap();
    let reused = converse(&mut engine, &network, &process, 3);
    assert!(reused[0] == 0 && reused[1] > 13 && reused.is_sorted(), "{reused:?}");
}

/// Every request begins with the tokens of the first one, which may be done, under way or waiting, and others run
/// beside it.
#[test]
fn rows_of_running_requests_are_taken_over_at_any_moment() {
    for logit_shift in [false, true] {
        let network = in_blocks(|spec| spec.head.logit_shift = logit_shift);
        let process = process();
        let text = said(5, 22);
        let changes: [fn(SettingsBuilder) -> SettingsBuilder; 3] = [
            |settings| settings,
            |settings| settings.policy_named("ancestral").remasking_named("cap:0.3").steps(6),
            |settings| settings.guidance_scale(1.5),
        ];
        for joins in 0..16 {
            let mut guests = vec![(0, continued(&text, 14, |settings| settings))];
            // Whole blocks of four that each has in common with the first one; a guided request takes none.
            let mut shared = vec![0];
            for (index, change) in changes.into_iter().enumerate() {
                let own = [&text[..15 + 3 * index], &said(60 + index as u32, 5)].concat();
                guests.push((joins, continued(&own, 10, change)));
                shared.push(if joins > 0 { [12, 16, 0][index] } else { 0 });
                guests.push((joins / 2, continued(&said(90 + index as u32, 7), 8, change)));
                shared.push(0);
            }
            let mut engine = Engine::borrowing(&network, &process, ROOM).unwrap();
            for (((_, request), outcome), shared) in guests.iter().zip(serve(&mut engine, &guests)).zip(shared) {
                let expected = alone(&network, &process, request);
                assert_eq!((&outcome.canvas, outcome.reason), (&expected.canvas, expected.reason), "joins {joins}");
                assert_eq!(outcome.statistics.rows_reused, shared, "joins {joins}");
            }
        }
    }
}

#[test]
fn retained_rows_stay_within_their_bytes_and_the_last_used_stay() {
    let network = in_blocks(|_| {});
    let process = process();
    let row = network.kv_cache_bytes(32) / 32 + size_of::<TokenId>();
    // Two texts of 24 rows, and not three.
    let limits = Limits { reuse_bytes: 60 * row, ..Limits::NONE };
    let mut engine = Engine::borrowing(&network, &process, limits).unwrap();
    let mut rows = |first: u32| {
        let request = continued(&said(first, 21), 7, |settings| settings.seed(1));
        let outcome = serve(&mut engine, &[(0, request.clone())]).remove(0);
        assert_eq!(outcome.canvas, alone(&network, &process, &request).canvas);
        assert!(engine.reusable_bytes() <= limits.reuse_bytes && engine.reusable_bytes() > 0);
        outcome.statistics.rows_reused
    };
    let reused: Vec<usize> = [1, 2, 1, 3, 1, 2, 3, 2].into_iter().map(&mut rows).collect();
    assert_eq!(reused, [0, 0, 20, 0, 20, 0, 0, 20]);
}

#[test]
fn nothing_is_taken_over_where_rows_depend_on_more_than_the_tokens_before_them() {
    let settings: [fn(SettingsBuilder) -> SettingsBuilder; 2] =
        [|settings| settings.cache(Cache::None), |settings| settings.guidance_scale(2.0)];
    let blocks = in_blocks(|_| {});
    let conditioned = in_blocks(|spec| spec.self_conditioning = Some(SelfConditioningSpec::Added));
    let full = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), small(|_| {}), 1).unwrap();
    let dual: fn(SettingsBuilder) -> SettingsBuilder = |settings| settings.cache(Cache::Dual).block_length(4);
    let cases = [(&blocks, settings[0]), (&blocks, settings[1]), (&conditioned, |settings| settings), (&full, dual)];
    let process = process();
    for (network, change) in cases {
        let mut engine = Engine::borrowing(network, &process, ROOM).unwrap();
        for _ in 0..2 {
            let outcome = serve(&mut engine, &[(0, continued(&said(1, 13), 6, change))]).remove(0);
            assert_eq!((outcome.statistics.rows_reused, engine.reusable_bytes()), (0, 0));
        }
    }
}

/// A server's engine lives long: ten thousand requests leave nothing behind but what may be kept.
#[test]
fn ten_thousand_requests_leave_nothing_behind() {
    let chain = Chain::mixed(6);
    let process = process();
    let mut engine = Engine::borrowing(&chain, &process, Limits { rows: 64, ..ROOM }).unwrap();
    let request = |index: usize| {
        let mut canvas = Canvas::new();
        canvas.push_given(&[2, 3]);
        canvas.push_open(1 + index % 4, false, MASK);
        Request::new(canvas, Settings::builder().steps(2).seed(index as u64).build().unwrap())
    };
    let (mut submitted, mut ended) = (0, 0);
    while ended < 10_000 {
        while submitted < 10_000 && engine.running() + engine.waiting() < 40 {
            let id = engine.submit(request(submitted)).unwrap();
            if submitted % 10 == 9 {
                assert!(engine.cancel(id));
            }
            submitted += 1;
        }
        let broken = submitted % 7;
        let mut heard = 0;
        for Ended { id, outcome } in engine.step(&mut |_, _| {
            heard += 1;
            if heard % 11 == broken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }) {
            outcome.unwrap();
            assert!(!engine.cancel(id), "it is gone");
            ended += 1;
        }
        assert!(engine.running() <= 64 / 3 && engine.in_flight().rows <= 64);
    }
    // An engine with nothing to do does nothing.
    assert!(engine.is_idle() && engine.step(&mut |_, _| ControlFlow::Break(())).is_empty());
    assert_eq!((engine.in_flight().rows, engine.in_flight().bytes, engine.reusable_bytes()), (0, 0, 0));
}

/// The same with a real network, whose rows lie in one pool: what is claimed is given back.
#[test]
fn many_requests_over_a_pool_stay_level() {
    let network = in_blocks(|_| {});
    let process = process();
    let limits = Limits { reuse_bytes: 20_000, rows: 128, ..Limits::NONE };
    let mut engine = Engine::borrowing(&network, &process, limits).unwrap();
    let (mut ended, mut reused, mut most) = (0, 0, [0; 2]);
    let mut submitted = 0_u32;
    while ended < 600 {
        while submitted < 600 && engine.waiting() == 0 {
            let given = said(submitted % 5 * 3, 8 + submitted as usize % 9);
            let request = continued(&given, 4, |settings| settings.steps(1));
            engine.submit(request).unwrap();
            submitted += 1;
        }
        for Ended { outcome, .. } in engine.step(&mut |_, _| ControlFlow::Continue(())) {
            reused += outcome.unwrap().statistics.rows_reused;
            ended += 1;
        }
        let half = usize::from(ended > 300);
        most[half] = most[half].max(engine.reusable_bytes());
        assert!(engine.reusable_bytes() <= limits.reuse_bytes);
    }
    assert!(reused > 0 && most[0] > 0 && most[1] <= limits.reuse_bytes);
    assert_eq!(engine.in_flight().bytes, 0);
}
