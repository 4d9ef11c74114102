//! A recipe: everything that a training run is a function of, in one TOML file.
//!
//! [`Recipe`] is what people write: most of it may be left out. [`Recipe::resolve`] fills every gap from the one dial
//! `size` and returns a [`Resolved`] recipe with nothing left to guess, which is printed and saved beside the run. A recipe
//! without `size` that begins with a model (`initial`) trains the network of that model, whatever its family: what it does
//! not say of network and process is in the model's own files.
//! A key that is not named here is refused. A recipe may say only what differs from another, which it names by
//! `extends`.

mod adapter;
mod codec;
mod extends;
mod groups;
mod kind;
mod matcher;
mod network;
mod order;
mod preference;
mod resolved;
mod reward;

pub use adapter::AdapterRecipe;
pub use codec::{CodecRecipe, ResolvedCodec, SampleData, SampleSource};
pub use groups::GroupRecipe;
pub use kind::RecipeKind;
pub use matcher::{MatcherRecipe, PairData, PairSource, ResolvedMatcher};
pub use network::{NetworkOverrides, NetworkPlan, NetworkRecipe};
pub(crate) use network::{check_layout, check_times};
pub use order::OrderRecipe;
pub use preference::{PreferenceRecipe, SharedNoise};
pub use resolved::{OptimiserRecipe, Resolved};
pub use reward::{AdvantageScale, EstimatorKind, KlEstimator, RewardRecipe, RewardTerm, SurrogateKind};

use crate::size::Size;
use crate::{ByteSize, Overrides, RecipeError};
use aquatint_checkpoint::Storage;
use aquatint_corpus::{Encoding, Format, Source};
use aquatint_diffusion::TimeSampling;
use aquatint_vocabulary::PreTokenizer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What people write. Paths are relative to the folder in which the program is started, but for that of `extends`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The run's folder, where the model, its state and its figures go.
    pub output: PathBuf,
    /// The one dial: sets width, depth, heads, learning rate and batch. Where nothing is said, `4m`, or with `initial` the
    /// network of that model.
    pub size: Option<Size>,
    /// Seed of the first weights, the order of canvases, the times and the masks.
    #[serde(default)]
    pub seed: u64,
    /// A model, of any family, whose weights and tokenizer the run begins with: a folder, or the name of a built-in one.
    pub initial: Option<PathBuf>,
    /// What learns in place of the model of `initial`, which stays as it is; the run's folder is then that of an adapter.
    pub adapter: Option<AdapterRecipe>,
    /// What the model learns from.
    pub data: Data,
    /// Overrides of the network that `size` describes, or that `initial` holds.
    #[serde(default)]
    pub network: NetworkOverrides,
    /// What is minimised.
    #[serde(default)]
    pub objective: ObjectiveRecipe,
    /// A teacher whose steps the model learns to take two at a time, instead of the objective.
    pub distillation: Option<Distil>,
    /// What completions are worth, and how the model learns from that.
    pub reward: Option<RewardRecipe>,
    /// What learns in place of the model where `objective.kind` is "order".
    pub order: Option<OrderRecipe>,
    /// How it is minimised.
    #[serde(default)]
    pub optimiser: OptimiserOverrides,
    /// How long, how often, where.
    #[serde(default)]
    pub run: Run,
}

/// What the model learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Where the texts come from.
    #[serde(default)]
    pub train: Vec<SourceRecipe>,
    /// Held-out texts: for evaluation, never for training.
    #[serde(default)]
    pub valid: Vec<SourceRecipe>,
    /// Positions of a canvas.
    #[serde(default = "defaults::canvas_length")]
    pub canvas_length: usize,
    /// How documents lie on canvases: they share them, or each has its own, filled with end tokens that are learned.
    #[serde(default, skip_serializing_if = "is_default")]
    pub canvases: CanvasSharing,
    /// Tokens of the vocabulary that is trained where none is given.
    #[serde(default = "defaults::vocabulary_size")]
    pub vocabulary_size: usize,
    /// How text is cut into the pieces that no token of that vocabulary crosses: `prose`, or `smiles` for molecules.
    #[serde(default, with = "text", skip_serializing_if = "is_default")]
    pub pre_tokenizer: PreTokenizer,
    /// A `tokenizer.json` to use instead of training one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<PathBuf>,
    /// Whether a begin token stands in front of each text, given and free of cost, in training and whenever the model is
    /// read. Without it a network that knows positions by their distances predicts the same at each position of a canvas
    /// on which nothing is given. Where nothing is said, as the vocabulary's own files say; one that is trained here has
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub add_bos_token: Option<bool>,
    /// Folders of codecs, which make codes of the pictures and sounds that texts name. The model is given tokens for them
    /// and positions with three axes, and is saved with its codecs. Those of `initial` stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codecs: Vec<PathBuf>,
    /// A vocabulary is trained on about this many bytes, taken evenly from all sources.
    #[serde(default = "defaults::vocabulary_bytes")]
    pub vocabulary_bytes: u64,
    /// Where packed tokens are kept between runs; beside the run where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
}

