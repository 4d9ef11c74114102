//! Buffers of the CPU device, and the arena that recycles them.
//!
//! A training step asks for the same few sizes again and again. Memory fresh from the system is mapped page by page at
//! its first touch, which costs more than many an operation on it; so a buffer that is dropped goes back to its arena,
//! and the arena hands it out again. What it keeps is bounded by what was once alive at the same time.

use crate::{DType, DeviceError, Element};
use half::bf16;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffers begin at a multiple of this many bytes, the width of a cache line and of the widest vector.
const ALIGNMENT: usize = 64;

/// Memory that outgrows the largest amount alive at once by more than this share is given back to the system.
const SLACK_DIVISOR: usize = 4;

/// A flat array in the memory of the host.
pub struct Buffer<E: Element> {
    storage: Vec<E>,
    start: usize,
    /// In elements of `dtype`.
    len: usize,
    dtype: DType,
    arena: Arc<Arena<E>>,
}

impl<E: Element> Buffer<E> {
    /// The elements.
    ///
    /// # Panics
    /// On a buffer of other numbers than the element type.
    pub fn as_slice(&self) -> &[E] {
        self.expect(E::DTYPE);
        &self.storage[self.start..self.start + self.len]
    }

    /// The elements, to be changed.
    ///
    /// # Panics
    /// On a buffer of other numbers than the element type.
    pub fn as_mut_slice(&mut self) -> &mut [E] {
        self.expect(E::DTYPE);
        &mut self.storage[self.start..self.start + self.len]
    }

    /// The elements of a buffer of bf16.
    ///
    /// # Panics
    /// On a buffer of other numbers.
    pub fn as_bf16(&self) -> &[bf16] {
        self.expect(DType::Bf16);
        let words = &self.storage[self.start..self.start + words::<E>(self.dtype, self.len)];
        // SAFETY: the words hold at least `len` halves, which may have any bits and need less alignment.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), self.len) }
    }

    /// The elements of a buffer of bf16, to be changed.
    ///
    /// # Panics
    /// On a buffer of other numbers.
    pub fn as_mut_bf16(&mut self) -> &mut [bf16] {
        self.expect(DType::Bf16);
        let words = &mut self.storage[self.start..self.start + words::<E>(self.dtype, self.len)];
        // SAFETY: as above, and any bits are an element.
        unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), self.len) }
    }

    /// The elements, widened where they are not the element type.
    pub(super) fn to_elements(&self) -> Cow<'_, [E]> {
        match self.dtype {
            DType::Bf16 => self.as_bf16().iter().map(|value| E::from_f64(value.to_f64())).collect(),
            _ => Cow::Borrowed(self.as_slice()),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The numbers that it holds.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    fn expect(&self, dtype: DType) {
        assert!(self.dtype == dtype, "a buffer of {:?} is read as {dtype:?}", self.dtype);
    }
}

/// Elements of the arena that hold so many numbers.
fn words<E>(dtype: DType, len: usize) -> usize {
    (len * dtype.bytes()).div_ceil(size_of::<E>())
}

impl<E: Element> fmt::Debug for Buffer<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("dtype", &self.dtype).finish_non_exhaustive()
    }
}

impl<E: Element> Drop for Buffer<E> {
    fn drop(&mut self) {
        self.arena.put(std::mem::take(&mut self.storage));
    }
}

/// Free memory by capacity. Counts are in elements.
#[derive(Debug)]
struct Shelves<E> {
    free: BTreeMap<usize, Vec<Vec<E>>>,
    retained: usize,
    alive: usize,
    peak: usize,
}

/// Recycles the memory of dropped buffers.
#[derive(Debug)]
pub(super) struct Arena<E> {
    shelves: Mutex<Shelves<E>>,
}

