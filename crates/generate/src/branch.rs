//! One reading of a canvas at each step: the network's input, and the queries.

use crate::Cache;
use crate::cache::{CacheQuery, CacheState, whole_blocks};
use crate::forward_batch::{Answer, ForwardBatch, SequenceInput};
use crate::left_to_right::shifted;
use crate::model::Model;
use crate::self_conditioning::{PreviousPrediction, fed_back};
use crate::visible::{visible, window};
use aquatint_diffusion::{Canvas, Key, Kind, Layout, NoisyInput, Time, TokenId};
use aquatint_network::{KvCache, NetworkSpec};
use std::ops::Range;

/// The purpose of the noise behind which what is given is hidden, among a request's draws.
const HIDE: u64 = 0x6869_6465;

/// A canvas as it stands at a step, with the step.
#[derive(Clone, Copy)]
pub(crate) struct StepView<'a> {
    pub(crate) canvas: &'a Canvas,
    /// The tokens that close approximate spans.
    pub(crate) ends: &'a [TokenId],
    pub(crate) key: Key,
    /// The current block of each track; the positions of these blocks, and those of them that the reading predicts, which
    /// are not none. Both ascend.
    pub(crate) blocks: &'a [usize],
    pub(crate) positions: &'a [usize],
    pub(crate) predicted: &'a [usize],
    /// The number of the step, and the time at which it begins.
    pub(crate) number: u64,
    pub(crate) from: Time,
    /// Whether all rows are read causally, and each answers for the position behind it: of a causal prefix, the step that
    /// opens a block and the one that verifies a draft. The open positions of the step follow each other then, and what
    /// stands from the first of `positions` on is not read.
    pub(crate) is_causal: bool,
    pub(crate) cache: Cache,
    /// The length of sub-blocks, where the network has blocks of its own.
    pub(crate) block_length: Option<usize>,
    /// By how many positions the first block of the text is shorter than the others.
    pub(crate) lead: usize,
    pub(crate) cache_refresh: Option<usize>,
}

/// The rows that a step reads of a canvas.
struct ReadRows {
    /// What the network reads at every position of the canvas.
    input: NoisyInput,
    /// The positions that have rows, ascending; the token that each row reads, and whether it is final.
    visible: Vec<usize>,
    tokens: Vec<TokenId>,
    is_final: Vec<bool>,
}

/// How a branch reads the canvas.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Reading {
    /// As it is.
    #[default]
    Whole,
    /// With noise in the given positions among these.
    Hidden { positions: Range<usize> },
    /// With a prompt in place of what stands before the first open position.
    Prompted { prompt: Vec<TokenId>, first: usize },
}

/// A reading of the canvas from step to step.
#[derive(Default)]
pub(crate) struct Branch {
    reading: Reading,
    /// What the network said at the last step, where it has self-conditioning.
    previous: Option<PreviousPrediction>,
    /// Canvas positions whose logits are needed in this step, ascending.
    requested: Vec<usize>,
    cache_state: CacheState,
    /// Its number in the forward pass of this step.
    sequence: Option<usize>,
    /// Where its answers lie among those of the whole forward pass.
    answers: Range<usize>,
}

impl Branch {
    /// A reading without a past.
    pub(crate) fn new(reading: Reading) -> Self {
        Self { reading, ..Self::default() }
    }

    /// The positions whose given tokens are hidden.
    fn hidden(&self) -> Range<usize> {
        match &self.reading {
            Reading::Hidden { positions } => positions.clone(),
            Reading::Whole | Reading::Prompted { .. } => 0..0,
        }
    }

    /// The positions whose logits are needed in this step.
    pub(crate) fn requested(&self) -> &[usize] {
        &self.requested
    }

    /// Whether the forward pass of this step has the reading.
    pub(crate) fn is_read(&self) -> bool {
        self.sequence.is_some()
    }

    /// Reads nothing in this step.
    pub(crate) fn skip(&mut self) {
        self.sequence = None;
        self.requested.clear();
        self.answers = 0..0;
    }