impl Data {
    /// That there are texts to learn from and, where texts are measured, to measure.
    pub(crate) fn require_sources(&self, kind: ObjectiveKind) -> Result<(), RecipeError> {
        let sources = [
            ("data.train", &self.train, "at least one source"),
            ("data.valid", &self.valid, "at least one source of held-out text"),
        ];
        let needed = if kind.draws_completions() { 1 } else { 2 };
        match sources.into_iter().take(needed).find(|(_, sources, _)| sources.is_empty()) {
            Some((key, _, allowed)) => Err(RecipeError::value(key, "[]", allowed)),
            None => Ok(()),
        }
    }
}

/// How documents lie on canvases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CanvasSharing {
    /// Short documents share a canvas; they do not see each other.
    #[default]
    Shared,
    /// Each document has canvases of its own, the last of which is filled with end tokens. They are learned, so that the
    /// model learns how long documents are.
    Filled,
}

/// One source of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecipe {
    /// A file, or a folder that holds such files at any depth: `.txt` or `.text`, `.jsonl`, `.ndjson` or `.json`, each
    /// also compressed (`.gz`, `.zst`, `.xz`), or `.parquet`. Plain `.json` is read only where it is named itself or
    /// `format` says so.
    pub path: PathBuf,
    /// How files are read whose names do not say it: `text`, `json` (one object in each line) or `parquet`. Without it
    /// a folder's other files are left out, and listed.
    #[serde(default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The field or column that holds the text; an array of strings is joined by line feeds. Dots lead into objects and
    /// the elements of arrays: `meta.body`, `messages.content`.
    #[serde(default = "defaults::field")]
    pub field: String,
    /// Keep only rows whose fields have these values, for example `where = { lang = "en" }`.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, String>,
    /// Stands between the documents of a text file; `""` makes each file one document.
    #[serde(default = "defaults::separator")]
    pub separator: String,
    /// The encoding of text and JSON files, such as `windows-1252` or `shift_jis`. Without it they are UTF-8, or UTF-16
    /// where that shows.
    #[serde(default, with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// The largest share of rows that may be bad (broken JSON, no text, null): they are passed over and reported. One
    /// is allowed in any case, unless the share is 0. In text files, the largest share of bytes that are no text.
    #[serde(default = "defaults::max_bad_share")]
    pub max_bad_share: f64,
    /// The folder or archive (`.tar`, `.tar.zst`) that holds the pictures and sounds which the texts name as templates do:
    /// `A fox. [[picture:emoji/fox.png]]`. Needs codecs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<PathBuf>,
    /// How many times the source is repeated in one epoch.
    #[serde(default = "defaults::repeat")]
    pub repeat: u32,
}

impl SourceRecipe {
    /// The source as it is read.
    pub fn source(&self) -> Source {
        let Self { path, format, field, filter, separator, encoding, max_bad_share, media, repeat } = self.clone();
        Source { path, format, field, filter, separator, encoding, max_bad_share, media, repeat }
    }
}

/// What a layer sees of what the layout shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerType {
    /// Everything.
    FullAttention,
    /// What lies within the window.
    SlidingAttention,
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// What the process learns from; for masked diffusion the negative evidence lower bound, in continuous time.
    #[default]
    #[serde(alias = "masked")]
    Diffusion,
    /// The likelihood of each token given those before it: the autoregressive baseline and judge.
    Causal,
    /// What the process learns from, of the answers in conversations alone; what is said to the model is given.
    Instruct,
    /// Which of two answers is better, beside the model that the run begins with.
    Preference,
    /// What completions that the model draws are worth, as the table `[reward]` says.
    Reward,
    /// In which order the model, which stays as it is, commits positions: what its completions are worth, less the price of
    /// the passes that they take.
    Order,
}

