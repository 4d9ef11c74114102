//! Threads of one device.
//!
//! The calling thread takes part; helpers wait in a rayon pool. Tasks are claimed one by one, so which thread runs a
//! task is left to chance, and no result may depend on it: a task writes what no other task touches, and sums over
//! tasks are taken by the caller in the order of the tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Work, in elementary operations, below which waking another thread costs more than it saves.
const WORTH_SHARING: usize = 60_000;

/// The calling thread and its helpers.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    helpers: Option<Arc<rayon::ThreadPool>>,
    threads: usize,
}

impl Pool {
    /// A pool of `threads` threads, the caller's among them; fewer if the system gives no more.
    pub(super) fn new(threads: usize) -> Self {
        let helpers = (threads > 1).then(|| {
            let name = |index| format!("aquatint-cpu-{index}");
            rayon::ThreadPoolBuilder::new().num_threads(threads - 1).thread_name(name).build().ok().map(Arc::new)
        });
        let helpers = helpers.flatten();
        Self { threads: if helpers.is_some() { threads } else { 1 }, helpers }
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
        match &self.helpers {
            Some(helpers) if work >= WORTH_SHARING && useful > 0 => helpers.in_place_scope(|scope| {
                for _ in 0..useful {
                    scope.spawn(|_| turn());
                }
                turn();
            }),
            _ => turn(),
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
}
