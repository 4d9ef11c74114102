//! The texts that a recipe names, made ready: packed canvases to learn from, and held-out ones to measure.

use crate::event::{CorpusFigures, TrainingEvent};
use crate::media::Media;
use crate::preflight::{Texts, Tokens};
use crate::recipe::{CanvasSharing, ObjectiveKind, Resolved};
use crate::saved_format;
use crate::{RecipeError, TrainError};
use aquatint_checkpoint::{Checkpoint, ModelCodec};
use aquatint_corpus::{
    CanvasBatch, Canvases, ConversationCanvases, ConversationLayout, ConversationReport, LongConversation, MediaCodes,
    Order, Overlap, Packed, PreferenceCanvases, Shard, SourceSnapshot, TextOnly, overlap, pack,
};
use aquatint_diffusion::PADDING_DOCUMENT;
use aquatint_evaluate::{CANVASES_PER_PASS, HeldOutBatch, Likelihood, Rule, entropy_of_counts, likelihood};
use aquatint_network::Denoiser;
use aquatint_vocabulary::{ChatTemplate, Role, Vocabulary};
use std::sync::atomic::{AtomicBool, Ordering};

/// The held-out text is measured with masks of this seed, at every validation and in every run.
pub const VALIDATION_SEED: u64 = 0;

/// The packed texts of a run, or its conversations.
#[derive(Debug)]
pub struct TrainData {
    canvases: Laid,
    order: Order,
    valid: Vec<HeldOutBatch>,
    figures: CorpusFigures,
}

/// Canvases to learn from.
#[derive(Debug)]
enum Laid {
    Texts(Canvases),
    Conversations(ConversationCanvases),
    /// Two canvases each.
    Preferences(PreferenceCanvases),
}

impl Laid {
    /// What is drawn for a step, and has a number: canvases, or pairs of them.
    fn len(&self) -> u64 {
        match self {
            Self::Texts(canvases) => canvases.len(),
            Self::Conversations(canvases) => canvases.len(),
            Self::Preferences(pairs) => pairs.len(),
        }
    }
}

