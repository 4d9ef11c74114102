//! The models that are served, by name: loaded when they are first wanted, and the least recently used one given up when
//! the memory for models is full.

mod loaded;

pub(crate) use loaded::Loaded;

use crate::event::ServeEvent;
use crate::scheduler::Scheduler;
use crate::{Events, ModelSource};
use aquatint::runtime::Runtime;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Instant;
use tokio::sync::Mutex;

/// Why a model cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ModelError {
    /// There is none of that name.
    #[error("`model` is `{name}`; this server has: {served}")]
    Unknown {
        /// The name.
        name: String,
        /// Those that are served.
        served: String,
    },
    /// Its files cannot be used.
    #[error("the model `{name}` cannot be loaded: {reason}")]
    Broken {
        /// The name.
        name: String,
        /// Why not.
        reason: String,
    },
}

/// A model that may be loaded.
#[derive(Debug)]
struct Slot {
    source: ModelSource,
    loaded: Mutex<Option<Arc<Loaded>>>,
    /// When it was used last, as a count of uses of all.
    used: AtomicU64,
}

/// All models of a server.
pub(crate) struct Models {
    slots: Vec<Slot>,
    runtime: Runtime,
    /// Bytes that the weights of all loaded models may take together.
    budget: u64,
    scheduler: Scheduler,
    uses: AtomicU64,
    /// One is loaded at a time, so that two do not both find room for one.
    loading: Mutex<()>,
    events: Events,
}

impl Models {
    pub(crate) fn new(
        sources: Vec<ModelSource>,
        runtime: Runtime,
        budget: u64,
        scheduler: Scheduler,
        events: Events,
    ) -> Self {
        let slot = |source| Slot { source, loaded: Mutex::default(), used: AtomicU64::new(0) };
        let slots = sources.into_iter().map(slot).collect();
        Self { slots, runtime, budget, scheduler, uses: AtomicU64::new(0), loading: Mutex::default(), events }
    }

    /// The names, in the order in which they were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|slot| slot.source.name.as_str())
    }

    /// The device in words.
    pub(crate) fn device(&self) -> String {
        self.runtime.describe_device()
    }

    /// The model of a name, loaded; the first one where no name is given.
    ///
    /// # Errors
    /// When there is no such model or it cannot be loaded.
    pub(crate) async fn get(&self, name: Option<&str>) -> Result<Arc<Loaded>, ModelError> {
        let slot = self.slot(name)?;
        slot.used.store(self.uses.fetch_add(1, SeqCst) + 1, SeqCst);
        let mut place = slot.loaded.lock().await;
        if let Some(loaded) = &*place {
            return Ok(loaded.clone());
        }
        let _one = self.loading.lock().await;
        let begun = Instant::now();
        let (source, runtime) = (slot.source.clone(), self.runtime.clone());
        let broken = |reason: String| ModelError::Broken { name: slot.source.name.clone(), reason };
        let described = tokio::task::spawn_blocking({
            let (source, runtime) = (source.clone(), runtime.clone());
            move || loaded::open(&source, &runtime)
        });
        let (checkpoint, bytes) =
            described.await.map_err(|e| broken(e.to_string()))?.map_err(|e| broken(described_error(&e)))?;
        self.make_room(bytes).await;
        let loading = tokio::task::spawn_blocking(move || Loaded::new(&source, checkpoint, bytes, &runtime));
        let loaded = loading.await.map_err(|e| broken(e.to_string()))?.map_err(|e| broken(described_error(&e)))?;
        let loaded = Arc::new(loaded);
        (self.events)(ServeEvent::Loaded { model: loaded.name.clone(), seconds: begun.elapsed().as_secs_f64() });
        *place = Some(loaded.clone());
        Ok(loaded)
    }

    /// The model of a name where it is loaded, without loading it or waiting for those who do.
    ///
    /// # Errors
    /// When there is no such model.
    pub(crate) fn peek(&self, name: &str) -> Result<Option<Arc<Loaded>>, ModelError> {
        Ok(self.slot(Some(name))?.loaded.try_lock().ok().and_then(|loaded| loaded.clone()))
    }

    /// The models that are loaded now.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.slots.iter().filter_map(|slot| slot.loaded.try_lock().ok()?.clone()).collect()
    }

    fn slot(&self, name: Option<&str>) -> Result<&Slot, ModelError> {
        let found = match name {
            None => self.slots.first(),
            Some(name) => self.slots.iter().find(|slot| slot.source.answers_to(name)),
        };
        found.ok_or_else(|| ModelError::Unknown {
            name: name.unwrap_or_default().to_owned(),
            served: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    /// Gives up idle models, the least recently used first, until so many bytes fit. A model that works stays: memory
    /// beyond the budget is better than a request that is lost.
    async fn make_room(&self, bytes: u64) {
        loop {
            let held: u64 = self.loaded().iter().map(|loaded| loaded.bytes).sum();
            if held + bytes <= self.budget {
                return;
            }
            let mut slots: Vec<&Slot> = self.slots.iter().collect();
            slots.sort_by_key(|slot| slot.used.load(SeqCst));
            let given_up = slots.into_iter().find_map(|slot| {
                let mut place = slot.loaded.try_lock().ok()?;
                // Whoever works with it, or waits for it, holds it too.
                place.take_if(|loaded| Arc::strong_count(loaded) == 1)
            });
            let Some(loaded) = given_up else { return };
            self.scheduler.unload(loaded.id);
            (self.events)(ServeEvent::Unloaded { model: loaded.name.clone() });
        }
    }
}

/// A library's message with its hint.
fn described_error(error: &aquatint::Error) -> String {
    crate::error::described(error)
}
