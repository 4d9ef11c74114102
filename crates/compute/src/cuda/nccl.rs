//! NVIDIA's library of collectives, NCCL, as far as it is used here.
//!
//! It is loaded by the names under which it is installed to run programs (`libnccl.so.2`) and to build them. The crate that
//! loads the other libraries (cudarc 0.19) looks for the second only, which machines that only run programs do not have.

use super::driver::{Address, DriverError};
use libloading::Library as SharedLibrary;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::ptr::null_mut;

/// Names of the library, the first that is found.
pub(super) const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];
/// Bytes of [`UniqueId`].
const ID: usize = 128;
/// `ncclFloat32` and `ncclSum`.
const FLOAT32: c_int = 7;
const SUM: c_int = 0;

/// `ncclUniqueId`, which all ranks of a communicator have to have.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(super) struct UniqueId([u8; ID]);

impl UniqueId {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
    /// `None` for other lengths than it has.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// `ncclComm_t` and `cudaStream_t`.
type Comm = *mut c_void;
type Stream = *mut c_void;

type GetUniqueId = unsafe extern "C" fn(*mut UniqueId) -> c_int;
type CommInitRank = unsafe extern "C" fn(*mut Comm, c_int, UniqueId, c_int) -> c_int;
type CommAbort = unsafe extern "C" fn(Comm) -> c_int;
type Group = unsafe extern "C" fn() -> c_int;
type Reduce = unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, c_int, Comm, Stream) -> c_int;
type Broadcast = unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Comm, Stream) -> c_int;
type GetErrorString = unsafe extern "C" fn(c_int) -> *const c_char;

/// The library, for as long as the process lives.
#[derive(Debug)]
pub(super) struct Library {
    get_unique_id: GetUniqueId,
    comm_init_rank: CommInitRank,
    comm_abort: CommAbort,
    group_start: Group,
    group_end: Group,
    reduce: Reduce,
    broadcast: Broadcast,
    get_error_string: GetErrorString,
    _shared: SharedLibrary,
}

/// A rank of a communicator.
#[derive(Debug)]
pub(super) struct Communicator {
    library: &'static Library,
    comm: Comm,
}

// SAFETY: the library lets any thread use a communicator, one at a time, which those who have one see to.
unsafe impl Send for Communicator {}

/// Elements of f32, the same number on all ranks, and the rank whose they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    pub(super) at: Address,
    pub(super) count: usize,
    pub(super) rank: usize,
}

impl Library {
    /// `None` where there is none, or one that lacks a function.
    pub(super) fn open(names: &[impl AsRef<OsStr>]) -> Option<Self> {
        // SAFETY: loads NVIDIA's library, which runs its initialisers.
        let shared = names.iter().find_map(|name| unsafe { SharedLibrary::new(name.as_ref()) }.ok())?;
        // SAFETY: the functions have these types since NCCL 2.4, and the library is not unloaded as long as they are kept.
        unsafe {
            Some(Self {
                get_unique_id: *shared.get::<GetUniqueId>(b"ncclGetUniqueId").ok()?,
                comm_init_rank: *shared.get::<CommInitRank>(b"ncclCommInitRank").ok()?,
                comm_abort: *shared.get::<CommAbort>(b"ncclCommAbort").ok()?,
                group_start: *shared.get::<Group>(b"ncclGroupStart").ok()?,
                group_end: *shared.get::<Group>(b"ncclGroupEnd").ok()?,
                reduce: *shared.get::<Reduce>(b"ncclReduce").ok()?,
                broadcast: *shared.get::<Broadcast>(b"ncclBroadcast").ok()?,
                get_error_string: *shared.get::<GetErrorString>(b"ncclGetErrorString").ok()?,
                _shared: shared,
            })
        }
    }

    /// The library itself, for what only an emulated one has.
    #[cfg(any(test, feature = "emulator"))]
    pub(super) fn shared(&self) -> &SharedLibrary {
        &self._shared
    }

    fn check(&self, call: &'static str, status: c_int) -> Result<(), DriverError> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the library has a text for every status, which ends with a zero and stays.
        let text = unsafe { (self.get_error_string)(status) };
        let reason = match text.is_null() {
            true => format!("status {status}"),
            // SAFETY: as above.
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        };
        Err(DriverError::Failed { call, reason })
    }

    /// A new number for a communicator, which one rank makes.
    pub(super) fn unique_id(&self) -> Result<UniqueId, DriverError> {
        let mut id = UniqueId([0; ID]);
        // SAFETY: the place is valid for writing.
        self.check("ncclGetUniqueId", unsafe { (self.get_unique_id)(&mut id) })?;
        Ok(id)
    }

    /// Waits for all ranks; the GPU is the calling thread's.
    pub(super) fn communicator(
        &'static self,
        id: UniqueId,
        rank: usize,
        ranks: usize,
    ) -> Result<Communicator, DriverError> {
        let mut comm = null_mut();
        // SAFETY: the place is valid for writing.
        let status = unsafe { (self.comm_init_rank)(&mut comm, ranks as c_int, id, rank as c_int) };
        self.check("ncclCommInitRank", status)?;
        Ok(Communicator { library: self, comm })
    }
}

impl Communicator {
    /// Sums elements over all ranks, in place, at the rank whose they are.
    pub(super) fn reduce(&self, shared: &[Shared], stream: Stream) -> Result<(), DriverError> {
        self.group(shared, "ncclReduce", |Shared { at, count, rank }| {
            let (from, to) = (at as *const c_void, at as *mut c_void);
            // SAFETY: so many elements of the device lie there, and are used in the order of the stream.
            unsafe { (self.library.reduce)(from, to, count, FLOAT32, SUM, rank as c_int, self.comm, stream) }
        })
    }

    /// Copies elements, in place, from the rank whose they are.
    pub(super) fn broadcast(&self, shared: &[Shared], stream: Stream) -> Result<(), DriverError> {
        self.group(shared, "ncclBroadcast", |Shared { at, count, rank }| {
            let (from, to) = (at as *const c_void, at as *mut c_void);
            // SAFETY: as above.
            unsafe { (self.library.broadcast)(from, to, count, FLOAT32, rank as c_int, self.comm, stream) }
        })
    }

    /// Calls that the library takes as one.
    fn group(&self, shared: &[Shared], name: &'static str, call: impl Fn(Shared) -> c_int) -> Result<(), DriverError> {
        // SAFETY: takes and changes nothing of ours.
        self.library.check("ncclGroupStart", unsafe { (self.library.group_start)() })?;
        let called = shared.iter().try_for_each(|&shared| self.library.check(name, call(shared)));
        // SAFETY: as above. What was begun is ended, whatever happened.
        let ended = self.library.check("ncclGroupEnd", unsafe { (self.library.group_end)() });
        called.and(ended)
    }

    /// See [`Library::shared`].
    #[cfg(any(test, feature = "emulator"))]
    pub(super) fn parts(&self) -> (&SharedLibrary, Comm) {
        (self.library.shared(), self.comm)
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        // Not `ncclCommDestroy`, which waits for ranks that may be gone.
        // SAFETY: it was made once and is not used again.
        let _ = unsafe { (self.library.comm_abort)(self.comm) };
    }
}
