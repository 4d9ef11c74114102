//! Matrices that are prepared when a pass reads them, of which as many stay as a budget of bytes allows.
//!
//! What stays is what is read most: a matrix takes the place of another one only if it was read more often, and counts
//! fade (Einziger, Friedman and Manes, "TinyLFU", 1512.00727). Layers are read one after another and over again, where the
//! least recently used matrix would always be the one that is needed next.

use crate::{DeviceError, WeightId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

/// The share of the budget for matrices that one operation reads and that do not stay.
const PASSING: usize = 8;
/// Reads of each matrix, on average, after which counts are halved.
const FADING: usize = 16;

/// Prepares the matrix of a weight from where it is stored.
pub type PrepareMatrix<P> = dyn Fn(WeightId) -> Result<P, DeviceError> + Send + Sync;

/// Prepared matrices within a budget.
pub(crate) struct OnDemand<P> {
    /// Bytes of all matrices that are prepared at once, but for one group's that is larger by itself.
    budget: usize,
    prepare: Box<PrepareMatrix<P>>,
    held: Mutex<Held<P>>,
}

/// What is prepared at the moment.
struct Held<P> {
    matrices: HashMap<WeightId, (Arc<P>, usize)>,
    bytes: usize,
    /// How often each was read of late.
    counts: HashMap<WeightId, u32>,
    reads: usize,
}

/// A prepared matrix that is read now.
#[derive(Debug)]
pub(crate) enum Lent<'a, P> {
    /// One that is kept for good.
    Resident(&'a P),
    /// One of those that are prepared on demand.
    Shared(Arc<P>),
}

impl<P> Deref for Lent<'_, P> {
    type Target = P;

    fn deref(&self) -> &P {
        match self {
            Self::Resident(matrix) => matrix,
            Self::Shared(matrix) => matrix,
        }
    }
}

impl<P> fmt::Debug for OnDemand<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").field("budget", &self.budget).field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl<P> OnDemand<P> {
    pub(crate) fn new(budget: usize, prepare: Box<PrepareMatrix<P>>) -> Self {
        let held = Held { matrices: HashMap::new(), bytes: 0, counts: HashMap::new(), reads: 0 };
        Self { budget, prepare, held: Mutex::new(held) }
    }

    /// Bytes of the matrices that stay.
    pub(crate) fn bytes(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// Bytes that matrices may take that do not stay.
    pub(crate) fn passing(&self) -> usize {
        self.budget / PASSING
    }

    /// A matrix, and the bytes that it takes beside those that stay.
    pub(crate) fn lend(&self, id: WeightId, bytes: impl Fn(&P) -> usize) -> Result<(Arc<P>, usize), DeviceError> {
        let found = self.held.lock().unwrap_or_else(PoisonError::into_inner).read(id);
        if let Some(matrix) = found {
            return Ok((matrix, 0));
        }
        // Others may read meanwhile; what two of them prepare at once is the same.
        let matrix = Arc::new((self.prepare)(id)?);
        let size = bytes(&matrix);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let stays = held.admit((id, &matrix, size), self.budget - self.passing());
        Ok((matrix, if stays { 0 } else { size }))
    }
}

impl<P> Held<P> {
    /// Counts a read of a matrix, and returns it if it is there.
    fn read(&mut self, id: WeightId) -> Option<Arc<P>> {
        *self.counts.entry(id).or_default() += 1;
        self.reads += 1;
        if self.reads >= FADING * self.counts.len() {
            self.reads = 0;
            self.counts.values_mut().for_each(|count| *count /= 2);
        }
        self.matrices.get(&id).map(|(matrix, _)| Arc::clone(matrix))
    }

    /// Whether a matrix stays, for which those that were read less often may have to go.
    fn admit(&mut self, (id, matrix, size): (WeightId, &Arc<P>, usize), room: usize) -> bool {
        let count = |id: &WeightId| self.counts.get(id).copied().unwrap_or_default();
        let (mut bytes, mut leaving) = (self.bytes, Vec::new());
        if bytes + size > room {
            let mut rarer: Vec<&WeightId> = self.matrices.keys().filter(|other| count(other) < count(&id)).collect();
            rarer.sort_by_key(|other| (count(other), **other));
            for other in rarer {
                bytes -= self.matrices[other].1;
                leaving.push(*other);
                if bytes + size <= room {
                    break;
                }
            }
        }
        if bytes + size > room || self.matrices.contains_key(&id) {
            return false;
        }
        for other in leaving {
            self.matrices.remove(&other);
        }
        self.matrices.insert(id, (Arc::clone(matrix), size));
        self.bytes = bytes + size;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cpu, Memory, Parameters};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Ten weights of one row each.
    fn weights() -> Vec<WeightId> {
        let mut parameters = Parameters::new(Cpu::<f32>::scalar());
        let part = parameters.add(1, 1, Cpu::<f32>::scalar().upload(&[0.0]).unwrap());
        (0..10).map(|_| parameters.weight(&[part])).collect()
    }

    #[test]
    fn reading_over_and_over_finds_what_fits() {
        let (ids, prepared) = (weights(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&prepared);
        let prepare = move |id| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(id)
        };
        // Seven of eight shares stay, one is for what passes.
        let cache = OnDemand::new(8 * 100, Box::new(prepare));
        for _ in 0..5 {
            for id in &ids {
                assert_eq!(*cache.lend(*id, |_| 100).unwrap().0, *id);
                assert!(cache.bytes() <= 700);
            }
        }
        assert_eq!(prepared.load(Ordering::Relaxed), 7 + 5 * 3, "seven stay and three are prepared each time");
    }

    #[test]
    fn what_is_read_more_often_takes_the_place_of_what_is_not() {
        let ids = weights();
        let cache = OnDemand::new(8, Box::new(|_| Ok(())));
        for id in &ids[..7] {
            cache.lend(*id, |()| 1).unwrap();
        }
        assert_eq!(cache.lend(ids[7], |()| 1).unwrap().1, 1, "read as often as the others, it does not stay");
        assert_eq!(cache.lend(ids[7], |()| 1).unwrap().1, 0, "read more often, it does");
        assert_eq!(cache.bytes(), 7);
        assert_eq!(cache.lend(ids[8], |()| 100).unwrap().1, 100, "what is larger than the budget never stays");
    }

    #[test]
    fn what_cannot_be_prepared_is_an_error_and_may_be_tried_again() {
        let ids = weights();
        let tried = AtomicUsize::new(0);
        let prepare = move |_| match tried.fetch_add(1, Ordering::Relaxed) {
            0 => Err(DeviceError::Weight { name: "x".to_owned(), reason: "the disk is gone".to_owned() }),
            _ => Ok(()),
        };
        let cache = OnDemand::new(8, Box::new(prepare));
        let error = cache.lend(ids[0], |()| 1).unwrap_err();
        assert_eq!(error.to_string(), "the weights `x` could not be read: the disk is gone");
        assert!(cache.lend(ids[0], |()| 1).is_ok());
    }
}
