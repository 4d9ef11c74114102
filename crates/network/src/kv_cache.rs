//! The KV cache: keys and values of the rows of sequences, layer by layer, from one pass to the next.
//!
//! Other rows attend to the cached keys and values of a row that is not computed again. Where nothing that the row sees has
//! changed, these are exact (blocks in causal order: BD3-LM, 2503.09573); elsewhere they are an approximation (Fast-dLLM,
//! 2505.22618). The network does not know which.
//!
//! The rows of all sequences lie in one pool, a buffer for each layer, so that one launch attends for all of them. A
//! [`KvCache`] is a claim to some neighbouring rows of the pool, which are given back when it is dropped.
//!
//! Where every layer has a window, a sequence in causal order reads less and less of its beginning:
//! [`KvCache::free_before`] gives those rows back, and rows that are not computed yet are not claimed. So the memory of a
//! sequence is that of its windows, whatever its length. Where each position sees all others, all rows are computed again
//! at each refresh, and all are claimed.

use crate::NetworkSpec;
use aquatint_compute::{AttentionShape, Device, DeviceError, Part};
use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Rooms are multiples of so many rows, so that a sequence that grows seldom moves.
const ROOM: usize = 32;

/// The keys and values of one sequence in one network, which makes and fills it; to all others it is opaque.
///
/// The sequence may grow from pass to pass.
#[derive(Debug, Default)]
pub struct KvCache(Option<Claim>);

impl KvCache {
    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Rows that there is room for.
    pub fn rows(&self) -> usize {
        self.0.as_ref().map_or(0, |claim| claim.rows)
    }

    /// Bytes that the keys and values of these rows take on the device, in all layers.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |claim| claim.bytes)
    }

    /// Gives back the rows before `row`. A later pass must compute none of them and see none of them: they are not
    /// cached any more.
    pub fn free_before(&mut self, row: usize) {
        if let Some(claim) = &mut self.0
            && let Some(pool) = claim.pool.upgrade()
        {
            (claim.rows, claim.bytes) = pool.free_before(claim.slot, row);
        }
    }

    pub(crate) fn of(claim: Claim) -> Self {
        Self(Some(claim))
    }

    pub(crate) fn claim(&self) -> Option<&Claim> {
        self.0.as_ref()
    }
}

/// A claim to rows of a pool, which are given back with it.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) pool: Weak<dyn Release>,
    pub(crate) slot: usize,
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// Rows that were copied out of a pool.
#[derive(Debug)]
pub(crate) struct CopiedRows {
    /// A buffer for each layer, of the pool's device: rows `first..end`.
    layers: Box<dyn Any + Send + Sync>,
    first: usize,
    /// The first row that was cached; those before it are of no use.
    pub(crate) start: usize,
    /// One past the last row.
    pub(crate) end: usize,
    pub(crate) bytes: usize,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.release(self.slot);
        }
    }
}

/// The side of a pool that claims know, whatever its device.
pub(crate) trait Release: Debug + Send + Sync {
    /// Takes rows back.
    fn release(&self, slot: usize);
    /// Takes the rows of a sequence before `row` back, as far as they are whole rooms; returns the rows that are left and
    /// their bytes.
    fn free_before(&self, slot: usize, row: usize) -> (usize, usize);
    /// The first row of a sequence from which on all rows before `end` are cached; `end` where the last of them is not.
    fn cached_from(&self, slot: usize, end: usize) -> usize;
    /// Copies the cached rows of a sequence that end with `end`; `None` where the last of them is not cached.
    fn copy_out(&self, slot: usize, end: usize) -> Result<Option<CopiedRows>, DeviceError>;
    /// Claims room for a sequence of about `length` rows, and copies its rows into it, which are all there; returns the
    /// slot, the rows that there is room for and their bytes.
    fn copy_in(
        &self,
        copied: &CopiedRows,
        rows: Range<usize>,
        length: usize,
    ) -> Result<(usize, usize, usize), DeviceError>;
}

/// The cached keys and values of all sequences of a network.
#[derive(Debug)]
pub(crate) struct KvPool<D: Device> {
    device: D,
    /// Columns of each layer's buffer: `2 G E`, keys, then values.
    columns: Vec<usize>,
    /// Whether every layer has a window, so that rows are claimed when they are computed and not before.
    is_windowed: bool,
    rows: Mutex<PoolRows<D>>,
}

