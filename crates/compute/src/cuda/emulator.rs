//! A driver without a GPU, for tests: memory is the host's, kernels are compiled by a C++ compiler, products are loops.
//! It remembers what was launched.

use super::Cuda;
use super::algorithms::{Algorithm, Algorithms};
use super::arguments::Argument;
use super::driver::{Address, ColumnMajor, Driver, DriverError, GpuFacts, Graph, Launch, Product, Work};
use super::kernels;
use super::nccl;
use crate::DType;
use libloading::Library;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

type SignatureFunction = unsafe extern "C" fn(*const c_char) -> *const c_char;
type LaunchFunction = unsafe extern "C" fn(*const c_char, u32, u32, u32, u32, *mut *mut c_void) -> c_int;
type TroubleFunction = unsafe extern "C" fn() -> *const c_char;
type CountFunction = unsafe extern "C" fn() -> u64;
type RecordedFunction = unsafe extern "C" fn(*mut c_void) -> *const c_char;

/// Bytes of shared memory that a block may ask for; a kibibyte is left for what its kernel has by itself.
pub(super) const MOST_SHARED: u32 = super::nvidia::SHARED as u32 - 1024;

/// What lies in memory that nothing wrote, as in `emulated.h`.
const UNWRITTEN: u32 = 0xffe5_ffe5;

/// Calls of the driver, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Call {
    Launch(&'static str, Launch),
    Multiply(ColumnMajor),
    Read(usize),
    /// Of how many calls, which follow.
    Replay(usize),
    Clear(usize),
    Write(usize),
}

/// How shared memory was used: what was copied there asynchronously, and how matrices were read, eight rows at once,
/// each from banks of its own or not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct SharedUse {
    /// Copies of up to 16 bytes, but for those of zeros only.
    pub(super) copies: u64,
    /// Accesses of eight rows.
    pub(super) accesses: u64,
    /// Turns that they took beyond one each.
    pub(super) conflicts: u64,
}

#[derive(Debug)]
pub(super) struct Emulator {
    facts: GpuFacts,
    uuid: u128,
    memory: Mutex<HashMap<Address, Vec<u128>>>,
    calls: Mutex<Vec<Call>>,
    shared_use: Mutex<SharedUse>,
    /// Bytes that there are.
    limit: usize,
    /// Where products are not exact sums, rounded once.
    library: Option<ProductLibrary>,
    graphs: Mutex<HashMap<Graph, Vec<Work>>>,
    /// Graphs so far.
    captured: AtomicU64,
    /// Graphs that may be captured, and calls that may be changed in them; then it fails.
    patience: (u64, usize),
}

/// The kernels for this processor, compiled once; `None` where there is no C++ compiler.
///
/// # Panics
/// Under `CI` where there is none: what is not tested must not look as if it were.
fn library() -> Option<&'static Mutex<Library>> {
    static LIBRARY: OnceLock<Option<Mutex<Library>>> = OnceLock::new();
    let compile = || {
        // SAFETY: just made from our own source, which initialises nothing of others'.
        let open = |object: &Path| Mutex::new(unsafe { Library::new(object) }.unwrap());
        // Calls at each access, which the source itself has.
        compiled("kernels", &kernels::emulated_source(), &["-fsanitize=thread", "-fno-threadsafe-statics"], open)
    };
    LIBRARY.get_or_init(compile).as_ref()
}

