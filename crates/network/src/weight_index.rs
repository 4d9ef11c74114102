//! Which weight is which, part by part.

use crate::layers::{Declaration, Declared, EmbeddingWeights, HeadWeights, LayerWeights, TimeWeights};
use crate::{NetworkSpec, TensorSpec};
use aquatint_compute::{Cpu, Device, DeviceError, Parameters, WeightId};

/// The weights of a network by their use.
#[derive(Debug)]
pub(crate) struct WeightIndex {
    pub(crate) embedding: EmbeddingWeights,
    pub(crate) time: Option<TimeWeights>,
    pub(crate) layers: Vec<LayerWeights>,
    pub(crate) head: HeadWeights,
    /// The weights that products read when nothing is learned, the head last.
    pub(crate) products: Vec<WeightId>,
    /// The weights that products read in learning, but for a head that is the embedding table.
    pub(crate) stacks: Vec<WeightId>,
}

impl WeightIndex {
    /// Declares all tensors of a description, in their stable order, with an empty place among the parameters for each.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn declare<D: Device>(
        spec: &NetworkSpec,
        parameters: &mut Parameters<D>,
    ) -> Result<(Vec<TensorSpec>, Self), DeviceError> {
        let mut declaration = Declaration::new(parameters);
        let embedding = EmbeddingWeights::declare(&mut declaration, spec)?;
        let time = TimeWeights::declare(&mut declaration, spec)?;
        let layers = spec.layers.iter().enumerate();
        let layers = layers
            .map(|(index, layer)| declaration.within(index, |declaration| layer.declare(declaration, spec)))
            .collect::<Result<_, _>>()?;
        let head = HeadWeights::declare(&mut declaration, spec, embedding.table)?;
        let Declared { tensors, products, stacks } = declaration.finish();
        Ok((tensors, Self { embedding, time, layers, head, products, stacks }))
    }
}

/// All tensors of a description, in their stable order.
pub(crate) fn tensors(spec: &NetworkSpec) -> Vec<TensorSpec> {
    // The order is that of a network on any device, and its places hold nothing.
    let mut parameters = Parameters::new(Cpu::<f32>::scalar());
    let declared = WeightIndex::declare(spec, &mut parameters);
    declared.expect("a processor has room for buffers of no length").0
}
