//! Arguments of kernels, each with the type that the kernel's source names, so that a launch cannot pass another.

use super::driver::Address;
use half::bf16;
use std::marker::PhantomData;

/// One argument: its bits, and its type as CUDA C++ writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Argument {
    pub(super) type_name: &'static str,
    /// From the lowest on as many as the type has.
    pub(super) bits: u64,
}

impl Argument {
    /// Whether it says where something lies.
    pub(super) fn is_address(&self) -> bool {
        self.type_name.ends_with('*')
    }

    /// Whether it says where a table of addresses lies.
    pub(super) fn is_table(&self) -> bool {
        self.type_name == <In<i64> as Typed>::NAME
    }
}

/// A Rust type that stands for one of CUDA C++.
pub(super) trait Typed: Copy {
    /// How CUDA C++ writes it.
    const NAME: &'static str;
    /// The bits.
    fn bits(self) -> u64;
    /// As an argument.
    fn argument(self) -> Argument {
        Argument { type_name: Self::NAME, bits: self.bits() }
    }
}

/// What an address points to.
pub(super) trait Pointee: Copy {
    /// An address of what is only read, and of what is written.
    const NAMES: [&'static str; 2];
}

macro_rules! pointee {
    ($($type:ty: $read:literal, $write:literal;)*) => {
        $(impl Pointee for $type { const NAMES: [&'static str; 2] = [$read, $write]; })*
    };
}
pointee! {
    f32: "const float*", "float*";
    f64: "const double*", "double*";
    u32: "const u32*", "u32*";
    i64: "const i64*", "i64*";
    bf16: "const u16*", "u16*";
    u8: "const u8*", "u8*";
    i8: "const signed char*", "signed char*";
}

/// Where something lies that a kernel reads.
#[derive(Debug)]
pub(super) struct In<T>(pub(super) Address, PhantomData<T>);

/// Where something lies that a kernel writes, and may read.
#[derive(Debug)]
pub(super) struct Out<T>(pub(super) Address, PhantomData<T>);

impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for In<T> {}
impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Out<T> {}

impl<T> In<T> {
    pub(super) fn new(at: Address) -> Self {
        Self(at, PhantomData)
    }
    /// Nothing: a null pointer.
    pub(super) fn none() -> Self {
        Self::new(0)
    }
    /// Whether it is nothing.
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }
    /// So many elements further.
    pub(super) fn skip(self, count: usize) -> Self {
        Self::new(self.0 + (count * size_of::<T>()) as u64)
    }
}

impl<T> Out<T> {
    pub(super) fn new(at: Address) -> Self {
        Self(at, PhantomData)
    }
    /// Nothing: a null pointer.
    pub(super) fn none() -> Self {
        Self::new(0)
    }
    /// Whether it is nothing.
    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }
    /// So many elements further.
    pub(super) fn skip(self, count: usize) -> Self {
        Self::new(self.0 + (count * size_of::<T>()) as u64)
    }
    /// To be read.
    pub(super) fn input(self) -> In<T> {
        In::new(self.0)
    }
}

impl<T: Pointee> Typed for In<T> {
    const NAME: &'static str = T::NAMES[0];
    fn bits(self) -> u64 {
        self.0
    }
}

impl<T: Pointee> Typed for Out<T> {
    const NAME: &'static str = T::NAMES[1];
    fn bits(self) -> u64 {
        self.0
    }
}

macro_rules! number {
    ($($type:ty: $name:literal, $value:ident => $bits:expr;)*) => {
        $(impl Typed for $type {
            const NAME: &'static str = $name;
            fn bits(self) -> u64 {
                let $value = self;
                $bits
            }
        })*
    };
}
number! {
    i32: "int", value => u64::from(value as u32);
    u32: "u32", value => u64::from(value);
    i64: "i64", value => value as u64;
    f32: "float", value => u64::from(value.to_bits());
}

/// The arguments of a kernel, or of several that take the same.
pub(super) trait Kernel {
    /// The kernels' names.
    const NAMES: &'static [&'static str];
    /// The types of the arguments, in order.
    const TYPES: &'static [&'static str];
    /// The arguments, in order.
    fn arguments(&self) -> Vec<Argument>;
}

/// Declares the arguments of kernels: a structure for each, and the list of all.
macro_rules! kernels {
    ($($(#[$doc:meta])* $arguments:ident = $($name:ident)|+ { $($field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            pub(super) struct $arguments { $(pub(super) $field: $type),* }

            impl $crate::cuda::arguments::Kernel for $arguments {
                const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];
                const TYPES: &'static [&'static str] = &[$(<$type as $crate::cuda::arguments::Typed>::NAME),*];
                fn arguments(&self) -> Vec<$crate::cuda::arguments::Argument> {
                    vec![$($crate::cuda::arguments::Typed::argument(self.$field)),*]
                }
            }
        )*

        /// Names and types of all kernels: those that take the same in one entry.
        pub(super) const ALL: &[(&[&str], &[&str])] = &[
            $((
                <$arguments as $crate::cuda::arguments::Kernel>::NAMES,
                <$arguments as $crate::cuda::arguments::Kernel>::TYPES,
            )),*
        ];
    };
}
pub(super) use kernels;
