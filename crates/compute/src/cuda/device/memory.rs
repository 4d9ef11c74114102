//! Buffers, lists and visibilities on a GPU.

use super::elementwise::scale_add_segment;
use crate::cuda::arguments::{In, Out};
use crate::cuda::buffer::Written;
use crate::cuda::kernels::{CopyBf16, RoundToBf16, ScaleAddAll, WidenBf16};
use crate::cuda::{Cuda, GpuBuffer, GpuIndices, GpuVisibility};
use crate::{Connection, DType, DeviceError, Memory, Part, Visibility};
use half::bf16;

impl Memory for Cuda {
    type Element = f32;
    type Buffer = GpuBuffer;
    type Indices = GpuIndices;
    type Visible = GpuVisibility;

    fn is_host(&self) -> bool {
        false
    }
    fn connection(&self) -> Option<&dyn Connection<GpuBuffer>> {
        self.connection.as_deref().map(|connection| -> &dyn Connection<GpuBuffer> { connection })
    }
    fn describe(&self) -> String {
        let facts = self.facts();
        let name = facts.device();
        let (major, minor) = facts.capability;
        format!("{name} ({}, sm_{major}{minor}, products in {})", facts.name, self.precision)
    }

    fn zeros(&self, len: usize) -> Result<GpuBuffer, DeviceError> {
        let mut buffer = self.uninitialised(len)?;
        self.clear(&mut buffer);
        Ok(buffer)
    }
    fn uninitialised(&self, len: usize) -> Result<GpuBuffer, DeviceError> {
        Ok(self.take::<f32>(len)?.into())
    }
    fn uninitialised_as(&self, dtype: DType, len: usize) -> Result<GpuBuffer, DeviceError> {
        match dtype {
            DType::F32 => self.uninitialised(len),
            DType::Bf16 => Ok(self.take::<bf16>(len)?.into()),
            DType::F64 => panic!("there are no buffers of {dtype:?} on this device"),
        }
    }
    fn upload(&self, values: &[f32]) -> Result<GpuBuffer, DeviceError> {
        Ok(self.store(values)?.into())
    }
    fn write(&self, buffer: &mut GpuBuffer, values: &[f32]) {
        assert_eq!(buffer.len(), values.len(), "a buffer is overwritten by as many values as it has");
        match buffer.dtype() {
            DType::Bf16 => {
                let halves: Vec<bf16> = values.iter().map(|&value| bf16::from_f32(value)).collect();
                self.copy_in(buffer.output::<bf16>().0, &halves);
            }
            _ => self.copy_in(buffer.output::<f32>().0, values),
        }
    }
    fn download(&self, buffer: &GpuBuffer) -> Vec<f32> {
        if buffer.dtype() == DType::Bf16 || buffer.is_image() {
            return self.fetch::<bf16>(buffer.rounded().0, buffer.len()).into_iter().map(bf16::to_f32).collect();
        }
        self.fetch(buffer.input::<f32>().0, buffer.len())
    }
    fn len(&self, buffer: &GpuBuffer) -> usize {
        buffer.len()
    }
    fn dtype(&self, buffer: &GpuBuffer) -> DType {
        buffer.dtype()
    }
    fn clear(&self, buffer: &mut GpuBuffer) {
        // What a driver makes of no bytes is not written down.
        if buffer.len() > 0 {
            let at = if buffer.dtype() == DType::Bf16 { buffer.output::<bf16>().0 } else { buffer.output::<f32>().0 };
            self.must(self.driver.clear(at, buffer.len() * buffer.dtype().bytes()));
        }
    }
    fn clear_all(&self, buffers: &mut [GpuBuffer]) {
        let segment = |buffer: &mut GpuBuffer| {
            let len = buffer.len();
            let out = match buffer.dtype() {
                DType::Bf16 => Written { wide: Out::none(), image: buffer.output() },
                _ => buffer.output::<f32>().into(),
            };
            scale_add_segment(len, (0.0, In::<f32>::none().into()), 0.0, out)
        };
        let done = self.over(buffers.iter_mut().map(segment), |segments, table| ScaleAddAll { segments, table });
        done.unwrap_or_else(|error| panic!("{error}"));
    }
    fn convert(&self, from: &GpuBuffer, to: &mut GpuBuffer) {
        let count = from.len();
        assert_eq!(count, to.len(), "a buffer is overwritten by as many elements as it has");
        match (from.dtype(), to.dtype()) {
            (DType::F32, DType::Bf16) => {
                if from.is_image() {
                    self.each(count, |count| CopyBf16 { count, x: from.rounded(), out: to.output() });
                } else {
                    self.each(count, |count| RoundToBf16 { count, x: from.input(), out: to.output() });
                }
            }
            (DType::Bf16, DType::F32) => {
                self.each(count, |count| WidenBf16 { count, x: from.input(), out: to.output() });
            }
            _ => self.copy(Part { buffer: from, first: 0, len: count }, to, 0),
        }
    }
    fn copy(&self, from: Part<'_, GpuBuffer>, to: &mut GpuBuffer, first: usize) {
        assert!(from.first + from.len <= from.buffer.len() && first + from.len <= to.len(), "a part of a buffer");
        let Part { buffer, first: source, len } = from;
        match to.dtype() {
            DType::Bf16 => {
                self.each(len, |count| CopyBf16 { count, x: buffer.input().skip(source), out: to.output().skip(first) })
            }
            _ => self.scale_into(1.0, buffer.either().skip(source), 0.0, to.output().skip(first).into(), len),
        }
    }

    fn upload_indices(&self, values: &[u32]) -> Result<GpuIndices, DeviceError> {
        GpuIndices::new(self, values)
    }
    fn count(&self, indices: &GpuIndices) -> usize {
        indices.len()
    }
    fn upload_visibility(&self, visibility: &Visibility) -> Result<GpuVisibility, DeviceError> {
        GpuVisibility::new(self, visibility)
    }
}
