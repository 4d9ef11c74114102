//! The updates of a request on their way to its handler. The scheduler never waits for a reader; one that is too far
//! behind loses its request instead.

use super::Update;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Changes of positions that may wait for a reader: some tens of mebibytes.
const MOST_CHANGES: usize = 1 << 20;

/// The scheduler's end.
#[derive(Debug)]
pub(crate) struct UpdateSender {
    sender: UnboundedSender<Update>,
    waiting: Arc<AtomicUsize>,
}

/// The handler's end. Dropping it cancels the request.
#[derive(Debug)]
pub(crate) struct Updates {
    receiver: UnboundedReceiver<Update>,
    waiting: Arc<AtomicUsize>,
}

/// Both ends.
pub(crate) fn updates() -> (UpdateSender, Updates) {
    let (sender, receiver) = unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    (UpdateSender { sender, waiting: waiting.clone() }, Updates { receiver, waiting })
}

impl UpdateSender {
    /// Passes an update on. A reader that is gone is noticed by [`UpdateSender::is_lost`].
    pub(super) fn send(&self, update: Update) {
        self.waiting.fetch_add(update.weight(), SeqCst);
        let _ = self.sender.send(update);
    }

    /// Whether nobody reads any more, or so slowly that what waits would fill the memory.
    pub(super) fn is_lost(&self) -> bool {
        self.sender.is_closed() || self.waiting.load(SeqCst) > MOST_CHANGES
    }
}

impl Updates {
    /// The next one; `None` where the server ends.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        let update = self.receiver.recv().await?;
        self.waiting.fetch_sub(update.weight(), SeqCst);
        Some(update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::BlockUpdate;

    fn block(positions: usize) -> Update {
        Update::Block(BlockUpdate { part: 0, block: 0, of: 1, positions: vec![0; positions], steps: 1 })
    }

    #[test]
    fn a_reader_that_is_too_far_behind_is_lost_and_one_that_reads_on_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (sender, mut updates) = updates();
        for _ in 0..10 {
            sender.send(block(MOST_CHANGES / 2));
            assert!(!sender.is_lost());
            assert!(runtime.block_on(updates.next()).is_some());
        }
        sender.send(block(MOST_CHANGES));
        assert!(sender.is_lost());
        assert!(runtime.block_on(updates.next()).is_some());
        assert!(!sender.is_lost());
        drop(updates);
        assert!(sender.is_lost());
    }
}
