//! Sequences of calls that come again, handed to the GPU as one.
//!
//! A launch costs the host some microseconds, and a small network's kernels take no longer. A step asks for the same calls
//! as the step before: [`Graphs`] stands between the device and its driver, keeps calls instead of making them, and makes
//! them as one *series* when the host wants to know something, when enough have come, or when memory goes back to the
//! driver. A series that came before is captured, and from then on replayed.
//!
//! # Why a replay is right
//! What is replayed is, byte for byte, what was asked for: the same kernels in the same order with the same blocks and
//! arguments, addresses among them, and the same products at the same addresses. A graph is found by what cannot be changed
//! in it (names of kernels, products, what is cleared), compared in full and not by a hash alone; calls that differ in
//! blocks or arguments are changed in the graph before it runs. So nothing has to be known of whose memory an address is:
//! a buffer that the pool has given to another user in between is written by a replay only where that user, or whoever has
//! it now, asked for that call at that place. The pool lends by address, so that a step like the one before asks for the
//! same addresses; where it does not, calls are made one by one, and nothing is wrong.
//!
//! # Order
//! Calls of a series run in the order in which they came, and series one after another. Only a copy from the host
//! overtakes: it is made at once, before the calls that are kept, if none of them has an argument within the memory that it
//! writes to; else those are made first. A copy to the host is made behind everything.

use super::arguments::Argument;
use super::driver::{Address, Driver, DriverError, GpuFacts, Graph, Launch, Product, Work};
use super::nccl;
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// Calls after which a series ends: the GPU begins while the host still asks for more.
const LONGEST: usize = 128;
/// Calls below which a series is made call by call.
const SHORTEST: usize = 4;
/// Graphs that are kept.
const MOST_GRAPHS: usize = 512;
/// Series of which it is known that they came, graphs among them.
const MOST_KNOWN: usize = 8192;
/// A graph that so many series have passed by makes room for another one.
const IDLE: u64 = 4 * MOST_GRAPHS as u64;
/// What a replay costs the host in calls, and what each call that is changed in it, as numerator and denominator: about
/// 10 µs, and 1 µs where a call takes 2.5 µs or more.
const REPLAY: usize = 4;
const CHANGE: (usize, usize) = (2, 5);

/// What a device with graphs has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GraphFigures {
    /// Kernels, products and clearings that were asked for.
    pub calls: u64,
    /// Those of them that were parts of replays.
    pub replayed: u64,
    /// Those of them whose blocks or arguments were changed first.
    pub changed: u64,
    /// Replays.
    pub replays: u64,
    /// Graphs that were captured.
    pub captured: u64,
    /// Graphs that are kept.
    pub graphs: usize,
    /// Copies from the host, and those of them for which calls had to be made first.
    pub writes: u64,
    /// See [`GraphFigures::writes`].
    pub late_writes: u64,
    /// Copies to the host, each of which waits.
    pub reads: u64,
    /// Pieces of memory that the driver was asked for.
    pub allocations: u64,
    /// Why nothing is captured any more, in the driver's words.
    pub refusal: Option<String>,
}

impl GraphFigures {
    /// The share of calls that were parts of replays, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.replayed as f64 / self.calls.max(1) as f64
    }
}

/// A driver that replays; see the module.
#[derive(Debug)]
pub(super) struct Graphs {
    driver: Arc<dyn Driver>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Calls that were asked for and not made.
    pending: Vec<Work>,
    /// By a hash of what cannot be changed in a graph.
    known: HashMap<u64, Series>,
    /// Every piece of memory and its bytes.
    memory: BTreeMap<Address, usize>,
    /// Series so far.
    now: u64,
    figures: GraphFigures,
    /// Why calls that were asked for were not made. What is in memory since is not what was meant, so that it stays.
    failure: Option<DriverError>,
}

/// A series that came before.
#[derive(Debug, Default)]
struct Series {
    last_used: u64,
    /// Its graph and what that has in it, from the second time on.
    captured: Option<(Graph, Vec<Work>)>,
}

