//! Costs of texts that are nearly the same, under noise that they share, so that their differences have little of it.
//!
//! Each version of a text hides some of its open positions, as the bound of [`crate::DiffusionBound`] does. Texts are aligned
//! by their longest common subsequence of tokens: aligned positions have one number in common, and so have the first, second
//! … position of stretches that replace each other. A version hides the `⌈t · L⌉` open positions with the lowest numbers, at
//! a time `t` that the texts share. Texts of one length that are open at the same positions hide the same ones; each text by
//! itself has the same bound in expectation as without the others, since every set of a count is equally likely.
//!
//! A process without a form of fixed count draws the noise of all texts from the same stream at the same time, which
//! aligns texts of one length only. A causal network has one version, without noise: its cost is exact.

use crate::EvaluateError;
use aquatint_batch::{NoisyBatch, PackedBatch, complement, golden_point, stratified_time};
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::objective::count_at;
use aquatint_diffusion::{Corrupted, Key, PADDING_DOCUMENT, Process, Time, TokenId};
use aquatint_network::Denoiser;
use aquatint_vocabulary::{Role, Vocabulary};

/// Rows of one forward pass at most, unless a single text has more.
const ROWS_PER_PASS: usize = 4096;
/// Where slots begin that only one text of a case has.
const OWN: u64 = 1 << 32;

/// A text and which of its tokens are open; the others are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The tokens.
    pub tokens: Vec<TokenId>,
    /// As many as there are tokens.
    pub open: Vec<bool>,
}

/// How texts are measured.
#[derive(Clone, Copy)]
pub enum NoiseRule<'a> {
    /// By the bound of a process, in so many noisy versions of each text, 1 or more.
    Bound {
        /// The process.
        process: &'a dyn Process,
        /// Versions.
        versions: usize,
    },
    /// Token by token, exactly; the token stands before the first.
    Causal(TokenId),
}

impl<'a> NoiseRule<'a> {
    /// The rule for a model of this process, in so many versions; exactly for a causal one, which has none.
    ///
    /// # Errors
    /// When the vocabulary of a causal model has no token that begins a text.
    pub fn new(
        process: Option<&'a dyn Process>,
        versions: usize,
        vocabulary: &Vocabulary,
    ) -> Result<Self, EvaluateError> {
        Ok(match process {
            Some(process) => Self::Bound { process, versions },
            None => Self::Causal(vocabulary.required(Role::Begin)?),
        })
    }
}

/// A text of a case, with the slots of its positions.
struct CaseText<'a> {
    case: usize,
    text: &'a Variant,
    slots: Vec<u64>,
}

impl<'a> CaseText<'a> {
    /// The texts of the case of a number.
    fn all(case: usize, texts: &'a [Variant]) -> Vec<Self> {
        texts.iter().zip(slots(texts)).map(|(text, slots)| Self { case, text, slots }).collect()
    }
}

