//! Buffers on a GPU, kept for the next that fits: a training step takes much the same ones again and again, and asking
//! the driver each time would cost more than many kernels. Steps are not quite alike, as another number of rows is noisy
//! in each, so that what is kept serves up to half its size, or each number of rows would keep buffers of its own.
//!
//! Of what is kept in one size the lowest address is lent first: a step like the one before is lent the same addresses, in
//! whichever order buffers came back, and its launches can be replayed (see [`super::graphs`]).

use super::arguments::{In, Kernel, Out};
use super::driver::{Address, Driver, DriverError, Launch};
use super::{Plain, THREADS};
use crate::DeviceError;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// The smallest size, in bytes.
const GRAIN: usize = 512;

/// Sizes are rounded up to so many between a power of two and the next.
const CLASSES: usize = 8;

/// A buffer that is kept serves what is larger than this share of it. What takes exactly half is the image of a buffer,
/// which would waste the other half all the time.
const WASTE: usize = 2;

/// The size that a buffer of so many bytes gets: at most an eighth more, from the grain on.
fn rounded(bytes: usize) -> usize {
    let bytes = bytes.max(1);
    bytes.next_multiple_of(GRAIN.max(bytes.next_power_of_two() / 2 / CLASSES))
}

/// Allocation of one GPU: what is lent out returns here.
#[derive(Debug)]
pub(super) struct Pool {
    driver: Arc<dyn Driver>,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// Never an empty set.
    of_size: BTreeMap<usize, BTreeSet<Address>>,
    /// Bytes lent out and kept, and the most there were.
    held: usize,
    peak: usize,
}

impl Free {
    /// The smallest buffer that is kept and holds `size` bytes, if it is not much too large.
    fn lend(&mut self, size: usize) -> Option<(usize, Address)> {
        let (&size, _) = self.of_size.range(size..WASTE * size).next()?;
        self.remove(size)
    }

    /// The largest buffer that is kept and does not hold `size` bytes.
    fn largest_below(&mut self, size: usize) -> Option<(usize, Address)> {
        let (&size, _) = self.of_size.range(..size).next_back()?;
        self.remove(size)
    }

    fn remove(&mut self, size: usize) -> Option<(usize, Address)> {
        let places = self.of_size.get_mut(&size)?;
        let at = places.pop_first()?;
        if places.is_empty() {
            self.of_size.remove(&size);
        }
        Some((size, at))
    }
}

impl Pool {
    pub(super) fn new(driver: Arc<dyn Driver>) -> Arc<Self> {
        Arc::new(Self { driver, free: Mutex::default() })
    }

    /// Allocation for so many bytes, of any value. When the GPU has none left, all that is kept unused is given back first.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Result<Allocation, DriverError> {
        let size = rounded(bytes);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((size, at)) = free.lend(size) {
            self.driver.forget(at, size);
            return Ok(Allocation { at, size, pool: Arc::clone(self) });
        }
        // One that is too small makes room, so that there are no more buffers than are in use at one time.
        if let Some((size, at)) = free.largest_below(size) {
            self.driver.free(at);
            free.held -= size;
        }
        let at = match self.driver.allocate(size) {
            Err(DriverError::OutOfMemory { .. }) => {
                for (size, places) in std::mem::take(&mut free.of_size) {
                    for at in places {
                        self.driver.free(at);
                        free.held -= size;
                    }
                }
                self.driver.allocate(size)?
            }
            at => at?,
        };
        free.held += size;
        free.peak = free.peak.max(free.held);
        Ok(Allocation { at, size, pool: Arc::clone(self) })
    }

    /// The same.
    ///
    /// # Panics
    /// When there is no memory left.
    pub(super) fn must_take(self: &Arc<Self>, bytes: usize) -> Allocation {
        self.take(bytes).unwrap_or_else(|error| panic!("{}", self.failure(error)))
    }

    /// One thread for each of `count` elements, whose number is one of the kernel's arguments.
    ///
    /// # Panics
    /// When the driver fails.
    pub(super) fn launch_each<K: Kernel>(&self, count: usize, kernel: impl FnOnce(i64) -> K) {
        if count == 0 {
            return;
        }
        let launch = Launch { blocks: (count.div_ceil(THREADS as usize) as u32, 1), threads: THREADS, shared: 0 };
        self.must(self.driver.launch(K::NAMES[0], launch, &kernel(count as i64).arguments()));
    }

    /// # Panics
    /// When the driver fails: a GPU that failed once answers nothing more.
    pub(super) fn must(&self, done: Result<(), DriverError>) {
        done.unwrap_or_else(|error| panic!("{}", self.failure(error)));
    }

    /// The driver's failure as the device's.
    pub(super) fn failure(&self, error: DriverError) -> DeviceError {
        let facts = self.driver.facts();
        let device = facts.device();
        match error {
            DriverError::OutOfMemory { requested, free } => {
                DeviceError::GpuMemory { device, requested, free, memory: facts.memory }
            }
            DriverError::Failed { call, reason } => DeviceError::Gpu { device, call, reason },
        }
    }

    /// Whose memory it is.
    pub(super) fn driver(&self) -> &dyn Driver {
        self.driver.as_ref()
    }

    /// The most bytes that were taken from the driver at one time.
    pub(super) fn peak(&self) -> usize {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).peak
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let free = self.free.get_mut().unwrap_or_else(PoisonError::into_inner);
        for at in std::mem::take(&mut free.of_size).into_values().flatten() {
            self.driver.free(at);
        }
    }
}