impl Work {
    /// Whether a graph of one can be changed to be one of the other.
    fn is_alike(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Launch { kernel: one, .. }, Self::Launch { kernel: other, .. }) => one == other,
            _ => self == other,
        }
    }

    /// What [`Work::is_alike`] compares.
    fn hash_fixed(&self, hasher: &mut impl Hasher) {
        match self {
            Self::Launch { kernel, .. } => kernel.hash(hasher),
            Self::Multiply(product) => product.hash(hasher),
            Self::Clear { at, bytes } => (at, bytes).hash(hasher),
        }
    }

    /// Whether an argument lies within a piece of memory, or may: a table says where something lies, too.
    fn touches(&self, from: Address, end: Address) -> bool {
        let within = |at: Address| from <= at && at < end;
        match self {
            Self::Launch { arguments, .. } => {
                let may = |argument: &Argument| argument.is_table() || argument.is_address() && within(argument.bits);
                arguments.iter().any(may)
            }
            Self::Multiply(product) => {
                let others = [product.bias, product.added].into_iter().flatten();
                [product.left.at, product.right.at, product.out].into_iter().chain(others).any(within)
            }
            Self::Clear { at, .. } => within(*at),
        }
    }

    /// Makes the call.
    pub(super) fn run(&self, driver: &dyn Driver) -> Result<(), DriverError> {
        match self {
            Self::Launch { kernel, launch, arguments } => driver.launch(kernel, *launch, arguments),
            Self::Multiply(product) => driver.multiply(product),
            Self::Clear { at, bytes } => driver.clear(*at, *bytes),
        }
    }
}

impl Graphs {
    pub(super) fn new(driver: Arc<dyn Driver>) -> Arc<Self> {
        Arc::new(Self { driver, state: Mutex::default() })
    }

    pub(super) fn figures(&self) -> GraphFigures {
        self.with(|state| state.figures.clone())
    }

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps a call; makes all that are kept where they are enough.
    fn keep(&self, work: Work) -> Result<(), DriverError> {
        self.with(|state| {
            state.figures.calls += 1;
            state.pending.push(work);
            if state.pending.len() < LONGEST { Ok(()) } else { self.make(state) }
        })
    }

    /// Makes all calls that are kept.
    fn make(&self, state: &mut State) -> Result<(), DriverError> {
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if state.pending.is_empty() {
            return Ok(());
        }
        let work = std::mem::take(&mut state.pending);
        state.now += 1;
        if work.len() < SHORTEST || state.figures.refusal.is_some() || !self.replay(state, &work) {
            let made = work.iter().try_for_each(|call| call.run(&*self.driver));
            made.inspect_err(|error| state.failure = Some(error.clone()))?;
        }
        state.pending = work;
        state.pending.clear();
        Ok(())
    }

    /// Whether these calls were made by a replay; if not, none of them was.
    fn replay(&self, state: &mut State, work: &[Work]) -> bool {
        let mut hasher = DefaultHasher::new();
        work.iter().for_each(|call| call.hash_fixed(&mut hasher));
        let (key, now) = (hasher.finish(), state.now);
        if state.known.len() >= MOST_KNOWN && !state.known.contains_key(&key) {
            state.known.retain(|_, series| series.captured.is_some());
        }
        let is_new = !state.known.contains_key(&key);
        let is_captured = {
            let series = state.known.entry(key).or_default();
            series.last_used = now;
            series.captured.is_some()
        };
        if is_new || !is_captured && !self.capture(state, key, work) {
            return false;
        }
        let Some((graph, captured)) = state.known.get_mut(&key).and_then(|series| series.captured.as_mut()) else {
            return false;
        };
        let pairs = || captured.iter().zip(work);
        if captured.len() != work.len() || !pairs().all(|(captured, call)| captured.is_alike(call)) {
            return false;
        }
        let changed: Vec<(usize, &Work)> =
            work.iter().enumerate().filter(|(place, call)| captured[*place] != **call).collect();
        if REPLAY + changed.len() * CHANGE.0 / CHANGE.1 > work.len() {
            return false;
        }
        match self.driver.replay(*graph, &changed) {
            Ok(()) => {
                let figures = &mut state.figures;
                figures.replays += 1;
                figures.replayed += work.len() as u64;
                figures.changed += changed.len() as u64;
                changed.into_iter().for_each(|(place, call)| captured[place] = call.clone());
                true
            }
            Err(error) => {
                state.figures.refusal = Some(error.to_string());
                false
            }
        }
    }

