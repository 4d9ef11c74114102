//! Events of a training run. The library never prints: a terminal, a page and a test all read these.

use crate::objective::Figure;
use aquatint_codec::Rate;
use aquatint_codec::quality::Reconstruction;
use aquatint_corpus::{SourceReport, UnreadFile};
use aquatint_evaluate::Likelihood;
use aquatint_vocabulary::{Role, TokenId, UnknownText};
use std::path::Path;

/// One thing that happened in a run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TrainingEvent<'a> {
    /// The recipe as it will be followed, as TOML.
    Recipe(&'a str),
    /// Something that is likely a mistake, and with which the run goes on. The text is for people.
    Warning(&'a str),
    /// A slow preparation began: training a vocabulary, packing texts. The text is for people.
    Preparing(&'a str),
    /// Files of a source are not read.
    Unread {
        /// The source.
        path: &'a Path,
        /// The files, each with the reason.
        files: &'a [UnreadFile],
    },
    /// A source was packed, now or before.
    Source {
        /// The key of the recipe that names it: `data.train` or `data.valid`.
        key: &'static str,
        /// What it gave and what it did not.
        report: &'a SourceReport,
    },
    /// The tokenizer of the recipe had no token for a role that the run needs, and was given one.
    RoleAdded {
        /// The role.
        role: Role,
        /// The id of the new token.
        token: TokenId,
    },
    /// The texts are packed.
    Corpus(CorpusFigures),
    /// The pictures or sounds are read.
    Samples(SampleFigures),
    /// The pictures and their captions are read.
    Pairs(PairFigures),
    /// The first step is about to be taken.
    Started(StartFigures),
    /// Some steps were taken; comes every `run.log_every` steps.
    Step(StepFigures),
    /// Held-out data was measured that costs something else than text does.
    Measured {
        /// After so many steps.
        step: u64,
        /// What it costs, in the unit of the objective.
        cost: f64,
        /// What else is to be known, by name.
        figures: &'a [Figure],
        /// Whether it costs the least so far; such a model is kept in `best/`.
        best: bool,
    },
    /// The held-out text was measured.
    Validated {
        /// After so many steps.
        step: u64,
        /// What it costs.
        likelihood: &'a Likelihood,
        /// What the codes among it cost.
        codes: &'a [CodeFigures],
        /// Whether it is the best so far; such a model is kept in `best/`.
        best: bool,
    },
    /// Held-out pictures or sounds were taken to codes and back.
    Reconstructed {
        /// After so many steps.
        step: u64,
        /// How well they came back.
        held_out: &'a HeldOutSamples,
        /// Whether it costs the least so far; such a codec is kept in `best/`.
        best: bool,
    },
    /// Held-out pictures were compared with texts.
    Matched {
        /// After so many steps.
        step: u64,
        /// How well they found each other.
        held_out: &'a HeldOutPairs,
        /// Whether they cost the least so far; such a matcher is kept in `best/`.
        best: bool,
    },
    /// A canvas that the model filled, or the path of a sheet.
    Sampled {
        /// After so many steps.
        step: u64,
        /// The whole text, prompt included.
        text: &'a str,
    },
    /// The model and the run's state are on the disk.
    Saved {
        /// After so many steps.
        step: u64,
        /// The run's folder.
        folder: &'a Path,
    },
    /// A step was left out because its gradient was not finite.
    Skipped {
        /// Which one.
        step: u64,
    },
    /// The run is over, for now or for good.
    Finished(&'a Summary),
}

/// What there is to learn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CorpusFigures {
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Documents of the sources, each once.
    pub train_documents: u64,
    /// Tokens of one epoch.
    pub train_tokens: u64,
    /// Canvases of one epoch.
    pub train_canvases: u64,
    /// Held-out canvases measured each time.
    pub valid_canvases: u64,
    /// Characters of all texts, each source counted once, that the vocabulary cannot write.
    pub unknown: UnknownText,
    /// UTF-8 bytes of all texts.
    pub text_bytes: u64,
    /// Entropy of single held-out tokens in nats: what a model that knows only frequencies would pay. A run that does
    /// not fall below it has learned nothing of language.
    pub unigram_entropy: f64,
}

/// What pictures or sounds there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleFigures {
    /// What they are: `pictures`, say.
    pub kind: &'static str,
    /// Those to learn from.
    pub train: usize,
    /// Those that are held out.
    pub held_out: usize,
    /// How much a code stands for.
    pub rate: Rate,
    /// Codes that there are.
    pub vocabulary: usize,
}

/// What pictures with captions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairFigures {
    /// Pictures to learn from.
    pub train: usize,
    /// What they show, each once.
    pub concepts: usize,
    /// Pictures that are held out.
    pub held_out: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
}

