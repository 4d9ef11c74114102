//! The real driver: CUDA's driver interface and cuBLASLt, loaded when a GPU is opened.

use super::THREADS;
use super::algorithms::{Algorithm, Algorithms};
use super::arguments::{Argument, In, Kernel, Out};
use super::compile::{self, CompileError};
use super::driver::{Address, ColumnMajor, Driver, DriverError, GpuFacts, Graph, Launch, Product, Work};
use super::kernels::{self, AddBias};
use super::nccl;
use crate::DType;
use cudarc::cublaslt::{result as lt, sys as lt_sys};
use cudarc::driver::{result as cuda, sys};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_void};
use std::fmt;
use std::path::Path;
use std::ptr::{from_mut, from_ref};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The oldest driver that serves what is called here: the first for CUDA 12.
const OLDEST: u32 = 12_000;
/// The oldest compute capability whose tensor cores multiply bf16: Ampere's.
const OLDEST_GPU: (u32, u32) = (8, 0);
/// Bytes that cuBLASLt may use beside the matrices; NVIDIA's advice for Hopper is 32 MiB.
const WORKSPACE: usize = 32 << 20;
/// Bytes of shared memory that a block may have, what it asks for and what its kernel has by itself: what every GPU
/// since Ampere lets it have.
pub(super) const SHARED: i32 = 99 << 10;
/// Algorithms that are timed against each other when the first shape of a class comes.
const CANDIDATES: usize = 8;
/// Multiplications of a candidate that are timed.
const TRIALS: usize = 3;
/// Plans that are kept: another number of rows is noisy in each step of training.
const MOST_PLANS: usize = 4096;

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

/// What was captured, and the number of the next.
#[derive(Default)]
struct Captured {
    graphs: HashMap<Graph, ReadyGraph>,
    next: Graph,
}

/// A graph whose nodes run one after another. The description stays as long as what was made of it: its nodes name those
/// whose arguments change.
struct ReadyGraph {
    description: sys::CUgraph,
    ready: Option<sys::CUgraphExec>,
    /// One for each call.
    nodes: Vec<sys::CUgraphNode>,
}

impl Drop for ReadyGraph {
    fn drop(&mut self) {
        // SAFETY: each was made once and is not used again; one that still runs is freed when it ends. Failures leave the
        // process to end them.
        unsafe {
            if let Some(ready) = self.ready {
                let _ = cuda::graph::exec_destroy(ready);
            }
            let _ = cuda::graph::destroy(self.description);
        }
    }
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

/// How products are computed.
struct MatmulPlans {
    of_shape: HashMap<ColumnMajor, MatmulPlan>,
    algorithms: Algorithms,
}

/// An algorithm as the library takes it.
fn described(data: Algorithm) -> lt_sys::cublasLtMatmulAlgo_t {
    lt_sys::cublasLtMatmulAlgo_t { data }
}

/// How products of one shape are computed.
struct MatmulPlan {
    operation: lt_sys::cublasLtMatmulDesc_t,
    /// Of A, B and D.
    layouts: [lt_sys::cublasLtMatrixLayout_t; 3],
    algorithm: lt_sys::cublasLtMatmulAlgo_t,
}

impl MatmulPlan {
    /// Gives back what describes it.
    fn destroy(self) {
        // SAFETY: each was made once and is not used again; a product that still runs has read them. Failures leave the
        // process to end them.
        unsafe {
            let _ = lt::destroy_matmul_desc(self.operation);
            for layout in self.layouts {
                let _ = lt::destroy_matrix_layout(layout);
            }
        }
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
        let plans = Mutex::new(MatmulPlans { of_shape: HashMap::new(), algorithms });
        let graphs = Mutex::default();
        Ok(Self { facts, device, context, stream, module, functions, products, workspace, plans, graphs })
    }

    /// Makes this GPU the calling thread's.
    fn enter(&self) -> Result<(), DriverError> {
        // SAFETY: the context lives as long as `self`.
        unsafe { cuda::ctx::set_current(self.context) }.map_err(wrong("cuCtxSetCurrent"))
    }

