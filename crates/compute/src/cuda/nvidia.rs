//! The real driver: CUDA's driver interface and cuBLASLt, loaded when a GPU is opened.

mod captures;
mod plans;

use super::algorithms::Algorithms;
use super::arguments::Argument;
use super::compile::{self, CompileError};
use super::driver::{Address, Driver, DriverError, GpuFacts, Graph, Launch, Product, Work};
use super::{kernels, nccl};
use captures::Captured;
use cudarc::cublaslt::{result as lt, sys as lt_sys};
use cudarc::driver::{result as cuda, sys};
use plans::MatmulPlans;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::path::Path;
use std::ptr::from_mut;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The oldest driver that serves what is called here: the first for CUDA 12.
const OLDEST: u32 = 12_000;
/// The oldest compute capability whose tensor cores multiply bf16: Ampere's.
const OLDEST_GPU: (u32, u32) = (8, 0);
/// Bytes that cuBLASLt may use beside the matrices; NVIDIA's advice for Hopper is 32 MiB.
const WORKSPACE: usize = 32 << 20;
/// Bytes of shared memory that a block may have, what it asks for and what its kernel has by itself: what every GPU
/// since Ampere lets it have.
pub(super) const SHARED: i32 = 99 << 10;

/// Why there is no GPU to compute on.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// No driver is installed.
    #[error("no NVIDIA driver was found (libcuda)")]
    NoDriver,
    /// The driver does not know what is called.
    #[error("the NVIDIA driver is too old: it serves CUDA {}.{}; needed: 12.0 or newer", found / 1000, found % 1000 / 10)]
    OldDriver {
        /// What the driver serves: 11080 for 11.8.
        found: u32,
    },
    /// The GPU has no instructions for products in bf16.
    #[error("{name} is too old: its compute capability is {}.{}; needed: 8.0 (Ampere) or newer", capability.0, capability.1)]
    OldGpu {
        /// Its name.
        name: String,
        /// Its compute capability.
        capability: (u32, u32),
    },
    /// There are fewer.
    #[error("there is no GPU {requested}; there are {count}, counted from 0")]
    NoSuchGpu {
        /// The requested one.
        requested: usize,
        /// How many there are.
        count: usize,
    },
    /// A library besides the driver is missing.
    #[error("the library {library} was not found")]
    MissingLibrary {
        /// Its name.
        library: &'static str,
    },
    /// The kernels were not compiled.
    #[error(transparent)]
    Kernels(#[from] CompileError),
    /// The driver or a library failed, in its words.
    #[error("{call} failed: {reason}")]
    Failed {
        /// What was called.
        call: &'static str,
        /// What was answered.
        reason: String,
    },
}

fn failed(call: &'static str) -> impl Fn(cuda::DriverError) -> GpuError {
    move |error| GpuError::Failed { call, reason: error.to_string() }
}

fn wrong<E: fmt::Display>(call: &'static str) -> impl Fn(E) -> DriverError {
    move |error| DriverError::Failed { call, reason: error.to_string() }
}

/// Starts the driver and says what CUDA it serves.
fn start() -> Result<u32, GpuError> {
    // SAFETY: loads the driver's library, which runs its initialisers.
    if !unsafe { sys::is_culib_present() } {
        return Err(GpuError::NoDriver);
    }
    cuda::init().map_err(failed("cuInit"))?;
    let mut version = 0;
    // SAFETY: the place is valid for writing.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(failed("cuDriverGetVersion"))?;
    let found = version as u32;
    if found < OLDEST { Err(GpuError::OldDriver { found }) } else { Ok(found) }
}

/// See [`super::Cuda::gpus`].
pub(super) fn gpus() -> Result<Vec<GpuFacts>, GpuError> {
    let driver = start()?;
    let count = cuda::device::get_count().map_err(failed("cuDeviceGetCount"))?;
    (0..count as usize).map(|ordinal| facts(ordinal, driver)).collect()
}

/// See [`super::Cuda::missing_libraries`].
pub(super) fn missing_libraries() -> Vec<&'static str> {
    // SAFETY: loads NVIDIA's library, which runs its initialisers.
    let products = unsafe { lt_sys::is_culib_present() };
    [("libcublasLt", products), ("libnvrtc", compile::is_present())]
        .into_iter()
        .filter_map(|(name, there)| (!there).then_some(name))
        .collect()
}

fn facts(ordinal: usize, driver: u32) -> Result<GpuFacts, GpuError> {
    use sys::CUdevice_attribute_enum as Attribute;
    let device = cuda::device::get(ordinal as i32).map_err(failed("cuDeviceGet"))?;
    // SAFETY: the device is one that the driver named.
    let attribute = |which| unsafe { cuda::device::get_attribute(device, which) }.map(|value| value as u32);
    let capability = || -> Result<_, cuda::DriverError> {
        Ok((
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ))
    };
    Ok(GpuFacts {
        ordinal,
        name: cuda::device::get_name(device).map_err(failed("cuDeviceGetName"))?,
        capability: capability().map_err(failed("cuDeviceGetAttribute"))?,
        // SAFETY: as above.
        memory: unsafe { cuda::device::total_mem(device) }.map_err(failed("cuDeviceTotalMem"))?,
        driver,
    })
}