impl<E: Element> Arena<E> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { shelves: Mutex::new(Shelves { free: BTreeMap::new(), retained: 0, alive: 0, peak: 0 }) })
    }

    /// A buffer whose elements have any value, aligned to a cache line.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Result<Buffer<E>, DeviceError> {
        self.take_as(E::DTYPE, len)
    }

    /// The same of other numbers.
    pub(super) fn take_as(self: &Arc<Self>, dtype: DType, len: usize) -> Result<Buffer<E>, DeviceError> {
        let words = words::<E>(dtype, len);
        let capacity = size_class(words + ALIGNMENT / size_of::<E>());
        let storage = match self.reuse(capacity) {
            Some(storage) => storage,
            None => fresh(capacity)?,
        };
        let start = storage.as_ptr().align_offset(ALIGNMENT).min(storage.len() - words);
        Ok(Buffer { storage, start, len, dtype, arena: Arc::clone(self) })
    }

    /// Memory of this capacity that lies free, or of little more where there is none: batches whose sizes change from
    /// step to step would else give memory back and take it again all the time. Counts it as alive either way.
    fn reuse(&self, capacity: usize) -> Option<Vec<E>> {
        let mut shelves = self.lock();
        let most = capacity + capacity / SLACK_DIVISOR;
        let found = shelves.free.range_mut(capacity..=most).find_map(|(_, shelf)| shelf.pop());
        let taken = found.as_ref().map_or(capacity, Vec::len);
        shelves.alive += taken;
        shelves.peak = shelves.peak.max(shelves.alive);
        shelves.retained -= found.as_ref().map_or(0, Vec::len);
        found
    }

    /// The most elements alive at one time.
    pub(super) fn peak(&self) -> usize {
        self.lock().peak
    }

    fn put(&self, storage: Vec<E>) {
        let capacity = storage.len();
        let mut shelves = self.lock();
        shelves.alive -= capacity;
        shelves.retained += capacity;
        shelves.free.entry(capacity).or_default().push(storage);
        let limit = shelves.peak + shelves.peak / SLACK_DIVISOR;
        let mut surplus = Vec::new();
        while shelves.alive + shelves.retained > limit {
            let Some(mut shelf) = shelves.free.last_entry() else { break };
            let capacity = *shelf.key();
            surplus.extend(shelf.get_mut().pop());
            if shelf.get().is_empty() {
                shelf.remove();
            }
            shelves.retained -= capacity;
        }
        // The system's own bookkeeping of `surplus` needs no lock of ours.
        drop(shelves);
    }

    fn lock(&self) -> MutexGuard<'_, Shelves<E>> {
        // A panic under the lock leaves the counts whole: no step in between can fail.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rounds up to one of eight sizes per octave, so that slightly ragged batches share memory.
fn size_class(len: usize) -> usize {
    let step = (len.next_power_of_two() / 16).max(ALIGNMENT);
    len.next_multiple_of(step)
}

fn fresh<E: Element>(capacity: usize) -> Result<Vec<E>, DeviceError> {
    let mut storage = Vec::new();
    storage.try_reserve_exact(capacity).map_err(|_| DeviceError::OutOfMemory {
        device: "cpu".to_owned(),
        bytes: capacity.saturating_mul(size_of::<E>()),
    })?;
    storage.resize(capacity, E::default());
    Ok(storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_handed_out_again() {
        let arena = Arena::<f32>::new();
        let first = arena.take(1000).unwrap();
        let address = first.as_slice().as_ptr();
        assert_eq!(address as usize % ALIGNMENT, 0);
        drop(first);
        assert_eq!(arena.take(1001).unwrap().as_slice().as_ptr(), address);
    }

    #[test]
    fn sizes_that_change_a_little_share_memory() {
        let arena = Arena::<f32>::new();
        let first = arena.take(10_000).unwrap();
        let address = first.as_slice().as_ptr();
        drop(first);
        assert_eq!(arena.take(8_500).unwrap().as_slice().as_ptr(), address);
        // Not much less than a buffer has.
        assert_ne!(arena.take(5_000).unwrap().as_slice().as_ptr(), address);
    }

    #[test]
    fn retained_memory_is_bounded_by_what_was_alive_at_once() {
        let arena = Arena::<f64>::new();
        for len in (1..200).map(|i| i * 997) {
            drop(arena.take(len).unwrap());
            let shelves = arena.lock();
            assert_eq!(shelves.alive, 0);
            assert!(shelves.retained <= shelves.peak + shelves.peak / SLACK_DIVISOR);
            assert_eq!(shelves.retained, shelves.free.iter().map(|(size, shelf)| size * shelf.len()).sum::<usize>());
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "an interpreter ends where a system refuses")]
    fn an_impossible_size_is_an_error() {
        let error = Arena::<f32>::new().take(1 << 60).unwrap_err();
        assert!(matches!(error, DeviceError::OutOfMemory { .. }), "{error}");
    }

    #[test]
    fn size_classes_hold_what_they_are_for_and_little_more() {
        for len in 1..5000 {
            let class = size_class(len);
            assert!(class >= len && class <= len + len / 8 + ALIGNMENT, "{len} -> {class}");
        }
    }
}
