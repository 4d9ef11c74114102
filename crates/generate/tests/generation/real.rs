//! A small real network: the promises that hold for a denoiser in closed form hold for arithmetic in f32 as well.

use crate::chain::{END, MASK, process, spec};
use aquatint_compute::{Cpu, CpuPath, Memory, ReadRow};
use aquatint_diffusion::{Canvas, Layout, LossTerm, Process, ProcessKind, WordVectors};
use aquatint_generate::{
    Cache, Drifting, Engine, GenerateError, Limits, Outcome, Request, Settings, SettingsBuilder, generate,
};
use aquatint_network::{
    Activation, AttentionSpec, BlockRouting, CachedRows, Denoiser, ExpertsSpec, FeedForwardKind, FeedForwardSpec,
    ForwardPass, KvCache, LayerSpec, LossRow, Network, NetworkError, NetworkInput, NetworkSpec, NormSpec, ProcessSpec,
    Role, RouterScore, RouterSpec, RowAnswer, RowQuery, SelfConditioningSpec, TimeSpec,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

pub(crate) fn small(change: impl Fn(&mut NetworkSpec)) -> NetworkSpec {
    let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(2, 1, 16) };
    let layers = vec![LayerSpec::new(attention, FeedForwardSpec::new(48)); 2];
    let mut spec = NetworkSpec { width: 32, layers, ..spec(40, Layout::Full) };
    change(&mut spec);
    spec
}

/// Blocks of four positions that choose their experts together.
pub(crate) fn routed_by_blocks(spec: &mut NetworkSpec) {
    let block = Some(BlockRouting { length: 4, experts: 4 });
    let router = RouterSpec { score: RouterScore::Sigmoid, block, ..RouterSpec::softmax(true) };
    let (experts, per_token, width, activation) = (8, 2, 16, Activation::Swiglu);
    let mixture = ExpertsSpec { experts, per_token, width, activation, router, shared_width: None };
    spec.layers.iter_mut().for_each(|layer| layer.feed_forward.kind = FeedForwardKind::Experts(mixture));
    spec.attention = Layout::Block { length: 4 };
}

/// Requests of different lengths, policies, guidance and remasking.
fn unlike() -> Vec<Request> {
    let request = |given: u32, open: usize, approximate: bool, change: fn(Settings) -> Settings| {
        let mut canvas = Canvas::new();
        canvas.push_given(&(2..2 + given).collect::<Vec<u32>>());
        canvas.push_open(open, approximate, MASK);
        canvas.push_given(&[5, 6]);
        let settings = change(Settings::builder().steps(5).seed(u64::from(given)).build().unwrap());
        Request::new(canvas, settings).with_ends(Some(END))
    };
    let guided = |_| Settings::builder().steps(4).guidance_scale(2.0).policy_named("margin").seed(3).build().unwrap();
    let remasked =
        |_| Settings::builder().steps(9).remasking_named("cap:0.2").policy_named("ancestral").build().unwrap();
    let blocks = |_| Settings::builder().steps(2).block_length(4).policy_named("entropy").top_k(5).build().unwrap();
    let edited = |_| {
        let builder = Settings::builder().steps(3).edit_threshold(0.03).edit_steps(3).final_temperature(0.4);
        builder.delete_token(5).insert_token(6).commit_likeliest(true).seed(8).build().unwrap()
    };
    vec![
        request(6, 9, true, edited),
        request(1, 7, false, |settings| settings),
        request(9, 11, true, guided),
        request(4, 20, false, remasked),
        request(17, 12, false, blocks),
        request(0, 1, false, |settings| settings),
    ]
}

fn filled(network: &dyn Denoiser, process: &dyn Process, requests: &[Request]) -> Result<Vec<Outcome>, GenerateError> {
    generate(network, process, requests, &mut |_, _| ControlFlow::Continue(())).into_iter().collect()
}

fn fill(network: &dyn Denoiser, requests: &[Request]) -> Vec<Outcome> {
    filled(network, &process(), requests).unwrap()
}