/// The rows of a pool and who has which.
#[derive(Debug)]
pub(crate) struct PoolRows<D: Device> {
    /// Of each layer, at least `capacity` rows; none while nobody claims any.
    layers: Vec<D::Buffer>,
    capacity: usize,
    slots: Vec<Option<Slot>>,
}

/// The rows of one sequence.
#[derive(Debug)]
struct Slot {
    /// Where they begin in the pool.
    start: usize,
    /// How many rows of the pool are its own.
    room: usize,
    /// The first row of the sequence that the pool has; those before were freed.
    first: usize,
    /// Which rows of the sequence, counted from its beginning, were computed and not freed; as many as were claimed.
    known: Vec<bool>,
}

/// Where the rows of a sequence lie in the pool.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    /// The row of the pool that holds row `first` of the sequence.
    pub(crate) start: usize,
    /// The first row of the sequence that the pool has.
    pub(crate) first: usize,
    /// One past the last.
    pub(crate) end: usize,
}

impl<D: Device> KvPool<D> {
    /// A pool without memory, for the layers of a network.
    pub(crate) fn of(device: &D, spec: &NetworkSpec) -> Arc<Self> {
        let layers: Vec<AttentionShape> = spec.layers.iter().map(|layer| layer.attention.shape()).collect();
        Self::new(device.clone(), &layers, spec.widest_window().is_some())
    }

    /// The same for layers of these shapes.
    fn new(device: D, layers: &[AttentionShape], is_windowed: bool) -> Arc<Self> {
        let columns = layers.iter().map(AttentionShape::key_value_columns).collect();
        let rows = Mutex::new(PoolRows { layers: Vec::new(), capacity: 0, slots: Vec::new() });
        Arc::new(Self { device, columns, is_windowed, rows })
    }

    /// The rows, for one pass. No claim may be dropped meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, PoolRows<D>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that a sequence of so many rows takes.
    pub(crate) fn bytes(&self, length: usize) -> usize {
        length.next_multiple_of(ROOM) * self.row_bytes()
    }

    fn row_bytes(&self) -> usize {
        self.columns.iter().sum::<usize>() * size_of::<D::Element>()
    }

    /// The slot of a sequence that has `length` rows now, of which those before `end` are claimed at least; a new one where
    /// nothing of it is cached. `None` if the cache is of another network or of a longer sequence.
    pub(crate) fn slot(
        self: &Arc<Self>,
        rows: &mut PoolRows<D>,
        cache: &mut KvCache,
        (length, end): (usize, usize),
    ) -> Result<Option<usize>, DeviceError> {
        let end = if self.is_windowed { end } else { length };
        let slot = match &cache.0 {
            Some(claim) if !std::ptr::addr_eq(claim.pool.as_ptr(), Arc::as_ptr(self)) => return Ok(None),
            Some(claim) => {
                let slot = claim.slot;
                if rows.known(slot).len() > length {
                    return Ok(None);
                }
                rows.extend(self, slot, (length, end))?;
                slot
            }
            None => rows.claim(self, (0, end), end)?,
        };
        let room = rows.slots[slot].as_ref().map_or(0, |slot| slot.room);
        match &mut cache.0 {
            Some(claim) => (claim.rows, claim.bytes) = (room, self.bytes(room)),
            empty => {
                let pool: Weak<Self> = Arc::downgrade(self);
                *empty = Some(Claim { pool, slot, rows: room, bytes: self.bytes(room) });
            }
        }
        Ok(Some(slot))
    }
}

impl<D: Device> Release for KvPool<D> {
    fn release(&self, slot: usize) {
        let mut rows = self.lock();
        rows.slots[slot] = None;
        if rows.slots.iter().all(Option::is_none) {
            *rows = PoolRows { layers: Vec::new(), capacity: 0, slots: Vec::new() };
        }
    }

    fn free_before(&self, slot: usize, row: usize) -> (usize, usize) {
        let mut rows = self.lock();
        let Some(Slot { start, room, first, known }) = &mut rows.slots[slot] else { return (0, 0) };
        let row = row.min(known.len());
        known[..row].fill(false);
        let freed = (row - row % ROOM).saturating_sub(*first);
        (*start, *room, *first) = (*start + freed, *room - freed, *first + freed);
        (*room, self.bytes(*room))
    }