    /// Describes products of a shape, with an algorithm of its class that can take it, or else with the fastest of several.
    fn plan(
        &self,
        shape: &ColumnMajor,
        product: &Product,
        algorithms: &mut Algorithms,
    ) -> Result<MatmulPlan, lt::CublasError> {
        use lt_sys::cublasLtMatmulDescAttributes_t as Attribute;
        let (compute, single) = (lt_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, lt_sys::cudaDataType::CUDA_R_32F);
        let factor = match shape.dtype {
            DType::F32 => single,
            DType::Bf16 => lt_sys::cudaDataType::CUDA_R_16BF,
            DType::F64 => {
                return Err(lt::CublasError(lt_sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED));
            }
        };
        let operation = lt::create_matmul_desc(compute, single)?;
        let set = |attribute, value: &i32| {
            // SAFETY: these attributes are 32-bit integers, and the place is read before the call returns.
            unsafe { lt::set_matmul_desc_attribute(operation, attribute, from_ref(value).cast(), size_of::<i32>()) }
        };
        set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &i32::from(shape.a_transposed))?;
        set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &i32::from(shape.b_transposed))?;
        if shape.biased {
            set(
                Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE,
                &(lt_sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as i32),
            )?;
            self.set_bias(operation, product.bias.unwrap_or(0))?;
        }
        let [a, b, d] = shape.layouts();
        let layout = |kind, (rows, columns): (usize, usize)| {
            let layout = lt::create_matrix_layout(kind, rows as u64, columns as u64, rows as i64)?;
            if shape.batch == 1 {
                return Ok(layout);
            }
            let (count, offset) = (shape.batch as i32, (rows * columns) as i64);
            use lt_sys::cublasLtMatrixLayoutAttribute_t as Attribute;
            // SAFETY: the first attribute is a 32-bit integer, the second a 64-bit one; the places are read before the
            // calls return.
            unsafe {
                let (count, offset) = (from_ref(&count).cast(), from_ref(&offset).cast());
                let at = Attribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT;
                lt::set_matrix_layout_attribute(layout, at, count, size_of::<i32>())?;
                let at = Attribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET;
                lt::set_matrix_layout_attribute(layout, at, offset, size_of::<i64>())?;
            }
            Ok(layout)
        };
        let layouts = [layout(factor, a)?, layout(factor, b)?, layout(single, d)?];
        let can_take = |algorithm: &Algorithm| self.can_take(operation, layouts, algorithm);
        let algorithm = algorithms.of(shape, can_take, || self.choose(operation, layouts, product))?;
        Ok(MatmulPlan { operation, layouts, algorithm: described(algorithm) })
    }

    /// The fastest of the algorithms that the library proposes; they are timed into memory of their own.
    fn choose(
        &self,
        operation: lt_sys::cublasLtMatmulDesc_t,
        layouts: [lt_sys::cublasLtMatrixLayout_t; 3],
        product: &Product,
    ) -> Result<Algorithm, lt::CublasError> {
        let preference = lt::create_matmul_pref()?;
        // SAFETY: the attribute is a `size_t`; the place is read before the call returns.
        unsafe {
            lt::set_matmul_pref_attribute(
                preference,
                lt_sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                from_ref(&WORKSPACE).cast(),
                size_of::<usize>(),
            )?;
        }
        let mut count = 0;
        // SAFETY: a structure of numbers, for which zeros are values.
        let mut results: [lt_sys::cublasLtMatmulHeuristicResult_t; CANDIDATES] = unsafe { std::mem::zeroed() };
        // SAFETY: all handles were made above; `results` has room for the requested number.
        let requested = unsafe {
            lt_sys::cublasLtMatmulAlgoGetHeuristic(
                self.products,
                operation,
                layouts[0],
                layouts[1],
                layouts[2],
                layouts[2],
                preference,
                CANDIDATES as i32,
                results.as_mut_ptr(),
                &mut count,
            )
        };
        // SAFETY: made above and not used again.
        unsafe { lt::destroy_matmul_pref(preference) }?;
        requested.result()?;
        let found: Vec<_> = results[..count as usize].iter().filter(|found| found.state.result().is_ok()).collect();
        let Some(first) = found.first() else {
            return Err(lt::CublasError(lt_sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED));
        };
        let mut fastest = first.algo;
        // Without room for a second result the first that is proposed has to do.
        let bytes = product.batch * product.rows * product.columns * size_of::<f32>();
        // SAFETY: given back below.
        if let Ok(out) = unsafe { cuda::malloc_sync(bytes) } {
            let mut best = Duration::MAX;
            for candidate in found {
                let tried = MatmulPlan { operation, layouts, algorithm: candidate.algo };
                let trial = Product { out, added: None, ..*product };
                if let Some(time) = self.time(&tried, &trial)
                    && time < best
                {
                    (best, fastest) = (time, candidate.algo);
                }
            }
            self.free(out);
        }
        Ok(fastest.data)
    }

    /// Whether an algorithm that was chosen for another shape multiplies this one.
    fn can_take(
        &self,
        operation: lt_sys::cublasLtMatmulDesc_t,
        [a, b, d]: [lt_sys::cublasLtMatrixLayout_t; 3],
        algorithm: &Algorithm,
    ) -> bool {
        // SAFETY: a structure of numbers, for which zeros are values.
        let mut result: lt_sys::cublasLtMatmulHeuristicResult_t = unsafe { std::mem::zeroed() };
        let algorithm = described(*algorithm);
        // SAFETY: all handles are there; the result is written before the call returns.
        let checked =
            unsafe { lt_sys::cublasLtMatmulAlgoCheck(self.products, operation, a, b, d, d, &algorithm, &mut result) };
        checked.result().is_ok() && result.state.result().is_ok() && result.workspaceSize <= WORKSPACE
    }

    /// What some multiplications take after a first one; `None` where a plan does not work. By the host's clock, since
    /// the driver's events are read by another call in newer drivers than in older ones.
    fn time(&self, plan: &MatmulPlan, product: &Product) -> Option<Duration> {
        self.run(plan, product).ok()?;
        self.wait().ok()?;
        let start = Instant::now();
        for _ in 0..TRIALS {
            self.run(plan, product).ok()?;
        }
        self.wait().ok()?;
        Some(start.elapsed())
    }

    /// Waits for all work so far.
    fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the stream lives as long as `self`.
        unsafe { cuda::stream::synchronize(self.stream) }.map_err(wrong("cuStreamSynchronize"))
    }

    fn set_bias(&self, operation: lt_sys::cublasLtMatmulDesc_t, at: Address) -> Result<(), lt::CublasError> {
        // SAFETY: the attribute is a device pointer; the place is read before the call returns.
        unsafe {
            lt::set_matmul_desc_attribute(
                operation,
                lt_sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                from_ref(&at).cast(),
                size_of::<Address>(),
            )
        }
    }

    fn run(&self, plan: &MatmulPlan, product: &Product) -> Result<(), lt::CublasError> {
        let (one, add) = (1.0_f32, if product.added.is_some() { 1.0_f32 } else { 0.0 });
        let added = product.added.unwrap_or(product.out);
        // SAFETY: the plan was made for this shape, the addresses are this device's, and there is room as the shape
        // says; both factors are read before the call returns.
        unsafe {
            lt::matmul(
                self.products,
                plan.operation,
                from_ref(&one).cast(),
                from_ref(&add).cast(),
                product.right.at as *const c_void,
                plan.layouts[0],
                product.left.at as *const c_void,
                plan.layouts[1],
                added as *const c_void,
                plan.layouts[2],
                product.out as *mut c_void,
                plan.layouts[2],
                &plan.algorithm,
                self.workspace as *mut c_void,
                WORKSPACE,
                self.stream.cast(),
            )
        }
    }
}

