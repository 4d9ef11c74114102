//! Where the parts of a network declare their tensors and the weights that operations read of them.

use crate::tensor::Init;
use crate::{AdapterSpec, LowRankHalf, LowRankSpec, Role, TensorSpec};
use aquatint_compute::{Device, DeviceError, LowRank, Parameters, WeightId};

/// A matrix and its bias.
pub(crate) type Affine = (WeightId, WeightId);

/// Standard deviation of a fresh matrix.
const DEVIATION: f64 = 0.02;

/// Collects tensors in their stable order, and keeps a place among the parameters for each.
pub(crate) struct Declaration<'a, D: Device> {
    parameters: &'a mut Parameters<D>,
    tensors: Vec<TensorSpec>,
    products: Vec<WeightId>,
    stacks: Vec<WeightId>,
    /// The stack of layers and the layer in it that what follows is of.
    layer: Option<(&'static str, usize)>,
}

/// What parts have declared.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The tensors, in their stable order.
    pub(crate) tensors: Vec<TensorSpec>,
    /// The weights that products read when nothing is learned, the head last.
    pub(crate) products: Vec<WeightId>,
    /// The weights that products read in learning, but for a head that is the embedding table.
    pub(crate) stacks: Vec<WeightId>,
}

impl<'a, D: Device> Declaration<'a, D> {
    /// No tensors yet.
    pub(crate) fn new(parameters: &'a mut Parameters<D>) -> Self {
        Self { parameters, tensors: Vec::new(), products: Vec::new(), stacks: Vec::new(), layer: None }
    }

    /// What was declared.
    pub(crate) fn finish(self) -> Declared {
        let Self { tensors, products, stacks, .. } = self;
        Declared { tensors, products, stacks }
    }

    /// What `declare` declares is of a layer: the name of its stack and its index in it. Names begin with both.
    pub(crate) fn within<T>(
        &mut self,
        layer: (&'static str, usize),
        declare: impl FnOnce(&mut Self) -> Result<T, DeviceError>,
    ) -> Result<T, DeviceError> {
        self.layer = Some(layer);
        let declared = declare(self);
        self.layer = None;
        declared
    }

    /// A tensor; the index of its parameter.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize], role: Role, init: Init) -> Result<usize, DeviceError> {
        let name = self.layer.map_or_else(|| name.to_owned(), |(stack, layer)| format!("{stack}.{layer}.{name}"));
        let layer = self.layer.map(|(_, layer)| layer);
        let tensor = TensorSpec { name, shape: shape.to_vec(), role, layer, routed: false, init };
        let (rows, columns) = tensor.rows_and_columns();
        let place = self.parameters.device().zeros(0)?;
        self.tensors.push(tensor);
        Ok(self.parameters.add(rows, columns, place))
    }

    /// A matrix that maps activations to activations.
    pub(crate) fn matrix(&mut self, module: &str, shape: [usize; 2], init: Init) -> Result<usize, DeviceError> {
        self.tensor(&format!("{module}.weight"), &shape, Role::Matrix, init)
    }

    /// A norm's weight or a bias, all of one value.
    pub(crate) fn vector(&mut self, name: &str, length: usize, value: f64) -> Result<usize, DeviceError> {
        self.tensor(name, &[length], Role::Vector, Init::Constant(value))
    }

    /// A product with its bias.
    pub(crate) fn affine(&mut self, module: &str, shape: [usize; 2], init: Init) -> Result<Affine, DeviceError> {
        let weight = self.matrix(module, shape, init)?;
        let bias = self.vector(&format!("{module}.bias"), shape[0], 0.0)?;
        Ok((self.product(&[weight]), self.weight(&[bias])))
    }

    /// What operations read: these parameters stacked by rows.
    pub(crate) fn weight(&mut self, parts: &[usize]) -> WeightId {
        self.parameters.weight(parts)
    }

    /// The same, read by a product.
    pub(crate) fn product(&mut self, parts: &[usize]) -> WeightId {
        let weight = self.stack(parts);
        self.multiplied(weight);
        weight
    }

    /// The same, read by a product in learning only.
    pub(crate) fn stack(&mut self, parts: &[usize]) -> WeightId {
        let weight = self.weight(parts);
        self.stacks.push(weight);
        weight
    }

    /// The same, read by a product when nothing is learned only.
    pub(crate) fn apart(&mut self, parts: &[usize]) -> WeightId {
        let weight = self.weight(parts);
        self.multiplied(weight);
        weight
    }

    /// The same, multiplied in f32 whatever the format of the others.
    pub(crate) fn exact(&mut self, parts: &[usize]) -> WeightId {
        let weight = self.parameters.exact_weight(parts);
        self.multiplied(weight);
        weight
    }

    /// Notes that only rows read a weight that are routed to an expert.
    pub(crate) fn routed(&mut self, weight: WeightId) {
        for &part in self.parameters.parts(weight) {
            self.tensors[part].routed = true;
        }
    }

    /// What the adapter of this index adds to its matrices, in f32 whatever the format of the matrices. Matrices that are not
    /// there have nothing added: [`NetworkSpec::validate`](crate::NetworkSpec::validate) refuses them.
    pub(crate) fn adapter(&mut self, set: usize, adapter: &AdapterSpec) -> Result<(), DeviceError> {
        for (name, addition) in &adapter.matrices {
            let Some(parameter) = self.tensors.iter().position(|tensor| tensor.name == *name) else { continue };
            let [rows, columns] = <[usize; 2]>::from(self.tensors[parameter].rows_and_columns());
            let LowRankSpec { rank, factor } = *addition;
            // As variable as PEFT's uniform numbers of up to 1/√K.
            let down = ([rank, columns], Init::Normal(1.0 / (3.0 * columns as f64).sqrt()));
            let halves = [(LowRankHalf::Down, down), (LowRankHalf::Up, ([rows, rank], Init::Constant(0.0)))];
            let layer = self.tensors[parameter].layer;
            let mut weights = Vec::with_capacity(halves.len());
            for (half, (shape, init)) in halves {
                let part = self.tensor(&adapter.tensor_name(name, half), &shape, Role::Adapter, init)?;
                self.tensors[part].layer = layer;
                weights.push(self.exact(&[part]));
            }
            let addition = LowRank { down: weights[0], up: weights[1], factor };
            self.parameters.add_low_rank(set, parameter, addition);
        }
        Ok(())
    }

    /// Notes that a product reads a weight when nothing is learned.
    pub(crate) fn multiplied(&mut self, weight: WeightId) {
        self.products.push(weight);
    }
}

impl Init {
    /// Of a matrix or a table.
    pub(crate) const MATRIX: Self = Self::Normal(DEVIATION);

    /// Of a matrix that writes into the residual stream, one of two in each of `layers` layers.
    pub(crate) fn residual(layers: usize) -> Self {
        Self::Normal(DEVIATION / (2.0 * layers as f64).sqrt())
    }
}