    fn cached_from(&self, slot: usize, end: usize) -> usize {
        self.lock().cached_from(slot, end)
    }

    fn copy_out(&self, slot: usize, end: usize) -> Result<Option<CopiedRows>, DeviceError> {
        let rows = self.lock();
        let start = rows.cached_from(slot, end);
        let Some(slot) = rows.slots[slot].as_ref().filter(|_| start < end) else { return Ok(None) };
        let first = slot.first.max(start - start % ROOM);
        let (count, place) = (end - first, slot.start + first - slot.first);
        let mut layers = Vec::with_capacity(self.columns.len());
        for (buffer, columns) in rows.layers.iter().zip(&self.columns) {
            let mut copied = self.device.uninitialised(count * columns)?;
            self.device.copy(Part { buffer, first: place * columns, len: count * columns }, &mut copied, 0);
            layers.push(copied);
        }
        let bytes = count * self.row_bytes();
        Ok(Some(CopiedRows { layers: Box::new(layers), first, start, end, bytes }))
    }

    fn copy_in(
        &self,
        copied: &CopiedRows,
        rows: Range<usize>,
        length: usize,
    ) -> Result<(usize, usize, usize), DeviceError> {
        let mut pool = self.lock();
        let first = copied.first.max(rows.start - rows.start % ROOM);
        let most = if self.is_windowed { rows.end } else { length.max(rows.end) };
        let slot = pool.claim(self, (first, rows.end), most)?;
        if let Some(slot) = &mut pool.slots[slot] {
            slot.known[rows.clone()].fill(true);
        }
        let start = pool.place_of(slot).start;
        if let Some(layers) = copied.layers.downcast_ref::<Vec<D::Buffer>>() {
            for ((buffer, columns), copied_rows) in pool.layers.iter_mut().zip(&self.columns).zip(layers) {
                let (source, len) = ((first - copied.first) * columns, (rows.end - first) * columns);
                self.device.copy(Part { buffer: copied_rows, first: source, len }, buffer, start * columns);
            }
        }
        let room = pool.slots[slot].as_ref().map_or(0, |slot| slot.room);
        Ok((slot, room, self.bytes(room)))
    }
}

impl<D: Device> PoolRows<D> {
    /// Keys and values of a layer, `[capacity, 2 G E]`.
    pub(crate) fn layer(&mut self, layer: usize) -> &mut D::Buffer {
        &mut self.layers[layer]
    }

    /// Where the rows of a sequence lie.
    pub(crate) fn place_of(&self, slot: usize) -> Place {
        let place = |slot: &Slot| Place { start: slot.start, first: slot.first, end: slot.known.len() };
        self.slots[slot].as_ref().map(place).unwrap_or_default()
    }

    /// Which rows of a sequence are cached, as far as they are claimed.
    pub(crate) fn known(&self, slot: usize) -> &[bool] {
        self.slots[slot].as_ref().map_or(&[], |slot| &slot.known)
    }

    /// Says that rows of a sequence were computed, or that what they hold is no longer of use.
    pub(crate) fn set_known(&mut self, slot: usize, rows: &[u32], known: bool) {
        if let Some(slot) = &mut self.slots[slot] {
            rows.iter().for_each(|&row| slot.known[row as usize] = known);
        }
    }

    /// The first row of a sequence from which on all rows before `end` are cached; `end` where the last of them is not.
    fn cached_from(&self, slot: usize, end: usize) -> usize {
        let known = self.known(slot).get(..end).unwrap_or(&[]);
        end - known.iter().rev().take_while(|known| **known).count()
    }

    /// Claims the rows `first..end` of a new sequence, with room as far as `most`; `first` begins a room.
    fn claim(&mut self, pool: &KvPool<D>, (first, end): (usize, usize), most: usize) -> Result<usize, DeviceError> {
        let room = (most - first).next_multiple_of(ROOM);
        let start = self.place(pool, room)?;
        self.erase(pool, start, room)?;
        let slot = Slot { start, room, first, known: vec![false; end] };
        match self.slots.iter().position(Option::is_none) {
            Some(free) => {
                self.slots[free] = Some(slot);
                Ok(free)
            }
            None => {
                self.slots.push(Some(slot));
                Ok(self.slots.len() - 1)
            }
        }
    }

