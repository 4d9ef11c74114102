//! The one description of every transformer here.

use crate::NetworkError;
use aquatint_diffusion::{Alphabet, Layout, Process, ProcessSpec, SettingError};
use std::sync::Arc;

/// What a network is, without its weights.
///
/// A pre-norm transformer: RMS norms (Zhang & Sennrich, 1910.07467), rotary positions (Su et al., 2104.09864), grouped
/// queries (Ainslie et al., 2305.13245), SwiGLU (Shazeer, 2002.05202), no biases. Options are named below.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    /// `V`: ids of the joint vocabulary.
    pub vocabulary_size: usize,
    /// `D`: columns of the residual stream.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// `H`: query heads.
    pub heads: usize,
    /// `G`: key/value heads, a divisor of `heads`.
    pub key_value_heads: usize,
    /// `E`: columns per head, even.
    pub head_size: usize,
    /// `F`: columns of the feed-forward layer.
    pub feed_forward_width: usize,
    /// Added to the mean square under the root of every norm.
    pub norm_epsilon: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// RMS norm of each head's query and key before they are turned.
    pub qk_norm: bool,
    /// The head is the embedding table.
    pub tied_head: bool,
    /// Blocks are modulated by the time (adaLN-Zero: Peebles & Xie, 2212.09748, section 3.2), which is told as that many
    /// sinusoidal features, an even number.
    pub time_conditioning: Option<usize>,
    /// The last belief is read as a mixture of word vectors (Chen et al., 2208.04202).
    pub self_conditioning: bool,
    /// The largest number of positions.
    pub context_length: usize,
    /// Which positions see which others.
    pub attention: Layout,
    /// The row before a position answers for it, as in networks that began as causal ones (Dream, 2508.15487).
    pub logit_shift: bool,
    /// The id that a masked position reads and that no belief has; `None` for a network that knows no mask.
    pub mask_token: Option<u32>,
    /// `E`: coordinates of the word vectors of length 1 between which the points of a gaussian field lie; `None` for a
    /// network that reads tokens.
    pub word_vector_size: Option<usize>,
    /// What it was trained to undo.
    pub process: ProcessSpec,
}

impl NetworkSpec {
    /// Whether a belief is sure of the rows that are known, or empty there. Where blocks see only what came before
    /// them it is empty: what finished blocks say must not depend on whether a belief came along, or nobody could
    /// remember it.
    pub fn is_sure_of_known(&self) -> bool {
        !matches!(self.attention, Layout::Block { .. })
    }

    /// Refuses a description that no network can have, and says what is allowed.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let sizes = [
            ("vocabulary_size", self.vocabulary_size),
            ("width", self.width),
            ("layers", self.layers),
            ("heads", self.heads),
            ("key_value_heads", self.key_value_heads),
            ("head_size", self.head_size),
            ("feed_forward_width", self.feed_forward_width),
            ("context_length", self.context_length),
        ];
        for (parameter, size) in sizes {
            if size == 0 || size > i32::MAX as usize {
                return refuse(parameter, size, "1 or more, and no more than 2147483647");
            }
        }
        if !self.heads.is_multiple_of(self.key_value_heads) {
            let allowed = format!("a divisor of `heads`, which is {}", self.heads);
            return refuse("key_value_heads", self.key_value_heads, allowed);
        }
        if !self.head_size.is_multiple_of(2) {
            return refuse("head_size", self.head_size, "an even number, because positions turn pairs");
        }
        if !(self.norm_epsilon >= 0.0 && self.norm_epsilon < 1.0) {
            return refuse("norm_epsilon", self.norm_epsilon, "0 or more and below 1 (1e-6 is usual)");
        }
        if !(self.rope_theta > 1.0 && self.rope_theta.is_finite()) {
            return refuse("rope_theta", self.rope_theta, "more than 1 (10000 is usual)");
        }
        if let Some(features) = self.time_conditioning
            && (features == 0 || !features.is_multiple_of(2) || features > 1 << 20)
        {
            return refuse("time_conditioning", features, "an even number, 2 or more (256 is usual)");
        }
        if let Layout::Block { length: 0 } = self.attention {
            return refuse("attention", self.attention, "full, causal, block:LENGTH with a length of 1 or more");
        }
        if let Some(mask) = self.mask_token
            && mask as usize >= self.vocabulary_size
        {
            return refuse("mask_token", mask, format!("below `vocabulary_size`, which is {}", self.vocabulary_size));
        }
        if self.attention != Layout::Causal {
            let process = self.process()?;
            if process.vector_size() != self.word_vector_size {
                let given = self.word_vector_size.map_or("nothing".to_owned(), |size| size.to_string());
                let needed = process.vector_size().map_or("nothing".to_owned(), |size| size.to_string());
                let allowed = format!("{needed}, as the process {} needs", process.name());
                return refuse("word_vector_size", given, allowed);
            }
        }
        if self.mask_token.is_some() && self.vocabulary_size < 2 {
            return refuse("vocabulary_size", self.vocabulary_size, "2 or more where one of them is the mask");
        }
        Ok(())
    }

    /// The process of a network that has one.
    ///
    /// # Errors
    /// When a number of its settings does not fit, or the network lacks what the process needs.
    pub fn process(&self) -> Result<Arc<dyn Process>, SettingError> {
        let alphabet = Alphabet { size: self.vocabulary_size, mask: self.mask_token };
        self.process.build(alphabet)
    }

    /// Number of parameters.
    pub fn parameter_count(&self) -> usize {
        crate::tensor_list::tensors(self).iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
    }
}

fn refuse<T>(parameter: &'static str, given: impl ToString, allowed: impl Into<String>) -> Result<T, NetworkError> {
    Err(NetworkError::Spec { parameter, given: given.to_string(), allowed: allowed.into() })
}