#[test]
fn a_batch_changes_nothing_on_any_path_thread_count_or_network() {
    let changes: [fn(&mut NetworkSpec); 5] = [
        |_| {},
        |spec| spec.self_conditioning = Some(SelfConditioningSpec::Added),
        |spec| spec.time_conditioning = Some(TimeSpec::new(8)),
        |spec| spec.attention = Layout::Block { length: 4 },
        routed_by_blocks,
    ];
    let paths = CpuPath::available();
    for (change, path) in changes.into_iter().flat_map(|change| paths.iter().map(move |path| (change, *path))) {
        let network = |threads| Network::new(Cpu::<f32>::new(path, threads).unwrap(), small(change), 1).unwrap();
        let (one, two) = (network(1), network(2));
        let together = fill(&two, &unlike());
        for (request, outcome) in unlike().iter().zip(&together) {
            assert_eq!(&fill(&one, std::slice::from_ref(request))[0], outcome, "{path}");
            assert!(outcome.canvas.open_positions().is_empty());
        }
    }
}

/// Continuations of different lengths under one cache.
fn cached(cache: Cache, change: fn(SettingsBuilder) -> SettingsBuilder) -> Vec<Request> {
    let request = |given: u32, open: usize, approximate: bool| {
        let mut canvas = Canvas::new();
        canvas.push_given(&(2..2 + given).collect::<Vec<u32>>());
        canvas.push_open(open, approximate, MASK);
        let settings = change(Settings::builder().steps(3).seed(u64::from(given)).cache(cache)).build().unwrap();
        Request::new(canvas, settings).with_ends(Some(END))
    };
    vec![request(3, 18, false), request(9, 12, true), request(0, 6, false)]
}

#[test]
fn an_exact_cache_changes_nothing_but_the_work() {
    let changes: [fn(SettingsBuilder) -> SettingsBuilder; 6] = [
        |settings| settings,
        |settings| settings.edit_threshold(0.03).edit_steps(3).final_temperature(0.4),
        |settings| settings.edit_threshold(0.03).edit_steps(3).delete_token(5).insert_token(6),
        |settings| settings.policy_named("ancestral").remasking_named("cap:0.3").steps(6),
        |settings| settings.guidance_scale(1.5),
        |settings| settings.policy_named("threshold:0.03").repetition_penalty(1.3),
    ];
    let networks = [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (false, false, true),
        (true, false, true),
    ];
    for (change, path, (self_conditioning, logit_shift, routed)) in changes.into_iter().flat_map(|change| {
        let paths = CpuPath::available().into_iter();
        paths.flat_map(move |path| networks.map(|network| (change, path, network)))
    }) {
        let spec = small(|spec| {
            spec.attention = Layout::Block { length: 4 };
            spec.self_conditioning = self_conditioning.then_some(SelfConditioningSpec::Added);
            spec.head.logit_shift = logit_shift;
            if routed {
                routed_by_blocks(spec);
            }
        });
        let network = listening(Network::new(Cpu::<f32>::new(path, 2).unwrap(), spec, 1).unwrap());
        let (with, without) =
            (fill(&network, &cached(Cache::Exact, change)), fill(&network, &cached(Cache::None, change)));
        for (index, (with, without)) in with.iter().zip(&without).enumerate() {
            assert_eq!(
                with.canvas, without.canvas,
                "{path}, request {index}, self-conditioning {self_conditioning}, logit shift {logit_shift}, routed {routed}"
            );
            assert_eq!(with.reason, without.reason);
            assert!(with.statistics.rows_read < without.statistics.rows_read);
        }
    }
}

