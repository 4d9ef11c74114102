//! Which weight is which: parameters by name, stacked where one product reads several.

use crate::NetworkSpec;
use aquatint_compute::{Device, Parameters, WeightId};
use std::collections::HashMap;

/// The weights of a network by their use.
#[derive(Debug)]
pub(crate) struct WeightIndex {
    pub(crate) table: WeightId,
    pub(crate) head: WeightId,
    pub(crate) norm: WeightId,
    pub(crate) belief_norm: Option<WeightId>,
    pub(crate) field: Option<FieldWeights>,
    pub(crate) time: Option<TimeWeights>,
    pub(crate) layers: Vec<LayerWeights>,
}

/// What a network of a gaussian field reads its points with.
#[derive(Debug)]
pub(crate) struct FieldWeights {
    pub(crate) vectors: WeightId,
    pub(crate) projection: WeightId,
    pub(crate) norm: WeightId,
}

/// A matrix and its bias.
pub(crate) type Affine = (WeightId, WeightId);

#[derive(Debug)]
pub(crate) struct TimeWeights {
    pub(crate) input: Affine,
    pub(crate) output: Affine,
    pub(crate) norm_modulation: Affine,
}

#[derive(Debug)]
pub(crate) struct LayerWeights {
    pub(crate) modulation: Option<Affine>,
    pub(crate) attention_norm: WeightId,
    pub(crate) query_key_value: WeightId,
    pub(crate) head_norms: Option<(WeightId, WeightId)>,
    pub(crate) out: WeightId,
    pub(crate) feed_forward_norm: WeightId,
    /// The gate and what it is for, stacked.
    pub(crate) gate_up: WeightId,
    pub(crate) gate: WeightId,
    pub(crate) up: WeightId,
    pub(crate) down: WeightId,
}

impl WeightIndex {
    /// Declares the weights; `index` finds parameters by name and holds all that the description asks for.
    pub(crate) fn new<D: Device>(
        spec: &NetworkSpec,
        parameters: &mut Parameters<D>,
        index: &HashMap<&str, usize>,
    ) -> Self {
        let mut find = Finder { parameters, index };
        let table = find.weight("model.embed_tokens");
        Self {
            table,
            head: if spec.tied_head { table } else { find.weight("lm_head") },
            norm: find.weight("model.norm"),
            belief_norm: spec.self_conditioning.then(|| find.weight("model.self_conditioning_norm")),
            field: spec.word_vector_size.map(|_| FieldWeights {
                vectors: find.weight("model.word_vectors"),
                projection: find.weight("model.field_proj"),
                norm: find.weight("model.field_norm"),
            }),
            time: spec.time_conditioning.map(|_| TimeWeights {
                input: find.affine("model.time_embedder.input_proj"),
                output: find.affine("model.time_embedder.output_proj"),
                norm_modulation: find.affine("model.norm_modulation"),
            }),
            layers: (0..spec.layers).map(|layer| LayerWeights::new(spec, layer, &mut find)).collect(),
        }
    }
}

impl WeightIndex {
    /// The weights that products read when nothing is learned, the head last.
    pub(crate) fn products(&self) -> Vec<WeightId> {
        let time = self.time.iter().flat_map(|time| [time.input.0, time.output.0, time.norm_modulation.0]);
        let layers = self.layers.iter().flat_map(|layer| {
            let modulation = layer.modulation.map(|(weight, _)| weight);
            modulation.into_iter().chain([layer.query_key_value, layer.out, layer.gate, layer.up, layer.down])
        });
        let field = self.field.iter().map(|field| field.projection);
        field.chain(time).chain(layers).chain([self.head]).collect()
    }
}

impl LayerWeights {
    fn new<D: Device>(spec: &NetworkSpec, layer: usize, find: &mut Finder<'_, D>) -> Self {
        let name = |rest: &str| format!("model.layers.{layer}.{rest}");
        let projections = |parts: &[&str]| parts.iter().map(|part| name(&format!("{part}_proj"))).collect::<Vec<_>>();
        Self {
            modulation: spec.time_conditioning.map(|_| find.affine(&name("modulation"))),
            attention_norm: find.weight(&name("input_layernorm")),
            query_key_value: find.stack(&projections(&["self_attn.q", "self_attn.k", "self_attn.v"])),
            head_norms: spec
                .qk_norm
                .then(|| (find.weight(&name("self_attn.q_norm")), find.weight(&name("self_attn.k_norm")))),
            out: find.weight(&name("self_attn.o_proj")),
            feed_forward_norm: find.weight(&name("post_attention_layernorm")),
            gate_up: find.stack(&projections(&["mlp.gate", "mlp.up"])),
            gate: find.weight(&name("mlp.gate_proj")),
            up: find.weight(&name("mlp.up_proj")),
            down: find.weight(&name("mlp.down_proj")),
        }
    }
}

/// Finds parameters and declares them as weights.
struct Finder<'a, D: Device> {
    parameters: &'a mut Parameters<D>,
    index: &'a HashMap<&'a str, usize>,
}

impl<D: Device> Finder<'_, D> {
    fn weight(&mut self, module: &str) -> WeightId {
        self.parameters.weight(&[self.index[format!("{module}.weight").as_str()]])
    }

    fn stack(&mut self, modules: &[String]) -> WeightId {
        let parts: Vec<usize> = modules.iter().map(|module| self.index[format!("{module}.weight").as_str()]).collect();
        self.parameters.weight(&parts)
    }

    fn affine(&mut self, module: &str) -> Affine {
        let bias = self.parameters.weight(&[self.index[format!("{module}.bias").as_str()]]);
        (self.weight(module), bias)
    }
}
