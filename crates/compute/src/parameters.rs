//! The parameters of a network on a device, their gradients, and the stacks in which products read them.
//!
//! A parameter is one tensor as it is stored and optimised. Products run faster on fewer, taller matrices, so several
//! parameters of as many columns may be read as one [`Weight`], stacked row after row (queries, keys and values, say).
//! A stack is made when it is first read and forgotten when a parameter may have changed; its gradient is handed back
//! to the parts. Nobody outside sees stacks: names, optimisers and files know parameters only.
//!
//! When nothing is learned, products read a weight as the device prepared it, once. Where nothing ever will be, the
//! prepared form is all that there is of a weight: see [`Parameters::keep`].

use crate::{Device, DeviceError, LinearShape, Quantised, WeightFormat};
use std::sync::OnceLock;

/// Which weight of a [`Parameters`] an operation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightId(usize);

/// One parameter, or several stacked by rows.
#[derive(Debug)]
struct Weight<D: Device> {
    parts: Vec<usize>,
    rows: usize,
    stacked: OnceLock<D::Buffer>,
    prepared: OnceLock<D::Prepared>,
}

/// Values of all parameters, in a fixed order.
#[derive(Debug)]
pub struct Parameters<D: Device> {
    device: D,
    values: Vec<D::Buffer>,
    /// Rows and columns of each.
    shapes: Vec<(usize, usize)>,
    weights: Vec<Weight<D>>,
}

impl<D: Device> Parameters<D> {
    /// No parameters yet.
    pub fn new(device: D) -> Self {
        Self { device, values: Vec::new(), shapes: Vec::new(), weights: Vec::new() }
    }

    /// Adds a parameter of `rows × columns` values and returns its index.
    pub fn add(&mut self, rows: usize, columns: usize, value: D::Buffer) -> usize {
        self.values.push(value);
        self.shapes.push((rows, columns));
        self.values.len() - 1
    }

    /// Declares the weight that operations read: these parameters, which have equally many columns, stacked by rows.
    pub fn weight(&mut self, parts: &[usize]) -> WeightId {
        let rows = parts.iter().map(|&part| self.shapes[part].0).sum();
        self.weights.push(Weight { parts: parts.to_vec(), rows, stacked: OnceLock::new(), prepared: OnceLock::new() });
        WeightId(self.weights.len() - 1)
    }

    /// Where the parameters live.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The values, in the order in which they were added.
    pub fn values(&self) -> &[D::Buffer] {
        &self.values
    }

    /// The values, to be changed; what was made of them is made anew when it is next read.
    pub fn values_mut(&mut self) -> &mut [D::Buffer] {
        for weight in &mut self.weights {
            weight.stacked.take();
            weight.prepared.take();
        }
        &mut self.values
    }

    /// Sets the values of a parameter whose place was kept with nothing in it.
    pub fn set(&mut self, index: usize, value: D::Buffer) {
        self.values[index] = value;
    }

    /// Rows and columns of a weight.
    pub fn shape(&self, id: WeightId) -> (usize, usize) {
        let weight = &self.weights[id.0];
        (weight.rows, weight.parts.first().map_or(0, |&part| self.shapes[part].1))
    }

    /// The parameters that a weight stacks.
    pub fn parts(&self, id: WeightId) -> &[usize] {
        &self.weights[id.0].parts
    }

    /// Prepares a weight from real numbers that need not be kept.
    pub fn keep(&self, id: WeightId, values: &D::Buffer, format: WeightFormat) -> Result<(), DeviceError> {
        let prepared = self.device.prepare(self.shape(id), values, format)?;
        self.weights[id.0].prepared.get_or_init(|| prepared);
        Ok(())
    }

    /// Prepares a weight from integers that need not be kept.
    pub fn keep_quantised(&self, id: WeightId, matrix: Quantised) -> Result<(), DeviceError> {
        let prepared = self.device.prepare_quantised(matrix)?;
        self.weights[id.0].prepared.get_or_init(|| prepared);
        Ok(())
    }

    /// A weight as products read it that nobody learns from.
    pub fn prepared(&self, id: WeightId) -> Result<&D::Prepared, DeviceError> {
        let weight = &self.weights[id.0];
        if let Some(prepared) = weight.prepared.get() {
            return Ok(prepared);
        }
        let prepared = self.device.prepare(self.shape(id), self.get(id)?, self.device.format())?;
        // Another thread may have been faster: both made the same.
        Ok(weight.prepared.get_or_init(|| prepared))
    }