/// Blocks need not begin at a multiple of their length, and what is finished of them is read again as it is stored.
#[test]
fn behind_a_causal_prefix_an_exact_cache_and_a_batch_change_nothing_but_the_work() {
    let changes: [fn(SettingsBuilder) -> SettingsBuilder; 6] = [
        |settings| settings,
        |settings| settings.edit_threshold(0.03).edit_steps(3),
        |settings| settings.edit_threshold(0.03).edit_steps(3).delete_token(5).insert_token(6),
        |settings| settings.block_length(1),
        |settings| settings.policy_named("ancestral").remasking_named("cap:0.3").steps(6).guidance_scale(1.5),
        |settings| settings.policy_named("threshold:0.03").repetition_penalty(1.3).block_length(7),
    ];
    for (change, path) in
        changes.into_iter().flat_map(|change| CpuPath::available().into_iter().map(move |path| (change, path)))
    {
        for window in [None, Some(6)] {
            let spec = small(|spec| {
                spec.attention = Layout::CausalPrefix { length: 4 };
                spec.layers.iter_mut().for_each(|layer| layer.attention.window = window);
            });
            let network = listening(Network::new(Cpu::<f32>::new(path, 2).unwrap(), spec, 1).unwrap());
            let requests = cached(Cache::Exact, change);
            let (with, without) = (fill(&network, &requests), fill(&network, &cached(Cache::None, change)));
            for (index, (with, without)) in with.iter().zip(&without).enumerate() {
                assert_eq!(with.canvas, without.canvas, "{path}, request {index}, window {window:?}");
                assert!(with.canvas.open_positions().is_empty());
                // The last request is one block where blocks are long.
                assert!(with.statistics.rows_read < without.statistics.rows_read || index == 2);
                assert_eq!(with.statistics.forward_passes, without.statistics.forward_passes);
                assert_eq!(&fill(&network, std::slice::from_ref(&requests[index]))[0], with, "{path}, request {index}");
            }
        }
    }
}

/// Hands everything on, and notes the most rows of the KV caches of a pass.
struct Measured<'a> {
    denoiser: &'a dyn Denoiser,
    rows: Mutex<Vec<usize>>,
}

impl Denoiser for Measured<'_> {
    fn spec(&self) -> &NetworkSpec {
        self.denoiser.spec()
    }

    fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
        self.denoiser.word_vectors()
    }

    fn forward(
        &self,
        ForwardPass { input, cached }: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let Some(CachedRows { rows_to_compute, kv_caches }) = cached else {
            return self.denoiser.forward(ForwardPass { input, cached: None }, queries, read);
        };
        let cached = Some(CachedRows { rows_to_compute, kv_caches: &mut *kv_caches });
        let answers = self.denoiser.forward(ForwardPass { input, cached }, queries, read);
        self.rows.lock().unwrap().push(kv_caches.iter().map(KvCache::rows).max().unwrap());
        answers
    }

    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        self.denoiser.nll(input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        self.denoiser.costs(input, terms)
    }

    fn token_gradients(
        &self,
        input: &NetworkInput<'_>,
        targets: &[LossRow],
        rows: &[u32],
    ) -> Result<Vec<f32>, NetworkError> {
        self.denoiser.token_gradients(input, targets, rows)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.denoiser.kv_cache_bytes(rows)
    }
}

#[test]
fn within_windows_an_exact_cache_changes_no_token_and_stays_level() {
    let changes: [fn(SettingsBuilder) -> SettingsBuilder; 3] = [
        |settings| settings,
        |settings| settings.guidance_scale(1.5),
        |settings| settings.policy_named("ancestral").remasking_named("cap:0.3").steps(6),
    ];
    for (change, (window, logit_shift)) in
        changes.into_iter().flat_map(|change| [(2, true), (9, false), (9, true)].map(|network| (change, network)))
    {
        let spec = small(|spec| {
            spec.attention = Layout::Block { length: 4 };
            spec.head.logit_shift = logit_shift;
            spec.context_length = 256;
            spec.layers[0].attention.window = Some(2);
            spec.layers[1].attention.window = Some(window);
        });
        let network = listening(Network::new(Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), spec, 1).unwrap());
        let requests = |cache| {
            let request = |given: u32, open: usize| {
                let mut canvas = Canvas::new();
                canvas.push_given(&(2..2 + given).collect::<Vec<u32>>());
                canvas.push_open(open, false, MASK);
                canvas.push_given(&[7, 8, 9]);
                canvas.push_open(20, true, MASK);
                let settings = change(Settings::builder().steps(2).seed(u64::from(given)).cache(cache));
                Request::new(canvas, settings.build().unwrap()).with_ends(Some(END))
            };
            [request(3, 150), request(30, 90)]
        };
        let watched = Measured { denoiser: &network, rows: Mutex::default() };
        let with = filled(&watched, &process(), &requests(Cache::Exact)).unwrap();
        let without = fill(&network, &requests(Cache::None));
        for (with, without) in with.iter().zip(&without) {
            assert_eq!(with.canvas, without.canvas, "window {window}, logit shift {logit_shift}");
        }
        // Where guidance hides what is given, its noise may be drawn again at each step, and all behind it is read again.
        if with[0].statistics.forward_passes == with[0].statistics.steps {
            let rows = watched.rows.into_inner().unwrap();
            assert!(rows.iter().all(|rows| *rows <= 96), "window {window}, logit shift {logit_shift}: {rows:?}");
        }
    }
}