/// Some memory of a GPU, which returns to its pool. Its next user runs after its last one: all work is in one
/// order.
#[derive(Debug)]
pub(super) struct Allocation {
    at: Address,
    size: usize,
    pool: Arc<Pool>,
}

impl Allocation {
    pub(super) fn at(&self) -> Address {
        self.at
    }
    /// Where it returns.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.of_size.entry(self.size).or_default().insert(self.at);
    }
}

/// A flat array of one type, for kernels: token ids, integers of quantised matrices, sums in f64. The buffers of the
/// interface are arrays of real numbers, see [`super::GpuBuffer`].
#[derive(Debug)]
pub(super) struct Array<T> {
    allocation: Allocation,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Plain> Array<T> {
    pub(super) fn new(allocation: Allocation, len: usize) -> Self {
        Self { allocation, len, of: PhantomData }
    }
    pub(super) fn at(&self) -> Address {
        self.allocation.at()
    }
    /// Its memory, and its number of elements.
    pub(super) fn into_parts(self) -> (Allocation, usize) {
        (self.allocation, self.len)
    }
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.len
    }
    /// Where it lies, to be read.
    pub(super) fn input(&self) -> In<T> {
        In::new(self.at())
    }
    /// Where it lies, to be written.
    pub(super) fn output(&self) -> Out<T> {
        Out::new(self.at())
    }
}

#[cfg(test)]
mod tests {
    use super::super::emulator::Emulator;
    use super::*;
    use crate::cpu::Numbers;

    /// Steps of training ask for another number of rows each time.
    #[test]
    fn a_thousand_steps_of_unlike_sizes_hold_little_more_than_one_needs() {
        const WIDTH: usize = 1024;
        let Some(driver) = Emulator::new(1 << 30) else { return };
        let pool = Pool::new(driver);
        let mut numbers = Numbers(5);
        let (mut needed, mut after_hundred) = (0, 0);
        for step in 0..1000 {
            let rows = 1 + numbers.below(1000) as usize;
            let sizes = [300 * WIDTH, 4 * rows * WIDTH, 4 * rows * WIDTH, 12 * rows * WIDTH, 4 * rows];
            needed = needed.max(sizes.iter().sum());
            let _taken: Vec<Allocation> = sizes.iter().map(|&bytes| pool.take(bytes).unwrap()).collect();
            if step == 100 {
                after_hundred = pool.peak();
            }
        }
        assert!(pool.peak() <= 2 * needed, "{} bytes are held for {needed}", pool.peak());
        assert!(pool.peak() <= after_hundred + after_hundred / 4, "{after_hundred} and then {}", pool.peak());
    }
}