    /// The values of a weight.
    pub fn get(&self, id: WeightId) -> Result<&D::Buffer, DeviceError> {
        let weight = &self.weights[id.0];
        if let [part] = weight.parts[..] {
            return Ok(&self.values[part]);
        }
        if let Some(stacked) = weight.stacked.get() {
            return Ok(stacked);
        }
        let (rows, columns) = self.shape(id);
        let mut stacked = self.device.zeros(rows * columns)?;
        let mut start = 0;
        for &part in &weight.parts {
            let end = start + self.shapes[part].0 as u32;
            let ids: Vec<u32> = (start..end).collect();
            self.device.scatter_add(columns, &self.values[part], &ids, &mut stacked);
            start = end;
        }
        // Another thread may have been faster: both made the same.
        Ok(weight.stacked.get_or_init(|| stacked))
    }
}

/// Gradients of all parameters, each of its parameter's length.
#[derive(Debug)]
pub struct Gradients<D: Device> {
    device: D,
    buffers: Vec<D::Buffer>,
}

impl<D: Device> Gradients<D> {
    /// Gradients of zero.
    pub fn zeros(parameters: &Parameters<D>) -> Result<Self, DeviceError> {
        let device = parameters.device.clone();
        let buffers = parameters.shapes.iter().map(|(rows, columns)| device.zeros(rows * columns));
        let buffers = buffers.collect::<Result<_, _>>()?;
        Ok(Self { device, buffers })
    }

    /// The gradients, in the order of the parameters.
    pub fn buffers(&self) -> &[D::Buffer] {
        &self.buffers
    }

    /// The gradients, to be changed.
    pub fn buffers_mut(&mut self) -> &mut [D::Buffer] {
        &mut self.buffers
    }

    /// Sets all gradients to zero.
    pub fn clear(&mut self) {
        for buffer in &mut self.buffers {
            self.device.clear(buffer);
        }
    }

    /// The Euclidean norm of all gradients together.
    pub fn norm(&self) -> f64 {
        self.buffers.iter().map(|buffer| self.device.sum_of_squares(buffer)).sum::<f64>().sqrt()
    }

    /// Hands `add` a buffer of the weight's whole shape to accumulate into, and each part its share of the result.
    pub(crate) fn accumulate(
        &mut self,
        parameters: &Parameters<D>,
        id: WeightId,
        add: impl FnOnce(&D, &mut D::Buffer),
    ) -> Result<(), DeviceError> {
        let device = &self.device;
        let parts = &parameters.weights[id.0].parts;
        if let [part] = parts[..] {
            add(device, &mut self.buffers[part]);
            return Ok(());
        }
        let (rows, columns) = parameters.shape(id);
        let mut whole = device.zeros(rows * columns)?;
        add(device, &mut whole);
        let mut start = 0;
        for &part in parts {
            let length = parameters.shapes[part].0 as u32;
            let ids: Vec<u32> = (start..start + length).collect();
            let mut share = device.uninitialised(ids.len() * columns)?;
            device.gather(columns, &whole, &ids, &mut share);
            device.scale_add(1.0, &share, 1.0, &mut self.buffers[part]);
            start += length;
        }
        Ok(())
    }

    /// Gradient of a product with a weight, and of its bias.
    pub(crate) fn accumulate_linear(
        &mut self,
        parameters: &Parameters<D>,
        shape: LinearShape,
        (id, bias): (WeightId, Option<WeightId>),
        d_out: &D::Buffer,
        x: &D::Buffer,
    ) -> Result<(), DeviceError> {
        let Some(bias) = bias else {
            return self.accumulate(parameters, id, |device, d_w| {
                device.linear_backward_weight(shape, d_out, x, d_w, None);
            });
        };
        if parameters.parts(id).len() == 1 && parameters.parts(bias).len() == 1 {
            let [d_w, d_bias] = self.pair(parameters, id, bias);
            parameters.device.linear_backward_weight(shape, d_out, x, d_w, Some(d_bias));
            return Ok(());
        }
        let mut d_bias = parameters.device.zeros(shape.outputs)?;
        self.accumulate(parameters, id, |device, d_w| {
            device.linear_backward_weight(shape, d_out, x, d_w, Some(&mut d_bias));
        })?;
        self.accumulate(parameters, bias, |device, whole| device.scale_add(1.0, &d_bias, 1.0, whole))
    }

    /// The gradients of two different weights that are no stacks.
    pub(crate) fn pair(&mut self, parameters: &Parameters<D>, a: WeightId, b: WeightId) -> [&mut D::Buffer; 2] {
        let part = |id: WeightId| match parameters.weights[id.0].parts[..] {
            [part] => part,
            _ => unreachable!("head norms, and biases that are accumulated with their matrix, are no stacks"),
        };
        self.buffers
            .get_disjoint_mut([part(a), part(b)])
            .expect("a weight, its bias and the two head norms are distinct")
    }
}