/// Refuses a GPU for which the kernels cannot be compiled.
pub(super) fn new_enough(facts: GpuFacts) -> Result<GpuFacts, GpuError> {
    match facts.capability {
        capability if capability < OLDEST_GPU => Err(GpuError::OldGpu { name: facts.name, capability }),
        _ => Ok(facts),
    }
}

/// One GPU: its context, the one stream on which everything happens, the kernels, and how products are computed.
pub(super) struct Nvidia {
    facts: GpuFacts,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    module: sys::CUmodule,
    functions: HashMap<&'static str, sys::CUfunction>,
    products: lt_sys::cublasLtHandle_t,
    workspace: sys::CUdeviceptr,
    plans: Mutex<MatmulPlans>,
    graphs: Mutex<Captured>,
}

// SAFETY: CUDA's handles may be used by any thread once the context is current there, which every method sees to, and
// both interfaces may be called by several threads at once; what is ours and changes is behind a mutex.
unsafe impl Send for Nvidia {}
// SAFETY: as above.
unsafe impl Sync for Nvidia {}

impl fmt::Debug for Nvidia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nvidia").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Nvidia {
    pub(super) fn open(ordinal: usize, folder: Option<&Path>) -> Result<Self, GpuError> {
        let driver = start()?;
        let count = cuda::device::get_count().map_err(failed("cuDeviceGetCount"))? as usize;
        if ordinal >= count {
            return Err(GpuError::NoSuchGpu { requested: ordinal, count });
        }
        if let Some(&library) = missing_libraries().first() {
            return Err(GpuError::MissingLibrary { library });
        }
        let facts = new_enough(facts(ordinal, driver)?)?;
        let device = cuda::device::get(ordinal as i32).map_err(failed("cuDeviceGet"))?;
        let code = compile::machine_code(&format!("sm_{}{}", facts.capability.0, facts.capability.1), folder)?;
        // SAFETY: the device is there; the context is released once, when this is dropped.
        let context = unsafe { cuda::primary_ctx::retain(device) }.map_err(failed("cuDevicePrimaryCtxRetain"))?;
        // SAFETY: the context was just made.
        unsafe { cuda::ctx::set_current(context) }.map_err(failed("cuCtxSetCurrent"))?;
        let stream = cuda::stream::create(cuda::stream::StreamKind::NonBlocking).map_err(failed("cuStreamCreate"))?;
        // SAFETY: machine code for this GPU, whole, from its compiler.
        let module = unsafe { cuda::module::load_data(code.as_ptr().cast()) }.map_err(failed("cuModuleLoadData"))?;
        let mut functions = HashMap::new();
        for name in kernels::names() {
            let text = CString::new(name)
                .map_err(|error| GpuError::Failed { call: "cuModuleGetFunction", reason: error.to_string() })?;
            // SAFETY: the module is loaded, and stays so as long as its functions are kept.
            let function =
                unsafe { cuda::module::get_function(module, text) }.map_err(failed("cuModuleGetFunction"))?;
            let (own, most) = (
                sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
                sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            );
            // SAFETY: the function is there.
            let own = unsafe { cuda::function::get_function_attribute(function, own) };
            let own = own.map_err(failed("cuFuncGetAttribute"))?;
            // SAFETY: the function is there.
            unsafe { cuda::function::set_function_attribute(function, most, SHARED - own) }
                .map_err(failed("cuFuncSetAttribute"))?;
            functions.insert(name, function);
        }
        let failed_product =
            |error: lt::CublasError| GpuError::Failed { call: "cublasLtCreate", reason: error.to_string() };
        let products = lt::create_handle().map_err(failed_product)?;
        // SAFETY: freed once, when this is dropped.
        let workspace = unsafe { cuda::malloc_sync(WORKSPACE) }.map_err(failed("cuMemAlloc"))?;
        // SAFETY: the library is there, as a handle of it is.
        let version = unsafe { lt_sys::cublasLtGetVersion() };
        let GpuFacts { name, capability: (major, minor), driver, .. } = &facts;
        let description = format!("cublasLt {version}, driver {driver}, {name}, sm_{major}{minor}");
        let algorithms = Algorithms::open(folder, &description);
        let plans = Mutex::new(MatmulPlans::new(algorithms));
        let graphs = Mutex::default();
        Ok(Self { facts, device, context, stream, module, functions, products, workspace, plans, graphs })
    }

    /// Makes this GPU the calling thread's.
    fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: the context lives as long as `self`.
        unsafe { cuda::ctx::set_current(self.context) }.map_err(wrong("cuCtxSetCurrent"))
    }

    /// Waits for all work so far.
    fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the stream lives as long as `self`.
        unsafe { cuda::stream::synchronize(self.stream) }.map_err(wrong("cuStreamSynchronize"))
    }
}

