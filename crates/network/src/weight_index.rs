//! Which weight is which, part by part.

use crate::layers::{Declaration, Declared, EmbeddingWeights, HeadWeights, LayerWeights, Stack, TimeWeights};
use crate::{NetworkSpec, TensorSpec};
use aquatint_compute::{Cpu, Device, DeviceError, Parameters};

/// What the names of layers begin with.
const LAYERS: &str = "model.layers";

/// The weights of a network by their use.
#[derive(Debug)]
pub(crate) struct WeightIndex {
    pub(crate) embedding: EmbeddingWeights,
    pub(crate) time: Option<TimeWeights>,
    pub(crate) layers: Vec<LayerWeights>,
    pub(crate) head: HeadWeights,
}

impl WeightIndex {
    /// Declares all tensors of a description, in their stable order, with an empty place among the parameters for each.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn declare<D: Device>(
        spec: &NetworkSpec,
        parameters: &mut Parameters<D>,
    ) -> Result<(Declared, Self), DeviceError> {
        let mut declaration = Declaration::new(parameters);
        let embedding = EmbeddingWeights::declare(&mut declaration, spec)?;
        let time = TimeWeights::declare(&mut declaration, spec)?;
        let (layers, stack) = (spec.layers.iter().enumerate(), Stack::of(spec));
        let layers = layers
            .map(|(index, layer)| declaration.within((LAYERS, index), |declaration| layer.declare(declaration, stack)))
            .collect::<Result<_, _>>()?;
        let head = HeadWeights::declare(&mut declaration, spec, embedding.table)?;
        spec.adapters.iter().enumerate().try_for_each(|(set, adapter)| declaration.adapter(set, adapter))?;
        Ok((declaration.finish(), Self { embedding, time, layers, head }))
    }
}

/// All tensors of a description, in their stable order.
pub(crate) fn tensors(spec: &NetworkSpec) -> Vec<TensorSpec> {
    // The order is that of a network on any device, and its places hold nothing.
    let mut parameters = Parameters::new(Cpu::<f32>::scalar());
    let declared = WeightIndex::declare(spec, &mut parameters);
    declared.expect("a processor has room for buffers of no length").0.tensors
}