    /// Whether there is a graph of these calls now.
    fn capture(&self, state: &mut State, key: u64, work: &[Work]) -> bool {
        if state.figures.graphs >= MOST_GRAPHS {
            let graphs = state.known.iter_mut().filter(|(_, series)| series.captured.is_some());
            let idle = graphs.map(|(_, series)| series).min_by_key(|series| series.last_used);
            // Where all are in use, another one would only take the place of one that is missed next.
            let Some(series) = idle.filter(|series| series.last_used + IDLE < state.now) else { return false };
            if let Some((graph, _)) = series.captured.take() {
                self.driver.release(graph);
                state.figures.graphs -= 1;
            }
        }
        match self.driver.capture(work) {
            Ok(graph) => {
                state.figures.captured += 1;
                state.figures.graphs += 1;
                let series = state.known.entry(key).or_default();
                series.captured = Some((graph, work.to_vec()));
                true
            }
            Err(error) => {
                state.figures.refusal = Some(error.to_string());
                false
            }
        }
    }
}

impl Driver for Graphs {
    fn facts(&self) -> &GpuFacts {
        self.driver.facts()
    }

    fn allocate(&self, bytes: usize) -> Result<Address, DriverError> {
        self.with(|state| {
            let at = self.driver.allocate(bytes)?;
            state.figures.allocations += 1;
            state.memory.insert(at, bytes);
            Ok(at)
        })
    }

    fn free(&self, at: Address) {
        self.with(|state| {
            // A failure stays, and whoever asks next gets it.
            let _ = self.make(state);
            state.memory.remove(&at);
            self.driver.free(at);
        });
    }

    fn write(&self, at: Address, bytes: &[u8]) -> Result<(), DriverError> {
        self.with(|state| {
            let piece = state.memory.range(..=at).next_back();
            let (from, end) = piece.map_or((0, Address::MAX), |(&from, &size)| (from, from + size as Address));
            let is_late = state.pending.iter().any(|call| call.touches(from, end));
            state.figures.writes += 1;
            if is_late {
                state.figures.late_writes += 1;
                self.make(state)?;
            }
            self.driver.write(at, bytes)
        })
    }

    fn read(&self, at: Address, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.with(|state| {
            state.figures.reads += 1;
            self.make(state)?;
            self.driver.read(at, bytes)
        })
    }

    fn clear(&self, at: Address, bytes: usize) -> Result<(), DriverError> {
        self.keep(Work::Clear { at, bytes })
    }

    fn launch(&self, kernel: &'static str, launch: Launch, arguments: &[Argument]) -> Result<(), DriverError> {
        self.keep(Work::Launch { kernel, launch, arguments: arguments.to_vec() })
    }

    fn multiply(&self, product: &Product) -> Result<(), DriverError> {
        self.keep(Work::Multiply(*product))
    }

    fn wait(&self) -> Result<(), DriverError> {
        self.with(|state| {
            self.make(state)?;
            self.driver.wait()
        })
    }

    fn uuid(&self) -> Result<[u8; 16], DriverError> {
        self.driver.uuid()
    }

    fn nccl(&self) -> Option<&'static nccl::Library> {
        self.driver.nccl()
    }

    fn stream(&self) -> Result<*mut c_void, DriverError> {
        // What is put on the stream now comes behind what was kept.
        self.with(|state| {
            self.make(state)?;
            self.driver.stream()
        })
    }

    fn capture(&self, work: &[Work]) -> Result<Graph, DriverError> {
        self.driver.capture(work)
    }

    fn replay(&self, graph: Graph, changed: &[(usize, &Work)]) -> Result<(), DriverError> {
        self.driver.replay(graph, changed)
    }

    fn release(&self, graph: Graph) {
        self.driver.release(graph);
    }
}

