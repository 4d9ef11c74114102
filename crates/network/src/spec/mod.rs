//! The one description of every transformer here: a list of layers, and what stands before, beside and behind them.

mod adapter;
mod attention;
mod feed_forward;
mod head;
mod kind;
mod layer;
mod norm;
mod self_conditioning;
mod time;

pub use adapter::{AdapterSpec, LowRankHalf, LowRankSpec};
pub use aquatint_compute::RouterScore;
pub use attention::{AttentionSpec, RopeSpec};
pub use feed_forward::{
    Activation, BlockRouting, ExpertsSpec, FeedForwardKind, FeedForwardSpec, GatedSpec, ParallelSpec, PlainSpec,
    RouterSpec,
};
pub use head::HeadSpec;
pub use kind::NetworkKind;
pub use layer::LayerSpec;
pub use norm::NormSpec;
pub use self_conditioning::SelfConditioningSpec;
pub use time::{TimeInput, TimeSpec};

use crate::{NetworkError, TensorSpec, weight_index};
use aquatint_diffusion::{Alphabet, Layout, Process, ProcessSpec, SettingError};
use std::sync::Arc;

/// What a network is, without its weights: a pre-norm transformer of any layers.
///
/// Begin with [`NetworkSpec::new`] and set what differs, so that a description needs no change when options are added.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkSpec {
    /// `V`: ids of the joint vocabulary.
    pub vocabulary_size: usize,
    /// `D`: columns of the residual stream.
    pub width: usize,
    /// The layers, from the first to the last.
    pub layers: Vec<LayerSpec>,
    /// The norm outside the layers: of the last hidden rows, of predicted word vectors and of projected points.
    pub norm: NormSpec,
    /// From hidden rows to logits.
    pub head: HeadSpec,
    /// How layers are modulated by the time, where they are; see [`NetworkSpec::reads_time`].
    pub time_conditioning: Option<TimeSpec>,
    /// How the last prediction is read, where it is, as a mixture of word vectors (Chen et al., 2208.04202).
    pub self_conditioning: Option<SelfConditioningSpec>,
    /// What word vectors are multiplied by as they are read; `None` for nothing.
    pub embedding_scale: Option<f64>,
    /// Behind a causal prefix, rows of the current block see all of it, and a window is counted from its first row; else
    /// from each row, as everywhere.
    pub block_windows: bool,
    /// The largest number of positions.
    pub context_length: usize,
    /// Which positions see which others.
    pub attention: Layout,
    /// The id that a masked position reads and that no prediction has; `None` for a network that knows no mask.
    pub mask_token: Option<u32>,
    /// `E`: coordinates of the word vectors of length 1 between which the points of a gaussian field lie; `None` for a
    /// network that reads tokens.
    pub word_vector_size: Option<usize>,
    /// What it was trained to undo, unless it is causal: see [`NetworkSpec::kind`].
    pub process: ProcessSpec,
    /// Low-rank additions that stand beside it, of which a pass applies one.
    pub adapters: Vec<AdapterSpec>,
}

impl NetworkSpec {
    /// These layers with full attention over 2048 positions and all else as is usual: a head of its own, no conditions,
    /// no mask, the default process.
    pub fn new(vocabulary_size: usize, width: usize, layers: Vec<LayerSpec>) -> Self {
        Self {
            vocabulary_size,
            width,
            layers,
            norm: NormSpec::default(),
            head: HeadSpec::default(),
            time_conditioning: None,
            self_conditioning: None,
            embedding_scale: None,
            block_windows: false,
            context_length: 2048,
            attention: Layout::Full,
            mask_token: None,
            word_vector_size: None,
            process: ProcessSpec::default(),
            adapters: Vec::new(),
        }
    }

    /// The same network alone.
    #[must_use]
    pub fn without_adapters(&self) -> Self {
        Self { adapters: Vec::new(), ..self.clone() }
    }

