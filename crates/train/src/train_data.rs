//! The texts that a recipe names, made ready: packed canvases to learn from, and held-out ones to measure.

use crate::TrainError;
use crate::event::{CorpusFigures, TrainingEvent};
use crate::media::Media;
use crate::preflight::{Texts, Tokens};
use crate::recipe::Resolved;
use aquatint_checkpoint::ModelCodec;
use aquatint_corpus::{
    CanvasBatch, Canvases, MediaCodes, Order, Overlap, Packed, Shard, SourceSnapshot, TextOnly, overlap, pack,
};
use aquatint_diffusion::PADDING_DOCUMENT;
use aquatint_evaluate::{CANVASES_PER_PASS, HeldOutBatch, Likelihood, Rule, entropy_of_counts, likelihood};
use aquatint_network::Denoiser;
use aquatint_vocabulary::Vocabulary;
use std::sync::atomic::{AtomicBool, Ordering};

/// The held-out text is measured with masks of this seed, at every validation and in every run.
pub const VALIDATION_SEED: u64 = 0;

/// The packed texts of a run.
#[derive(Debug)]
pub struct TrainData {
    canvases: Canvases,
    order: Order,
    valid: Vec<HeldOutBatch>,
    figures: CorpusFigures,
}

impl TrainData {
    /// Packs the texts where they are not packed yet, and picks the held-out canvases.
    pub(crate) fn prepare(
        recipe: &Resolved,
        (vocabulary, codecs): (&Vocabulary, &[ModelCodec]),
        texts: &Texts,
        stop: &AtomicBool,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Self, TrainError> {
        let data = &recipe.data;
        data.require_sources()?;
        let cache = recipe.cache();
        let media: Box<dyn MediaCodes> =
            if codecs.is_empty() { Box::new(TextOnly) } else { Box::new(Media::new(codecs)?) };
        let mut lay = |key, snapshots: &[SourceSnapshot], what: &str| {
            let mut reported = false;
            let packed = pack(snapshots, vocabulary, media.as_ref(), &cache, &mut |_| {
                if !std::mem::replace(&mut reported, true) {
                    events(TrainingEvent::Preparing(what));
                }
                !stop.load(Ordering::SeqCst)
            })?;
            for Packed { report, .. } in &packed {
                events(TrainingEvent::Source { key, report });
            }
            Canvases::new(packed, data.canvas_length)
        };
        let canvases = lay("data.train", &texts.train, "packing the texts into tokens")?;
        let held_out = lay("data.valid", &texts.valid, "packing the held-out texts into tokens")?;
        for (key, canvases, needed) in [("data.train", &canvases, recipe.optimiser.batch), ("data.valid", &held_out, 1)]
        {
            if canvases.len() < needed as u64 {
                let (canvases, length) = (canvases.len() as usize, data.canvas_length);
                return Err(TrainError::TooLittle { key, canvases, length, needed });
            }
        }
        let valid = spread(&held_out, recipe.run.validate_canvases)?;
        let unrepeated = |canvases: &Canvases| canvases.shards().map(Shard::text_bytes).sum::<u64>();
        let mut unknown = canvases.unknown();
        unknown += held_out.unknown();
        let figures = CorpusFigures {
            vocabulary: vocabulary.len(),
            train_documents: canvases.shards().map(Shard::documents).sum(),
            train_tokens: canvases.tokens(),
            train_canvases: canvases.len(),
            valid_canvases: valid.iter().map(|batch| batch.canvases().canvases() as u64).sum(),
            unknown,
            text_bytes: unrepeated(&canvases) + unrepeated(&held_out),
            unigram_entropy: unigram_entropy(&valid, Tokens::of(vocabulary, codecs).count),
        };
        events(TrainingEvent::Corpus(figures));
        let Overlap { documents, of, .. } = overlap(canvases.shards(), held_out.shards());
        if documents > 0 && !texts.overlap_reported {
            events(TrainingEvent::Warning(&format!(
                "{documents} of {of} held-out documents are also trained on: the held-out figures will be better than the \
                 model is"
            )));
        }
        let order = Order::new(recipe.seed, canvases.len())?;
        Ok(Self { canvases, order, valid, figures })
    }

    /// What there is.
    pub fn figures(&self) -> CorpusFigures {
        self.figures
    }

    /// So many canvases for a step: a function of the recipe's seed and the step alone.
    ///
    /// # Errors
    /// When the packed texts cannot be read.
    pub fn batch(&self, step: u64, canvases: usize) -> Result<CanvasBatch, TrainError> {
        Ok(self.canvases.batch(&self.order.batch(step, canvases))?)
    }

    /// What the held-out canvases cost under a model, with the same noise at every validation and in every run;
    /// `progress` receives the canvases done and returns whether to go on.
    ///
    /// # Errors
    /// When the network refuses, and [`aquatint_evaluate::EvaluateError::Stopped`].
    pub fn likelihood(
        &self,
        model: &dyn Denoiser,
        rule: &dyn Rule,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Likelihood, TrainError> {
        let batches = self.valid.iter().cloned().map(Ok);
        Ok(likelihood(model, rule, VALIDATION_SEED, batches, progress)?)
    }
}

/// Up to `count` canvases, spread evenly, in passes.
fn spread(canvases: &Canvases, count: usize) -> Result<Vec<HeldOutBatch>, TrainError> {
    let numbers = canvases.spread(Some(count));
    numbers.chunks(CANVASES_PER_PASS).map(|numbers| Ok(HeldOutBatch::of(canvases, numbers)?)).collect()
}

/// Entropy of single tokens in nats, from their own frequencies in all canvases.
fn unigram_entropy(batches: &[HeldOutBatch], size: usize) -> f64 {
    let mut counts = vec![0u64; size];
    for batch in batches.iter().map(HeldOutBatch::canvases) {
        for (token, _) in batch.tokens.iter().zip(&batch.documents).filter(|(_, d)| **d != PADDING_DOCUMENT) {
            if let Some(count) = counts.get_mut(*token as usize) {
                *count += 1;
            }
        }
    }
    entropy_of_counts(&counts)
}