    /// Lets a sequence of `length` rows claim those before `end`, in another place where it has no room.
    fn extend(&mut self, pool: &KvPool<D>, slot: usize, (length, end): (usize, usize)) -> Result<(), DeviceError> {
        let Some(Slot { start, room, first, .. }) = self.slots[slot] else { return Ok(()) };
        let rows = end.saturating_sub(first);
        if rows > room {
            // Half as much again, so that a sequence that grows row by row is moved a few times only; but no more than
            // the sequence has, where it is there as a whole.
            let most = if end < length { length - first } else { usize::MAX };
            let larger = rows.max(room + room / 2).min(most).next_multiple_of(ROOM);
            let place = self.place(pool, larger)?;
            for (buffer, columns) in self.layers.iter_mut().zip(&pool.columns) {
                let mut moved = pool.device.zeros(larger * columns)?;
                pool.device.copy(Part { buffer, first: start * columns, len: room * columns }, &mut moved, 0);
                pool.device.copy(Part { buffer: &moved, first: 0, len: larger * columns }, buffer, place * columns);
            }
            if let Some(slot) = &mut self.slots[slot] {
                (slot.start, slot.room) = (place, larger);
            }
        }
        if let Some(Slot { known, .. }) = &mut self.slots[slot] {
            known.resize(end.max(known.len()), false);
        }
        Ok(())
    }

    /// The first row of the first gap that is large enough; the pool grows where there is none.
    fn place(&mut self, pool: &KvPool<D>, room: usize) -> Result<usize, DeviceError> {
        let mut taken: Vec<(usize, usize)> =
            self.slots.iter().flatten().map(|slot| (slot.start, slot.start + slot.room)).collect();
        taken.sort_unstable();
        let mut start = 0;
        for (first, end) in taken {
            if first - start >= room {
                return Ok(start);
            }
            start = end;
        }
        if start + room > self.capacity {
            self.grow(pool, (start + room).max(self.capacity + self.capacity / 2))?;
        }
        Ok(start)
    }

