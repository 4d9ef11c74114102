//! Which tensors a network has, what each is for, and what it begins as.
//!
//! Initialisation: matrices and tables are normal with mean 0 and standard deviation 0.02, not truncated; the two
//! matrices of each block that write into the residual stream have it divided by `√(2 layers)`, so that the stream's
//! variance does not grow with depth (GPT-2's rule). Norms begin at 1, biases at 0. Modulations begin at 0, so that
//! every block begins as the identity (adaLN-Zero, 2212.09748), and so does the norm of the believed word vectors, so
//! that a network with self-conditioning begins as one without. Each tensor draws from its own stream under the seed.

use crate::NetworkSpec;

/// What a parameter is for; optimisers treat them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A matrix that maps activations to activations.
    Matrix,
    /// Word vectors; also the head where the two are tied.
    Embedding,
    /// Word vectors of length 1, between which a gaussian field lies.
    UnitVectors,
    /// The head, where it is a matrix of its own.
    Head,
    /// A norm's weight or a bias.
    Vector,
}

/// What a parameter begins as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Init {
    /// All elements alike.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
}

/// One tensor of a network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// Rows and columns, or the length of a vector.
    pub(crate) shape: Vec<usize>,
    pub(crate) role: Role,
    pub(crate) init: Init,
}

impl Tensor {
    /// Rows and columns; a vector is one row.
    pub(crate) fn rows_and_columns(&self) -> (usize, usize) {
        match self.shape[..] {
            [rows, columns] => (rows, columns),
            _ => (1, self.shape.iter().product()),
        }
    }

    /// Numbers that were stored, as a network has them: vectors of length 1 have it again, whatever was rounded.
    pub(crate) fn restored(&self, mut values: Vec<f32>) -> Vec<f32> {
        if self.role == Role::UnitVectors {
            for vector in values.chunks_exact_mut(self.rows_and_columns().1) {
                let length = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                vector.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
            }
        }
        values
    }
}

/// Standard deviation of a fresh matrix.
const DEVIATION: f64 = 0.02;

/// All tensors of a network, in their stable order.
pub(crate) fn tensors(spec: &NetworkSpec) -> Vec<Tensor> {
    let mut all = Vec::new();
    let mut add = |name: String, shape: &[usize], role, init| {
        all.push(Tensor { name, shape: shape.to_vec(), role, init });
    };
    let (width, head) = (spec.width, spec.head_size);
    let normal = Init::Normal(DEVIATION);
    let residual = Init::Normal(DEVIATION / (2.0 * spec.layers as f64).sqrt());
    let (one, zero) = (Init::Constant(1.0), Init::Constant(0.0));

    add("model.embed_tokens.weight".into(), &[spec.vocabulary_size, width], Role::Embedding, normal);
    if spec.self_conditioning {
        add("model.self_conditioning_norm.weight".into(), &[width], Role::Vector, zero);
    }
    if let Some(size) = spec.word_vector_size {
        // Of length 1 but for chance, which training takes away at once.
        let unit = Init::Normal(1.0 / (size as f64).sqrt());
        add("model.word_vectors.weight".into(), &[spec.vocabulary_size, size], Role::UnitVectors, unit);
        add("model.field_proj.weight".into(), &[width, size], Role::Matrix, normal);
        add("model.field_norm.weight".into(), &[width], Role::Vector, one);
    }
    if let Some(features) = spec.time_conditioning {
        add("model.time_embedder.input_proj.weight".into(), &[width, features], Role::Matrix, normal);
        add("model.time_embedder.input_proj.bias".into(), &[width], Role::Vector, zero);
        add("model.time_embedder.output_proj.weight".into(), &[width, width], Role::Matrix, normal);
        add("model.time_embedder.output_proj.bias".into(), &[width], Role::Vector, zero);
    }
    for layer in 0..spec.layers {
        let name = |rest: &str| format!("model.layers.{layer}.{rest}");
        if spec.time_conditioning.is_some() {
            add(name("modulation.weight"), &[6 * width, width], Role::Matrix, zero);
            add(name("modulation.bias"), &[6 * width], Role::Vector, zero);
        }
        let (queries, keys) = (spec.heads * head, spec.key_value_heads * head);
        add(name("input_layernorm.weight"), &[width], Role::Vector, one);
        add(name("self_attn.q_proj.weight"), &[queries, width], Role::Matrix, normal);
        add(name("self_attn.k_proj.weight"), &[keys, width], Role::Matrix, normal);
        add(name("self_attn.v_proj.weight"), &[keys, width], Role::Matrix, normal);
        if spec.qk_norm {
            add(name("self_attn.q_norm.weight"), &[head], Role::Vector, one);
            add(name("self_attn.k_norm.weight"), &[head], Role::Vector, one);
        }
        add(name("self_attn.o_proj.weight"), &[width, queries], Role::Matrix, residual);
        add(name("post_attention_layernorm.weight"), &[width], Role::Vector, one);
        add(name("mlp.gate_proj.weight"), &[spec.feed_forward_width, width], Role::Matrix, normal);
        add(name("mlp.up_proj.weight"), &[spec.feed_forward_width, width], Role::Matrix, normal);
        add(name("mlp.down_proj.weight"), &[width, spec.feed_forward_width], Role::Matrix, residual);
    }
    if spec.time_conditioning.is_some() {
        add("model.norm_modulation.weight".into(), &[2 * width, width], Role::Matrix, zero);
        add("model.norm_modulation.bias".into(), &[2 * width], Role::Vector, zero);
    }
    add("model.norm.weight".into(), &[width], Role::Vector, one);
    if !spec.tied_head {
        add("lm_head.weight".into(), &[spec.vocabulary_size, width], Role::Head, normal);
    }
    all
}