/// A watched field is the field: the watcher delegates every method that the loop calls.
#[test]
fn watching_a_gaussian_field_changes_no_token() {
    let spec = small(|spec| {
        spec.mask_token = None;
        spec.word_vector_size = Some(4);
        spec.process = ProcessSpec { kind: ProcessKind::Gaussian { size: 4 }, ..ProcessSpec::default() };
    });
    let process = spec.process().unwrap().unwrap();
    let network = listening(Network::new(Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), spec, 1).unwrap());
    let requests = cached(Cache::Dual, |settings| settings.steps(6));
    let fill = |denoiser: &dyn Denoiser| filled(denoiser, process.as_ref(), &requests).unwrap();
    let watched = Drifting::new(&network);
    assert_eq!(fill(&watched), fill(&network));
    assert!(watched.drift().rows > 0);
}

/// A fresh network hardly listens to other rows and not at all to its prediction; this one does to both.
pub(crate) fn listening(mut network: Network<Cpu<f32>>) -> Network<Cpu<f32>> {
    let device = network.device().clone();
    for parameter in network.parameters_mut() {
        let mut values = device.download(parameter.value);
        if parameter.info.name.contains("self_conditioning_norm") {
            values.fill(1.0);
        } else if parameter.info.role == Role::Matrix {
            values.iter_mut().for_each(|value| *value *= 8.0);
        }
        device.write(parameter.value, &values);
    }
    network
}

/// A network of blocks writes on beyond what it can read at once, from the last of what it wrote.
#[test]
fn a_text_in_blocks_has_no_end() {
    let network = |logit_shift| {
        let spec = small(|spec| {
            spec.attention = Layout::Block { length: 4 };
            spec.head.logit_shift = logit_shift;
        });
        Network::new(Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), spec, 1).unwrap()
    };
    let (plain, shifted) = (network(false), network(true));
    let context = plain.spec().context_length;
    let lengths = [(3, context), (context + 6, 9), (0, 3 * context + 1)];
    for (network, (given, open)) in [&plain, &shifted].into_iter().flat_map(|network| lengths.map(|l| (network, l))) {
        let request = |cache| {
            let mut canvas = Canvas::new();
            canvas.push_given(&(0..given).map(|i| 2 + i as u32 % 30).collect::<Vec<u32>>());
            canvas.push_open(open, false, MASK);
            Request::new(canvas, Settings::builder().steps(3).seed(9).cache(cache).build().unwrap())
        };
        let (with, without) = (&fill(network, &[request(Cache::Exact)])[0], &fill(network, &[request(Cache::None)])[0]);
        assert_eq!(with.canvas, without.canvas, "{given} given, {open} open");
        assert!(with.canvas.open_positions().is_empty());
        assert!(with.statistics.rows_read < without.statistics.rows_read / 2, "the window moves seldom");
    }
    let full = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), small(|_| {}), 1).unwrap();
    let mut canvas = Canvas::new();
    canvas.push_open(context + 1, false, MASK);
    let refused = filled(&full, &process(), &[Request::new(canvas, Settings::default())]);
    assert!(refused.is_err(), "where every position sees all others there is no last of it");
}

#[test]
fn a_cached_request_is_served_as_if_it_were_alone() {
    let spec = |logit_shift| small(|spec| spec.head.logit_shift = logit_shift);
    for (cache, logit_shift) in
        [(Cache::Prefix, false), (Cache::Dual, false), (Cache::Prefix, true), (Cache::Dual, true)]
    {
        let full = Network::new(Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), spec(logit_shift), 1).unwrap();
        let guided = cached(cache, |settings| settings.block_length(6).guidance_scale(1.5));
        let requests = [cached(cache, |settings| settings.block_length(6).cache_refresh(2)), guided].concat();
        // Beside one without a cache.
        let together = fill(&full, &[requests.clone(), cached(Cache::None, |settings| settings)].concat());
        for (request, outcome) in requests.iter().zip(&together) {
            assert_eq!(&fill(&full, std::slice::from_ref(request))[0], outcome, "{cache}, logit shift {logit_shift}");
            assert!(outcome.canvas.open_positions().is_empty());
        }
        let plain = fill(&full, &cached(Cache::None, |settings| settings.block_length(6)));
        assert!(together[0].statistics.rows_read < plain[0].statistics.rows_read);
    }
}