/// What each text of each case costs in nats in each version, `[case][text][version]`; the mean over versions is the bound of
/// its open tokens given the others. A text without an open token costs nothing. Cases are drawn from `key` by their numbers
/// from `first` on, so that a case costs the same beside any others; `progress` receives how many are done, also while texts
/// are measured, and returns whether to go on.
///
/// # Errors
/// When a text is longer than the network can read, the network refuses, or `progress` says to stop.
pub fn shared_costs(
    model: &dyn Denoiser,
    rule: NoiseRule<'_>,
    cases: &[Vec<Variant>],
    (key, first): (Key, u64),
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<Vec<Vec<f64>>>, EvaluateError> {
    let mut costs = vec![Vec::new(); cases.len()];
    let mut texts = cases.iter().enumerate().flat_map(|(case, texts)| CaseText::all(case, texts)).peekable();
    let mut done = 0;
    while let Some(text) = texts.next() {
        let mut total = text.text.tokens.len();
        let mut together = vec![text];
        while let Some(text) = texts.next_if(|text| total + text.text.tokens.len() <= ROWS_PER_PASS) {
            total += text.text.tokens.len();
            together.push(text);
        }
        let measured = pass((model, rule), &together, (key, first), &mut || progress(done))?;
        together.iter().zip(measured).for_each(|(text, versions)| costs[text.case].push(versions));
        done = texts.peek().map_or(cases.len(), |next| next.case);
        if !progress(done) {
            return Err(EvaluateError::Stopped);
        }
    }
    Ok(costs)
}

/// The costs of texts that are read together, in each version; `go_on` says after each whether to go on.
fn pass(
    (model, rule): (&dyn Denoiser, NoiseRule<'_>),
    texts: &[CaseText<'_>],
    (key, first): (Key, u64),
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<Vec<f64>>, EvaluateError> {
    let rows = PackedBatch::new(&canvases(texts), model.spec().attention)?;
    let versions = match rule {
        NoiseRule::Bound { versions, .. } => versions.max(1),
        NoiseRule::Causal(_) => 1,
    };
    // Of each version, by text.
    let mut costs = vec![vec![0.0; texts.len()]; versions];
    for (version, costs) in costs.iter_mut().enumerate() {
        let mut batch = match rule {
            NoiseRule::Bound { .. } => NoisyBatch::new(&rows),
            NoiseRule::Causal(begin) => NoisyBatch::causal(&rows, begin, 1.0),
        };
        match rule {
            NoiseRule::Causal(_) => batch.terms.retain(|term| !rows.given[term.position]),
            NoiseRule::Bound { process, .. } => {
                for (index, canvas) in rows.canvases.iter().enumerate().filter(|(_, canvas)| !canvas.is_empty()) {
                    let own = key.fold(first + texts[index].case as u64);
                    let start = own.at(u64::MAX, 0).uniform();
                    let mut network_time = None;
                    for (number, part) in rows.parts(canvas).into_iter().enumerate() {
                        let time = stratified_time(golden_point(start, number as u64), version, versions);
                        let open = rows.open(canvas, &part, 0);
                        let slots = &texts[index].slots[part.start - canvas.start..part.end - canvas.start];
                        let noisy = corrupt((process, time), &rows.tokens[part.clone()], &open, slots, (own, version));
                        network_time = Some(noisy.noise as f32);
                        costs[index] += noisy.constant;
                        batch.put(part, noisy);
                    }
                    batch.times.extend(network_time);
                }
            }
        }
        if batch.terms.is_empty() {
            continue;
        }
        if version > 0 && !go_on() {
            return Err(EvaluateError::Stopped);
        }
        let prediction = batch.self_conditioning(model, &rows)?;
        for (term, nats) in batch.terms.iter().zip(batch.costs(model, &rows, prediction.as_deref())?) {
            costs[rows.canvas_of(term.position)] += term.weight * nats;
        }
    }
    Ok((0..texts.len()).map(|text| costs.iter().map(|version| version[text]).collect()).collect())
}

/// One version of a part of a text.
fn corrupt(
    (process, time): (&dyn Process, Time),
    clean: &[TokenId],
    open: &[bool],
    slots: &[u64],
    (key, version): (Key, usize),
) -> Corrupted {
    let draws = &mut key.at(OWN - 1, version as u64);
    if process.has_fixed_count() {
        let numbers = key.fold(version as u64);
        let mut by_number: Vec<(f64, usize)> = (0..clean.len())
            .filter(|position| open[*position])
            .map(|position| (numbers.at(slots[position], 0).uniform(), position))
            .collect();
        by_number.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut shown = vec![true; clean.len()];
        let count = count_at(time, by_number.len());
        by_number.iter().take(count).for_each(|(_, position)| shown[*position] = false);
        if let Some(noisy) = complement(process, clean, open, &shown, draws) {
            return noisy;
        }
    }
    process.corrupt_for_bound(clean, open, time, draws)
}

/// Texts as canvases, one each.
fn canvases(texts: &[CaseText<'_>]) -> CanvasBatch {
    let texts: Vec<&Variant> = texts.iter().map(|text| text.text).collect();
    let length = texts.iter().map(|text| text.tokens.len()).max().unwrap_or(0).max(1);
    let mut batch = CanvasBatch { length, ..CanvasBatch::default() };
    for (document, text) in (0u32..).zip(texts) {
        let padding = length - text.tokens.len();
        batch.tokens.extend(text.tokens.iter().copied().chain(std::iter::repeat_n(0, padding)));
        batch.documents.extend(std::iter::repeat_n(document, text.tokens.len()));
        batch.documents.extend(std::iter::repeat_n(PADDING_DOCUMENT, padding));
        batch.given.extend(text.open.iter().map(|open| !open).chain(std::iter::repeat_n(true, padding)));
    }
    batch.text_bytes = vec![0; batch.tokens.len()];
    batch
}

/// The slot of each position of each text: positions with one slot hide by one number. Slots are counted on the first text.
fn slots(case: &[Variant]) -> Vec<Vec<u64>> {
    let Some(base) = case.first() else { return Vec::new() };
    let of = |text: &Variant| {
        let aligned = aligned(&base.tokens, &text.tokens);
        let (mut slots, mut own) = (Vec::with_capacity(aligned.len()), OWN);
        // The first position of the base that is behind the last aligned one.
        let mut next = 0;
        let used: std::collections::BTreeSet<usize> = aligned.iter().flatten().copied().collect();
        for partner in aligned {
            match partner {
                Some(position) => {
                    slots.push(position as u64);
                    next = position + 1;
                }
                None if next < base.tokens.len() && !used.contains(&next) => {
                    slots.push(next as u64);
                    next += 1;
                }
                None => {
                    slots.push(own);
                    own += 1;
                }
            }
        }
        slots
    };
    case.iter().map(of).collect()
}

/// For each token of `other` the position of its partner in `base`, along a longest common subsequence.
pub(crate) fn aligned(base: &[TokenId], other: &[TokenId]) -> Vec<Option<usize>> {
    let width = other.len() + 1;
    // The length of the longest common subsequence of what is left behind each pair of positions.
    let mut longest = vec![0u32; (base.len() + 1) * width];
    for i in (0..base.len()).rev() {
        for j in (0..other.len()).rev() {
            longest[i * width + j] = if base[i] == other[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let mut partners = vec![None; other.len()];
    let (mut i, mut j) = (0, 0);
    while i < base.len() && j < other.len() {
        if base[i] == other[j] {
            partners[j] = Some(i);
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    partners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tokens: &[TokenId]) -> Variant {
        Variant { tokens: tokens.to_vec(), open: vec![true; tokens.len()] }
    }

    #[test]
    fn texts_are_aligned_by_what_they_have_in_common() {
        assert_eq!(aligned(&[1, 2, 3], &[1, 9, 3]), [Some(0), None, Some(2)]);
        assert_eq!(aligned(&[1, 2, 3], &[1, 8, 9, 3]), [Some(0), None, None, Some(2)]);
        assert_eq!(aligned(&[], &[1]), [None]);
        assert_eq!(aligned(&[4, 1, 2], &[1, 2]), [Some(1), Some(2)]);
    }

    #[test]
    fn stretches_that_replace_each_other_share_slots_as_far_as_both_go() {
        let case = [text(&[1, 2, 3]), text(&[1, 8, 9, 3]), text(&[1, 3]), text(&[7, 7])];
        assert_eq!(slots(&case), [vec![0, 1, 2], vec![0, 1, OWN, 2], vec![0, 2], vec![0, 1]]);
    }
}
