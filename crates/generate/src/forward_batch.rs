//! One forward pass over the canvases of several requests: rows are gathered, read together and handed back apart.
//!
//! Only what counts is laid out: padding and what lies behind an end token have no row, and positions are numbered
//! without gaps, so the network reads each canvas as it would read that text alone.

use crate::GenerateError;
use aquatint_compute::ReadRow;
use aquatint_diffusion::{ContinuousState, TokenId};
use aquatint_network::{CachedRows, Denoiser, KvCache, NetworkInput, NetworkSpec, RowLayout, WholeRows};

/// What the network is to read of one canvas.
#[derive(Debug)]
pub(crate) struct SequenceInput<'a> {
    /// `L`: the tokens that count, in order.
    pub(crate) tokens: &'a [TokenId],
    /// What is held in their places, under a continuous process.
    pub(crate) points: Option<&'a ContinuousState>,
    /// How noisy they are, as the network is told.
    pub(crate) time: f64,
    /// `[L, V]`: what the network believed at the last step; `None` at the first one.
    pub(crate) self_conditioning: Option<&'a [f32]>,
    /// Rows whose belief is wanted, ascending, in `0..L`.
    pub(crate) asked: &'a [u32],
    /// Rows that are read, ascending, with what is remembered of the others; `None` if nothing is remembered.
    pub(crate) rows_to_compute: Option<&'a [u32]>,
}

/// The rows of one forward pass.
#[derive(Debug, Default)]
pub(crate) struct ForwardBatch {
    tokens: Vec<TokenId>,
    rows: RowLayout,
    points: Option<ContinuousState>,
    times: Vec<f32>,
    self_conditioning: Vec<f32>,
    asked: Vec<u32>,
    rows_to_compute: Vec<u32>,
    /// One for each sequence.
    kv_caches: Vec<KvCache>,
    /// Whether any of them is of use.
    remembers: bool,
}

impl ForwardBatch {
    /// Appends a canvas with what is remembered of it; returns its number.
    pub(crate) fn push(&mut self, page: &SequenceInput<'_>, kv_cache: KvCache, spec: &NetworkSpec) -> usize {
        let rows = self.rows.push(spec.attention, page.tokens.len(), &[]);
        let (start, end) = (rows.start as u32, rows.end as u32);
        self.tokens.extend_from_slice(page.tokens);
        if let Some(points) = page.points {
            self.points.get_or_insert_default().append(points);
        }
        self.times.push(page.time as f32);
        self.asked.extend(page.asked.iter().map(|row| row + start));
        if spec.self_conditioning {
            // A row of zeros is no belief at all.
            let rows = page.tokens.len() * spec.vocabulary_size;
            match page.self_conditioning {
                Some(belief) => self.self_conditioning.extend_from_slice(belief),
                None => self.self_conditioning.resize(self.self_conditioning.len() + rows, 0.0),
            }
        }
        match page.rows_to_compute {
            Some(rows_to_compute) => self.rows_to_compute.extend(rows_to_compute.iter().map(|row| row + start)),
            None => self.rows_to_compute.extend(start..end),
        }
        self.remembers |= page.rows_to_compute.is_some();
        self.kv_caches.push(kv_cache);
        self.kv_caches.len() - 1
    }

    /// Rows asked for so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Whether nothing was pushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.sequences() == 0
    }

    /// Hands the logits of each asked row of all canvases to `read`, with its number in the order of pushing; returns
    /// what is remembered of each canvas.
    pub(crate) fn read(mut self, denoiser: &dyn Denoiser, read: &ReadRow<'_>) -> Result<Vec<KvCache>, GenerateError> {
        let spec = denoiser.spec();
        let (positions, visibility) = self.rows.finish()?;
        let input = NetworkInput {
            tokens: &self.tokens,
            points: self.points.as_ref(),
            positions: &positions,
            visibility: &visibility,
            times: spec.time_conditioning.is_some().then_some(self.times.as_slice()),
            self_conditioning: spec.self_conditioning.then_some(self.self_conditioning.as_slice()),
        };
        if self.remembers {
            let cached = CachedRows { rows_to_compute: &self.rows_to_compute, kv_caches: &mut self.kv_caches };
            denoiser.forward_cached(&input, cached, &self.asked, read)?;
        } else {
            denoiser.forward_rows(&input, &self.asked, read)?;
        }
        Ok(self.kv_caches)
    }
}
