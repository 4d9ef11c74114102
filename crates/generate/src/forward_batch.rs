//! One forward pass over the canvases of several requests: rows are gathered, read together and handed back apart.
//!
//! Only what counts is laid out: padding and what lies behind an end token have no row, and positions are numbered
//! without gaps, so the network reads each canvas as it would read that text alone.

use aquatint_diffusion::{ContinuousState, Place, TokenId};
use aquatint_network::{
    CachedRows, Denoiser, ForwardPass, KvCache, LossRow, NetworkError, NetworkInput, NetworkSpec, Query, RowAnswer,
    RowLayout, RowQuery, RowSlots,
};

/// What the network is to read of one canvas.
#[derive(Debug)]
pub(crate) struct SequenceInput<'a> {
    /// `L`: the tokens that count, in order.
    pub(crate) tokens: &'a [TokenId],
    /// The place of each, where positions of the network have several axes.
    pub(crate) places: Option<&'a [Place]>,
    /// What is held in their stead, under a continuous process.
    pub(crate) points: Option<&'a ContinuousState>,
    /// How noisy they are: the network's time input.
    pub(crate) time: f64,
    /// What the network said at the last step, a row for each that it reads a prediction of; `None` at the first one.
    pub(crate) self_conditioning: Option<&'a [f32]>,
    /// Rows whose logits are needed, ascending, in `0..L`.
    pub(crate) requested: &'a [u32],
    /// Where the current block begins behind a causal prefix; `None` in other layouts.
    pub(crate) prefix: Option<usize>,
    /// By how many rows the first block is shorter than the others.
    pub(crate) lead: usize,
    /// Rows that are computed, ascending, with the KV cache of the others; `None` without a cache.
    pub(crate) rows_to_compute: Option<&'a [u32]>,
}

/// The answer about one row.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The query.
    Row(RowAnswer),
    /// All of it.
    Logits(Vec<f32>),
}

impl Answer {
    /// The whole row, where the query is for it.
    pub(crate) fn logits(&self) -> Option<&[f32]> {
        match self {
            Self::Logits(logits) => Some(logits),
            Self::Row(_) => None,
        }
    }

    /// The same, leaving nothing behind.
    pub(crate) fn take_logits(&mut self) -> Vec<f32> {
        match self {
            Self::Logits(logits) => std::mem::take(logits),
            Self::Row(_) => Vec::new(),
        }
    }
}

/// The rows of one forward pass.
#[derive(Debug, Default)]
pub(crate) struct ForwardBatch {
    tokens: Vec<TokenId>,
    rows: RowLayout,
    /// `[T, A]`, where positions have several axes.
    places: Vec<u32>,
    points: Option<ContinuousState>,
    times: Vec<f32>,
    self_conditioning: Vec<f32>,
    requested: Vec<u32>,
    rows_to_compute: Vec<u32>,
    /// One for each sequence.
    kv_caches: Vec<KvCache>,
    /// Whether any of them is used.
    is_cached: bool,
}

impl ForwardBatch {
    /// Appends a canvas with its KV cache; returns its index.
    pub(crate) fn push(&mut self, sequence: &SequenceInput<'_>, kv_cache: KvCache, spec: &NetworkSpec) -> usize {
        let rows = match sequence.prefix {
            Some(prefix) => self.rows.push_behind(prefix, sequence.tokens.len()),
            None => self.rows.push_behind_lead(spec.attention, sequence.lead, sequence.tokens.len()),
        };
        let (start, end) = (rows.start as u32, rows.end as u32);
        self.tokens.extend_from_slice(sequence.tokens);
        self.places.extend(sequence.places.into_iter().flatten().flatten());
        if let Some(points) = sequence.points {
            self.points.get_or_insert_default().append(points);
        }
        self.times.push(sequence.time as f32);
        self.requested.extend(sequence.requested.iter().map(|row| row + start));
        if spec.self_conditioning.is_some() {
            // A row of zeros is no prediction at all.
            let conditioned = match sequence.prefix.filter(|_| spec.tells_current()) {
                Some(prefix) => sequence.tokens.len() - prefix,
                None => sequence.tokens.len(),
            };
            let rows = conditioned * spec.vocabulary_size;
            match sequence.self_conditioning {
                Some(previous) => self.self_conditioning.extend_from_slice(previous),
                None => self.self_conditioning.resize(self.self_conditioning.len() + rows, 0.0),
            }
        }
        match sequence.rows_to_compute {
            Some(rows_to_compute) => self.rows_to_compute.extend(rows_to_compute.iter().map(|row| row + start)),
            None => self.rows_to_compute.extend(start..end),
        }
        self.is_cached |= sequence.rows_to_compute.is_some();
        self.kv_caches.push(kv_cache);
        self.kv_caches.len() - 1
    }

