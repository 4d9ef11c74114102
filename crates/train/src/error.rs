//! What can be wrong with a recipe or a run, said so that it can be put right.

use aquatint_checkpoint::CheckpointError;
use aquatint_codec::CodecError;
use aquatint_compute::DeviceError;
use aquatint_corpus::CorpusError;
use aquatint_diffusion::SettingError;
use aquatint_evaluate::EvaluateError;
use aquatint_network::{NetworkError, ParameterPattern};
use aquatint_reward::RewardError;
use aquatint_vocabulary::{ChatError, VocabularyError};
use std::fmt;
use std::path::PathBuf;

/// Why a recipe was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("could not read the recipe `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A recipe that another one extends cannot be read.
    #[error("could not read the recipe `{}`, which `{}` extends: {source}", path.display(), by.display())]
    Base {
        /// The file.
        path: PathBuf,
        /// Which recipe names it.
        by: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Recipes that extend each other without an end.
    #[error("`extends` leads from {}; allowed: {allowed}", route(chain))]
    Chain {
        /// The files, each extending the next.
        chain: Vec<PathBuf>,
        /// What is allowed.
        allowed: &'static str,
    },
    /// It is not TOML, has an unknown key, or a value of the wrong kind.
    #[error("the recipe cannot be understood: {reason}")]
    Parse {
        /// What is wrong, with line and column where known.
        reason: String,
    },
    /// A value outside of what makes sense.
    #[error("`{key}` is {given}; allowed: {allowed}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        given: String,
        /// What is allowed.
        allowed: &'static str,
        /// What to do about it, where there is something to say beyond `allowed`.
        hint: Option<&'static str>,
    },
    /// The schedule has no such name.
    #[error("the recipe cannot be understood: `objective.schedule`: {0}")]
    Schedule(#[source] SettingError),
    /// There is no such process, or its number does not fit.
    #[error("the recipe cannot be understood: `objective.process`: {0}")]
    Process(#[source] SettingError),
    /// There is no such commit policy, or its number does not fit.
    #[error("the recipe cannot be understood: `reward.policy`: {0}")]
    Policy(#[source] SettingError),
    /// There is no such learnt order.
    #[error("the recipe cannot be understood: `order`: {0}")]
    Order(#[source] SettingError),
    /// A reward has no such name, or cannot be checked.
    #[error("the recipe cannot be understood: `reward.terms`: {0}")]
    Reward(#[source] RewardError),
    /// A `--set` that is not key=value.
    #[error("`--set {given}`: {reason}")]
    Override {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: &'static str,
        /// What to do about it, where there is something to say beyond `reason`.
        hint: Option<&'static str>,
    },
}

impl RecipeError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Value { hint, .. } | Self::Override { hint, .. } => hint.map(str::to_owned),
            Self::Schedule(error) | Self::Process(error) | Self::Policy(error) | Self::Order(error) => error.hint(),
            Self::Reward(error) => error.hint(),
            Self::Read { .. } | Self::Base { .. } | Self::Chain { .. } | Self::Parse { .. } => None,
        }
    }

    /// A value without a hint.
    pub(crate) fn value(key: &'static str, given: impl Into<String>, allowed: &'static str) -> Self {
        Self::Value { key, given: given.into(), allowed, hint: None }
    }
}

/// Why a run could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The recipe was refused.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A model or a state could not be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The texts could not be read.
    #[error(transparent)]
    Corpus(CorpusError),
    /// The held-out text could not be measured.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The sample canvas could not be filled.
    #[error(transparent)]
    Generate(#[from] aquatint_generate::GenerateError),
    /// The network refused.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Pictures or sounds could not be read, or a codec not be made.
    #[error(transparent)]
    Codec(CodecError),
    /// There are too few pictures or sounds.
    #[error("`{key}` gives {given} {kind}, {needed} are needed")]
    FewSamples {
        /// What they come from.
        key: &'static str,
        /// How many there are.
        given: usize,
        /// What they are.
        kind: &'static str,
        /// How many are needed.
        needed: usize,
    },
    /// Nothing can be said of a completion.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// No group of completions had two that are worth something else, for long.
    #[error(
        "the completions of each prompt were all worth the same in {rollouts} rollouts in a row (last at step {step}): there is nothing to learn from"
    )]
    FlatRewards {
        /// How many rollouts.
        rollouts: u64,
        /// The step of the last one.
        step: u64,
    },
    /// The tokenizer refused.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// The template of conversations cannot be read.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The device refused. It is a source, like that of a [`NetworkError`].
    #[error("{0}")]
    Device(#[from] DeviceError),
    /// The ranks could not work together.
    #[error(transparent)]
    Parallel(#[from] crate::ParallelError),
    /// The operating system refused.
    #[error("could not {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A group of the optimiser chooses no parameter that is left.
    #[error(
        "`optimiser.groups` chooses nothing by `{pattern}`: no parameter has such a name or role, or earlier groups have them all; one is called `{example}`"
    )]
    EmptyGroup {
        /// The pattern.
        pattern: String,
        /// The name of a parameter.
        example: String,
    },
    /// Nothing is left to learn.
    #[error("`optimiser.groups` leaves no parameter trainable; a run needs at least one")]
    NothingTrains,
    /// A new run would overwrite another one.
    #[error("`{}` already holds a run at step {step}", folder.display())]
    Exists {
        /// The run's folder.
        folder: PathBuf,
        /// Where it stands.
        step: u64,
    },
    /// A new run would overwrite a model.
    #[error("`{}` already holds a model, and no state of a run", folder.display())]
    HoldsModel {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Another process owns the run's folder.
    #[error("`{}` is in use by {holder}", folder.display())]
    InUse {
        /// The run's folder.
        folder: PathBuf,
        /// Who has it, in words.
        holder: String,
    },
    /// The numbers of the run do not fit into memory.
    #[error("training needs at least {needed} of memory on {place}, where a run may take {available}")]
    Memory {
        /// Which memory: the machine's or the device's.
        place: &'static str,
        /// What is needed.
        needed: Bytes,
        /// What there is.
        available: Bytes,
    },
    /// There is no room to save the run.
    #[error("the run needs at least {needed} of disk under `{}`, where {available} are free", path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// What is needed.
        needed: Bytes,
        /// What there is.
        available: Bytes,
    },
    /// There is nothing to resume.
    #[error("`{}` holds no run to resume", folder.display())]
    NothingToResume {
        /// The run's folder.
        folder: PathBuf,
    },
    /// A resumed run differs from what was saved where it must not.
    #[error("the run in `{}` is another one: {}", folder.display(), all(differences))]
    OtherRun {
        /// The run's folder.
        folder: PathBuf,
        /// What differs, in the order of the keys.
        differences: Vec<Difference>,
    },
    /// What an objective counted cannot be saved, or was counted by another objective.
    #[error("what the objective counted cannot be kept: {reason}")]
    ObjectiveState {
        /// Why not.
        reason: String,
    },
    /// The texts give not even one canvas.
    #[error("`{key}` gives {canvases} canvases of {length} tokens, {needed} are needed")]
    TooLittle {
        /// `data.train` or `data.valid`.
        key: &'static str,
        /// Canvases there are.
        canvases: usize,
        /// Tokens of each.
        length: usize,
        /// Canvases needed.
        needed: usize,
    },
    /// The loss left the numbers.
    #[error("the gradient was not finite in {steps} steps one after another (last at step {step})")]
    Diverged {
        /// How many steps.
        steps: u64,
        /// The last one.
        step: u64,
    },
    /// The weights, or what the optimiser keeps of them, left the numbers.
    #[error("the run has no finite numbers left at step {step}: `{tensor}` has {value} at index {index}")]
    NotFinite {
        /// The name in the run's state: what is kept, then the parameter.
        tensor: String,
        /// Where it stands, row-major.
        index: usize,
        /// What it is.
        value: f64,
        /// Steps taken.
        step: u64,
    },
    /// It was cancelled before its first step, or before the first one since it was resumed.
    #[error("stopped before training began")]
    Stopped,
    /// The initial checkpoint describes another network than the recipe.
    #[error("`initial` holds another network: its {field} is {found}, the recipe's {expected}")]
    OtherNetwork {
        /// What differs.
        field: &'static str,
        /// In the checkpoint.
        found: String,
        /// In the recipe.
        expected: String,
    },
    /// The initial checkpoint keeps a tensor as integers, which have no gradient.
    #[error("`initial` keeps `{tensor}` as {format}, which cannot be trained")]
    Quantised {
        /// A tensor that is to be trained.
        tensor: String,
        /// How it is kept.
        format: String,
        /// What chooses all such tensors, by their roles.
        patterns: Vec<ParameterPattern>,
    },
    /// The recipe makes a network of `initial` that its family has no words for.
    #[error(
        "`initial` is of the family \"{family}\", whose config.json has no words for a network with {}",
        codes(keys)
    )]
    Inexpressible {
        /// The family.
        family: &'static str,
        /// The keys that say what the network becomes.
        keys: Vec<&'static str>,
    },
    /// The objective of a family is not there.
    #[error(
        "models of the family `{family}` cannot be trained: no objective here is the one of their process, {process}"
    )]
    NoObjective {
        /// The family.
        family: &'static str,
        /// The process.
        process: String,
    },
    /// The plot could not be drawn.
    #[error("could not draw the plot `{}`: {reason}", path.display())]
    Plot {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Keys as they are written in messages.
fn codes(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("this `{key}`")).collect::<Vec<_>>().join(", ")
}