impl Driver for Nvidia {
    fn facts(&self) -> &GpuFacts {
        &self.facts
    }

    fn allocate(&self, bytes: usize) -> Result<Address, DriverError> {
        self.enter()?;
        // SAFETY: the caller gives the memory back.
        unsafe { cuda::malloc_sync(bytes) }.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let free = cuda::mem_get_info().map_or(0, |(free, _)| free);
                DriverError::OutOfMemory { requested: bytes, free }
            }
            _ => wrong("cuMemAlloc")(error),
        })
    }

    fn free(&self, at: Address) {
        // A GPU that failed has nothing left to give back.
        if self.enter().is_ok() && self.wait().is_ok() {
            // SAFETY: `at` is memory of this GPU, and nothing uses it any more.
            let _ = unsafe { cuda::free_sync(at) };
        }
    }

    fn write(&self, at: Address, bytes: &[u8]) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: the caller has that much memory there. From pageable memory the driver copies before it returns.
        unsafe { cuda::memcpy_htod_async(at, bytes, self.stream) }.map_err(wrong("cuMemcpyHtoD"))
    }

    fn read(&self, at: Address, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: the caller has that much memory there; the bytes are not looked at before the stream is done.
        unsafe { cuda::memcpy_dtoh_async(bytes, at, self.stream) }.map_err(wrong("cuMemcpyDtoH"))?;
        self.wait()
    }

    fn clear(&self, at: Address, bytes: usize) -> Result<(), DriverError> {
        self.enter()?;
        // SAFETY: the caller has that much memory there.
        unsafe { cuda::memset_d8_async(at, 0, bytes, self.stream) }.map_err(wrong("cuMemsetD8"))
    }

    fn launch(&self, kernel: &'static str, launch: Launch, arguments: &[Argument]) -> Result<(), DriverError> {
        self.enter()?;
        let Some(&function) = self.functions.get(kernel) else {
            return Err(DriverError::Failed { call: "cuLaunchKernel", reason: format!("there is no `{kernel}`") });
        };
        // The host counts from the lowest byte, so that each is read from where its bits begin.
        let mut bits: Vec<u64> = arguments.iter().map(|argument| argument.bits).collect();
        let mut places: Vec<*mut c_void> = bits.iter_mut().map(|bits| from_mut(bits).cast()).collect();
        let Launch { blocks: (x, y), threads, shared } = launch;
        // SAFETY: the arguments are those that the kernel takes, which a test sees to for every kernel; they are copied
        // before the call returns.
        unsafe { cuda::launch_kernel(function, (x, y, 1), (threads, 1, 1), shared, self.stream, &mut places) }
            .map_err(wrong("cuLaunchKernel"))
    }

    fn multiply(&self, product: &Product) -> Result<(), DriverError> {
        self.plan_and_multiply(product)
    }

    fn capture(&self, work: &[Work]) -> Result<Graph, DriverError> {
        self.capture_graph(work)
    }

    fn replay(&self, graph: Graph, changed: &[(usize, &Work)]) -> Result<(), DriverError> {
        self.replay_graph(graph, changed)
    }

    fn release(&self, graph: Graph) {
        self.release_graph(graph);
    }

    fn wait(&self) -> Result<(), DriverError> {
        self.enter()?;
        Self::wait(self)
    }

    fn uuid(&self) -> Result<[u8; 16], DriverError> {
        let uuid = cuda::device::get_uuid(self.device).map_err(wrong("cuDeviceGetUuid"))?;
        Ok(uuid.bytes.map(|byte| byte as u8))
    }

    fn nccl(&self) -> Option<&'static nccl::Library> {
        static LIBRARY: OnceLock<Option<nccl::Library>> = OnceLock::new();
        LIBRARY.get_or_init(|| nccl::Library::open(&nccl::NAMES)).as_ref()
    }

    fn stream(&self) -> Result<*mut c_void, DriverError> {
        self.enter()?;
        Ok(self.stream.cast())
    }
}

impl Drop for Nvidia {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        let _ = self.wait();
        self.graphs.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.plans.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        // SAFETY: each was made once and nothing uses it any more; failures leave the process to end them.
        unsafe {
            let _ = lt::destroy_handle(self.products);
            let _ = cuda::free_sync(self.workspace);
            let _ = cuda::module::unload(self.module);
            let _ = cuda::stream::destroy(self.stream);
            let _ = cuda::primary_ctx::release(self.device);
        }
    }
}