    /// What the network reads at every position of the canvas.
    pub(crate) fn input(&self, view: &StepView<'_>, model: &Model<'_>) -> NoisyInput {
        model.process.network_input(view.canvas, self.hidden(), view.number, view.key.fold(HIDE))
    }

    /// The rows that a step reads.
    fn rows(&self, view: &StepView<'_>, model: &Model<'_>) -> ReadRows {
        let (spec, canvas) = (model.spec(), view.canvas);
        let hidden = self.hidden();
        let mut input = self.input(view, model);
        let mut visible = window(visible(canvas, view.ends), view.positions, spec);
        let start = view.positions.first().copied().unwrap_or(0);
        if view.is_causal {
            visible.truncate(visible.partition_point(|position| *position < start));
        }
        if let Reading::Prompted { prompt, first } = &self.reading {
            // Next to the hole: only what stands before it moves.
            let before = visible.partition_point(|position| position < first);
            visible.drain(..before.saturating_sub(prompt.len()));
            for (position, token) in visible.iter().zip(prompt) {
                input.tokens[*position] = *token;
            }
        }
        // Behind a causal prefix the rows of the current block change with it, whatever they hold.
        let is_current = |position: usize| matches!(spec.attention, Layout::CausalPrefix { .. }) && position >= start;
        // What is read causally follows from the tokens up to it, drafts among them.
        let is_draft = |position: usize| view.is_causal && hidden.is_empty() && canvas.is_open(position);
        let is_final =
            |position: usize| (is_draft(position) || !is_noise(canvas, position, &hidden)) && !is_current(position);
        let shown = |position: &usize| (input.tokens[*position], is_final(*position));
        let own: Vec<(TokenId, bool)> = visible.iter().map(shown).collect();
        let read = match model.process.first_token() {
            Some(first) => shifted((first, true), &own),
            None => own,
        };
        let (tokens, is_final) = read.into_iter().unzip();
        ReadRows { input, visible, tokens, is_final }
    }

    /// Before its first step: takes over the rows that `find` has of the tokens with which the canvas begins. It gets
    /// these tokens, whole blocks, and how many rows the canvas has, and gives a KV cache and how many rows that has.
    /// Returns how many there were.
    pub(crate) fn take_over(
        &mut self,
        view: &StepView<'_>,
        model: &Model<'_>,
        find: impl FnOnce(&[TokenId], usize) -> Option<(KvCache, usize)>,
    ) -> usize {
        let ReadRows { visible, mut tokens, is_final, .. } = self.rows(view, model);
        let length = tokens.len();
        tokens.truncate(whole_blocks(is_final.iter().take_while(|is_final| **is_final).count(), model.spec()));
        let Some((kv_cache, rows)) = find(&tokens, length) else { return 0 };
        self.cache_state.begin_with(kv_cache, &visible[..rows], &tokens[..rows]);
        rows
    }

    /// The tokens of the rows that are cached and stay what they are, whole blocks, and the KV cache that has them.
    pub(crate) fn final_rows(&self, spec: &NetworkSpec) -> (Vec<TokenId>, &KvCache) {
        (self.cache_state.final_tokens(spec), &self.cache_state.kv_cache)
    }