impl Nvidia {
    /// Where the library has no algorithm with the bias in it, that is added afterwards.
    fn multiply_and_add(&self, product: &Product, bias: Address) -> Result<(), DriverError> {
        self.multiply(&Product { bias: None, ..*product })?;
        let count = product.batch * product.rows * product.columns;
        let launch = Launch { blocks: (count.div_ceil(THREADS as usize) as u32, 1), threads: THREADS, shared: 0 };
        let (columns, bias, out) = (product.columns as i32, In::new(bias), Out::new(product.out));
        let kernel = AddBias { count: count as i64, columns, bias, out };
        self.launch(AddBias::NAMES[0], launch, &kernel.arguments())
    }

    /// Uses how a product is computed, which is planned when its shape comes first. `None` where the library has no
    /// algorithm with the bias in it.
    fn with_plan<R>(
        &self,
        product: &Product,
        work: impl FnOnce(&MatmulPlan) -> Result<R, lt::CublasError>,
    ) -> Result<Option<R>, DriverError> {
        let failed = wrong::<lt::CublasError>("cublasLtMatmul");
        // Adding to the result is no matter of the plan.
        let shape = ColumnMajor { accumulate: false, ..product.column_major() };
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let MatmulPlans { of_shape, algorithms } = &mut *plans;
        if of_shape.len() >= MOST_PLANS && !of_shape.contains_key(&shape) {
            of_shape.drain().for_each(|(_, plan)| plan.destroy());
        }
        let plan = match of_shape.entry(shape) {
            Entry::Occupied(plan) => plan.into_mut(),
            Entry::Vacant(place) => match (self.plan(&shape, product, algorithms), product.bias) {
                (Ok(plan), _) => place.insert(plan),
                (Err(error), Some(_)) if error.0 == lt_sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED => {
                    return Ok(None);
                }
                (Err(error), _) => return Err(failed(error)),
            },
        };
        work(plan).map(Some).map_err(failed)
    }
}