    /// Makes the pool larger, layer by layer, so that no more than one of them is there twice.
    fn grow(&mut self, pool: &KvPool<D>, capacity: usize) -> Result<(), DeviceError> {
        for (layer, columns) in pool.columns.iter().enumerate() {
            let mut larger = pool.device.uninitialised(capacity * columns)?;
            match self.layers.get_mut(layer) {
                Some(buffer) => {
                    pool.device.copy(Part { buffer, first: 0, len: self.capacity * columns }, &mut larger, 0);
                    *buffer = larger;
                }
                None => self.layers.push(larger),
            }
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Zeros where another sequence may have left what is no number: an unseen row weighs nothing, but 0 · NaN is NaN.
    fn erase(&mut self, pool: &KvPool<D>, start: usize, room: usize) -> Result<(), DeviceError> {
        for (buffer, columns) in self.layers.iter_mut().zip(&pool.columns) {
            let zeros = pool.device.zeros(room * columns)?;
            pool.device.copy(Part { buffer: &zeros, first: 0, len: room * columns }, buffer, start * columns);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_compute::{Cpu, Memory};

    fn pool() -> Arc<KvPool<Cpu<f32>>> {
        let shape = AttentionShape { heads: 14, key_value_heads: 1, head_size: 2 };
        KvPool::new(Cpu::<f32>::scalar(), &[shape, AttentionShape { key_value_heads: 2, ..shape }], false)
    }

    /// Gives a sequence its length and writes a number into all of its rows.
    fn fill(pool: &Arc<KvPool<Cpu<f32>>>, cache: &mut KvCache, length: usize, value: f32) {
        let mut rows = pool.lock();
        let slot = pool.slot(&mut rows, cache, (length, length)).unwrap().unwrap();
        let start = rows.place_of(slot).start;
        for (layer, columns) in pool.columns.iter().enumerate() {
            let values = pool.device.upload(&vec![value; length * columns]).unwrap();
            let part = Part { buffer: &values, first: 0, len: length * columns };
            pool.device.copy(part, rows.layer(layer), start * columns);
        }
    }

    /// The numbers of a sequence in both layers.
    fn read(pool: &Arc<KvPool<Cpu<f32>>>, cache: &mut KvCache, length: usize) -> Vec<f32> {
        let mut rows = pool.lock();
        let slot = pool.slot(&mut rows, cache, (length, length)).unwrap().unwrap();
        let start = rows.place_of(slot).start;
        let layer = |(layer, columns): (usize, &usize)| {
            let all = pool.device.download(rows.layer(layer));
            all[start * columns..(start + length) * columns].to_vec()
        };
        pool.columns.iter().enumerate().map(layer).collect::<Vec<_>>().concat()
    }

    #[test]
    fn only_keys_and_values_are_counted_and_given_back() {
        let pool = pool();
        let (mut one, mut two) = (KvCache::default(), KvCache::default());
        fill(&pool, &mut one, 40, 1.0);
        // Two key-value columns for each of 2 elements, in layers of one and two heads, f32.
        assert_eq!((one.rows(), one.bytes()), (64, 64 * (4 + 8) * 4));
        assert_eq!(pool.bytes(40), one.bytes());
        fill(&pool, &mut two, 3, 2.0);
        assert_eq!(pool.lock().capacity, 96);
        drop(one);
        assert_eq!(pool.lock().capacity, 96);
        // What was given back is taken again, and nothing is left in it.
        let mut three = KvCache::default();
        assert!(read(&pool, &mut three, 33).iter().all(|value| *value == 0.0));
        assert_eq!(pool.lock().capacity, 96);
        drop((two, three));
        assert!(pool.lock().layers.is_empty());
    }

    #[test]
    fn sequences_that_grow_keep_what_they_had() {
        let pool = pool();
        let mut caches: Vec<KvCache> = (0..4).map(|_| KvCache::default()).collect();
        for round in 1..8 {
            for (index, cache) in caches.iter_mut().enumerate() {
                let before = (round - 1) * (9 + index);
                if round > 1 {
                    assert!(read(&pool, cache, before).iter().all(|value| *value == (10 * index + round) as f32));
                }
                fill(&pool, cache, round * (9 + index), (10 * index + round + 1) as f32);
            }
        }
        let mut ends: Vec<usize> = pool.lock().slots.iter().flatten().map(|slot| slot.start).collect();
        ends.sort_unstable();
        ends.dedup();
        assert_eq!(ends.len(), 4);
    }

    /// Rows are written with their own numbers; what is near the end has to be there at each time, and no more.
    #[test]
    fn sequences_that_forget_their_beginnings_stay_level() {
        const LENGTH: usize = 3000;
        let shape = AttentionShape { heads: 2, key_value_heads: 1, head_size: 1 };
        let pool = KvPool::new(Cpu::<f32>::scalar(), &[shape], true);
        // How far each looks back, and how many rows are written at a time.
        let mut sequences = [(40, 8, KvCache::default()), (100, 24, KvCache::default())];
        let mut level = 0;
        for step in 0..100_usize {
            for (back, count, cache) in &mut sequences {
                let (first, end) = (step * *count, (step + 1) * *count);
                cache.free_before(first.saturating_sub(*back));
                let mut rows = pool.lock();
                let slot = pool.slot(&mut rows, cache, (LENGTH, end)).unwrap().unwrap();
                let place = rows.place_of(slot);
                let written: Vec<f32> = (first..end).flat_map(|row| [row as f32; 2]).collect();
                let buffer = pool.device.upload(&written).unwrap();
                let part = Part { buffer: &buffer, first: 0, len: written.len() };
                pool.device.copy(part, rows.layer(0), 2 * (place.start + first - place.first));
                rows.set_known(slot, &(first as u32..end as u32).collect::<Vec<u32>>(), true);
                let near = first.saturating_sub(*back)..end;
                assert!(rows.known(slot)[near.clone()].iter().all(|known| *known), "step {step}");
                assert!(rows.known(slot)[..near.start].iter().all(|known| !known), "step {step}");
                let all = pool.device.download(rows.layer(0));
                let found = &all[2 * (place.start + near.start - place.first)..][..2 * near.len()];
                assert!(found.chunks(2).zip(near).all(|(found, row)| found == [row as f32; 2]), "step {step}");
            }
            if step == 30 {
                level = pool.lock().capacity;
            }
        }
        let capacity = pool.lock().capacity;
        assert!(capacity <= level + level / 2 && capacity < 1200, "{level} rows, and then {capacity}");
        assert!(sequences.iter().all(|(back, count, cache)| cache.rows() <= 2 * (back + count + ROOM)));
    }

    #[test]
    fn rows_outlive_their_sequence_and_begin_any_number_of_others() {
        let pool = pool();
        let mut cache = KvCache::default();
        fill(&pool, &mut cache, 40, 3.0);
        let slot = cache.claim().unwrap().slot;
        // What was not computed is not kept.
        assert!(cache.rows_before(40).unwrap().is_none());
        pool.lock().set_known(slot, &(0..36).collect::<Vec<u32>>(), true);
        assert!(cache.rows_before(41).unwrap().is_none());
        let rows = cache.rows_before(36).unwrap().unwrap();
        assert_eq!((rows.start(), rows.end(), rows.bytes()), (0, 36, 36 * (4 + 8) * 4));
        drop(cache);
        assert!(pool.lock().layers.is_empty());
        let mut others: Vec<KvCache> = (0..3).map(|_| rows.to_cache(0, 33, 50).unwrap().unwrap()).collect();
        for other in &mut others {
            // Room for all of it at once, so that nothing moves.
            assert_eq!(other.rows(), 64);
            assert_eq!((other.cached_from(33), other.cached_from(34)), (0, 34));
            let numbers = read(&pool, other, 50);
            for (layer, columns) in [4, 8].into_iter().enumerate() {
                let rows = &numbers[layer * 4 * 50..][..columns * 50];
                assert!(rows[..columns * 33].iter().all(|value| *value == 3.0));
                assert!(rows[columns * 33..].iter().all(|value| *value == 0.0));
            }
        }
        assert!(rows.to_cache(0, 37, 50).unwrap().is_none());
        drop(others);
        drop(pool);
        assert!(rows.to_cache(0, 33, 50).unwrap().is_none());
    }

    #[test]
    fn freed_rows_are_not_copied_and_nothing_begins_before_them() {
        let shape = AttentionShape { heads: 2, key_value_heads: 1, head_size: 1 };
        let pool = KvPool::new(Cpu::<f32>::scalar(), &[shape], true);
        let mut cache = KvCache::default();
        let slot = pool.slot(&mut pool.lock(), &mut cache, (200, 100)).unwrap().unwrap();
        let place = pool.lock().place_of(slot);
        let written: Vec<f32> = (0..100).flat_map(|row| [row as f32; 2]).collect();
        let buffer = pool.device.upload(&written).unwrap();
        pool.device.copy(Part { buffer: &buffer, first: 0, len: 200 }, pool.lock().layer(0), 2 * place.start);
        pool.lock().set_known(slot, &(0..100).collect::<Vec<u32>>(), true);
        cache.free_before(70);
        let rows = cache.rows_before(96).unwrap().unwrap();
        assert_eq!((rows.start(), rows.end(), rows.bytes()), (70, 96, (96 - 64) * 2 * 4));
        assert!(rows.to_cache(69, 96, 300).unwrap().is_none());
        let other = rows.to_cache(80, 90, 300).unwrap().unwrap();
        let rows = pool.lock();
        let place = rows.place_of(other.claim().unwrap().slot);
        assert_eq!((place.first, place.end, rows.cached_from(other.claim().unwrap().slot, 90)), (64, 90, 80));
        let all = pool.device.download(&rows.layers[0]);
        for row in 80..90 {
            assert_eq!(all[2 * (place.start + row - place.first)], row as f32);
        }
    }

    #[test]
    fn a_claim_to_another_pool_or_of_a_longer_sequence_is_none() {
        let (pool, other) = (pool(), pool());
        let mut cache = KvCache::default();
        fill(&pool, &mut cache, 8, 1.0);
        assert_eq!(pool.slot(&mut pool.lock(), &mut cache, (7, 7)).unwrap(), None);
        assert_eq!(other.slot(&mut other.lock(), &mut cache, (8, 8)).unwrap(), None);
        // A pool that is gone wants nothing back.
        drop(pool);
        drop(cache);
    }
}
