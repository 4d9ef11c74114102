//! Buffers on a GPU, kept for the next of their size: a training step takes the same ones again and again, and asking
//! the driver each time would cost more than many kernels.

use super::driver::{Address, Driver, DriverError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Sizes are rounded up to a multiple of this, so that nearly equal ones share their memory.
const GRAIN: usize = 512;

/// Memory of one GPU: what is lent out returns here.
#[derive(Debug)]
pub(super) struct Pool {
    driver: Arc<dyn Driver>,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    of_size: HashMap<usize, Vec<Address>>,
    /// Bytes lent out and kept, and the most there were.
    held: usize,
    peak: usize,
}

impl Pool {
    pub(super) fn new(driver: Arc<dyn Driver>) -> Arc<Self> {
        Arc::new(Self { driver, free: Mutex::default() })
    }

    /// Memory for so many bytes, of any value. When the GPU has none left, all that is kept unused is given back first.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Result<Memory, DriverError> {
        let size = bytes.max(1).next_multiple_of(GRAIN);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = free.of_size.get_mut(&size).and_then(Vec::pop) {
            return Ok(Memory { at, size, pool: Arc::clone(self) });
        }
        let at = match self.driver.allocate(size) {
            Err(DriverError::OutOfMemory { .. }) => {
                for (size, places) in free.of_size.drain().collect::<Vec<_>>() {
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
        Ok(Memory { at, size, pool: Arc::clone(self) })
    }

    /// The most bytes that were taken from the driver at one time.
    pub(super) fn peak(&self) -> usize {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).peak
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let free = self.free.get_mut().unwrap_or_else(PoisonError::into_inner);
        for at in free.of_size.drain().flat_map(|(_, places)| places) {
            self.driver.free(at);
        }
    }
}

/// Some memory of a GPU, which returns to its pool. Whoever takes it next runs after whoever used it before: all work is
/// in one order.
#[derive(Debug)]
pub(super) struct Memory {
    at: Address,
    size: usize,
    pool: Arc<Pool>,
}

impl Memory {
    pub(super) fn at(&self) -> Address {
        self.at
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.of_size.entry(self.size).or_default().push(self.at);
    }
}

/// A flat array of f32 on a GPU.
#[derive(Debug)]
pub struct GpuBuffer {
    pub(super) memory: Memory,
    pub(super) len: usize,
}

impl GpuBuffer {
    pub(super) fn at(&self) -> Address {
        self.memory.at()
    }
}