/// A number of bytes for people: three figures and a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bytes(pub f64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let (mut value, mut unit) = (self.0, 0);
        // 1000 and not 1024: three figures fit a column up to 999.
        while value >= 999.5 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        match unit {
            0 => write!(f, "{value:.0} B"),
            _ if value < 9.995 => write!(f, "{value:.2} {}", UNITS[unit]),
            _ if value < 99.95 => write!(f, "{value:.1} {}", UNITS[unit]),
            _ => write!(f, "{value:.0} {}", UNITS[unit]),
        }
    }
}

fn route(chain: &[PathBuf]) -> String {
    chain.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(" to ")
}

/// A key of a run that is not what it was: one of its recipe, or of what its texts and its tokenizer hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key, named with dots.
    pub key: String,
    /// Its value in the saved run, as TOML; `None` where it was not set.
    pub saved: Option<String>,
    /// Its value in the recipe given, likewise.
    pub given: Option<String>,
}

fn all(differences: &[Difference]) -> String {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unset".to_owned());
    let each = |d: &Difference| format!("`{}` is {} there and {} here", d.key, shown(&d.saved), shown(&d.given));
    differences.iter().map(each).collect::<Vec<_>>().join(", ")
}

/// A stop is a stop, whatever was under way.
impl From<CorpusError> for TrainError {
    fn from(error: CorpusError) -> Self {
        match error {
            CorpusError::Stopped => Self::Stopped,
            error => Self::Corpus(error),
        }
    }
}

