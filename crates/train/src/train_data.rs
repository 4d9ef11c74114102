//! What a run learns from, made ready: the vocabulary, the packed texts, the held-out canvases.

use crate::event::{CorpusFigures, TrainingEvent};
use crate::recipe::{ObjectiveKind, Resolved, SourceRecipe};
use crate::{RecipeError, TrainError};
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::{CanvasBatch, Canvases, Order, Source, pack, sample};
use aquatint_diffusion::{PADDING_DOCUMENT, TimeGrid, TokenId};
use aquatint_vocabulary::{Role, Vocabulary};

/// Held-out canvases of one pass: few enough for any memory that can train.
const VALIDATION_PASS: usize = 16;

/// Everything that a run reads.
#[derive(Debug)]
pub(crate) struct TrainData {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) byte_lengths: Vec<u32>,
    /// What open positions show before the process draws it, or the token that begins a document, as the objective needs.
    pub(crate) special: TokenId,
    pub(crate) valid: Vec<CanvasBatch>,
    pub(crate) figures: CorpusFigures,
    canvases: Canvases,
    order: Order,
}

impl TrainData {
    /// Trains or reads the vocabulary, packs the texts where they are not packed yet, picks the held-out canvases.
    pub(crate) fn prepare(recipe: &Resolved, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<Self, TrainError> {
        let data = &recipe.data;
        let train: Vec<Source> = data.train.iter().map(source).collect();
        let valid: Vec<Source> = data.valid.iter().map(source).collect();
        let vocabulary = vocabulary(recipe, &train, events)?;
        let special = match recipe.objective.kind {
            // Any token will do to lay a canvas out: the process draws what open positions show.
            ObjectiveKind::Diffusion => vocabulary.role(Role::Mask).unwrap_or_default(),
            ObjectiveKind::Causal => vocabulary.required(Role::Begin)?,
        };
        let cache = recipe.cache();
        let mut lay = |sources: &[Source], what: &str| {
            let mut told = false;
            let packed = pack(sources, &vocabulary, &cache, &mut |_| {
                if !std::mem::replace(&mut told, true) {
                    events(TrainingEvent::Preparing(what));
                }
            })?;
            Canvases::new(packed, data.canvas_length)
        };
        let canvases = lay(&train, "packing the texts into tokens")?;
        let held_out = lay(&valid, "packing the held-out texts into tokens")?;
        for (key, canvases, needed) in [("data.train", &canvases, recipe.optimiser.batch), ("data.valid", &held_out, 1)]
        {
            if canvases.len() < needed as u64 {
                let (canvases, length) = (canvases.len() as usize, data.canvas_length);
                return Err(TrainError::TooLittle { key, canvases, length, needed });
            }
        }
        let byte_lengths = vocabulary.byte_lengths();
        let valid = spread(&held_out, recipe.run.validate_canvases)?;
        let figures = CorpusFigures {
            vocabulary: vocabulary.len(),
            train_tokens: canvases.tokens(),
            train_canvases: canvases.len(),
            valid_canvases: valid.iter().map(|batch| batch.canvases() as u64).sum(),
            replaced_bytes: canvases.shards().chain(held_out.shards()).map(|shard| shard.replaced()).sum(),
            unigram_entropy: unigram_entropy(&valid, vocabulary.len()),
        };
        events(TrainingEvent::Corpus(figures));
        let order = Order::new(recipe.seed, canvases.len())?;
        Ok(Self { vocabulary, byte_lengths, special, valid, figures, canvases, order })
    }

    /// The canvases of a step.
    pub(crate) fn batch(&self, step: u64, size: usize) -> Result<CanvasBatch, TrainError> {
        Ok(self.canvases.batch(&self.order.batch(step, size))?)
    }

    /// Bytes of text in a batch.
    pub(crate) fn bytes(&self, batch: &CanvasBatch) -> u64 {
        let length = |token: &TokenId| u64::from(self.byte_lengths.get(*token as usize).copied().unwrap_or(0));
        batch.tokens.iter().zip(&batch.documents).filter(|(_, d)| **d != PADDING_DOCUMENT).map(|(t, _)| length(t)).sum()
    }

    /// What goes into `generation_config.json`: the ids by role, the process's own policy and the times that it learnt. How
    /// else to sample is for whoever has tried to say.
    pub(crate) fn generation(&self, policy: Option<String>, grid: Option<&TimeGrid>) -> GenerationDefaults {
        GenerationDefaults {
            policy,
            time_grid: grid.map(|grid| grid.ranks().to_vec()),
            mask_token_id: self.vocabulary.role(Role::Mask),
            eos_token_id: self.vocabulary.role(Role::End),
            pad_token_id: self.vocabulary.role(Role::Pad),
            bos_token_id: self.vocabulary.role(Role::Begin),
            ..GenerationDefaults::default()
        }
    }
}

fn source(recipe: &SourceRecipe) -> Source {
    Source {
        path: recipe.path.clone(),
        field: recipe.field.clone(),
        filter: recipe.filter.clone(),
        repeat: recipe.repeat,
    }
}

/// The vocabulary that the recipe names, or that of the model the run begins with, or that of this very run when it
/// was begun before, or a new one.
fn vocabulary(
    recipe: &Resolved,
    sources: &[Source],
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Vocabulary, TrainError> {
    let data = &recipe.data;
    if let Some(path) = &data.vocabulary {
        return Ok(Vocabulary::from_file(path)?);
    }
    if let Some(folder) = &recipe.initial {
        return Ok(Vocabulary::from_file(&folder.join("tokenizer.json"))?);
    }
    let own = recipe.output.join("tokenizer.json");
    if own.is_file() {
        return Ok(Vocabulary::from_file(&own)?);
    }
    events(TrainingEvent::Preparing("training a vocabulary"));
    let texts = sample(sources, data.vocabulary_bytes)?;
    let vocabulary = Vocabulary::train(texts.into_iter(), data.vocabulary_size)?;
    if vocabulary.len() > data.vocabulary_size {
        return Err(RecipeError::Value {
            key: "data.vocabulary_size",
            given: data.vocabulary_size.to_string(),
            allowed: "at least as many as there are bytes and special tokens",
        }
        .into());
    }
    Ok(vocabulary)
}

/// Up to `count` canvases, spread evenly, in passes.
fn spread(canvases: &Canvases, count: usize) -> Result<Vec<CanvasBatch>, TrainError> {
    let count = (count as u64).min(canvases.len());
    let numbers: Vec<u64> = (0..count).map(|i| i * canvases.len() / count).collect();
    numbers.chunks(VALIDATION_PASS).map(|numbers| Ok(canvases.batch(numbers)?)).collect()
}

/// Entropy of single tokens in nats, from their own frequencies.
fn unigram_entropy(batches: &[CanvasBatch], size: usize) -> f64 {
    let mut counts = vec![0u64; size];
    for batch in batches {
        for (token, _) in batch.tokens.iter().zip(&batch.documents).filter(|(_, d)| **d != PADDING_DOCUMENT) {
            if let Some(count) = counts.get_mut(*token as usize) {
                *count += 1;
            }
        }
    }
    let total = counts.iter().sum::<u64>().max(1) as f64;
    counts.into_iter().filter(|c| *c > 0).map(|c| c as f64 / total).map(|p| -p * p.ln()).sum()
}