impl ObjectiveKind {
    /// Its name in a recipe.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Diffusion => "diffusion",
            Self::Causal => "causal",
            Self::Instruct => "instruct",
            Self::Preference => "preference",
            Self::Reward => "reward",
            Self::Order => "order",
        }
    }

    /// Whether it learns from completions that the model draws itself.
    pub(crate) fn draws_completions(self) -> bool {
        matches!(self, Self::Reward | Self::Order)
    }
}

/// How the times of one batch are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// Independent times.
    Uniform,
    /// Evenly spread over the batch.
    #[default]
    LowDiscrepancy,
    /// Pairs that mirror each other.
    Antithetic,
    /// Evenly spread, and denser where the cost rises with time; the model's steps of sampling follow them, too.
    Adaptive,
}

impl Times {
    /// How ranks are spread over a batch.
    pub(crate) fn spread(self) -> TimeSampling {
        match self {
            Self::Uniform => TimeSampling::Uniform,
            Self::LowDiscrepancy | Self::Adaptive => TimeSampling::LowDiscrepancy,
            Self::Antithetic => TimeSampling::Antithetic,
        }
    }
}

/// How the masks of one canvas are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Masking {
    /// Each position by itself with probability 1 − α(t), as the process says.
    Bernoulli,
    /// As many positions as time t masks on average, chosen evenly, each weighted by the count that there is instead
    /// of the count expected. The same bound in expectation (reference: 2502.09992 appendix), with less noise.
    #[default]
    FixedCount,
    /// The same, with each canvas twice in a step: the second time what was masked the first time is shown, and what
    /// was shown is masked, so that every token is learned at every step.
    Complementary,
}

/// What is minimised, in detail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveRecipe {
    /// Diffusion, of texts or of the answers in conversations, or the causal baseline.
    pub kind: ObjectiveKind,
    /// The process by name: `masked`, `uniform`, `hybrid:0.2`, `gaussian:64`, `simplex`, … Where nothing is said, `masked`,
    /// or that of the model whose network is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// The noise schedule's name: `linear`, `cosine`, `log-linear`, `polynomial:2`. It changes how times are spread
    /// over shares of masked positions, never the bound itself. Where nothing is said, `linear`, or that of the model whose
    /// network is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// How the times of one batch are spread.
    pub time_sampling: Times,
    /// Earliest and latest time that is trained on. Validation always covers `[0, 1]`.
    pub time_range: (f64, f64),
    /// How masks are drawn.
    pub masking: Masking,
    /// Largest weight that a masked position gets in the gradient; the figures keep the bound's own weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_limit: Option<f64>,
    /// In this share of the passes a network with self-conditioning gets its own prediction as input.
    pub self_conditioning_probability: f64,
    /// Learns from the process's bound where its usual cost is cross-entropy.
    pub bound: bool,
    /// Evens out the loads of experts. A router without bias is taught by a cost that weighs so much (0.01 is usual: Switch
    /// Transformer, 2101.03961, equations 4 to 6); a router with one has its bias moved by so much after each step (0.001 is
    /// usual: DeepSeek-V3, 2412.19437, section 2.1.2). Figures of the loss are without that cost. Where nothing is said, the
    /// loads are measured only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<f64>,
    /// So many tokens at the beginning of each document are always given and have no loss.
    pub prompt: usize,
    /// In this share of the canvases a beginning of any length is given, so that a model learns to continue what is
    /// sure.
    pub given_share: f64,
    /// How the codes of pictures and sounds are learned, by the names of their domains: `picture`, `sound`. What is not
    /// named is learned as text is, by the bound.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub domains: BTreeMap<String, DomainRecipe>,
    /// In this share of the documents that hold a picture or a sound beside text, one of them is given whole: the text, a
    /// picture or a sound.
    #[serde(skip_serializing_if = "is_zero")]
    pub given_spans: f64,
    /// In this share of them one is noise alone and costs nothing, which is how guidance hides a condition.
    #[serde(skip_serializing_if = "is_zero")]
    pub hidden_spans: f64,
    /// The template of conversations, as Jinja source, saved with the model. Where nothing is said, that of `initial`, and
    /// a plain one where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// The last answer of a conversation is filled with end tokens, which are learned, up to so many positions, as far as
    /// the canvas goes; `data.canvas_length` fills every canvas (LLaDA, 2502.09992, section 2.3). 0 for the one end that
    /// every answer has.
    #[serde(skip_serializing_if = "is_none")]
    pub answer_length: usize,
    /// Whether conversations share canvases. They do not see each other.
    #[serde(skip_serializing_if = "is_off")]
    pub packing: bool,
    /// How preferences are learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference: Option<PreferenceRecipe>,
}

