//! Threads of one device.
//!
//! The calling thread takes part; helpers wait for work, first spinning, since the next operation of a forward pass
//! comes within microseconds, then parked. Tasks are claimed one by one, so which thread runs a task is left to chance,
//! and no result may depend on it: a task writes what no other task touches, and sums over tasks are taken by the
//! caller in the order of the tasks.
//!
//! A helper that comes late does not join a call that is closing, so that a thread which the system does not run holds
//! nobody up.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;

/// Work, in elementary operations, below which waking another thread costs more than it saves.
const WORTH_SHARING: usize = 60_000;
/// Looks at the clock of work before a waiting thread gives its processor away: some tens of microseconds.
const SPINS: u32 = 4000;

/// Whether a call may be joined.
const OPEN: u64 = 1 << 16;
/// The helpers that have joined it.
const JOINED: u64 = OPEN - 1;
/// One call more; what is above counts them.
const CALL: u64 = OPEN << 1;

/// What helpers run: claims tasks until there is none.
type Turn<'a> = dyn Fn() + Sync + 'a;

/// What the caller and its helpers share.
struct Desk {
    /// Number of the call, whether it is open, and who has joined it.
    state: AtomicU64,
    /// The turn of the open call; written by the caller while no helper is in, read by those that have joined.
    turn: UnsafeCell<Option<*const Turn<'static>>>,
    /// Whether each helper is parked, or about to be.
    parked: Vec<AtomicBool>,
    stopped: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `turn` is written only under the lock of the helpers while nobody has joined, and read only by threads that
// have joined, which the caller waits for; the turn itself is `Sync`.
unsafe impl Send for Desk {}
// SAFETY: as above.
unsafe impl Sync for Desk {}

impl Desk {
    /// The life of a helper.
    fn serve(&self, index: usize) {
        let mut observed = 0;
        let mut spins = 0;
        while !self.stopped.load(Ordering::SeqCst) {
            let state = self.state.load(Ordering::SeqCst);
            if state & OPEN != 0 && state / CALL != observed {
                if self.state.compare_exchange(state, state + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                    (observed, spins) = (state / CALL, 0);
                    // SAFETY: the caller waits for everybody who has joined before the turn goes out of scope.
                    let turn = unsafe { (*self.turn.get()).map(|turn| &*turn) };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| turn.map(|turn| turn()))) {
                        *self.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
                    }
                    self.state.fetch_sub(1, Ordering::SeqCst);
                }
            } else if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                self.parked[index].store(true, Ordering::SeqCst);
                // Whoever opened a call before this line is seen here, whoever opens one after it sees the flag.
                let state = self.state.load(Ordering::SeqCst);
                if !(state & OPEN != 0 && state / CALL != observed || self.stopped.load(Ordering::SeqCst)) {
                    std::thread::park();
                }
                self.parked[index].store(false, Ordering::SeqCst);
                spins = 0;
            }
        }
    }
}

/// The helpers; the last owner sends them home.
struct Helpers {
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
    /// Held by the one caller that they serve.
    busy: Mutex<()>,
}