/// A stop is a stop, whatever was under way.
impl From<CodecError> for TrainError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Stopped => Self::Stopped,
            error => Self::Codec(error),
        }
    }
}

impl TrainError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Exists { .. } => "go on with it by `--resume`, or choose another `output`",
            Self::NothingToResume { .. } => "start one without `--resume`",
            Self::HoldsModel { .. } => "choose another `output`; to train that model on, name its folder as `initial`",
            Self::InUse { .. } => "wait until it ends, or choose another `output`; the lock ends with that process",
            Self::Memory { .. } => {
                "make `network.width`, `network.layers`, `data.canvas_length` or `optimiser.batch` smaller, or set \
                 `optimiser.accumulate` or `run.activation_memory`"
            }
            Self::Disk { .. } => "free some space, or choose a folder on another disk as `output` or `data.cache`",
            Self::OtherRun { .. } => {
                "resume it with the recipe and the texts that it was started with (they may have moved), or choose \
                 another `output`"
            }
            Self::FewSamples { .. } => "add some or make `optimiser.batch` or `data.held_out` smaller",
            Self::TooLittle { .. } => "add text or make `data.canvas_length` or `optimiser.batch` smaller",
            Self::Diverged { .. } | Self::NotFinite { .. } => {
                "lower `optimiser.learning_rate` or raise `optimiser.warm_up`; what was saved before can be resumed"
            }
            Self::FlatRewards { .. } => {
                "begin with a model that is right now and then, raise `reward.temperature`, or add a reward with steps \
                 between nothing and all"
            }
            Self::OtherNetwork { .. } => {
                "leave out the overrides or change them; without `size` the network is that of `initial`"
            }
            Self::Inexpressible { .. } => {
                "leave out what the folder does not say itself, or begin with a model of another family"
            }
            Self::Quantised { patterns, .. } => {
                let patterns: Vec<String> = patterns.iter().map(|pattern| format!("`\"{pattern}\"`")).collect();
                return Some(format!(
                    "begin with the folder as it was before it was quantised, or leave its integers as they are and \
                     train the rest: one of `[[optimiser.groups]]` for each of the `parameters` {}, with `trainable = \
                     false` and `precision = \"int4\"` or `\"int8\"`",
                    patterns.join(", ")
                ));
            }
            Self::Recipe(error) => return error.hint(),
            Self::Checkpoint(error) => return error.hint(),
            Self::Corpus(error) => return error.hint(),
            Self::Evaluate(error) => return error.hint(),
            Self::Generate(error) => return error.hint(),
            Self::Network(error) => return error.hint(),
            Self::Codec(error) => return error.hint(),
            Self::Reward(error) => return error.hint(),
            Self::Vocabulary(error) => return error.hint(),
            Self::Chat(error) => return error.hint(),
            Self::Parallel(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