/// Graphs. Launches and clearings are described by themselves; a product is what the library does in a capture of the
/// stream, which takes nothing else in: a graph within the graph.
impl Nvidia {
    fn describe(&self, work: &[Work]) -> Result<ReadyGraph, DriverError> {
        let mut description = std::ptr::null_mut();
        // SAFETY: the place is valid for writing; destroyed once, when the graph is dropped.
        unsafe { sys::cuGraphCreate(&mut description, 0) }.result().map_err(wrong("cuGraphCreate"))?;
        let mut graph = ReadyGraph { description, ready: None, nodes: Vec::with_capacity(work.len()) };
        for call in work {
            let before = graph.nodes.last().map_or(&[][..], std::slice::from_ref);
            let node = self.node(description, before, call)?;
            graph.nodes.push(node);
        }
        // SAFETY: the graph is whole, and is destroyed behind what is made of it.
        let ready = unsafe { cuda::graph::instantiate(description, sys::CUgraphInstantiate_flags_enum(0)) };
        graph.ready = Some(ready.map_err(wrong("cuGraphInstantiate"))?);
        Ok(graph)
    }

    /// Adds a call to a graph, behind others.
    fn node(
        &self,
        graph: sys::CUgraph,
        before: &[sys::CUgraphNode],
        call: &Work,
    ) -> Result<sys::CUgraphNode, DriverError> {
        let mut node = std::ptr::null_mut();
        let (first, count) = (before.as_ptr(), before.len());
        match call {
            Work::Launch { .. } => self.with_launch(call, |launch| {
                // SAFETY: graph and nodes are there; the arguments are those that the kernel takes, and are copied before the
                // call returns.
                unsafe { sys::cuGraphAddKernelNode_v2(&mut node, graph, first, count, launch) }
                    .result()
                    .map_err(wrong("cuGraphAddKernelNode"))
            })?,
            &Work::Clear { at, bytes } => {
                let clear = sys::CUDA_MEMSET_NODE_PARAMS {
                    dst: at,
                    pitch: 0,
                    value: 0,
                    elementSize: 1,
                    width: bytes,
                    height: 1,
                };
                // SAFETY: graph and nodes are there; whoever asked for the call has that much memory there.
                unsafe { sys::cuGraphAddMemsetNode(&mut node, graph, first, count, &clear, self.context) }
                    .result()
                    .map_err(wrong("cuGraphAddMemsetNode"))?;
            }
            Work::Multiply(product) => {
                // It is planned, which times algorithms, before the capture begins.
                self.with_plan(product, |_| Ok(()))?;
                let captured = self.captured(|| self.multiply(product))?;
                // SAFETY: graph and nodes are there, the captured graph is whole; it is copied.
                let added = unsafe { sys::cuGraphAddChildGraphNode(&mut node, graph, first, count, captured) };
                // SAFETY: made by the capture, and not used again.
                let destroyed = unsafe { cuda::graph::destroy(captured) };
                added.result().map_err(wrong("cuGraphAddChildGraphNode"))?;
                destroyed.map_err(wrong("cuGraphDestroy"))?;
            }
        }
        Ok(node)
    }