/// Closes a call when it goes out of scope, also by a panic, and waits for those who have joined.
struct Closing<'a>(&'a Desk);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, Ordering::SeqCst);
        let mut spins = 0;
        while self.0.state.load(Ordering::SeqCst) & JOINED != 0 {
            spins += 1;
            // A thread that has joined and is not scheduled needs this processor.
            if spins % SPINS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

impl Helpers {
    /// Runs a turn on this thread and on up to `useful` helpers. Returns `false`, having run nothing, if they serve
    /// another caller.
    fn call(&self, useful: usize, turn: &Turn<'_>) -> bool {
        let busy = match self.busy.try_lock() {
            Ok(busy) => busy,
            // A task of an earlier call panicked; nothing was left half done.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let desk = &*self.desk;
        // Of an earlier call whose caller panicked as well.
        *desk.panic.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // SAFETY: no call is open, so nobody reads; the lifetime ends after `Closing` has waited for all who do.
        unsafe { *desk.turn.get() = Some(std::mem::transmute::<*const Turn<'_>, *const Turn<'static>>(turn)) };
        let closing = Closing(desk);
        let call = desk.state.load(Ordering::SeqCst) / CALL + 1;
        desk.state.store((call * CALL) | OPEN, Ordering::SeqCst);
        for (thread, parked) in self.threads.iter().zip(&desk.parked).take(useful) {
            if parked.load(Ordering::SeqCst) {
                thread.thread().unpark();
            }
        }
        turn();
        drop(closing);
        let panic = desk.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(busy);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        true
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.desk.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A helper's panics were handed to the caller.
            let _ = thread.join();
        }
    }
}

/// The calling thread and its helpers.
#[derive(Clone)]
pub(super) struct Pool {
    helpers: Option<Arc<Helpers>>,
    threads: usize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of `threads` threads, the caller's among them; fewer if the system gives no more.
    pub(super) fn new(threads: usize) -> Self {
        let wanted = threads.saturating_sub(1);
        let desk = Arc::new(Desk {
            state: AtomicU64::new(0),
            turn: UnsafeCell::new(None),
            parked: (0..wanted).map(|_| AtomicBool::new(false)).collect(),
            stopped: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let hire = |index| {
            let desk = Arc::clone(&desk);
            std::thread::Builder::new().name(format!("aquatint-cpu-{index}")).spawn(move || desk.serve(index)).ok()
        };
        let threads: Vec<JoinHandle<()>> = (0..wanted).map_while(hire).collect();
        let count = 1 + threads.len();
        let helpers = (count > 1).then(|| Arc::new(Helpers { desk, threads, busy: Mutex::new(()) }));
        Self { helpers, threads: count }
    }

    /// The number of threads that take part.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Runs tasks `0..tasks`, which together are about `work` elementary operations. Each thread that takes part
    /// makes one scratch for all tasks that it runs.
    pub(super) fn run<S>(
        &self,
        tasks: usize,
        work: usize,
        scratch: impl Fn() -> S + Sync,
        task: impl Fn(&mut S, usize) + Sync,
    ) {
        let next = AtomicUsize::new(0);
        let turn = || {
            let mut index = next.fetch_add(1, Ordering::Relaxed);
            if index >= tasks {
                return;
            }
            let mut scratch = scratch();
            while index < tasks {
                task(&mut scratch, index);
                index = next.fetch_add(1, Ordering::Relaxed);
            }
        };
        let useful = self.threads.min(tasks).saturating_sub(1);
        let shared = match &self.helpers {
            Some(helpers) if work >= WORTH_SHARING && useful > 0 => helpers.call(useful, &turn),
            _ => false,
        };
        if !shared {
            turn();
        }
    }

    /// Hands each item to one thread.
    pub(super) fn each<T: Send>(&self, work: usize, items: Vec<T>, task: impl Fn(T) + Sync) {
        let tasks = items.len();
        let items = Mutex::new(items.into_iter());
        let claim = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
        self.run(
            tasks,
            work,
            || (),
            |(), _| {
                if let Some(item) = claim() {
                    task(item);
                }
            },
        );
    }

    /// Hands each item with its place in the list to one thread, and returns the results in that order.
    pub(super) fn map<T: Send, R: Send>(&self, work: usize, items: Vec<T>, task: impl Fn(T) -> R + Sync) -> Vec<R> {
        let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
        self.each(work, items.into_iter().zip(&mut results).collect(), |(item, result)| *result = Some(task(item)));
        results.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_and_results_keep_their_order() {
        for threads in 1..5 {
            let pool = Pool::new(threads);
            for tasks in [0, 1, 2, 7, 100] {
                let squares = pool.map(usize::MAX, (0..tasks).collect(), |i: usize| i * i);
                assert_eq!(squares, (0..tasks).map(|i| i * i).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn tasks_are_run_after_a_rest_and_from_many_threads_at_once() {
        let pool = Pool::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..50 {
                        if round % 10 == 0 {
                            // Long enough for the helpers to be parked.
                            std::thread::sleep(std::time::Duration::from_millis(2));
                        }
                        let sum: usize = pool.map(usize::MAX, (0..40).collect(), |i: usize| i).into_iter().sum();
                        assert_eq!(sum, 780);
                    }
                });
            }
        });
        // A task may ask for threads itself.
        let nested = pool.map(usize::MAX, (0..5).collect(), |i: usize| {
            pool.map(usize::MAX, (0..i).collect(), |j: usize| j).into_iter().sum::<usize>()
        });
        assert_eq!(nested, [0, 0, 1, 3, 6]);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(2);
        for broken in [0, 63] {
            let run = || pool.run(64, usize::MAX, || (), |(), index| assert_ne!(index, broken, "broken on purpose"));
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            assert_eq!(pool.map(usize::MAX, vec![1, 2, 3], |i| i * i), [1, 4, 9]);
        }
    }
}