/// How well held-out pictures and texts find each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOutPairs {
    /// What they cost, as in training: nats to choose the right text, and the right picture, of a batch.
    pub cost: f64,
    /// Of held-out pictures, among the names of all concepts that are held out.
    pub held_out: Retrieved,
    /// Of pictures that were learned, among the names of all concepts that were.
    pub trained: Retrieved,
}

/// How often the name of what a picture shows is the one that is nearest to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retrieved {
    /// Pictures.
    pub pictures: usize,
    /// Names; one of them drawn at random is right once in so many pictures.
    pub concepts: usize,
    /// The share of pictures whose name is the nearest.
    pub hit_rate: f64,
}

/// What held-out codes of pictures or sounds cost.
#[derive(Debug, Clone, PartialEq)]
pub struct CodeFigures {
    /// Their domain: `picture`, `sound`.
    pub domain: String,
    /// Nats per code, a bound where that of the text is one.
    pub nats_per_code: f64,
    /// Codes measured.
    pub codes: u64,
}

/// How well held-out pictures or sounds come back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeldOutSamples {
    /// What they cost, as in training.
    pub cost: f64,
    /// How well they come back.
    pub reconstruction: Reconstruction,
}

/// What begins.
#[derive(Debug, Clone, PartialEq)]
pub struct StartFigures {
    /// Layers whose activations are recomputed in the backward pass, and layers in all.
    pub recomputed: (usize, usize),
    /// Numbers in the network.
    pub parameters: u64,
    /// Steps taken before, in a resumed run.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// The device in words.
    pub device: String,
    /// Where the states of the optimiser are sharded: what this rank has of them, and their share.
    pub shard: Option<ShardFigures>,
}

/// What a rank has of the states of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardFigures {
    /// Bytes of its moments and averages.
    pub bytes: u64,
    /// How many ranks there are.
    pub ranks: usize,
}

/// Figures of the steps since the last such event.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StepFigures {
    /// Steps taken.
    pub step: u64,
    /// Mean bound, in nats per token, or what else the objective costs; of a codec, the mean cost of a picture or a sound.
    pub loss: f64,
    /// The same in bits per byte of text, where text is learned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits_per_byte: Option<f64>,
    /// Norm of the last step's gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// The greatest load of an expert in the last step beside the mean one of its layer, in the layer where it is the
    /// greatest; 1 where all are even. `None` without experts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert_imbalance: Option<f64>,
    /// What else the objective says of these steps, by name: what completions were worth, margins of preferences.
    #[serde(skip)]
    pub own: Vec<Figure>,
    /// Tokens (masked or not), or codes, per second.
    pub tokens_per_second: f64,
    /// Tokens trained on since the run's first step.
    pub tokens: u64,
    /// Epochs of the recipe's texts since the run's first step; `None` where the objective brings its own canvases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Seconds of training since the run's first step, over all its processes.
    pub seconds: f64,
    /// Seconds left at this speed.
    pub seconds_left: f64,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All its steps were taken.
    Complete,
    /// It was cancelled.
    Interrupted,
    /// `run.max_minutes` are over.
    TimeUp,
}

/// Where a run stands when it ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub ending: Ending,
    /// Steps taken.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Seconds of training over all its processes.
    pub seconds: f64,
    /// Best held-out bound in nats per token (of a codec, the cost) and the step that reached it.
    pub best: Option<(f64, u64)>,
    /// Last held-out bound in nats per token, or cost.
    pub last: Option<f64>,
    /// Last held-out bound in bits per byte.
    pub bits_per_byte: Option<f64>,
}