impl Drop for Graphs {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (graph, _) in state.known.drain().filter_map(|(_, series)| series.captured) {
            self.driver.release(graph);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cuda;
    use super::super::arguments::{In, Kernel, Out};
    use super::super::emulator::{Call, Emulator};
    use super::super::kernels::ScaleAdd;
    use super::*;
    use crate::{Elementwise, Memory};

    fn graphs(patience: (u64, usize)) -> Option<(Arc<Emulator>, Arc<Graphs>)> {
        let emulator = Emulator::impatient(patience)?;
        Some((Arc::clone(&emulator), Graphs::new(emulator)))
    }

    const PATIENT: (u64, usize) = (u64::MAX, usize::MAX);

    fn read(driver: &dyn Driver, at: Address) -> [f32; 4] {
        let mut bytes = [0; 16];
        driver.read(at, &mut bytes).unwrap();
        std::array::from_fn(|place| f32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[4 * place + byte])))
    }

    fn write(driver: &dyn Driver, at: Address, value: f32) {
        driver.write(at, &value.to_le_bytes().repeat(4)).unwrap();
    }

    /// `y = a x + y`.
    fn add(driver: &dyn Driver, a: f32, x: Address, y: Address) {
        let image = (In::none(), Out::none());
        let kernel = ScaleAdd { count: 4, a, x: In::new(x), x_image: image.0, b: 1.0, y: Out::new(y), image: image.1 };
        let launch = Launch { blocks: (1, 1), threads: 32, shared: 0 };
        driver.launch(ScaleAdd::NAMES[0], launch, &kernel.arguments()).unwrap();
    }

    #[test]
    fn what_is_replayed_is_what_was_wanted() {
        let Some((emulator, driver)) = graphs(PATIENT) else { return };
        let [x, y] = [(); 2].map(|()| driver.allocate(16).unwrap());
        write(&*driver, x, 1.0);
        let step = |factor: f32| {
            driver.clear(y, 16).unwrap();
            (0..7).for_each(|_| add(&*driver, factor, x, y));
            read(&*driver, y)
        };
        assert_eq!([step(1.0), step(1.0), step(1.0)], [[7.0; 4]; 3]);
        assert_eq!((driver.figures().captured, driver.figures().replays, driver.figures().changed), (1, 2, 0));
        // Another number, and then the same again: it was changed in the graph itself.
        assert_eq!([step(2.0), step(2.0)], [[14.0; 4]; 2]);
        let figures = driver.figures();
        assert_eq!((figures.captured, figures.replays, figures.changed, figures.replayed), (1, 4, 7, 32));
        emulator.calls();
        write(&*driver, x, 3.0);
        assert_eq!(step(2.0), [42.0; 4]);
        let calls = emulator.calls();
        assert_eq!((&calls[..2], calls.last()), (&[Call::Write(16), Call::Replay(8)][..], Some(&Call::Read(16))));
        drop(driver);
        assert_eq!(emulator.graphs(), 0);
    }

    #[test]
    fn a_copy_from_the_host_overtakes_only_what_has_nothing_to_do_with_it() {
        let Some((emulator, driver)) = graphs(PATIENT) else { return };
        let [x, other, y] = [(); 3].map(|()| driver.allocate(16).unwrap());
        for _ in 0..4 {
            write(&*driver, x, 1.0);
            driver.clear(y, 16).unwrap();
            (0..5).for_each(|_| add(&*driver, 1.0, x, y));
            emulator.calls();
            write(&*driver, other, 10.0);
            assert_eq!(emulator.calls(), [Call::Write(16)]);
            // What was asked for reads `x` as it was.
            write(&*driver, x, 2.0);
            (0..5).for_each(|_| add(&*driver, 1.0, x, y));
            add(&*driver, 1.0, other, y);
            assert_eq!(read(&*driver, y), [25.0; 4]);
        }
        let GraphFigures { writes, late_writes, .. } = driver.figures();
        assert_eq!((writes, late_writes), (12, 4));
    }

    #[test]
    fn a_call_that_fails_while_memory_goes_back_is_said_whenever_something_is_read() {
        let Some((_, driver)) = graphs(PATIENT) else { return };
        let [x, y] = [(); 2].map(|()| driver.allocate(16).unwrap());
        write(&*driver, y, 1.0);
        driver.launch("nothing", Launch { blocks: (1, 1), threads: 32, shared: 0 }, &[]).unwrap();
        driver.free(x);
        for _ in 0..2 {
            let failure = driver.read(y, &mut [0; 16]).unwrap_err();
            assert!(failure.to_string().contains("`nothing` is no kernel"), "{failure}");
        }
        assert!(driver.wait().is_err());
    }

    #[test]
    fn memory_goes_back_behind_what_uses_it() {
        let Some((_, driver)) = graphs(PATIENT) else { return };
        let [x, y] = [(); 2].map(|()| driver.allocate(16).unwrap());
        write(&*driver, x, 1.0);
        driver.clear(y, 16).unwrap();
        add(&*driver, 1.0, x, y);
        driver.free(x);
        assert_eq!(read(&*driver, y), [1.0; 4]);
    }

    #[test]
    fn what_cannot_be_captured_or_changed_is_made_call_by_call_with_the_reason() {
        for (patience, call, captured) in [((1, usize::MAX), "capture", 1), ((u64::MAX, 0), "replay", 2)] {
            let Some((_, driver)) = graphs(patience) else { return };
            let [x, y] = [(); 2].map(|()| driver.allocate(16).unwrap());
            write(&*driver, x, 1.0);
            for step in 1..6 {
                for calls in [5, 6] {
                    driver.clear(y, 16).unwrap();
                    // From the third step on with other numbers.
                    let factor = if step < 4 { 1.0 } else { step as f32 };
                    (0..calls).for_each(|_| add(&*driver, factor, x, y));
                    assert_eq!(read(&*driver, y), [calls as f32 * factor; 4], "{call}, step {step}");
                }
            }
            let figures = driver.figures();
            assert_eq!(figures.refusal, Some(format!("{call} failed: no patience is left")));
            assert_eq!(figures.captured, captured);
        }
    }

    #[test]
    fn graphs_are_no_more_than_are_allowed_and_idle_ones_make_room() {
        let Some((emulator, driver)) = graphs(PATIENT) else { return };
        let at = driver.allocate(1 << 16).unwrap();
        let series = |size: usize| {
            (0..SHORTEST).for_each(|_| driver.clear(at, size).unwrap());
            read(&*driver, at);
        };
        for size in 16..16 + 2 * MOST_GRAPHS {
            (0..3).for_each(|_| series(size));
        }
        assert_eq!((emulator.graphs(), driver.figures().graphs), (MOST_GRAPHS, MOST_GRAPHS));
        // The first have not been used for long enough by now.
        (0..IDLE).for_each(|_| series(16 + MOST_GRAPHS - 1));
        let before = driver.figures();
        (0..3).for_each(|_| series(16 + 3 * MOST_GRAPHS));
        let after = driver.figures();
        assert_eq!((after.captured, after.graphs), (before.captured + 1, MOST_GRAPHS));
        assert_eq!(emulator.graphs(), MOST_GRAPHS);
        // Series that never come again are forgotten.
        (0..MOST_KNOWN + 10).for_each(|size| series(40_000 + size));
        assert!(driver.with(|state| state.known.len()) <= MOST_KNOWN);
        assert_eq!(after.refusal, None);
    }

    #[test]
    #[should_panic(expected = "graphs are chosen before a device has buffers")]
    fn graphs_are_refused_where_there_are_buffers() {
        let Some(device) = Cuda::emulated(None, 0) else { panic!("graphs are chosen before a device has buffers") };
        let buffer = device.zeros(4).unwrap();
        let other = device.with_graphs();
        other.scale_add(1.0, &buffer, 1.0, &mut other.zeros(4).unwrap());
    }
}
