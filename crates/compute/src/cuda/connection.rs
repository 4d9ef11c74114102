//! GPUs of several processes, connected by NCCL.
//!
//! Sums end at the rank that a part belongs to, by `ncclReduce`, and copies begin there, by `ncclBroadcast`: parts are of
//! unlike lengths, which `ncclReduceScatter` and `ncclAllGather` do not take. Many calls are one group, which NCCL
//! launches together.

use super::nccl::{Communicator, Library, Shared, UniqueId};
use super::{Cuda, DriverError, GpuBuffer};
use crate::cuda::memory::Pool;
use crate::{Connection, DeviceError, RankPart};
use std::sync::{Arc, Mutex, PoisonError};

/// Calls of a group; NCCL takes at most 2,048.
const MOST_CALLS: usize = 1024;

/// One GPU's connection with those of the other ranks.
#[derive(Debug)]
pub(super) struct GpuConnection {
    /// One call at a time. It ends before the pool, whose driver has the stream.
    communicator: Mutex<Option<Communicator>>,
    pool: Arc<Pool>,
}

impl GpuConnection {
    /// Calls with all parts, in groups.
    fn each_group(
        &self,
        buffers: &mut [&mut GpuBuffer],
        parts: &[RankPart],
        call: impl Fn(&Communicator, &[Shared], *mut std::ffi::c_void) -> Result<(), DriverError>,
    ) -> Result<(), DeviceError> {
        let failure = |error| self.pool.failure(error);
        let shared = |RankPart { buffer, range, rank }: &RankPart| {
            let at = buffers[*buffer].output::<f32>().skip(range.start).0;
            Shared { at, count: range.len(), rank: *rank }
        };
        // Where a buffer has no f32 yet, a launch makes it, which has to come before the stream is another's.
        let shared: Vec<Shared> = parts.iter().map(shared).collect();
        let stream = self.pool.driver().stream().map_err(failure)?;
        let communicator = self.communicator.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(communicator) = &*communicator else { return Ok(()) };
        shared.chunks(MOST_CALLS).try_for_each(|shared| call(communicator, shared, stream)).map_err(failure)
    }
}

impl Connection<GpuBuffer> for GpuConnection {
    fn reduce(&self, buffers: &mut [&mut GpuBuffer], parts: &[RankPart]) -> Result<(), DeviceError> {
        self.each_group(buffers, parts, Communicator::reduce)
    }
    fn broadcast(&self, buffers: &mut [&mut GpuBuffer], parts: &[RankPart]) -> Result<(), DeviceError> {
        self.each_group(buffers, parts, Communicator::broadcast)
    }
    fn wait(&self) -> Result<(), DeviceError> {
        self.pool.driver().wait().map_err(|error| self.pool.failure(error))
    }
}

impl Drop for GpuConnection {
    fn drop(&mut self) {
        // The library wants the GPU to be the calling thread's; a GPU that failed is not asked again.
        let communicator = self.communicator.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.pool.driver().stream().is_err() {
            std::mem::forget(communicator);
        }
    }
}

impl Cuda {
    /// What tells this GPU from every other, on this machine or elsewhere.
    ///
    /// # Errors
    /// When the driver fails.
    pub fn uuid(&self) -> Result<[u8; 16], DeviceError> {
        self.driver.uuid().map_err(|error| self.pool.failure(error))
    }

    /// Whether NCCL was found here.
    pub fn has_nccl(&self) -> bool {
        self.driver.nccl().is_some()
    }

