//! Buffers of the interface, which are kept in up to two forms.
//!
//! In the precision bf16, products and attention read rounded numbers. A buffer of f32 therefore has an *image*: the same
//! elements rounded to bf16. An operation whose output others of these two kinds read writes the image only, half as many
//! bytes and nothing left to round; what adds to a gradient that a product reads too writes both forms at once; and what
//! was written in f32 is rounded when a product first reads it, once however many do. A master weight is rounded once
//! after each update in this manner.
//!
//! Whoever reads f32 of a buffer that has its image only reads the image widened: off by at most 2^-9 of itself. No other
//! device and nothing above this one knows of any of it.

use super::arguments::{In, Kernel, Out};
use super::driver::Address;
use super::kernels::{RoundToBf16, WidenBf16};
use super::memory::{Allocation, Array, Pool};
use super::{Cuda, Plain};
use crate::{DType, Precision};
use half::bf16;
use std::sync::{Arc, OnceLock};

/// Types of which there are buffers.
pub(super) trait Real: Plain {
    const DTYPE: DType;
}
impl Real for f32 {
    const DTYPE: DType = DType::F32;
}
impl Real for bf16 {
    const DTYPE: DType = DType::Bf16;
}

/// A flat array of real numbers on a GPU: f32 or bf16.
#[derive(Debug)]
pub struct GpuBuffer {
    len: usize,
    dtype: DType,
    /// In `dtype`; of a buffer of f32 only its image may be there.
    values: OnceLock<Allocation>,
    /// Rounded to bf16; only of a buffer of f32.
    image: OnceLock<Array<bf16>>,
    pool: Arc<Pool>,
}

/// Where an output goes: f32, its image, or both; a null pointer for what is not written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) wide: Out<f32>,
    pub(super) image: Out<bf16>,
}

impl From<Out<f32>> for Written {
    fn from(wide: Out<f32>) -> Self {
        Self { wide, image: Out::none() }
    }
}

impl Written {
    /// So many elements further.
    pub(super) fn skip(self, count: usize) -> Self {
        let wide = if self.wide.is_none() { self.wide } else { self.wide.skip(count) };
        Self { wide, image: if self.image.is_none() { self.image } else { self.image.skip(count) } }
    }
}

/// What is read by a kernel that takes either form: one is a null pointer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Either {
    pub(super) wide: In<f32>,
    pub(super) image: In<bf16>,
}

impl Either {
    /// So many elements further.
    pub(super) fn skip(self, count: usize) -> Self {
        let wide = if self.wide.is_none() { self.wide } else { self.wide.skip(count) };
        Self { wide, image: if self.image.is_none() { self.image } else { self.image.skip(count) } }
    }
}

impl From<In<f32>> for Either {
    fn from(wide: In<f32>) -> Self {
        Self { wide, image: In::none() }
    }
}

impl From<In<bf16>> for Either {
    fn from(image: In<bf16>) -> Self {
        Self { wide: In::none(), image }
    }
}

impl<T: Real> From<Array<T>> for GpuBuffer {
    fn from(array: Array<T>) -> Self {
        let (values, len) = array.into_parts();
        let (pool, image) = (Arc::clone(values.pool()), OnceLock::new());
        Self { len, dtype: T::DTYPE, values: OnceLock::from(values), image, pool }
    }
}

impl GpuBuffer {
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.len
    }
    /// What it holds for those who use it.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it lies, to be read.
    ///
    /// # Panics
    /// On a buffer of other numbers.
    pub(super) fn input<T: Real>(&self) -> In<T> {
        self.check::<T>();
        In::new(self.own())
    }

    /// Where it lies, to be written, and perhaps read before; its image is forgotten.
    ///
    /// # Panics
    /// On a buffer of other numbers.
    pub(super) fn output<T: Real>(&mut self) -> Out<T> {
        self.check::<T>();
        let own = self.own();
        self.image.take();
        Out::new(own)
    }

    /// As it lies, for a kernel that takes either form.
    ///
    /// # Panics
    /// On a buffer of bf16 for those who use it.
    pub(super) fn either(&self) -> Either {
        self.check::<f32>();
        match (self.values.get(), self.image.get()) {
            (None, Some(image)) => image.input().into(),
            _ => self.input::<f32>().into(),
        }
    }

    /// Its elements in bf16, rounded if they have not been.
    pub(super) fn rounded(&self) -> In<bf16> {
        if self.dtype == DType::Bf16 {
            return self.input();
        }
        let round = || {
            let (image, x) = (self.room_for_image(), self.input());
            self.each(|count| RoundToBf16 { count, x, out: image.output() });
            image
        };
        self.image.get_or_init(round).input()
    }

    /// Whether its image is all that there is.
    pub(super) fn is_image(&self) -> bool {
        self.values.get().is_none()
    }

    /// Where its image lies, every element of which is written: from now on that is all there is.
    ///
    /// # Panics
    /// On a buffer of bf16 for those who use it.
    pub(super) fn image_output(&mut self) -> Out<bf16> {
        self.check::<f32>();
        let image = self.image.get_or_init(|| self.room_for_image()).output();
        self.values.take();
        image
    }

    /// Both forms, which are written alike; the first may be read before.
    ///
    /// # Panics
    /// On a buffer of bf16 for those who use it.
    pub(super) fn both_outputs(&mut self) -> Written {
        self.check::<f32>();
        let wide = Out::new(self.own());
        Written { wide, image: self.image.get_or_init(|| self.room_for_image()).output() }
    }

    /// The forms that there are, which are written alike; the first may be read before.
    ///
    /// # Panics
    /// On a buffer of bf16 for those who use it.
    pub(super) fn present_outputs(&mut self) -> Written {
        self.check::<f32>();
        Written { wide: Out::new(self.own()), image: self.image.get().map_or(Out::none(), Array::output) }
    }

    fn check<T: Real>(&self) {
        assert!(self.dtype == T::DTYPE, "a buffer of {:?} is taken for one of {:?}", self.dtype, T::DTYPE);
    }

    /// Where its own numbers are, widened if only the image is there.
    fn own(&self) -> Address {
        let widen = || {
            let values = self.pool.must_take(self.len * size_of::<f32>());
            if let Some(image) = self.image.get() {
                self.each(|count| WidenBf16 { count, x: image.input(), out: Out::new(values.at()) });
            }
            values
        };
        self.values.get_or_init(widen).at()
    }

    fn room_for_image(&self) -> Array<bf16> {
        Array::new(self.pool.must_take(self.len * size_of::<bf16>()), self.len)
    }

    /// One thread for each element.
    fn each<K: Kernel>(&self, kernel: impl FnOnce(i64) -> K) {
        self.pool.launch_each(self.len, kernel);
    }
}

impl Cuda {
    /// Where an output goes that products or attention read: in bf16 in its image, and nowhere else.
    pub(super) fn for_products(&self, out: &mut GpuBuffer) -> Written {
        match self.precision {
            Precision::F32 => out.output::<f32>().into(),
            Precision::Bf16 => Written { wide: Out::none(), image: out.image_output() },
        }
    }

    /// Where an output goes that products read and others, too.
    pub(super) fn for_all(&self, out: &mut GpuBuffer) -> Written {
        match self.precision {
            Precision::F32 => out.output::<f32>().into(),
            Precision::Bf16 => out.both_outputs(),
        }
    }
}
