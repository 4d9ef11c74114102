//! Work that takes a processor for a while, away from the threads that serve connections: texts become tokens, schemas
//! become automata.
//!
//! Half of the processors do it, so that canvases are filled meanwhile, and clients take turns: one that sends a
//! hundred large schemas at once delays its own requests only.

use crate::error::ApiError;
use crate::scheduler::{Client, FairQueue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot::{Sender, channel};

/// The threads for such work, shared out fairly among clients.
#[derive(Debug, Clone)]
pub(crate) struct BlockingPool(Arc<Mutex<Places>>);

#[derive(Debug)]
struct Places {
    /// Threads that are free.
    free: usize,
    /// Who waits for one, and how many each client has.
    queue: FairQueue<Sender<Place>>,
}

/// The right to one thread. Dropping it passes it on.
#[derive(Debug)]
struct Place {
    pool: BlockingPool,
    client: Client,
}

impl BlockingPool {
    /// Half of the machine's processors, at least one.
    pub(crate) fn of_this_machine() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::of((processors / 2).max(1))
    }

    fn of(threads: usize) -> Self {
        Self(Arc::new(Mutex::new(Places { free: threads, queue: FairQueue::default() })))
    }

    /// Does work on a thread where it may block, in its client's turn.
    ///
    /// # Errors
    /// Those of the work; also when it panics, which costs this request only.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        client: Client,
        work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (sender, place) = channel();
        self.lock().queue.push(client, sender);
        self.hand_out();
        let place = place.await.map_err(|_| ApiError::stopping())?;
        let done = tokio::task::spawn_blocking(move || {
            // A client that goes away does not stop the work, so the place stays with it.
            let _place = place;
            work()
        });
        done.await.unwrap_or_else(|error| Err(ApiError::server(error.to_string())))
    }

    /// Gives free threads to those whose turn it is.
    fn hand_out(&self) {
        loop {
            // Not in the head of the loop, which would hold the lock: a place that is dropped locks again.
            let next = self.lock().next();
            let Some((client, sender)) = next else { return };
            // Should its client be gone this very moment, the place comes back as it is dropped.
            let _ = sender.send(Place { pool: self.clone(), client });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Whose turn it is, where a thread is free, which is taken.
    fn next(&mut self) -> Option<(Client, Sender<Place>)> {
        while self.free > 0 {
            let client = self.queue.next()?.0;
            let sender = self.queue.take(client)?;
            if !sender.is_closed() {
                self.free -= 1;
                self.queue.began(client, 1);
                return Some((client, sender));
            }
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.pool.lock();
        places.free += 1;
        places.queue.ended(self.client, 1);
        drop(places);
        self.pool.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot::{Receiver, error::TryRecvError};

    fn wait(pool: &BlockingPool, client: usize) -> Receiver<Place> {
        let (sender, place) = channel();
        pool.lock().queue.push(Client::Key(client), sender);
        pool.hand_out();
        place
    }

    #[test]
    fn a_client_with_much_blocking_work_delays_only_itself() {
        let pool = BlockingPool::of(1);
        let mut many: Vec<_> = (0..4).map(|_| wait(&pool, 0)).collect();
        let mut single = wait(&pool, 1);
        let first = many[0].try_recv().unwrap();
        assert_eq!(single.try_recv().unwrap_err(), TryRecvError::Empty);
        // One goes away while it waits.
        drop(many.remove(2));
        drop(first);
        drop(single.try_recv().unwrap());
        // One goes away with a place that it never took.
        drop(many.remove(1));
        assert!(many[1].try_recv().is_ok());
        assert_eq!(pool.lock().free, 1);
        assert!(pool.lock().queue.is_empty());
    }

    #[test]
    fn work_that_panics_gives_its_thread_back() {
        let pool = BlockingPool::of(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let work: fn() -> Result<usize, ApiError> = || std::panic::panic_any("a test panics");
        let failed = runtime.block_on(pool.run(Client::Key(0), work));
        assert_eq!(failed.unwrap_err().status().as_u16(), 500);
        assert_eq!(runtime.block_on(pool.run(Client::Key(0), || Ok(7))).unwrap(), 7);
    }
}