    /// Whether a prediction is sure of the rows that are known, or empty there. Where blocks see only what came before
    /// them it is empty: the keys and values of finished blocks must not depend on a prediction, or they could not be
    /// cached.
    pub fn is_sure_of_known(&self) -> bool {
        self.attention.block_length().is_none()
    }

    /// Whether a prediction depends on a time, which has to be given with each sequence.
    pub fn reads_time(&self) -> bool {
        self.time_conditioning.is_some_and(|time| time.input != TimeInput::Nothing)
    }

    /// Whether rows are read as mixtures of word vectors, so that products read the table of these: with
    /// self-conditioning, and under a process whose open positions hold points.
    ///
    /// # Errors
    /// When the process cannot be built.
    pub fn reads_mixtures(&self) -> Result<bool, SettingError> {
        Ok(self.self_conditioning.is_some() || self.process()?.is_some_and(|process| process.reads_points()))
    }

    /// Whether rows of the current block are computed in another way than those before it, so that an input has to say
    /// which they are.
    pub fn tells_current(&self) -> bool {
        self.block_windows
            || self.layers.iter().any(|layer| layer.scaled)
            || matches!(self.self_conditioning, Some(SelfConditioningSpec::Gated(_)))
    }

    /// `A`: axes of a row's place by which queries and keys turn; 1 where that is the position. Which rows see which others
    /// is never decided by a place, but by positions.
    pub fn position_axes(&self) -> usize {
        self.layers.first().map_or(1, |layer| layer.attention.rope.axes)
    }

    /// How many rows choose their experts together, where rows do.
    pub fn routing_length(&self) -> Option<usize> {
        self.layers.iter().find_map(|layer| layer.feed_forward.block_routing()).map(|block| block.length)
    }

    /// Refuses rows that choose their experts together where which ones do, or all of them at once, cannot be.
    fn check_routing(&self) -> Result<(), NetworkError> {
        let Some(length) = self.routing_length() else { return Ok(()) };
        let mut routed = self.layers.iter().filter_map(|layer| layer.feed_forward.block_routing());
        if let Some(other) = routed.find(|block| block.length != length) {
            let allowed = format!("{length} in all layers, as in the first one");
            return refuse("router_block_length", other.length, allowed);
        }
        // Other rows would choose with those of a block: later ones, which it does not see.
        if !matches!(self.attention, Layout::Block { length: block } if block.is_multiple_of(length)) {
            let allowed = format!("block:LENGTH with a multiple of {length}, the rows that choose experts together");
            return refuse("attention", self.attention, allowed);
        }
        // The row before a block answers for its first position, and would be computed without its block.
        if self.head.logit_shift {
            return refuse("logit_shift", true, "false where the rows of a block choose experts together");
        }
        Ok(())
    }

    /// Columns of what layers are conditioned on.
    pub(crate) fn condition_width(&self) -> usize {
        self.time_conditioning.and_then(|time| time.width).unwrap_or(self.width)
    }

    /// The widest window of any layer, in positions; `None` where a layer has none and sees all that the layout shows.
    /// Keys and values that far to the left of all rows that are still computed are read by nobody.
    pub fn widest_window(&self) -> Option<usize> {
        let windows: Option<Vec<usize>> = self.layers.iter().map(|layer| layer.attention.window).collect();
        windows?.into_iter().max()
    }