/// The row before a block answers for the block's first position, so it is computed with the block while that position
/// is open; position 0 has none.
#[test]
fn under_a_logit_shift_a_cached_block_costs_one_row_more() {
    let rows = |attention, cache, logit_shift| {
        let spec = small(|spec| {
            spec.attention = attention;
            spec.head.logit_shift = logit_shift;
        });
        let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap();
        let mut canvas = Canvas::new();
        canvas.push_open(12, false, MASK);
        let settings = Settings::builder().steps(3).block_length(4).cache(cache).policy_named("last");
        fill(&network, &[Request::new(canvas, settings.build().unwrap())])[0].statistics.rows_read
    };
    // Three blocks of three steps, the first of which reads everything.
    let dual = 3 * (12 + 2 * 4);
    assert_eq!(rows(Layout::Full, Cache::Dual, false), dual);
    assert_eq!(rows(Layout::Full, Cache::Dual, true), dual + 2 * 2);
    let prefix = 3 * 12 + 2 * (12 + 8 + 4);
    assert_eq!(rows(Layout::Full, Cache::Prefix, false), prefix);
    assert_eq!(rows(Layout::Full, Cache::Prefix, true), prefix + 2 * 2);
    // The first step after a block reads that block once more, as it is final now.
    let exact = 3 * 3 * 4 + 2 * 4;
    assert_eq!(rows(Layout::Block { length: 4 }, Cache::Exact, false), exact);
    assert_eq!(rows(Layout::Block { length: 4 }, Cache::Exact, true), exact + 2 * 2);
}

#[test]
fn a_cache_that_is_made_anew_at_each_step_drifts_nowhere() {
    for logit_shift in [false, true] {
        let spec = small(|spec| spec.head.logit_shift = logit_shift);
        let full = Network::new(Cpu::<f32>::new(CpuPath::best(), 1).unwrap(), spec, 1).unwrap();
        let drift = |cache, change: fn(SettingsBuilder) -> SettingsBuilder| {
            let watched = Drifting::new(&full);
            fill(&watched, &cached(cache, change));
            watched.drift()
        };
        let rows_to_compute = drift(Cache::Dual, |settings| settings.block_length(6).cache_refresh(1));
        assert!(
            rows_to_compute.rows > 10 && rows_to_compute.largest == 0.0 && rows_to_compute.flipped == 0.0,
            "{rows_to_compute:?}"
        );
        let stale = drift(Cache::Dual, |settings| settings.block_length(6));
        assert!(stale.mean > 0.0 && stale.mean <= stale.largest && stale.largest <= 1.0, "{stale:?}");
        let prefix = drift(Cache::Prefix, |settings| settings.block_length(6));
        assert!(prefix.mean > 0.0 && prefix.mean <= stale.mean, "{prefix:?} {stale:?}");
    }
}

#[test]
fn a_cache_that_cannot_be_is_refused_with_what_can() {
    let refusal = |change: fn(&mut NetworkSpec), cache| {
        let network = Network::new(Cpu::<f32>::scalar(), small(change), 1).unwrap();
        let requests = cached(cache, |settings| settings);
        filled(&network, &process(), &requests).unwrap_err().to_string()
    };
    assert_eq!(refusal(|_| {}, Cache::Exact), "`cache` is exact; allowed: none, prefix, dual");
    let blocks = |spec: &mut NetworkSpec| spec.attention = Layout::Block { length: 4 };
    assert_eq!(refusal(blocks, Cache::Dual), "`cache` is dual; allowed: none, exact");
    // Sub-blocks are parts of a block, and its rows choose their experts together.
    let parts = |change: fn(&mut NetworkSpec)| {
        let network = Network::new(Cpu::<f32>::scalar(), small(change), 1).unwrap();
        filled(&network, &process(), &cached(Cache::Dual, |settings| settings.block_length(2)))
    };
    assert!(parts(|spec| spec.attention = Layout::Block { length: 4 }).is_ok());
    assert_eq!(parts(routed_by_blocks).unwrap_err().to_string(), "`cache` is dual; allowed: none, exact");
    assert_eq!(
        refusal(|spec| spec.self_conditioning = Some(SelfConditioningSpec::Added), Cache::Dual),
        "`cache` is dual; allowed: none"
    );
    let timed = |spec: &mut NetworkSpec| {
        spec.attention = Layout::Block { length: 4 };
        spec.time_conditioning = Some(TimeSpec::new(8));
    };
    assert_eq!(refusal(timed, Cache::Exact), "`cache` is exact; allowed: none");
    assert!(Settings::builder().cache_refresh(0).build().is_err());
}