    /// What some work puts on the stream, as a graph; none of it runs.
    fn captured(&self, work: impl FnOnce() -> Result<(), DriverError>) -> Result<sys::CUgraph, DriverError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as `self`, and the capture ends below.
        unsafe { cuda::stream::begin_capture(self.stream, mode) }.map_err(wrong("cuStreamBeginCapture"))?;
        let done = work();
        // SAFETY: the capture was begun above.
        let graph = unsafe { cuda::stream::end_capture(self.stream) }.map_err(wrong("cuStreamEndCapture"));
        match (done, graph) {
            (Ok(()), Ok(graph)) if !graph.is_null() => Ok(graph),
            (Ok(()), Ok(_)) => Err(wrong("cuStreamEndCapture")("no graph")),
            (Ok(()), Err(error)) => Err(error),
            (Err(error), graph) => {
                if let Ok(graph) = graph {
                    // SAFETY: made by the capture, and not used again.
                    let _ = unsafe { cuda::graph::destroy(graph) };
                }
                Err(error)
            }
        }
    }

    /// Uses a launch as a graph takes it.
    fn with_launch<R>(
        &self,
        call: &Work,
        use_it: impl FnOnce(&sys::CUDA_KERNEL_NODE_PARAMS) -> Result<R, DriverError>,
    ) -> Result<R, DriverError> {
        let Work::Launch { kernel, launch, arguments } = call else {
            return Err(wrong("cuGraphAddKernelNode")("no launch"));
        };
        let Some(&func) = self.functions.get(kernel) else {
            return Err(wrong("cuGraphAddKernelNode")(format!("there is no `{kernel}`")));
        };
        // As for a launch by itself.
        let mut bits: Vec<u64> = arguments.iter().map(|argument| argument.bits).collect();
        let mut places: Vec<*mut c_void> = bits.iter_mut().map(|bits| from_mut(bits).cast()).collect();
        let &Launch { blocks: (x, y), threads, shared } = launch;
        use_it(&sys::CUDA_KERNEL_NODE_PARAMS {
            func,
            gridDimX: x,
            gridDimY: y,
            gridDimZ: 1,
            blockDimX: threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shared,
            kernelParams: places.as_mut_ptr(),
            extra: std::ptr::null_mut(),
            kern: std::ptr::null_mut(),
            ctx: std::ptr::null_mut(),
        })
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
        self.enter()?;
        let done = self.with_plan(product, |plan| {
            if let Some(bias) = product.bias {
                self.set_bias(plan.operation, bias)?;
            }
            self.run(plan, product)
        })?;
        match (done, product.bias) {
            (None, Some(bias)) => self.multiply_and_add(product, bias),
            _ => Ok(()),
        }
    }

    fn capture(&self, work: &[Work]) -> Result<Graph, DriverError> {
        self.enter()?;
        let graph = self.describe(work)?;
        let mut captured = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        let number = captured.next;
        captured.next += 1;
        captured.graphs.insert(number, graph);
        Ok(number)
    }

    fn replay(&self, graph: Graph, changed: &[(usize, &Work)]) -> Result<(), DriverError> {
        self.enter()?;
        let captured = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ReadyGraph { ready: Some(ready), nodes, .. }) = captured.graphs.get(&graph) else {
            return Err(wrong("cuGraphLaunch")("no graph of this number"));
        };
        for &(place, call) in changed {
            self.with_launch(call, |launch| {
                // SAFETY: the node is one of what the graph was made of, and a launch of the same kernel; arguments are
                // copied before the call returns, and a replay that still runs keeps its own.
                unsafe { sys::cuGraphExecKernelNodeSetParams_v2(*ready, nodes[place], launch) }
                    .result()
                    .map_err(wrong("cuGraphExecKernelNodeSetParams"))
            })?;
        }
        // SAFETY: graph and stream are there.
        unsafe { cuda::graph::launch(*ready, self.stream) }.map_err(wrong("cuGraphLaunch"))
    }

    fn release(&self, graph: Graph) {
        if self.enter().is_ok() {
            self.graphs.lock().unwrap_or_else(PoisonError::into_inner).graphs.remove(&graph);
        }
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
        self.graphs.get_mut().unwrap_or_else(PoisonError::into_inner).graphs.clear();
        let plans = self.plans.get_mut().unwrap_or_else(PoisonError::into_inner);
        plans.of_shape.drain().for_each(|(_, plan)| plan.destroy());
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