    /// Refuses a description that no network can have.
    ///
    /// # Errors
    /// With the parameter, its value and what is allowed.
    pub fn validate(&self) -> Result<(), NetworkError> {
        check_size("vocabulary_size", self.vocabulary_size)?;
        check_size("width", self.width)?;
        check_size("context_length", self.context_length)?;
        check_layers(&self.layers)?;
        let axes = self.position_axes();
        if let Some(layer) = self.layers.iter().find(|layer| layer.attention.rope.axes != axes) {
            let allowed = format!("{axes} in all layers, as in the first one");
            return refuse("position_axes", layer.attention.rope.axes, allowed);
        }
        self.norm.validate()?;
        self.head.validate()?;
        self.self_conditioning.map_or(Ok(()), |conditioning| conditioning.validate())?;
        if let Some(scale) = self.embedding_scale
            && !(scale > 0.0 && scale.is_finite())
        {
            return refuse("embedding_scale", scale, "a number above 0 (√width is usual)");
        }
        if self.tells_current() && !matches!(self.attention, Layout::CausalPrefix { .. }) {
            let allowed = "causal-prefix:LENGTH where rows of the current block are computed in their own way";
            return refuse("attention", self.attention, allowed);
        }
        self.time_conditioning.map_or(Ok(()), |time| time.validate())?;
        if self.attention.block_length() == Some(0) {
            let allowed = "full, causal, block:LENGTH or causal-prefix:LENGTH with a length of 1 or more";
            return refuse("attention", self.attention, allowed);
        }
        self.check_routing()?;
        if let Some(mask) = self.mask_token
            && mask as usize >= self.vocabulary_size
        {
            return refuse("mask_token", mask, format!("below `vocabulary_size`, which is {}", self.vocabulary_size));
        }
        if let Some(process) = self.process()?
            && process.vector_size() != self.word_vector_size
        {
            let given = self.word_vector_size.map_or("nothing".to_owned(), |size| size.to_string());
            let needed = process.vector_size().map_or("nothing".to_owned(), |size| size.to_string());
            let allowed = format!("{needed}, as the process {} needs", process.name());
            return refuse("word_vector_size", given, allowed);
        }
        for (index, adapter) in self.adapters.iter().enumerate() {
            if self.adapters[..index].iter().any(|other| other.name == adapter.name) {
                return refuse("adapter", format!("\"{}\"", adapter.name), "another name for each adapter");
            }
            adapter.validate(self)?;
        }
        if self.mask_token.is_some() && self.vocabulary_size < 2 {
            return refuse("vocabulary_size", self.vocabulary_size, "2 or more where one of them is the mask");
        }
        Ok(())
    }

    /// What it was trained to do.
    pub fn kind(&self) -> NetworkKind<'_> {
        match self.attention {
            Layout::Causal => NetworkKind::Causal,
            Layout::Full | Layout::Block { .. } | Layout::CausalPrefix { .. } => NetworkKind::Diffusion(&self.process),
        }
    }

    /// The process that it was trained to undo; `None` for a causal network.
    ///
    /// # Errors
    /// When a number of its settings does not fit, or the network lacks what the process needs.
    pub fn process(&self) -> Result<Option<Arc<dyn Process>>, SettingError> {
        let alphabet = Alphabet { size: self.vocabulary_size, mask: self.mask_token };
        match self.kind() {
            NetworkKind::Diffusion(process) => process.build(alphabet).map(Some),
            NetworkKind::Causal => Ok(None),
        }
    }

    /// All tensors, in a stable order.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        weight_index::tensors(self)
    }

    /// Number of parameters.
    pub fn parameter_count(&self) -> usize {
        self.tensors().iter().map(TensorSpec::len).sum()
    }

    /// Number of parameters that a row reads: all but those of the experts that it does not go to.
    pub fn active_parameter_count(&self) -> usize {
        let idle = self.layers.iter().map(|layer| layer.feed_forward.idle_parameters(self.width));
        self.parameter_count() - idle.sum::<usize>()
    }
}

/// Refuses layers that no network can have.
pub(crate) fn check_layers(layers: &[LayerSpec]) -> Result<(), NetworkError> {
    layer::check_number(layers.len())?;
    layers.iter().try_for_each(LayerSpec::validate)
}

/// Refuses a size of 0 and one that no device counts.
pub(crate) fn check_size(parameter: &'static str, size: usize) -> Result<(), NetworkError> {
    if size == 0 || size > i32::MAX as usize {
        return refuse(parameter, size, "1 or more, and no more than 2147483647");
    }
    Ok(())
}

pub(crate) fn refuse<T>(
    parameter: &'static str,
    given: impl ToString,
    allowed: impl Into<String>,
) -> Result<T, NetworkError> {
    Err(NetworkError::Spec { parameter, given: given.to_string(), allowed: allowed.into() })
}