impl ObjectiveRecipe {
    /// The keys that are set and say how the bound of the texts of a corpus is learned, which other objectives may not do.
    pub(crate) fn stated_of_the_bound(&self) -> impl Iterator<Item = &'static str> + use<> {
        let usual = Self::default();
        [
            ("objective.time_sampling", self.time_sampling != usual.time_sampling),
            ("objective.time_range", self.time_range != usual.time_range),
            ("objective.masking", self.masking != usual.masking),
            ("objective.weight_limit", self.weight_limit.is_some()),
            (
                "objective.self_conditioning_probability",
                self.self_conditioning_probability != usual.self_conditioning_probability,
            ),
            ("objective.bound", self.bound),
            ("objective.prompt", self.prompt != usual.prompt),
            ("objective.given_share", self.given_share != usual.given_share),
            ("objective.given_spans", self.given_spans != usual.given_spans),
            ("objective.hidden_spans", self.hidden_spans != usual.hidden_spans),
            ("objective.domains", !self.domains.is_empty()),
        ]
        .into_iter()
        .filter_map(|(key, is_stated)| is_stated.then_some(key))
    }
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

pub(crate) fn is_off(flag: &bool) -> bool {
    !flag
}

/// How the codes of a domain are learned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DomainRecipe {
    /// What a code weighs beside a token of text.
    pub weight: f64,
    /// Whether a masked code weighs what the bound asks, which is more where few are masked; else each weighs the same,
    /// as in MaskGIT (2202.04200, equation 1).
    pub bound: bool,
}

impl Default for DomainRecipe {
    fn default() -> Self {
        Self { weight: 1.0, bound: true }
    }
}

impl Default for ObjectiveRecipe {
    fn default() -> Self {
        Self {
            kind: ObjectiveKind::Diffusion,
            process: None,
            schedule: None,
            time_sampling: Times::LowDiscrepancy,
            time_range: (0.0, 1.0),
            masking: Masking::FixedCount,
            weight_limit: None,
            self_conditioning_probability: 0.5,
            bound: false,
            balance: None,
            prompt: 0,
            given_share: 0.0,
            domains: BTreeMap::new(),
            given_spans: 0.0,
            hidden_spans: 0.0,
            chat_template: None,
            answer_length: 0,
            packing: false,
            preference: None,
        }
    }
}

/// Into how few steps the model of `initial`, which is the first teacher, is distilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distil {
    /// Steps in which the first teacher fills a canvas.
    pub steps: usize,
    /// How often they are halved, each time over an equal share of `run.steps`.
    pub rounds: u64,
}

/// Which rule updates the matrices; embeddings and vectors always follow AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimiserKind {
    /// AdamW with decoupled decay for everything.
    Adamw,
    /// Muon for the matrices inside the layers.
    #[default]
    Muon,
}

/// The shape of the learning rate over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LrSchedule {
    /// Warm-up, stable, then linear decay over the last share.
    #[default]
    Wsd,
    /// Warm-up, then half a cosine down to the floor.
    Cosine,
    /// Warm-up, then constant.
    Constant,
}

/// Overrides of how the objective is minimised.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserOverrides {
    /// `adamw` or `muon`.
    pub kind: Option<OptimiserKind>,
    /// Peak learning rate; a matrix under Muon gets updates of the size that AdamW's would have, so one rate fits both.
    pub learning_rate: Option<f64>,
    /// Peak learning rate of embeddings and head, as a multiple of `learning_rate`.
    pub embedding_rate: Option<f64>,
    /// Canvases of one step.
    pub batch: Option<usize>,
    /// Passes over which the batch is spread to save memory; divides `batch`.
    pub accumulate: Option<usize>,
    /// AdamW's decay of the first moment.
    pub beta1: Option<f64>,
    /// AdamW's decay of the second moment.
    pub beta2: Option<f64>,
    /// AdamW's epsilon.
    pub epsilon: Option<f64>,
    /// Decoupled weight decay of matrices.
    pub weight_decay: Option<f64>,
    /// Muon's momentum.
    pub momentum: Option<f64>,
    /// Largest norm of the whole gradient; 0 for no clipping.
    pub clip: Option<f64>,
    /// Decay of the averaged weights; 0 for none.
    pub ema: Option<f64>,
    /// `wsd`, `cosine` or `constant`.
    pub lr_schedule: Option<LrSchedule>,
    /// Steps of linear warm-up.
    pub warm_up: Option<u64>,
    /// The last share of the steps, over which `wsd` decays.
    pub decay: Option<f64>,
    /// The learning rate at the end, as a share of the peak.
    pub floor: Option<f64>,
    /// Recompute all activations in the backward pass instead of keeping them; `run.activation_memory` says it finer.
    pub recompute: Option<bool>,
    /// Each of several ranks keeps moments and averages of its share of the parameters only, updates these, and gets the other
    /// weights from the ranks that updated them (ZeRO-1, 1910.02054). On processors, and with AdamW on GPUs, it
    /// changes no bit of the weights.
    pub shard: Option<bool>,
    /// Parameters that learn otherwise than the rest, or not at all: `[[optimiser.groups]]`.
    #[serde(default)]
    pub groups: Vec<GroupRecipe>,
}