    /// Adds the reading to a forward pass; returns how many rows are computed.
    pub(crate) fn read(&mut self, view: &StepView<'_>, batch: &mut ForwardBatch, model: &Model<'_>) -> usize {
        let (spec, canvas) = (model.spec(), view.canvas);
        let ReadRows { input, visible, tokens, is_final } = self.rows(view, model);
        let hidden = self.hidden();
        let is_noise = |position: usize| is_noise(canvas, position, &hidden);
        self.requested = if view.is_causal {
            view.predicted.to_vec()
        } else if spec.self_conditioning.is_some() {
            let mut fed_back = fed_back(&visible, view.positions, spec.attention, is_noise);
            fed_back.extend(view.predicted.iter().filter(|position| !is_noise(**position)));
            fed_back.sort_unstable();
            fed_back
        } else {
            view.predicted.to_vec()
        };
        let noisy = visible.iter().filter(|position| is_noise(**position)).count();
        let is_requested = |(_, position): &(u32, &usize)| self.requested.binary_search(position).is_ok();
        let requested: Vec<u32> = match view.is_causal {
            true => (visible.len().saturating_sub(view.predicted.len())..visible.len()).map(|row| row as u32).collect(),
            false => (0..).zip(&visible).filter(is_requested).map(|(row, _)| row).collect(),
        };
        let start = view.positions.first().copied().unwrap_or(0);
        let prefix = matches!(spec.attention, Layout::CausalPrefix { .. })
            .then(|| visible.partition_point(|position| *position < start));
        let known = |position: usize| (!is_noise(position)).then(|| input.tokens[position]);
        let previous = self.previous.as_ref();
        let previous = previous.map(|previous| {
            // A network that computes rows of the current block in another way reads a prediction of these alone.
            let first = prefix.filter(|_| spec.tells_current()).unwrap_or(0);
            previous.rows(&visible[first..], known, spec.is_sure_of_known())
        });
        let rows_to_compute = (view.cache != Cache::None).then(|| {
            let query = CacheQuery {
                visible: &visible,
                tokens: &tokens,
                is_final: &is_final,
                blocks: view.blocks,
                block_length: view.block_length,
                lead: view.lead,
                positions: view.positions,
                requested: &self.requested,
            };
            self.cache_state.rows_to_compute(view.cache, view.cache_refresh, spec, &query)
        });
        let points = input.points.as_ref().map(|points| points.of(&visible));
        let places = (spec.position_axes() > 1).then(|| canvas.places(&visible));
        let sequence = SequenceInput {
            tokens: &tokens,
            places: places.as_deref(),
            points: points.as_ref(),
            time: model.process.network_time(view.from, noisy, visible.len()),
            self_conditioning: previous.as_deref(),
            requested: &requested,
            prefix,
            lead: view.lead,
            rows_to_compute: rows_to_compute.as_deref(),
        };
        let first = batch.requested();
        self.sequence = Some(batch.push(&sequence, std::mem::take(&mut self.cache_state.kv_cache), spec));
        self.answers = first..batch.requested();
        rows_to_compute.map_or(visible.len(), |rows| rows.len())
    }

    /// Takes the KV cache back after a forward pass.
    pub(crate) fn take_cache(&mut self, kv_caches: &mut [KvCache]) {
        if let Some(kv_cache) = self.sequence.and_then(|sequence| kv_caches.get_mut(sequence)) {
            self.cache_state.kv_cache = std::mem::take(kv_cache);
        }
    }

    /// The answer about a position, among those of the whole forward pass; `None` where there was no query.
    pub(crate) fn answer<'a>(&self, answers: &'a [Answer], position: usize) -> Option<&'a Answer> {
        answers.get(self.request(position)?)
    }

    /// The number of a position's query among those of the whole forward pass; `None` where there is none.
    pub(crate) fn request(&self, position: usize) -> Option<usize> {
        Some(self.answers.start + self.requested.binary_search(&position).ok()?)
    }

    /// Keeps what was said for the next step, at a temperature.
    pub(crate) fn feed_back(&mut self, answers: &mut [Answer], vocabulary_size: usize, temperature: f64) {
        if self.requested.is_empty() {
            return;
        }
        let logits = answers[self.answers.clone()].iter_mut().flat_map(Answer::take_logits).collect();
        self.previous = Some(PreviousPrediction::new(self.requested.clone(), logits, vocabulary_size, temperature));
    }
}

/// Whether a reading shows noise at a position.
fn is_noise(canvas: &Canvas, position: usize, hidden: &Range<usize>) -> bool {
    canvas.is_open(position) || hidden.contains(&position) && canvas.kind(position) == Some(Kind::Given)
}