/// A source compiled for this processor, as it is opened; `None` where there is no C++ compiler.
fn compiled<T>(name: &str, source: &str, checks: &[&str], open: impl Fn(&Path) -> T) -> Option<T> {
    let folder = std::env::temp_dir().join(format!("aquatint-emulator-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [file, object, shared] = ["cpp", "o", "so"].map(|kind| folder.join("source").with_extension(kind));
    std::fs::write(&file, source).unwrap();
    let arguments =
        ["-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-fno-strict-aliasing", "-ffp-contract=off", "-fPIC", "-w"];
    let compiler = || Command::new(std::env::var_os("CXX").map_or_else(|| PathBuf::from("c++"), PathBuf::from));
    let output = compiler().args(arguments).args(checks).arg("-c").arg(&file).arg("-o").arg(&object).output();
    if let (Err(error), true) = (&output, std::env::var_os("CI").is_some()) {
        panic!("CI is set, and there is no C++ compiler (`CXX` or `c++`) to emulate a GPU with: {error}");
    }
    let output = output.ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Without the checks, whose library would come with them.
    let output = compiler().arg("-shared").arg(&object).arg("-o").arg(&shared).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let opened = open(&shared);
    std::fs::remove_dir_all(&folder).unwrap();
    Some(opened)
}

/// NCCL for threads of this process, compiled once.
fn nccl_library() -> Option<&'static nccl::Library> {
    static LIBRARY: OnceLock<Option<nccl::Library>> = OnceLock::new();
    let compile = || compiled("nccl", include_str!("emulated_nccl.cpp"), &[], |object| nccl::Library::open(&[object]));
    LIBRARY.get_or_init(|| compile().flatten()).as_ref()
}

/// What a rank of it was called with.
pub(super) fn nccl_calls(communicator: &nccl::Communicator) -> Vec<String> {
    let (library, communicator) = communicator.parts();
    // SAFETY: the function has this type, and its text ends with a zero and stays until the next call.
    let text = unsafe { CStr::from_ptr(library.get::<RecordedFunction>(b"recorded").unwrap()(communicator)) };
    text.to_string_lossy().lines().map(str::to_owned).collect()
}

/// The types that a kernel's source says it takes; `None` for what is none.
pub(super) fn signature(kernel: &str) -> Option<String> {
    let name = CString::new(kernel).ok()?;
    let library = library()?.lock().unwrap();
    // SAFETY: the function has this type, and what it returns ends with a zero and stays.
    unsafe {
        let function = library.get::<SignatureFunction>(b"signature").unwrap();
        let text = function(name.as_ptr());
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    }
}

impl Cuda {
    /// The GPUs that tests are to use: an emulated one where there is a C++ compiler, and the first real one where
    /// `AQUATINT_GPU` is set.
    ///
    /// # Panics
    /// When `AQUATINT_GPU` is set and there is none.
    pub fn tested() -> Vec<Self> {
        // Opening a GPU takes a second, and compiling its kernels some more: once in a process, and kept on disk.
        static REAL: OnceLock<Cuda> = OnceLock::new();
        let mut devices: Vec<Self> = Emulator::new(1 << 30).map(|driver| Self::on(driver)).into_iter().collect();
        if std::env::var_os("AQUATINT_GPU").is_some() {
            let folder = std::env::temp_dir().join("aquatint-kernels");
            let open = || Self::new(0, Some(&folder)).unwrap_or_else(|error| panic!("AQUATINT_GPU is set: {error}"));
            devices.push(REAL.get_or_init(open).clone());
        }
        devices
    }
}

impl Cuda {
    /// An emulated GPU whose products are summed in the order of an algorithm that was chosen by its speed, as on a real
    /// one, and is kept in `folder`. `clock` stands for what clocks say in a process: with another one other algorithms
    /// are the fastest. `None` where there is no C++ compiler.
    pub fn emulated(folder: Option<&Path>, clock: u64) -> Option<Self> {
        let driver = Emulator::new(1 << 30)?;
        let library = ProductLibrary { algorithms: Mutex::new(Algorithms::open(folder, "emulated")), clock };
        let driver = Arc::into_inner(driver).map(|driver| Emulator { library: Some(library), ..driver })?;
        Some(Self::on(Arc::new(driver)))
    }
}

/// What an emulated GPU is asked to do.
#[derive(Debug)]
pub struct Watched(Arc<Emulator>);

impl Watched {
    /// How often each kernel was launched since the last time, and memory cleared, copied to the GPU and read from it
    /// (`clear`, `write` and `read`), and products computed (`multiply`).
    pub fn calls(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for call in std::mem::take(&mut *self.0.calls.lock().unwrap()) {
            let name = match call {
                Call::Launch(kernel, _) => kernel,
                Call::Multiply(_) => "multiply",
                Call::Read(_) => "read",
                Call::Clear(_) => "clear",
                Call::Write(_) => "write",
                Call::Replay(_) => "replay",
            };
            *counts.entry(name).or_insert(0) += 1;
        }
        counts
    }
}

impl Cuda {
    /// An emulated GPU, and what it is asked to do. `None` where there is no C++ compiler.
    pub fn watched() -> Option<(Self, Watched)> {
        let driver = Emulator::new(1 << 30)?;
        Some((Self::on(Arc::clone(&driver) as _), Watched(driver)))
    }
}

impl Emulator {
    /// `None`, said on standard error, where there is no C++ compiler.
    pub(super) fn new(limit: usize) -> Option<Arc<Self>> {
        if library().is_none() {
            eprintln!("skipped: there is no C++ compiler here (`CXX` or `c++`) to emulate a GPU with");
            return None;
        }
        let facts =
            GpuFacts { ordinal: 0, name: "emulated".to_owned(), capability: (9, 0), memory: limit, driver: 13000 };
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let uuid = u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
        let (memory, calls, shared_use) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (graphs, captured, patience) = (Mutex::default(), AtomicU64::new(0), (u64::MAX, usize::MAX));
        Some(Arc::new(Self {
            facts,
            uuid,
            memory,
            calls,
            shared_use,
            limit,
            library: None,
            graphs,
            captured,
            patience,
        }))
    }

    /// One that fails when more graphs are captured, or more calls of one are changed, than it has patience for.
    #[cfg(test)]
    pub(super) fn impatient(patience: (u64, usize)) -> Option<Arc<Self>> {
        Arc::into_inner(Self::new(1 << 30)?).map(|driver| Arc::new(Self { patience, ..driver }))
    }

    /// Graphs that were captured and not given back.
    #[cfg(test)]
    pub(super) fn graphs(&self) -> usize {
        self.graphs.lock().unwrap().len()
    }

    /// Calls since the last time.
    #[cfg(test)]
    pub(super) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Uses of shared memory since the last time.
    #[cfg(test)]
    pub(super) fn shared_use(&self) -> SharedUse {
        std::mem::take(&mut self.shared_use.lock().unwrap())
    }

    /// Bytes that are lent out.
    pub(super) fn held(&self) -> usize {
        self.memory.lock().unwrap().values().map(|memory| memory.len() * 16).sum()
    }

    fn record(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }

    /// That the bytes are within one piece of memory.
    fn check(&self, at: Address, bytes: usize) {
        let memory = self.memory.lock().unwrap();
        let inside = |(&start, memory): (&Address, &Vec<u128>)| {
            start <= at && at + bytes as u64 <= start + memory.len() as u64 * 16
        };
        assert!(memory.iter().any(inside), "{bytes} bytes at {at:#x} are not the device's");
    }

    fn values(&self, dtype: DType, at: Address, count: usize) -> Vec<f64> {
        let width = dtype.bytes();
        self.check(at, count * width);
        // SAFETY: checked above.
        let bytes = unsafe { std::slice::from_raw_parts(at as *const u8, count * width) };
        let unwritten = bytes.chunks_exact(width).position(|value| *value == UNWRITTEN.to_le_bytes()[..width.min(4)]);
        assert_eq!(unwritten, None, "a product reads an element that nothing wrote");
        match dtype {
            DType::F32 => {
                bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect()
            }
            DType::Bf16 => bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f64()).collect(),
            DType::F64 => panic!("products are of f32 or bf16, not of {dtype:?}"),
        }
    }
}