/// What ranks exchange gradients, weights and states by. Figures of a step go over the ring in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Collectives {
    /// TCP, through the memory of the hosts.
    #[default]
    Ring,
    /// NVIDIA's library of collectives, between the GPUs: each rank needs one of its own.
    Nccl,
}

/// How long, how often, where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// Steps of the whole run.
    pub steps: u64,
    /// Stop (and save) after so many minutes of this process, even if steps are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_minutes: Option<f64>,
    /// Steps between two lines of figures.
    pub log_every: u64,
    /// Steps between two validations.
    pub validate_every: u64,
    /// Held-out canvases measured each time, spread evenly over the held-out text.
    pub validate_canvases: usize,
    /// Masks per held-out canvas.
    pub validate_times: usize,
    /// Steps between two saves; a run is also saved when it ends or is interrupted.
    pub save_every: u64,
    /// Steps between two sample canvases; 0 for none.
    pub sample_every: u64,
    /// What a sample canvas begins with.
    pub sample_prompt: String,
    /// `cpu`, or another device that the program knows.
    pub device: String,
    /// Threads of a CPU; all cores where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// The memory for the activations that layers keep for the backward pass, as in `"2GiB"`; as many layers as need be
    /// recompute theirs instead, which changes no bit of the gradients. Without it all are kept.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional_text")]
    pub activation_memory: Option<ByteSize>,
    /// What several ranks exchange gradients, weights and states by.
    #[serde(skip_serializing_if = "is_default")]
    pub collectives: Collectives,
    /// Type in which the model's weights are saved; the state keeps them without rounding.
    pub storage: Storage,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            steps: 10_000,
            max_minutes: None,
            log_every: 10,
            validate_every: 500,
            validate_canvases: 128,
            validate_times: 4,
            save_every: 500,
            sample_every: 500,
            sample_prompt: "Once upon a time".into(),
            device: "cpu".into(),
            threads: None,
            activation_memory: None,
            collectives: Collectives::Ring,
            storage: Storage::Bf16,
        }
    }
}

impl Recipe {
    /// Reads a recipe file over those that it extends (`extends = "base.toml"`, relative to the file), and applies
    /// `--set key=value` overrides. Keys of the extending recipe win, tables are merged, arrays are replaced.
    ///
    /// # Errors
    /// When a file cannot be read or understood, an override does not fit, or the chain of files has a circle or no
    /// end.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, RecipeError> {
        extends::load(path, overrides, extends::of_kind)
    }

    /// Reads a recipe's text, which extends nothing, and applies overrides.
    ///
    /// # Errors
    /// When it cannot be understood, or an override does not fit.
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Self, RecipeError> {
        extends::parse(text, overrides, extends::of_kind)
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Types of other crates, written as their names.
mod text {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The same where nothing may be said.
mod optional_text {
    use serde::{Deserializer, Serializer};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(super) fn serialize<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        super::text::deserialize(deserializer).map(Some)
    }
}

mod defaults {
    pub(super) fn canvas_length() -> usize {
        256
    }
    pub(super) fn vocabulary_size() -> usize {
        4096
    }
    pub(super) fn vocabulary_bytes() -> u64 {
        20_000_000
    }
    pub(super) fn field() -> String {
        "text".into()
    }
    pub(super) fn separator() -> String {
        super::Source::SEPARATOR.to_owned()
    }
    pub(super) fn max_bad_share() -> f64 {
        super::Source::MAX_BAD_SHARE
    }
    pub(super) fn repeat() -> u32 {
        1
    }
}