impl TrainData {
    /// Packs the texts where they are not packed yet, or lays the conversations out, and picks the held-out canvases.
    pub(crate) fn prepare(
        recipe: &Resolved,
        (vocabulary, codecs): (&Vocabulary, &[ModelCodec]),
        initial: Option<&Checkpoint>,
        texts: &Texts,
        stop: &AtomicBool,
        events: &mut dyn FnMut(TrainingEvent<'_>),
    ) -> Result<Self, TrainError> {
        recipe.data.require_sources(recipe.objective.kind)?;
        let (canvases, valid, figures, overlap) = match recipe.objective.kind {
            ObjectiveKind::Diffusion | ObjectiveKind::Causal => {
                of_texts(recipe, (vocabulary, codecs), texts, stop, events)?
            }
            ObjectiveKind::Instruct => of_conversations(recipe, (vocabulary, initial), texts, stop, events)?,
            ObjectiveKind::Preference => of_preferences(recipe, (vocabulary, initial), texts, stop, events)?,
            // Prompts are not packed.
            kind @ (ObjectiveKind::Reward | ObjectiveKind::Order) => {
                let given = format!("\"{}\"", kind.name());
                return Err(RecipeError::value("objective.kind", given, "an objective of texts").into());
            }
        };
        let count = Tokens::of(vocabulary, codecs).count;
        let figures = CorpusFigures { unigram_entropy: unigram_entropy(&valid, count), ..figures };
        events(TrainingEvent::Corpus(figures));
        let Overlap { documents, of, .. } = overlap;
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
        let numbers = |count| self.order.batch(step, count);
        Ok(match &self.canvases {
            Laid::Texts(texts) => texts.batch(&numbers(canvases))?,
            Laid::Conversations(conversations) => conversations.batch(&numbers(canvases))?,
            Laid::Preferences(pairs) => pairs.batch(&numbers(canvases / 2))?,
        })
    }

    /// The held-out canvases that are measured, in passes.
    pub fn held_out(&self) -> &[HeldOutBatch] {
        &self.valid
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

/// What is learned from, what is measured, what there is, and how much of what is measured is learned.
type Prepared = (Laid, Vec<HeldOutBatch>, CorpusFigures, Overlap);

/// Packs texts.
fn of_texts(
    recipe: &Resolved,
    (vocabulary, codecs): (&Vocabulary, &[ModelCodec]),
    texts: &Texts,
    stop: &AtomicBool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Prepared, TrainError> {
    let data = &recipe.data;
    let cache = recipe.cache();
    let media: Box<dyn MediaCodes> = if codecs.is_empty() { Box::new(TextOnly) } else { Box::new(Media::new(codecs)?) };
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
        Ok::<_, TrainError>(match data.canvases {
            CanvasSharing::Shared => Canvases::new(packed, data.canvas_length)?,
            CanvasSharing::Filled => Canvases::filled(packed, data.canvas_length, vocabulary.required(Role::End)?)?,
        })
    };
    let canvases = lay("data.train", &texts.train, "packing the texts into tokens")?;
    let held_out = lay("data.valid", &texts.valid, "packing the held-out texts into tokens")?;
    require_enough(recipe, canvases.len(), held_out.len())?;
    let valid = spread(&held_out, recipe.run.validate_canvases)?;
    let unrepeated = |canvases: &Canvases| canvases.shards().map(Shard::text_bytes).sum::<u64>();
    let mut unknown = canvases.unknown();
    unknown += held_out.unknown();
    let figures = CorpusFigures {
        vocabulary: vocabulary.len(),
        train_documents: canvases.shards().map(Shard::documents).sum(),
        train_tokens: canvases.tokens(),
        train_canvases: canvases.len(),
        valid_canvases: measured(&valid),
        unknown,
        text_bytes: unrepeated(&canvases) + unrepeated(&held_out),
        unigram_entropy: f64::NAN,
    };
    let overlap = overlap(canvases.shards(), held_out.shards());
    Ok((Laid::Texts(canvases), valid, figures, overlap))
}

/// Lays conversations out.
fn of_conversations(
    recipe: &Resolved,
    (vocabulary, initial): (&Vocabulary, Option<&Checkpoint>),
    texts: &Texts,
    stop: &AtomicBool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Prepared, TrainError> {
    let template = saved_format::chat_template(recipe, vocabulary, initial)?;
    let layout = ConversationLayout {
        vocabulary,
        template: &template,
        canvas_length: recipe.data.canvas_length,
        answer_length: recipe.objective.answer_length,
        packing: recipe.objective.packing,
    };
    events(TrainingEvent::Preparing("laying the conversations out"));
    let mut lay = |key, snapshots: &[SourceSnapshot]| -> Result<ConversationCanvases, TrainError> {
        let (canvases, reports) =
            ConversationCanvases::read(snapshots, &layout, &mut |_| !stop.load(Ordering::SeqCst))?;
        report(key, &reports, ("conversations", layout.canvas_length), &mut *events);
        Ok(canvases)
    };
    let (canvases, held_out) = (lay("data.train", &texts.train)?, lay("data.valid", &texts.valid)?);
    require_enough(recipe, canvases.len(), held_out.len())?;
    let numbers = held_out.spread(Some(recipe.run.validate_canvases));
    let batches = numbers.chunks(CANVASES_PER_PASS).map(|numbers| Ok(held_out.batch(numbers)?.into()));
    let valid = batches.collect::<Result<Vec<HeldOutBatch>, TrainError>>()?;
    let mut unknown = canvases.unknown();
    unknown += held_out.unknown();
    let figures = CorpusFigures {
        vocabulary: vocabulary.len(),
        train_documents: canvases.sequences(),
        train_tokens: canvases.tokens(),
        train_canvases: canvases.len(),
        valid_canvases: measured(&valid),
        unknown,
        text_bytes: canvases.text_bytes() + held_out.text_bytes(),
        unigram_entropy: f64::NAN,
    };
    let overlap = canvases.overlap(&held_out);
    Ok((Laid::Conversations(canvases), valid, figures, overlap))
}

/// Reports what sources gave, and names what no canvas holds.
fn report(
    key: &'static str,
    reports: &[ConversationReport],
    (what, length): (&str, usize),
    events: &mut dyn FnMut(TrainingEvent<'_>),
) {
    for ConversationReport { source, too_long, first_too_long } in reports {
        events(TrainingEvent::Source { key, report: source });
        if let Some(LongConversation { file, row, tokens }) = first_too_long {
            events(TrainingEvent::Warning(&format!(
                "{too_long} of {} {what} of `{}` are longer than `data.canvas_length`, which is {length}, and are left out; \
                 the first has {tokens} tokens (line {row} of `{}`)",
                too_long + source.documents,
                source.path.display(),
                file.display()
            )));
        }
    }
}

/// Lays preferences out.
fn of_preferences(
    recipe: &Resolved,
    (vocabulary, initial): (&Vocabulary, Option<&Checkpoint>),
    texts: &Texts,
    stop: &AtomicBool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Prepared, TrainError> {
    let template = saved_format::chat_template_if_any(recipe, vocabulary, initial)?;
    let has_template = template.is_some();
    let template = template.map_or_else(|| ChatTemplate::new(ChatTemplate::PLAIN, "", ""), Ok)?;
    let (canvas_length, answer_length, packing) = (recipe.data.canvas_length, 0, false);
    let layout = ConversationLayout { vocabulary, template: &template, canvas_length, answer_length, packing };
    events(TrainingEvent::Preparing("laying the preferences out"));
    let mut lay = |key, snapshots: &[SourceSnapshot]| -> Result<PreferenceCanvases, TrainError> {
        let go_on = &mut |_| !stop.load(Ordering::SeqCst);
        let (pairs, reports) = PreferenceCanvases::read(snapshots, (&layout, has_template), go_on)?;
        report(key, &reports, ("preferences", canvas_length), &mut *events);
        Ok(pairs)
    };
    let (pairs, held_out) = (lay("data.train", &texts.train)?, lay("data.valid", &texts.valid)?);
    require_enough(recipe, 2 * pairs.len(), 2 * held_out.len())?;
    let numbers = held_out.spread((recipe.run.validate_canvases / 2).max(1));
    let batches = numbers.chunks(CANVASES_PER_PASS.div_ceil(2)).map(|numbers| Ok(held_out.batch(numbers)?.into()));
    let valid = batches.collect::<Result<Vec<HeldOutBatch>, TrainError>>()?;
    let mut unknown = pairs.unknown();
    unknown += held_out.unknown();
    let figures = CorpusFigures {
        vocabulary: vocabulary.len(),
        train_documents: pairs.pairs(),
        train_tokens: pairs.tokens(),
        train_canvases: 2 * pairs.len(),
        valid_canvases: measured(&valid),
        unknown,
        text_bytes: pairs.text_bytes() + held_out.text_bytes(),
        unigram_entropy: f64::NAN,
    };
    let overlap = pairs.overlap(&held_out);
    Ok((Laid::Preferences(pairs), valid, figures, overlap))
}

/// Refuses fewer canvases than a step takes, or none to measure.
fn require_enough(recipe: &Resolved, train: u64, valid: u64) -> Result<(), TrainError> {
    for (key, canvases, needed) in [("data.train", train, recipe.optimiser.batch), ("data.valid", valid, 1)] {
        if canvases < needed as u64 {
            let (canvases, length) = (canvases as usize, recipe.data.canvas_length);
            return Err(TrainError::TooLittle { key, canvases, length, needed });
        }
    }
    Ok(())
}

/// How many canvases there are in some passes.
fn measured(batches: &[HeldOutBatch]) -> u64 {
    batches.iter().map(|batch| batch.canvases().canvases() as u64).sum()
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
        let is_learned = |position: &usize| {
            batch.documents[*position] != PADDING_DOCUMENT && batch.given.get(*position) != Some(&true)
        };
        for position in (0..batch.tokens.len()).filter(is_learned) {
            if let Some(count) = counts.get_mut(batch.tokens[position] as usize) {
                *count += 1;
            }
        }
    }
    entropy_of_counts(&counts)
}