/// From now on nothing wrote this memory.
fn forget(memory: &mut [u128]) {
    memory.fill(u128::from(UNWRITTEN) * 0x0000_0001_0000_0001_0000_0001_0000_0001);
}

impl Driver for Emulator {
    fn facts(&self) -> &GpuFacts {
        &self.facts
    }
    fn allocate(&self, bytes: usize) -> Result<Address, DriverError> {
        let free = self.limit - self.held();
        if bytes > free {
            return Err(DriverError::OutOfMemory { requested: bytes, free });
        }
        let mut memory = vec![0; bytes.div_ceil(16)];
        forget(&mut memory);
        let at = memory.as_mut_ptr() as Address;
        self.memory.lock().unwrap().insert(at, memory);
        Ok(at)
    }
    fn free(&self, at: Address) {
        assert!(self.memory.lock().unwrap().remove(&at).is_some(), "{at:#x} was given back twice");
    }
    fn forget(&self, at: Address, bytes: usize) {
        self.check(at, bytes);
        // SAFETY: checked above, and memory is whole numbers of 16 bytes.
        forget(unsafe { std::slice::from_raw_parts_mut(at as *mut u128, bytes / 16) });
    }
    fn write(&self, at: Address, bytes: &[u8]) -> Result<(), DriverError> {
        self.check(at, bytes.len());
        self.record(Call::Write(bytes.len()));
        // SAFETY: checked above; the host's bytes are elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
        Ok(())
    }
    fn read(&self, at: Address, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.check(at, bytes.len());
        self.record(Call::Read(bytes.len()));
        // SAFETY: checked above; the host's bytes are elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(at as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }
    fn clear(&self, at: Address, bytes: usize) -> Result<(), DriverError> {
        self.check(at, bytes);
        self.record(Call::Clear(bytes));
        // SAFETY: checked above.
        unsafe { std::ptr::write_bytes(at as *mut u8, 0, bytes) };
        Ok(())
    }
    fn launch(&self, kernel: &'static str, launch: Launch, arguments: &[Argument]) -> Result<(), DriverError> {
        assert!(launch.blocks.0 > 0 && launch.blocks.1 > 0 && launch.blocks.1 <= 65_535, "{kernel}: {launch:?}");
        assert!(launch.threads > 0 && launch.threads <= 1024 && launch.shared <= MOST_SHARED, "{kernel}: {launch:?}");
        let types: Vec<&str> = arguments.iter().map(|argument| argument.type_name).collect();
        let (given, taken) = (types.join(", "), signature(kernel));
        if taken.as_deref() != Some(given.as_str()) {
            let taken = taken.map_or("is no kernel".to_owned(), |taken| format!("takes ({taken})"));
            let reason = format!("`{kernel}` {taken}; given: ({given})");
            return Err(DriverError::Failed { call: "launch", reason });
        }
        self.record(Call::Launch(kernel, launch));
        // Each is read as the type that the kernel names, from its lowest byte on.
        let mut values: Vec<u64> = arguments.iter().map(|argument| argument.bits).collect();
        let mut pointers: Vec<*mut c_void> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        let name = CString::new(kernel).unwrap();
        let library = library().unwrap().lock().unwrap();
        let Launch { blocks: (x, y), threads, shared } = launch;
        // SAFETY: the functions have these types; arguments are as many and of the types that the kernel takes; a
        // text ends with a zero and stays until the next launch, for which the lock has to be free.
        let (unknown, trouble, copies, accesses, conflicts) = unsafe {
            let function = library.get::<LaunchFunction>(b"launch").unwrap();
            let unknown = function(name.as_ptr(), x, y, threads, shared, pointers.as_mut_ptr());
            let trouble = library.get::<TroubleFunction>(b"trouble").unwrap()();
            let count = |name: &[u8]| library.get::<CountFunction>(name).unwrap()();
            let trouble = CStr::from_ptr(trouble).to_string_lossy().into_owned();
            (unknown, trouble, count(b"copied"), count(b"accesses"), count(b"conflicts"))
        };
        drop(library);
        assert_eq!(unknown, 0, "there is no kernel `{kernel}`");
        let mut shared_use = self.shared_use.lock().unwrap();
        shared_use.copies += copies;
        shared_use.accesses += accesses;
        shared_use.conflicts += conflicts;
        if trouble.is_empty() {
            return Ok(());
        }
        Err(DriverError::Failed { call: "launch", reason: format!("`{kernel}`, {trouble}") })
    }
    fn multiply(&self, product: &Product) -> Result<(), DriverError> {
        let blas = product.column_major();
        self.record(Call::Multiply(blas));
        let parts = self.library.as_ref().map(|library| library.parts(&blas));
        let [a_layout, b_layout, _] = blas.layouts();
        let (a_len, b_len, out_len) = (a_layout.0 * a_layout.1, b_layout.0 * b_layout.1, blas.m * blas.n);
        let a = self.values(blas.dtype, product.right.at, blas.batch * a_len);
        let b = self.values(blas.dtype, product.left.at, blas.batch * b_len);
        let bias = product.bias.map(|at| self.values(DType::F32, at, blas.m));
        self.check(product.out, blas.batch * out_len * 4);
        let added = product.added.map(|at| self.values(DType::F32, at, blas.batch * out_len)).unwrap_or_default();
        let at = |transposed: bool, leading: usize, row: usize, column: usize| {
            if transposed { column + row * leading } else { row + column * leading }
        };
        let mut out = vec![0.0_f32; blas.batch * out_len];
        for (which, out) in out.chunks_exact_mut(out_len.max(1)).enumerate() {
            let (a, b) = (&a[which * a_len..], &b[which * b_len..]);
            for n in 0..blas.n {
                for m in 0..blas.m {
                    let mut sum = bias.as_ref().map_or(0.0, |bias| bias[m]);
                    sum += added.get(which * out_len + m + n * blas.m).copied().unwrap_or_default();
                    let term = |k: usize| {
                        a[at(blas.a_transposed, a_layout.0, m, k)] * b[at(blas.b_transposed, b_layout.0, k, n)]
                    };
                    sum = match parts {
                        None => (0..blas.k).fold(sum, |sum, k| sum + term(k)),
                        Some(parts) => {
                            let part = |first: usize| {
                                let terms = (first..blas.k).step_by(parts);
                                f64::from(terms.fold(0.0_f32, |sum, k| sum + term(k) as f32))
                            };
                            (0..parts).fold(sum, |sum, first| f64::from((sum + part(first)) as f32))
                        }
                    };
                    out[m + n * blas.m] = sum as f32;
                }
            }
        }
        let bytes: Vec<u8> = out.iter().flat_map(|value| value.to_le_bytes()).collect();
        // SAFETY: checked above.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), product.out as *mut u8, bytes.len()) };
        Ok(())
    }
    fn wait(&self) -> Result<(), DriverError> {
        Ok(())
    }
    fn uuid(&self) -> Result<[u8; 16], DriverError> {
        Ok(self.uuid.to_le_bytes())
    }
    fn nccl(&self) -> Option<&'static nccl::Library> {
        nccl_library()
    }
    fn stream(&self) -> Result<*mut c_void, DriverError> {
        Ok(std::ptr::null_mut())
    }
    fn capture(&self, work: &[Work]) -> Result<Graph, DriverError> {
        let graph = self.captured.fetch_add(1, Ordering::Relaxed);
        if graph >= self.patience.0 {
            return Err(DriverError::Failed { call: "capture", reason: "no patience is left".to_owned() });
        }
        self.graphs.lock().unwrap().insert(graph, work.to_vec());
        Ok(graph)
    }
    fn replay(&self, graph: Graph, changed: &[(usize, &Work)]) -> Result<(), DriverError> {
        if changed.len() > self.patience.1 {
            return Err(DriverError::Failed { call: "replay", reason: "no patience is left".to_owned() });
        }
        let work = {
            let mut graphs = self.graphs.lock().unwrap();
            let work = graphs.get_mut(&graph).expect("a graph that is there");
            for &(place, call) in changed {
                let (Work::Launch { kernel: one, .. }, Work::Launch { kernel: other, .. }) = (&work[place], call)
                else {
                    panic!("{:?} cannot become {call:?}", work[place]);
                };
                assert_eq!(one, other, "a launch stays one of its kernel");
                work[place] = call.clone();
            }
            work.clone()
        };
        self.record(Call::Replay(work.len()));
        // With what it was captured with, not with what anybody asks for now.
        work.iter().try_for_each(|call| call.run(self))
    }
    fn release(&self, graph: Graph) {
        assert!(self.graphs.lock().unwrap().remove(&graph).is_some(), "graph {graph} was given back twice");
    }
}

/// A library of products whose algorithms differ in their bits, and of which another one seems to be the fastest in each
/// process.
#[derive(Debug)]
struct ProductLibrary {
    algorithms: Mutex<Algorithms>,
    /// What clocks say in this process.
    clock: u64,
}

impl ProductLibrary {
    /// Into how many parts the algorithm for a shape cuts a sum; half of them take sums of even length only.
    fn parts(&self, shape: &ColumnMajor) -> usize {
        let can_take = |algorithm: &Algorithm| algorithm[0] % 2 == 1 || shape.k.is_multiple_of(2);
        let choose = || {
            let fastest = 1 + (self.clock + (shape.m + shape.k) as u64) % 4;
            let odd = if shape.k.is_multiple_of(2) { 0 } else { (fastest + 1) % 2 };
            Ok::<_, Infallible>([fastest + odd, 0, 0, 0, 0, 0, 0, 0])
        };
        let mut algorithms = self.algorithms.lock().unwrap();
        let Ok(algorithm) = algorithms.of(&ColumnMajor { accumulate: false, ..*shape }, can_take, choose);
        algorithm[0] as usize
    }
}