    /// Rows queried so far.
    pub(crate) fn requested(&self) -> usize {
        self.requested.len()
    }

    /// Whether nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.kv_caches.is_empty()
    }

    /// Queries the requested rows of all canvases, in the order of pushing; returns the answers, and the KV cache of
    /// each canvas.
    pub(crate) fn run(
        mut self,
        denoiser: &dyn Denoiser,
        queries: &[Query<'_>],
    ) -> Result<(Vec<Answer>, Vec<KvCache>), NetworkError> {
        let spec = denoiser.spec();
        let mut kv_caches = std::mem::take(&mut self.kv_caches);
        let (rows_to_compute, is_cached) = (std::mem::take(&mut self.rows_to_compute), self.is_cached);
        let cached = is_cached.then_some(CachedRows { rows_to_compute: &rows_to_compute, kv_caches: &mut kv_caches });
        let row_queries: Vec<RowQuery<'_>> =
            self.requested.iter().zip(queries).map(|(&row, &query)| RowQuery { row, query }).collect();
        // Whole rows are kept, in the order of their queries.
        let whole: Vec<usize> = (0..queries.len()).filter(|index| queries[*index] == Query::WholeRow).collect();
        let logits = RowSlots::new(whole.len());
        let read = |index: usize, row: &mut [f32]| {
            // A row of another length is no answer.
            if let (Ok(slot), true) = (whole.binary_search(&index), row.len() == spec.vocabulary_size) {
                logits.set(slot, row.to_vec());
            }
        };
        let answers =
            self.with_input(spec, |input| denoiser.forward(ForwardPass { input, cached }, &row_queries, &read))?;
        let (given, expected) = (answers.len(), row_queries.len());
        if given != expected {
            return Err(NetworkError::Unanswered { given, expected });
        }
        let mut logits = logits.into_vec()?.into_iter();
        let mut answer = |(query, answer): (&Query<'_>, RowAnswer)| match query {
            Query::WholeRow => logits.next().map_or(Answer::Row(answer), Answer::Logits),
            _ => Answer::Row(answer),
        };
        Ok((queries.iter().zip(answers).map(&mut answer).collect(), kv_caches))
    }

    /// The gradient of the log-likelihood of tokens at some of the requested rows, by their numbers, with respect to what
    /// others read: [`Denoiser::token_gradients`], `[wanted, V]`.
    pub(crate) fn token_gradients(
        self,
        denoiser: &dyn Denoiser,
        targets: &[(usize, TokenId)],
        wanted: &[usize],
    ) -> Result<Vec<f32>, NetworkError> {
        let target =
            |&(number, target): &(usize, TokenId)| LossRow { row: self.requested[number], target, weight: 1.0 };
        let targets: Vec<LossRow> = targets.iter().map(target).collect();
        let rows: Vec<u32> = wanted.iter().map(|&number| self.requested[number]).collect();
        self.with_input(denoiser.spec(), |input| denoiser.token_gradients(input, &targets, &rows))
    }

    /// Hands all rows over as the network reads them.
    fn with_input<R>(
        self,
        spec: &NetworkSpec,
        with: impl FnOnce(&NetworkInput<'_>) -> Result<R, NetworkError>,
    ) -> Result<R, NetworkError> {
        let current = spec.tells_current().then(|| self.rows.current().to_vec());
        let (positions, visibility) = self.rows.finish()?;
        with(&NetworkInput {
            tokens: &self.tokens,
            points: self.points.as_ref(),
            positions: &positions,
            places: (spec.position_axes() > 1).then_some(self.places.as_slice()),
            visibility: &visibility,
            times: spec.reads_time().then_some(self.times.as_slice()),
            current: current.as_deref(),
            self_conditioning: spec.self_conditioning.map(|_| self.self_conditioning.as_slice()),
        })
    }
}
