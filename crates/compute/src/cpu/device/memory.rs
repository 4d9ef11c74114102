//! Buffers, lists and visibilities in the memory of the host.

use crate::cpu::{Buffer, Cpu};
use crate::{DType, DeviceError, Element, Memory, Part, Visibility};
use half::bf16;

/// Rounds each value to the nearest of bf16, ties to even.
fn round<E: Element>(values: &[E], to: &mut [bf16]) {
    for (to, value) in to.iter_mut().zip(values) {
        // Through f32, as the f64 conversion of `half` looks at the upper 32 bits only.
        *to = bf16::from_f32(value.to_f64() as f32);
    }
}

impl<E: Element> Memory for Cpu<E> {
    type Element = E;
    type Buffer = Buffer<E>;
    type Indices = Vec<u32>;
    type Visible = Visibility;

    fn describe(&self) -> String {
        let threads = match self.threads() {
            1 => "1 thread".to_owned(),
            threads => format!("{threads} threads"),
        };
        format!("cpu ({}, products in {}, {threads})", self.path, self.precision)
    }

    fn is_host(&self) -> bool {
        true
    }

    fn zeros(&self, len: usize) -> Result<Buffer<E>, DeviceError> {
        let mut buffer = self.arena.take(len)?;
        self.clear(&mut buffer);
        Ok(buffer)
    }
    fn uninitialised(&self, len: usize) -> Result<Buffer<E>, DeviceError> {
        self.arena.take(len)
    }
    fn uninitialised_as(&self, dtype: DType, len: usize) -> Result<Buffer<E>, DeviceError> {
        assert!(dtype == E::DTYPE || dtype == DType::Bf16, "there are no buffers of {dtype:?} on this device");
        self.arena.take_as(dtype, len)
    }
    fn upload(&self, values: &[E]) -> Result<Buffer<E>, DeviceError> {
        let mut buffer = self.arena.take(values.len())?;
        self.write(&mut buffer, values);
        Ok(buffer)
    }
    fn write(&self, buffer: &mut Buffer<E>, values: &[E]) {
        match buffer.dtype() {
            DType::Bf16 => round(values, buffer.as_mut_bf16()),
            _ => buffer.as_mut_slice().copy_from_slice(values),
        }
    }
    fn download(&self, buffer: &Buffer<E>) -> Vec<E> {
        buffer.to_elements().into_owned()
    }
    fn len(&self, buffer: &Buffer<E>) -> usize {
        buffer.len()
    }
    fn dtype(&self, buffer: &Buffer<E>) -> DType {
        buffer.dtype()
    }
    fn clear(&self, buffer: &mut Buffer<E>) {
        match buffer.dtype() {
            DType::Bf16 => buffer.as_mut_bf16().fill(bf16::ZERO),
            _ => buffer.as_mut_slice().fill(E::default()),
        }
    }
    fn clear_all(&self, buffers: &mut [Buffer<E>]) {
        buffers.iter_mut().for_each(|buffer| self.clear(buffer));
    }
    fn convert(&self, from: &Buffer<E>, to: &mut Buffer<E>) {
        let values = from.to_elements();
        assert_eq!(values.len(), to.len(), "a buffer is overwritten by as many elements as it has");
        match to.dtype() {
            DType::Bf16 => round(&values, to.as_mut_bf16()),
            _ => to.as_mut_slice().copy_from_slice(&values),
        }
    }
    fn copy(&self, from: Part<'_, Buffer<E>>, to: &mut Buffer<E>, first: usize) {
        let Part { buffer, first: source, len } = from;
        match to.dtype() {
            DType::Bf16 => to.as_mut_bf16()[first..][..len].copy_from_slice(&buffer.as_bf16()[source..][..len]),
            _ => to.as_mut_slice()[first..][..len].copy_from_slice(&buffer.as_slice()[source..][..len]),
        }
    }

    fn upload_indices(&self, values: &[u32]) -> Result<Vec<u32>, DeviceError> {
        Ok(values.to_vec())
    }
    fn count(&self, indices: &Vec<u32>) -> usize {
        indices.len()
    }
    fn upload_visibility(&self, visibility: &Visibility) -> Result<Visibility, DeviceError> {
        Ok(visibility.clone())
    }
}
