//! Why a network could not be built or run.

use aquatint_compute::{DeviceError, QuantisedError, VisibilityError, WeightFormat};

/// Why a network could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A number of the description cannot be what it is.
    #[error("`{parameter}` is {given}; allowed: {allowed}")]
    Spec {
        /// The name in the description.
        parameter: &'static str,
        /// The value given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// The process that a description names cannot be.
    #[error(transparent)]
    Process(#[from] aquatint_diffusion::SettingError),
    /// A description has a key that nothing here reads.
    #[error("the description has the unknown key `{key}`")]
    UnknownKey {
        /// The key.
        key: String,
        /// A known key that looks like it.
        similar: Option<&'static str>,
    },
    /// A description lacks a key.
    #[error("the description lacks the key `{key}`")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// All keys that have to be there.
        keys: String,
    },
    /// A description asks for what the networks here do not have.
    #[error("`{key}` is {given}, which is not supported: it needs {needed}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Its value.
        given: String,
        /// What a network would need to have.
        needed: &'static str,
    },
    /// A description is of a family that is not known here.
    #[error("`model_type` is {given}; allowed: {allowed}")]
    Family {
        /// The value given.
        given: String,
        /// The families known.
        allowed: String,
    },
    /// A description has something that a family's `config.json` has no words for.
    #[error("a config.json of the family \"{family}\" cannot say all of this network; save it as another family")]
    Inexpressible {
        /// The family.
        family: &'static str,
    },
    /// A tensor is not among the weights given.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
        /// How many the description asks for.
        count: usize,
    },
    /// There is no parameter of that name.
    #[error("the network has no parameter `{name}` among its {count}")]
    UnknownParameter {
        /// The name.
        name: String,
        /// Parameters that there are.
        count: usize,
    },
    /// Gradients were asked for where there are none.
    #[error("the gradients of what is predicted are not known: {reason}")]
    NoGradients {
        /// Why there are none.
        reason: &'static str,
    },
    /// There is no adapter of that name.
    #[error("the network has no adapter `{name}`; allowed: {}", or_none(allowed))]
    UnknownAdapter {
        /// The name.
        name: String,
        /// The adapters that there are.
        allowed: Vec<String>,
    },
    /// A tensor has another number of values than the description says.
    #[error("tensor `{name}` has {given} values; its shape is {shape:?}")]
    TensorLength {
        /// The tensor.
        name: String,
        /// Values given.
        given: usize,
        /// The shape that the description asks for.
        shape: Vec<usize>,
    },
    /// A matrix cannot be kept in integers.
    #[error("tensor `{name}` cannot be quantised: {source}")]
    Quantised {
        /// The tensor, or the first of those that one product reads together.
        name: String,
        /// Why.
        source: QuantisedError,
    },
    /// A group of parameters cannot be kept in the numbers that it asks for.
    #[error("`{name}` cannot be kept in {precision}: {reason}")]
    Precision {
        /// The parameter, or the pattern of its group.
        name: String,
        /// The numbers.
        precision: WeightFormat,
        /// Why.
        reason: String,
    },
    /// A part of an input has another length than the rest says.
    #[error("`{parameter}` has {given} entries; expected: {expected} ({reason})")]
    InputLength {
        /// The part.
        parameter: &'static str,
        /// Entries given.
        given: usize,
        /// Entries expected.
        expected: usize,
        /// What they are counted by.
        reason: &'static str,
    },
    /// An entry of an input is out of its range.
    #[error("`{parameter}` has {given} at index {index}; allowed: below {limit} ({reason})")]
    InputRange {
        /// The part.
        parameter: &'static str,
        /// The entry.
        given: u32,
        /// Where it stands.
        index: usize,
        /// The first value that is not allowed.
        limit: usize,
        /// What the limit is.
        reason: &'static str,
    },
    /// A part of an input is there that the network has no use for, or lacks where it needs it.
    #[error("`{parameter}` is {}; {reason}", if *given { "given" } else { "missing" })]
    InputPart {
        /// The part.
        parameter: &'static str,
        /// Whether it is there.
        given: bool,
        /// Why that is wrong, and what to do.
        reason: &'static str,
    },
    /// Entries that should ascend do not.
    #[error("`{parameter}` does not ascend at index {index}")]
    Order {
        /// The part.
        parameter: &'static str,
        /// The first entry that is not larger than the one before it.
        index: usize,
    },
    /// A row is asked for that is not read.
    #[error("row {row} has to answer but is not among the rows that are read (`rows_to_compute`)")]
    NotComputed {
        /// The row that answers.
        row: u32,
    },
    /// A row sees another one of which nothing is known.
    #[error("row {row} sees a row that is neither computed (`rows_to_compute`) nor cached")]
    NotCached {
        /// The row that sees.
        row: u32,
    },
    /// A row chooses its experts with others that are not computed.
    #[error(
        "row {row} chooses its experts together with its block, of which other rows are not computed (`rows_to_compute`)"
    )]
    PartOfBlock {
        /// The row.
        row: u32,
    },
    /// A row is to be computed that a KV cache has given back.
    #[error("row {row} is to be computed (`rows_to_compute`), but was freed from its KV cache")]
    Freed {
        /// The row.
        row: u32,
    },
    /// A KV cache does not fit.
    #[error("the KV cache is of another network, or of a longer sequence")]
    ForeignKvCache,
    /// What rows see cannot be.
    #[error(transparent)]
    Visibility(#[from] VisibilityError),
    /// A denoiser left rows out.
    #[error("the network answered for {given} rows where {expected} were asked for")]
    Unanswered {
        /// Rows answered for.
        given: usize,
        /// Rows asked for.
        expected: usize,
    },
    /// A row is to be learned whose clean token is the mask.
    #[error("the target of row {row} is {target}, the mask's id")]
    MaskTarget {
        /// The row.
        row: u32,
        /// The target.
        target: u32,
    },
    /// The device failed. It is a source, so that it is found behind every error that this one becomes.
    #[error("{0}")]
    Device(#[from] DeviceError),
}

impl NetworkError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Process(error) => error.hint(),
            Self::UnknownKey { similar, .. } => similar.map(|similar| format!("did you mean `{similar}`?")),
            Self::MissingKey { keys, .. } => Some(format!("a description of this family has {keys}")),
            Self::MissingTensor { count, .. } => {
                Some(format!("the description asks for {count} tensors, do the two belong together?"))
            }
            Self::Quantised { source: QuantisedError::Group { .. }, .. } => Some(
                "integers of 8 bits have one scale for each row, whatever its length: `--precision int8`".to_owned(),
            ),
            Self::MaskTarget { .. } => {
                Some("a clean token is never the mask (is there a mask token in the text?)".to_owned())
            }
            _ => None,
        }
    }
}

/// Names in a row.
fn or_none(names: &[String]) -> String {
    if names.is_empty() { "none, since it has no adapters".to_owned() } else { names.join(", ") }
}
