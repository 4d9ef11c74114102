//! Products: cuBLASLt's plan for each shape, and the algorithms that are timed against each other.

use super::{Nvidia, WORKSPACE, wrong};
use crate::DType;
use crate::cuda::THREADS;
use crate::cuda::algorithms::{Algorithm, Algorithms};
use crate::cuda::arguments::{In, Kernel, Out};
use crate::cuda::driver::{Address, ColumnMajor, Driver, DriverError, Launch, Product};
use crate::cuda::kernels::AddBias;
use cudarc::cublaslt::{result as lt, sys as lt_sys};
use cudarc::driver::result as cuda;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::ptr::from_ref;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Algorithms that are timed against each other when the first shape of a class comes.
const CANDIDATES: usize = 8;
/// Multiplications of a candidate that are timed.
const TRIALS: usize = 3;
/// Plans that are kept: another number of rows is noisy in each step of training.
const MOST_PLANS: usize = 4096;

/// How products are computed.
pub(super) struct MatmulPlans {
    of_shape: HashMap<ColumnMajor, MatmulPlan>,
    algorithms: Algorithms,
}

impl MatmulPlans {
    /// None yet, of a library with these algorithms.
    pub(super) fn new(algorithms: Algorithms) -> Self {
        Self { of_shape: HashMap::new(), algorithms }
    }

    /// Gives all plans back.
    pub(super) fn clear(&mut self) {
        self.of_shape.drain().for_each(|(_, plan)| plan.destroy());
    }
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

    /// Plans a product that is made later, which times algorithms where its shape is new.
    pub(super) fn plan_ahead(&self, product: &Product) -> Result<(), DriverError> {
        self.with_plan(product, |_| Ok(())).map(|_| ())
    }

    /// See [`Driver::multiply`].
    pub(super) fn plan_and_multiply(&self, product: &Product) -> Result<(), DriverError> {
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
