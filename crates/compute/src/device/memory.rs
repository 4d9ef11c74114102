//! Memory of a device: buffers of real numbers, lists of rows or tokens, and visibilities.

use super::{Connection, DType, DeviceError, Element};
use crate::Visibility;
use std::fmt::Debug;

/// Part of a buffer, in elements.
#[derive(Debug)]
pub struct Part<'a, B: ?Sized> {
    /// Of what.
    pub buffer: &'a B,
    /// Its first element.
    pub first: usize,
    /// How many.
    pub len: usize,
}

/// Neighbouring columns of a row-major matrix.
#[derive(Debug)]
pub struct Columns<'a, B: ?Sized> {
    /// The matrix.
    pub buffer: &'a B,
    /// Columns of the matrix: the distance between two rows.
    pub stride: usize,
    /// The first of the columns.
    pub first: usize,
}

impl<'a, B: ?Sized> Part<'a, B> {
    /// All elements of a buffer that has so many.
    pub fn all(buffer: &'a B, len: usize) -> Self {
        Self { buffer, first: 0, len }
    }
}

impl<'a, B: ?Sized> Columns<'a, B> {
    /// All columns of a matrix that has so many.
    pub fn all(buffer: &'a B, columns: usize) -> Self {
        Self { buffer, stride: columns, first: 0 }
    }
}

impl<'a, B: ?Sized> Columns<'a, B> {
    /// The same with another view of the buffer.
    pub(crate) fn map<C: ?Sized>(self, view: impl Fn(&'a B) -> &'a C) -> Columns<'a, C> {
        Columns { buffer: view(self.buffer), stride: self.stride, first: self.first }
    }
}

/// Where buffers live and how they are filled.
///
/// Buffers hold the device's own numbers ([`Memory::Element`]) where nothing else is said. The methods of this trait take
/// buffers of bf16, too; those of the other traits take the device's own only, unless they say otherwise.
pub trait Memory: Clone + Debug + Send + Sync + 'static {
    /// Element type of the exchange with the host.
    type Element: Element;
    /// A flat array on the device.
    type Buffer: Debug + Send + Sync;
    /// Rows of a matrix, tokens or positions, on the device: uploaded once for all operations of a pass.
    type Indices: Debug + Send + Sync;
    /// A [`Visibility`] on the device: uploaded once for all layers of a pass.
    type Visible: Debug + Send + Sync;

    /// One line for people: device, path, precision, threads.
    fn describe(&self) -> String;
    /// Whether buffers are in the memory of the host, so that rows get to them without a transfer.
    fn is_host(&self) -> bool;
    /// Its connection with the devices of other ranks; those that have none exchange through their hosts.
    fn connection(&self) -> Option<&dyn Connection<Self::Buffer>> {
        None
    }

    /// A buffer of `len` zeros.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn zeros(&self, len: usize) -> Result<Self::Buffer, DeviceError>;
    /// A buffer of `len` elements of any value, for an output that is wholly overwritten.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn uninitialised(&self, len: usize) -> Result<Self::Buffer, DeviceError>;
    /// The same in other numbers: the device's own or bf16.
    ///
    /// # Errors
    /// When the device lacks the memory.
    ///
    /// # Panics
    /// On numbers that the device keeps no buffers of.
    fn uninitialised_as(&self, dtype: DType, len: usize) -> Result<Self::Buffer, DeviceError>;
    /// A buffer with these values.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn upload(&self, values: &[Self::Element]) -> Result<Self::Buffer, DeviceError>;
    /// Overwrites a buffer of the same length, each value rounded to the nearest that it holds, ties to even.
    fn write(&self, buffer: &mut Self::Buffer, values: &[Self::Element]);
    /// The values of a buffer, widened where it holds fewer bits.
    fn download(&self, buffer: &Self::Buffer) -> Vec<Self::Element>;
    /// Number of elements.
    fn len(&self, buffer: &Self::Buffer) -> usize;
    /// The numbers that a buffer holds.
    fn dtype(&self, buffer: &Self::Buffer) -> DType;
    /// Sets all elements to zero.
    fn clear(&self, buffer: &mut Self::Buffer);
    /// The same of each of several buffers, at once where that saves launches.
    fn clear_all(&self, buffers: &mut [Self::Buffer]);
    /// Overwrites `to` by `from`, which is as long, each element rounded to the nearest that `to` holds, ties to even.
    fn convert(&self, from: &Self::Buffer, to: &mut Self::Buffer);
    /// Overwrites elements of `to`, which holds the same numbers, from `first` on.
    fn copy(&self, from: Part<'_, Self::Buffer>, to: &mut Self::Buffer, first: usize);

    /// A list on the device.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn upload_indices(&self, values: &[u32]) -> Result<Self::Indices, DeviceError>;
    /// Length of a list.
    fn count(&self, indices: &Self::Indices) -> usize;
    /// A visibility on the device.
    ///
    /// # Errors
    /// When the device lacks the memory.
    fn upload_visibility(&self, visibility: &Visibility) -> Result<Self::Visible, DeviceError>;
}
