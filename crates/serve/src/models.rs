//! The models that are served, by name: loaded when they are first wanted, and the least recently used one given up when
//! the memory for models is full.

mod loaded;
mod medium;

pub(crate) use loaded::{Loaded, Trust};
pub(crate) use medium::Medium;

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

/// The models of one path, which are loaded together: the same weights alone and with adapters.
#[derive(Debug)]
struct Slot {
    sources: Vec<ModelSource>,
    /// One for each source.
    loaded: Mutex<Option<Vec<Arc<Loaded>>>>,
    /// When it was used last, as a count of uses of all.
    used: AtomicU64,
}

/// All models of a server.
pub(crate) struct Models(Arc<Shared>);

/// What is known of them, also to a load that nobody waits for any more.
struct Shared {
    slots: Vec<Slot>,
    trust: Trust,
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
        trust: Trust,
        runtime: Runtime,
        budget: u64,
        scheduler: Scheduler,
        events: Events,
    ) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        for source in sources {
            let is_beside = |slot: &&mut Slot| slot.sources[0].shares_weights_with(&source);
            match slots.iter_mut().find(is_beside) {
                Some(slot) => slot.sources.push(source),
                None => slots.push(Slot { sources: vec![source], loaded: Mutex::default(), used: AtomicU64::new(0) }),
            }
        }
        let (uses, loading) = (AtomicU64::new(0), Mutex::default());
        Self(Arc::new(Shared { slots, trust, runtime, budget, scheduler, uses, loading, events }))
    }

    /// The names, in the order in which they were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }

    /// The device in words.
    pub(crate) fn device(&self) -> String {
        self.0.runtime.describe_device()
    }

    /// The model of a name, loaded; the first one where no name is given.
    ///
    /// # Errors
    /// When there is no such model or it cannot be loaded.
    pub(crate) async fn get(&self, name: Option<&str>) -> Result<Arc<Loaded>, ModelError> {
        let ((number, slot), place) = self.0.slot(name)?;
        slot.used.store(self.0.uses.fetch_add(1, SeqCst) + 1, SeqCst);
        let loaded = slot.loaded.lock().await.as_ref().map(|loaded| loaded[place].clone());
        if let Some(loaded) = loaded {
            // What was kept beyond the budget while it worked may be idle now.
            if let Ok(_one) = self.0.loading.try_lock() {
                self.0.make_room(0);
            }
            return Ok(loaded);
        }
        // A client that goes away does not end it: a model that takes longer to load than its clients wait would be
        // loaded again and again, and several at once.
        let shared = self.0.clone();
        let loading = tokio::spawn(async move { shared.load((number, place)).await });
        loading.await.unwrap_or_else(|error| Err(slot.broken(place, error.to_string())))
    }

    /// The model of a name where it is loaded, without loading it or waiting for those who do.
    ///
    /// # Errors
    /// When there is no such model.
    pub(crate) fn peek(&self, name: &str) -> Result<Option<Arc<Loaded>>, ModelError> {
        let ((_, slot), place) = self.0.slot(Some(name))?;
        let loaded = slot.loaded.try_lock().ok();
        Ok(loaded.and_then(|loaded| loaded.as_ref().map(|loaded| loaded[place].clone())))
    }

    /// Bytes that the weights of the loaded models take, about.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.0.weight_bytes()
    }

    /// The models that are loaded now.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.0.loaded()
    }
}

impl Slot {
    fn broken(&self, place: usize, reason: String) -> ModelError {
        ModelError::Broken { name: self.sources[place].name.clone(), reason }
    }
}

impl Shared {
    /// Loads the models of a slot, if nobody did meanwhile; returns the one at a place in it.
    async fn load(&self, (number, place): (usize, usize)) -> Result<Arc<Loaded>, ModelError> {
        let slot = &self.slots[number];
        let mut there = slot.loaded.lock().await;
        if let Some(loaded) = &*there {
            return Ok(loaded[place].clone());
        }
        let _one = self.loading.lock().await;
        let begun = Instant::now();
        let (sources, runtime, trust) = (slot.sources.clone(), self.runtime.clone(), self.trust.clone());
        let broken = |reason: String| slot.broken(place, reason);
        let described = tokio::task::spawn_blocking({
            let (source, runtime) = (sources[0].clone(), runtime.clone());
            move || loaded::open(&source, &runtime)
        });
        let (checkpoint, bytes) =
            described.await.map_err(|e| broken(e.to_string()))?.map_err(|e| broken(described_error(&e)))?;
        self.make_room(bytes);
        let load = move || Loaded::all(&sources, checkpoint, bytes, &trust, &runtime);
        let loading = tokio::task::spawn_blocking(load);
        let loaded = loading.await.map_err(|e| broken(e.to_string()))?.map_err(|e| broken(described_error(&e)))?;
        let all: Vec<Arc<Loaded>> = loaded.into_iter().map(Arc::new).collect();
        let loaded = all[place].clone();
        let checkpoint = loaded.checkpoint();
        (self.events)(ServeEvent::Loaded {
            model: loaded.name.clone(),
            seconds: begun.elapsed().as_secs_f64(),
            unknown_keys: checkpoint.unknown_keys.clone(),
            has_experts: checkpoint.spec.has_experts(),
        });
        *there = Some(all);
        Ok(loaded)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().flat_map(|slot| &slot.sources).map(|source| source.name.as_str())
    }

    fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.slots.iter().filter_map(|slot| slot.loaded.try_lock().ok()?.clone()).flatten().collect()
    }

    /// The slot of a name with its number, and the place of the name in it; the first one where no name is given.
    fn slot(&self, name: Option<&str>) -> Result<((usize, &Slot), usize), ModelError> {
        let answers = |source: &ModelSource| name.is_none_or(|name| source.answers_to(name));
        let mut slots = self.slots.iter().enumerate();
        let found = slots.find_map(|slot| Some((slot, slot.1.sources.iter().position(answers)?)));
        found.ok_or_else(|| ModelError::Unknown {
            name: name.unwrap_or_default().to_owned(),
            served: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    fn weight_bytes(&self) -> u64 {
        let of_slot = |slot: &Slot| Some(slot.loaded.try_lock().ok()?.as_ref()?.first()?.bytes);
        self.slots.iter().filter_map(of_slot).sum()
    }

    /// Gives up idle models, the least recently used first, until so many bytes fit. A model that works stays: memory
    /// beyond the budget is better than a request that is lost. It is given up once it is idle and another one is used.
    fn make_room(&self, bytes: u64) {
        loop {
            if self.weight_bytes() + bytes <= self.budget {
                return;
            }
            let mut slots: Vec<&Slot> = self.slots.iter().collect();
            slots.sort_by_key(|slot| slot.used.load(SeqCst));
            let given_up = slots.into_iter().find_map(|slot| {
                let mut place = slot.loaded.try_lock().ok()?;
                // Whoever works with it, or waits for it, holds it too.
                place.take_if(|loaded| loaded.iter().all(|loaded| Arc::strong_count(loaded) == 1))
            });
            let Some(all) = given_up else { return };
            for loaded in all {
                self.scheduler.unload(loaded.id);
                (self.events)(ServeEvent::Unloaded { model: loaded.name.clone() });
            }
        }
    }
}

/// A library's message with its hint.
fn described_error(error: &aquatint::Error) -> String {
    crate::error::described(error)
}
