//! Streamed canvases by their identifiers. The events of each are kept for a while, so that a client whose connection
//! dropped goes on where it was; meanwhile the canvas is filled on.

use crate::error::ApiError;
use crate::scheduler::Client;
use axum::response::sse::Event;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a canvas that nobody follows is filled on.
pub(super) const ABANDONED: Duration = Duration::from_secs(30);
/// How long the events are kept once it is finished.
pub(super) const RETENTION: Duration = Duration::from_secs(120);
/// Canvases whose events are kept at most.
const MOST: usize = 256;
/// Bytes that the events of one may take; a canvas with more of them is cancelled.
const MOST_BYTES: usize = 64 << 20;
/// Bytes that all events may take before those of canvases that are finished are forgotten early.
const MOST_BYTES_TOGETHER: usize = 256 << 20;

/// The streamed canvases of a server.
#[derive(Debug, Default)]
pub(crate) struct FollowedCanvases(Mutex<BTreeMap<String, Arc<Followed>>>);

/// One event: its name and its data.
#[derive(Debug, Clone)]
struct Recorded {
    name: &'static str,
    data: Arc<str>,
}

/// What is known of a canvas's events.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Progress {
    events: usize,
    finished: bool,
}

/// The events of a canvas, and who follows them.
#[derive(Debug)]
pub(super) struct Followed {
    client: Client,
    events: Mutex<Vec<Recorded>>,
    /// Of all events together.
    bytes: AtomicUsize,
    progress: watch::Sender<Progress>,
    cancelled: watch::Sender<bool>,
    readers: AtomicUsize,
    /// When the last reader left, or the canvas finished.
    since: Mutex<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FollowedCanvases {
    /// Begins to keep the events of a canvas.
    pub(super) fn open(&self, id: &str, client: Client) -> Arc<Followed> {
        let followed = Arc::new(Followed {
            client,
            events: Mutex::default(),
            bytes: AtomicUsize::new(0),
            progress: watch::Sender::new(Progress::default()),
            cancelled: watch::Sender::new(false),
            readers: AtomicUsize::new(0),
            since: Mutex::new(Instant::now()),
        });
        let mut all = lock(&self.0);
        make_room(&mut all, MOST, MOST_BYTES_TOGETHER);
        all.insert(id.to_owned(), followed.clone());
        followed
    }

    /// Keeps the events of a canvas no longer.
    pub(super) fn forget(&self, id: &str) {
        lock(&self.0).remove(id);
    }

    /// The canvas of an identifier, for the client that began it.
    ///
    /// # Errors
    /// When there is none, or another client began it.
    pub(super) fn find(&self, id: &str, client: Client) -> Result<Arc<Followed>, ApiError> {
        let found = lock(&self.0).get(id).filter(|followed| followed.client == client).cloned();
        found.ok_or_else(|| {
            let seconds = RETENTION.as_secs();
            ApiError::not_found(format!(
                "there is no canvas `{id}`; a streamed one is kept for {seconds} s after its end"
            ))
        })
    }
}

/// Forgets canvases that are finished, the one that finished first before the others, until there are fewer than `most` and
/// their events take no more than `bytes`.
fn make_room(all: &mut BTreeMap<String, Arc<Followed>>, most: usize, bytes: usize) {
    while all.len() >= most || all.values().map(|followed| followed.bytes.load(SeqCst)).sum::<usize>() > bytes {
        // Those that are being filled are limited by the queue, and each by itself.
        let oldest = all.iter().filter(|(_, f)| f.progress.borrow().finished).min_by_key(|(_, f)| *lock(&f.since));
        let Some(id) = oldest.map(|(id, _)| id.clone()) else { return };
        all.remove(&id);
    }
}

impl Followed {
    /// Adds an event.
    pub(super) fn record(&self, name: &'static str, value: &impl Serialize) {
        // A value of ours has string keys and finite numbers.
        let data = serde_json::to_string(value).unwrap_or_else(|error| error.to_string());
        if self.bytes.fetch_add(data.len(), SeqCst) + data.len() > MOST_BYTES {
            self.cancel();
        }
        let mut events = lock(&self.events);
        events.push(Recorded { name, data: data.into() });
        self.progress.send_modify(|progress| progress.events = events.len());
    }

    /// Nothing more comes.
    pub(super) fn finish(&self) {
        *lock(&self.since) = Instant::now();
        self.progress.send_modify(|progress| progress.finished = true);
    }

    /// Whether nobody has followed it for so long that it is not worth filling.
    pub(super) fn is_abandoned(&self) -> bool {
        self.readers.load(SeqCst) == 0 && lock(&self.since).elapsed() > ABANDONED
    }

    /// Asks to cancel it.
    pub(super) fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Becomes true when it is to be cancelled.
    pub(super) fn cancelled(&self) -> watch::Receiver<bool> {
        self.cancelled.subscribe()
    }
}

/// One client that follows a canvas, from some event on.
#[derive(Debug)]
pub(super) struct Reader {
    followed: Arc<Followed>,
    progress: watch::Receiver<Progress>,
    next: usize,
}

impl Reader {
    /// Follows from event number `next` on.
    pub(super) fn new(followed: Arc<Followed>, next: usize) -> Self {
        followed.readers.fetch_add(1, SeqCst);
        Self { progress: followed.progress.subscribe(), followed, next }
    }

    /// The next event; `None` behind the last.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let next = self.next;
        let progress = *self.progress.wait_for(|progress| progress.events > next || progress.finished).await.ok()?;
        if progress.events <= next {
            return None;
        }
        let Recorded { name, data } = lock(&self.followed.events).get(next)?.clone();
        self.next += 1;
        Some(Event::default().event(name).id(next.to_string()).data(&*data))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        *lock(&self.followed.since) = Instant::now();
        self.followed.readers.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn finished_canvases_are_forgotten_where_there_are_too_many_or_their_events_are_too_large() {
        let canvases = FollowedCanvases::default();
        let client = Client::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));
        for id in ["a", "b", "c", "d"] {
            let followed = canvases.open(id, client);
            followed.record("step", &"x".repeat(98));
            // The first one is still filled.
            if id != "a" {
                followed.finish();
            }
        }
        let left = |most: usize, bytes: usize| {
            let mut all = lock(&canvases.0).clone();
            make_room(&mut all, most, bytes);
            all.into_keys().collect::<String>()
        };
        assert_eq!([left(5, 400), left(4, 400), left(5, 399), left(5, 250)], ["abcd", "acd", "acd", "ad"]);
        assert_eq!([left(1, 400), left(5, 0)], ["a", "a"]);
        canvases.forget("c");
        assert!(canvases.find("c", client).is_err() && canvases.find("d", client).is_ok());
        assert!(canvases.find("d", Client::Key(0)).is_err());
    }
}