/// A cache belongs to its request: one that joins brings nothing, one that leaves takes nothing along.
#[test]
fn a_joining_request_neither_finds_nor_disturbs_what_others_cache() {
    let full = |logit_shift| small(|spec| spec.head.logit_shift = logit_shift);
    let blocks = |logit_shift| NetworkSpec { attention: Layout::Block { length: 4 }, ..full(logit_shift) };
    let networks = [false, true].into_iter().flat_map(|logit_shift| {
        let (full, blocks) = (full(logit_shift), blocks(logit_shift));
        [(full.clone(), Cache::Prefix), (full, Cache::Dual), (blocks, Cache::Exact)]
    });
    for (spec, cache) in networks {
        let network = Network::new(Cpu::<f32>::new(CpuPath::best(), 2).unwrap(), spec, 1).unwrap();
        let network = listening(network);
        let requests = [
            cached(cache, |settings| settings),
            cached(cache, |settings| settings.guidance_scale(1.5)),
            cached(Cache::None, |settings| settings.policy_named("random")),
        ]
        .concat();
        let process = process();
        let mut engine = Engine::borrowing(&network, &process, Limits::default()).unwrap();
        let mut left = requests.iter();
        let mut outcomes = BTreeMap::new();
        let leaver = engine.submit(requests[0].clone()).unwrap();
        for step in 0.. {
            // Two more before each step, in the order of their numbers; the first leaves soon.
            for request in left.by_ref().take(2) {
                engine.submit(request.clone()).unwrap();
            }
            if step == 2 {
                assert!(engine.cancel(leaver));
            }
            let ended = engine.step(&mut |_, _| ControlFlow::Continue(()));
            outcomes.extend(ended.into_iter().map(|ended| (ended.id, ended.outcome.unwrap())));
            if engine.is_idle() {
                break;
            }
        }
        outcomes.remove(&leaver);
        assert_eq!(outcomes.len(), requests.len());
        for (request, outcome) in requests.iter().zip(outcomes.values()) {
            assert_eq!(&fill(&network, std::slice::from_ref(request))[0], outcome, "{cache}");
        }
    }
}

#[test]
fn bytes_in_flight_count_what_is_retained_for_a_request() {
    let process = process();
    let demand = |change: fn(&mut NetworkSpec), request: &Request| {
        let network = Network::new(Cpu::<f32>::scalar(), small(change), 1).unwrap();
        let engine = Engine::borrowing(&network, &process, Limits::default()).unwrap();
        (engine.admit(request.clone()).unwrap().demand(), network.kv_cache_bytes(21))
    };
    // 3 given and 18 open positions over 40 tokens, in two layers of 16 columns for keys and as many for values.
    let plain = &cached(Cache::None, |settings| settings)[0];
    let (none, _) = demand(|_| {}, plain);
    assert_eq!((none.rows, none.bytes), (21, 0));
    let (dual, kv_cache) = demand(|_| {}, &cached(Cache::Dual, |settings| settings)[0]);
    assert_eq!((dual.rows, dual.bytes), (21, kv_cache));
    assert!(kv_cache >= 21 * 2 * 2 * 16 * 4);
    let (guided, _) = demand(|_| {}, &cached(Cache::None, |settings| settings.guidance_scale(2.0))[0]);
    assert_eq!((guided.rows, guided.bytes), (2 * 21, 2 * 21 * 40 * 4));
    let (conditioned, _) = demand(|spec| spec.self_conditioning = Some(SelfConditioningSpec::Added), plain);
    assert_eq!((conditioned.rows, conditioned.bytes), (21, 3 * 21 * 40 * 4));
}