    fn nccl(&self) -> Result<&'static Library, DriverError> {
        let missing = || DriverError::Failed { call: "dlopen", reason: "the library libnccl was not found".to_owned() };
        self.driver.nccl().ok_or_else(missing)
    }

    /// A number by which GPUs are connected: one rank makes it, and all of them connect by it.
    ///
    /// # Errors
    /// When NCCL is missing or fails.
    pub fn connection_id(&self) -> Result<Vec<u8>, DeviceError> {
        let id = self.nccl().and_then(Library::unique_id);
        id.map(|id| id.bytes().to_vec()).map_err(|error| self.pool.failure(error))
    }

    /// The same device, connected with those of the other ranks ([`Memory::connection`](crate::Memory::connection)). It
    /// returns on no rank before all ranks have called it.
    ///
    /// # Errors
    /// When NCCL is missing or fails, as it does where two ranks have the same GPU.
    pub fn connected(&self, id: &[u8], rank: usize, ranks: usize) -> Result<Self, DeviceError> {
        let connect = || {
            let other = || DriverError::Failed { call: "ncclCommInitRank", reason: "that is no number".to_owned() };
            self.driver.stream()?;
            self.nccl()?.communicator(UniqueId::of(id).ok_or_else(other)?, rank, ranks)
        };
        let communicator = connect().map_err(|error| self.pool.failure(error))?;
        let connection = GpuConnection { communicator: Mutex::new(Some(communicator)), pool: Arc::clone(&self.pool) };
        Ok(Self { connection: Some(Arc::new(connection)), ..self.clone() })
    }

    /// What this rank of an emulated NCCL was called with, a line for each call.
    #[cfg(any(test, feature = "emulator"))]
    pub fn nccl_calls(&self) -> Vec<String> {
        let Some(connection) = &self.connection else { return Vec::new() };
        let communicator = connection.communicator.lock().unwrap_or_else(PoisonError::into_inner);
        communicator.as_ref().map(super::emulator::nccl_calls).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;
    use std::thread;

    /// Emulated GPUs of so many ranks, each used in a thread of its own; `None` where nothing is emulated.
    fn ranks<T: Send>(count: usize, work: impl Fn(usize, Cuda) -> T + Sync) -> Option<Vec<T>> {
        let devices: Option<Vec<Cuda>> = (0..count).map(|_| Cuda::emulated(None, 0)).collect();
        let devices = devices?;
        let id = devices[0].connection_id().unwrap();
        Some(thread::scope(|scope| {
            let (id, work) = (&id, &work);
            let join = |(rank, device): (usize, Cuda)| {
                scope.spawn(move || work(rank, device.connected(id, rank, count).unwrap()))
            };
            let threads: Vec<_> = devices.into_iter().enumerate().map(join).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        }))
    }

    fn part(buffer: usize, range: std::ops::Range<usize>, rank: usize) -> RankPart {
        RankPart { buffer, range, rank }
    }

    #[test]
    fn sums_end_at_the_rank_of_a_part_and_copies_begin_there() {
        let parts = [part(0, 0..3, 1), part(1, 0..1, 0), part(1, 1..5, 2)];
        let exchanged = ranks(3, |rank, device| {
            let values = |first: usize, len: usize| -> Vec<f32> {
                (first..first + len).map(|index| ((index * 7 + rank * 31) % 13) as f32 / 3.0).collect()
            };
            let mut own = [device.upload(&values(0, 3)).unwrap(), device.upload(&values(3, 5)).unwrap()];
            let connection = device.connection().unwrap();
            let [first, second] = &mut own;
            let mut buffers = [first, second];
            connection.reduce(&mut buffers, &parts).unwrap();
            let sums: Vec<Vec<f32>> = buffers.iter().map(|buffer| device.download(buffer)).collect();
            connection.broadcast(&mut buffers, &parts).unwrap();
            connection.wait().unwrap();
            let copies: Vec<Vec<f32>> = buffers.iter().map(|buffer| device.download(buffer)).collect();
            (values(0, 8), sums, copies, device.nccl_calls())
        });
        let Some(exchanged) = exchanged else { return };
        for RankPart { buffer, range, rank } in &parts {
            for index in range.clone() {
                let of = |rank: usize| exchanged[rank % 3].0[3 * buffer + index];
                let sum = of(rank + 1) + of(rank + 2) + of(*rank);
                assert_eq!(exchanged[*rank].1[*buffer][index].to_bits(), sum.to_bits());
                assert!(exchanged.iter().all(|(_, _, copies, _)| copies[*buffer][index].to_bits() == sum.to_bits()));
            }
        }
        let calls = ["reduce 3 f32 at 1", "reduce 1 f32 at 0", "reduce 4 f32 at 2", "end"];
        let calls: Vec<String> = calls
            .iter()
            .flat_map(|call| [call.to_string()])
            .chain(calls.map(|call| call.replace("reduce", "broadcast")))
            .collect();
        assert!(exchanged.iter().all(|(_, _, _, own)| *own == calls));
    }

    #[test]
    fn more_parts_than_a_group_takes_are_several_groups() {
        let parts: Vec<RankPart> = (0..2 * MOST_CALLS + 1).map(|place| part(0, place..place + 1, place % 2)).collect();
        let calls = ranks(2, |_, device| {
            let mut buffer = device.upload(&vec![1.0; parts.len()]).unwrap();
            let connection = device.connection().unwrap();
            connection.reduce(&mut [&mut buffer], &parts).unwrap();
            connection.broadcast(&mut [&mut buffer], &parts).unwrap();
            assert_eq!(device.download(&buffer), vec![2.0; parts.len()]);
            device.nccl_calls()
        });
        let Some(calls) = calls else { return };
        let ends = |calls: &[String]| -> Vec<usize> {
            calls.iter().enumerate().filter(|(_, call)| *call == "end").map(|(place, _)| place).collect()
        };
        let group = MOST_CALLS + 1;
        let expected = [group - 1, 2 * group - 1, 2 * group + 1, 3 * group + 1, 4 * group + 1, 4 * group + 3];
        assert!(calls.iter().all(|calls| ends(calls) == expected));
    }

    #[test]
    fn ranks_that_exchange_unlike_parts_and_numbers_that_nobody_made_are_errors() {
        let errors = ranks(2, |rank, device| {
            let mut buffer = device.zeros(4).unwrap();
            let unlike = [part(0, 0..2 + rank, 0)];
            device.connection().unwrap().reduce(&mut [&mut buffer], &unlike).unwrap_err().to_string()
        });
        let Some(errors) = errors else { return };
        assert!(errors.iter().all(|error| error == "cuda:0 failed in ncclGroupEnd: invalid usage"), "{errors:?}");
        let Some(device) = Cuda::emulated(None, 0) else { return };
        let error = |id: &[u8]| device.connected(id, 0, 1).unwrap_err().to_string();
        assert_eq!(error(&[0; 128]), "cuda:0 failed in ncclCommInitRank: invalid argument");
        assert_eq!(error(&[0; 4]), "cuda:0 failed in ncclCommInitRank: that is no number");
        assert!(device.connection().is_none() && device.has_nccl());
        assert_ne!(device.uuid().unwrap(), Cuda::emulated(None, 0).unwrap().uuid().unwrap());
    }
}
