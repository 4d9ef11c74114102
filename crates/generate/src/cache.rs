//! Which rows of a canvas are computed at each step, and what is cached from earlier steps.
//!
//! Where blocks see only what came before them, the cached rows of finished blocks are what they would be again, and
//! later blocks need not be read: [`Cache::Exact`] (BD3-LM, 2503.09573, section 3.2). If every layer has a window, rows that
//! lie to the left of all of them are freed, so that the memory does not grow with the text. Where every position sees all
//! others, every change changes everything a little; [`Cache::Prefix`] and [`Cache::Dual`] leave that out until the
//! next refresh (Fast-dLLM, 2505.22618, section 3.1) and are approximations. In a network of blocks that are filled in
//! sub-blocks, [`Cache::Dual`] does so within a block (Fast-dLLM v2, 2509.26328, section 3.3): the rows of the other
//! sub-blocks stay until the next one begins, and until no row of another one is needed to answer.

use crate::blocks_from::CountedBlocks;
use aquatint_diffusion::{Layout, SettingError, TokenId};
use aquatint_network::{KvCache, NetworkSpec};
use std::fmt;
use std::str::FromStr;

/// What is cached between the steps of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cache {
    /// Nothing: every step reads the whole canvas.
    None,
    /// Finished blocks, for networks whose blocks see only earlier ones, causal ones among them. The canvas is the same
    /// as without.
    Exact,
    /// What comes before the current block. Approximate.
    Prefix,
    /// Everything but the current block. Approximate. In a network whose blocks see only earlier ones, everything but the
    /// current sub-block: what is outside of its block is exact then.
    Dual,
}

impl Cache {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Exact, Self::Prefix, Self::Dual];

    /// What costs nothing: the exact one where the network allows it.
    pub(crate) fn of(spec: &NetworkSpec) -> Self {
        if Self::Exact.check(spec, None).is_ok() { Self::Exact } else { Self::None }
    }

    /// Refuses what a network cannot have.
    /// `block_length` is that of the settings.
    pub(crate) fn check(self, spec: &NetworkSpec, block_length: Option<usize>) -> Result<(), SettingError> {
        let refuse = |allowed: &str, hint: &str| {
            let (given, allowed, hint) = (self.to_string(), allowed.to_owned(), Some(hint.to_owned()));
            Err(SettingError { parameter: "cache", given, allowed, hint })
        };
        let blocks = exact_blocks(spec.attention).is_some();
        match self {
            Self::None => Ok(()),
            Self::Prefix | Self::Dual if !blocks && spec.self_conditioning.is_some() => {
                refuse("none", "the network reads its previous prediction, which changes everywhere at each step")
            }
            Self::Exact if spec.attention.block_length().is_some() && spec.reads_time() => refuse(
                "none",
                "the network is conditioned on time, which changes the keys and values of finished blocks",
            ),
            Self::Exact if !blocks => refuse(
                "none, prefix, dual",
                "every position of this network sees all others; only blocks in order can be exact",
            ),
            Self::Dual if has_sub_blocks(spec, block_length) && spec.routing_length().is_some() => refuse(
                "none, exact",
                "the rows of a block choose their experts together, so that none is read without the others",
            ),
            Self::Dual if has_sub_blocks(spec, block_length) && spec.time_conditioning.is_none() => Ok(()),
            Self::Prefix | Self::Dual if blocks => {
                refuse("none, exact", "positions of this network see only earlier ones, so exact costs no more")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Dual => "dual",
        })
    }
}

impl FromStr for Cache {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        Self::ALL.into_iter().find(|cache| cache.to_string() == name).ok_or_else(|| SettingError {
            parameter: "cache",
            given: format!("\"{name}\""),
            allowed: "none, exact, prefix, dual".to_owned(),
            hint: None,
        })
    }
}

/// The length of the blocks whose rows see only earlier blocks: those of a layout of blocks, single positions in a causal
/// one and before the current block of a causal prefix.
pub(crate) fn exact_blocks(layout: Layout) -> Option<usize> {
    match layout {
        Layout::Full => None,
        Layout::Causal | Layout::CausalPrefix { .. } => Some(1),
        Layout::Block { length } => Some(length),
    }
}

/// Whether blocks of this length are parts of the network's own.
pub(crate) fn has_sub_blocks(spec: &NetworkSpec, block_length: Option<usize>) -> bool {
    matches!(spec.attention, Layout::Block { length } if block_length.is_some_and(|part| part < length))
}

/// So many rows, less those of a block that is not whole.
pub(crate) fn whole_blocks(rows: usize, spec: &NetworkSpec) -> usize {
    exact_blocks(spec.attention).map_or(0, |length| rows - rows % length.max(1))
}

/// The first row that is seen when all rows from `end`, which begins a block, are computed.
pub(crate) fn visible_from(end: usize, spec: &NetworkSpec) -> usize {
    let first = end.saturating_sub(usize::from(spec.head.logit_shift));
    spec.widest_window().map_or(0, |window| (first + 1).saturating_sub(window))
}

/// The cache of one canvas, and the canvas as it was then.
#[derive(Debug, Default)]
pub(crate) struct CacheState {
    pub(crate) kv_cache: KvCache,
    /// The positions of the rows.
    visible: Vec<usize>,
    /// The token that each row had when it was read last, and whether it was final; `None` for a row that never was.
    tokens: Vec<Option<(TokenId, bool)>>,
    blocks: Vec<usize>,
    /// Steps since all rows were read.
    age: usize,
}

/// What a step is about to read of a canvas.
pub(crate) struct CacheQuery<'a> {
    /// The positions that have rows, ascending, the token of each, and whether it is final.
    pub(crate) visible: &'a [usize],
    pub(crate) tokens: &'a [TokenId],
    pub(crate) is_final: &'a [bool],
    /// The current block of each track; the positions of these blocks, and those of them whose logits are needed.
    pub(crate) blocks: &'a [usize],
    pub(crate) positions: &'a [usize],
    /// The length of sub-blocks, where the network has blocks of its own.
    pub(crate) block_length: Option<usize>,
    /// By how many rows the first block is shorter than the others.
    pub(crate) lead: usize,
    pub(crate) requested: &'a [usize],
}

impl CacheState {
    /// The tokens of the rows that stay what they are and follow from these tokens alone, whole blocks, from the first one
    /// on.
    pub(crate) fn final_tokens(&self, spec: &NetworkSpec) -> Vec<TokenId> {
        let tokens = self.tokens.iter().map_while(|row| row.and_then(|(token, is_final)| is_final.then_some(token)));
        let mut tokens: Vec<TokenId> = tokens.collect();
        tokens.truncate(whole_blocks(tokens.len(), spec));
        tokens
    }

    /// Begins with rows that another canvas had: `visible` are their positions here.
    pub(crate) fn begin_with(&mut self, kv_cache: KvCache, visible: &[usize], tokens: &[TokenId]) {
        self.kv_cache = kv_cache;
        self.visible = visible.to_vec();
        self.tokens = tokens.iter().map(|token| Some((*token, true))).collect();
    }

    /// The rows to be computed, ascending. Those whose hidden states give the requested logits are among them: under a
    /// logit shift also the row before a block, which the block's first position is answered by.
    pub(crate) fn rows_to_compute(
        &mut self,
        cache: Cache,
        refresh: Option<usize>,
        spec: &NetworkSpec,
        query: &CacheQuery<'_>,
    ) -> Vec<u32> {
        // What a causal network reads grows from step to step.
        if !query.visible.starts_with(&self.visible) {
            *self = Self::default();
        }
        self.visible.extend_from_slice(&query.visible[self.visible.len()..]);
        self.tokens.resize(query.visible.len(), None);
        let rows = 0..query.visible.len();
        let row_of = |position: &usize| query.visible.binary_search(position).ok();
        // The layouts of canvases let every row see the one before it.
        let answering = |row: usize| spec.head.answering_row(row as u32, || (row as u32).checked_sub(1)) as usize;
        let due =
            self.kv_cache.is_empty() || self.blocks != query.blocks || refresh.is_some_and(|steps| self.age >= steps);
        let in_blocks = exact_blocks(spec.attention).is_some();
        let mut reads_part = false;
        let mut rows_to_compute: Vec<usize> = match (cache, exact_blocks(spec.attention)) {
            (Cache::Exact | Cache::Dual, Some(length)) => {
                let blocks = CountedBlocks::new(length, query.lead);
                let first_noisy = query.is_final.iter().position(|is_final| !is_final).unwrap_or(rows.end);
                let current = query.requested.iter().filter_map(row_of);
                // A block from which no row answers needs no rows yet.
                let last = current.clone().map(answering).map(|row| blocks.of(row)).max().unwrap_or(0);
                let first = current.map(|row| blocks.of(row)).min().unwrap_or(0);
                let changed = |row: &usize| self.tokens[*row] != Some((query.tokens[*row], query.is_final[*row]));
                let end = blocks.start(last + 1).min(rows.end);
                let first = (0..end).find(changed).map_or(first, |row| blocks.of(row).min(first));
                // The rows of the current block see all of it, those that are written among them.
                let (first, end) = match (spec.attention, query.positions.first().and_then(row_of)) {
                    (Layout::CausalPrefix { .. }, Some(start)) => (first.min(start), rows.end),
                    // It is read up to the last position that is answered: the rows before those positions answer.
                    (Layout::CausalPrefix { .. }, None) => {
                        let last = rows.end.saturating_sub(query.requested.len().max(1));
                        ((0..rows.end).find(changed).unwrap_or(last).min(last), rows.end)
                    }
                    _ => (first, end),
                };
                if let Some(window) = spec.widest_window() {
                    // No row before these is computed in this pass or a later one: what is final stays, except in the
                    // current block, where it may become noisy again.
                    let current = query.positions.first().and_then(row_of).unwrap_or(0);
                    let oldest = blocks.start(blocks.of(first_noisy.min(current)).min(first));
                    let oldest = oldest.saturating_sub(usize::from(spec.head.logit_shift));
                    self.kv_cache.free_before((oldest + 1).saturating_sub(window));
                }
                let parts = query.block_length.map(|part| CountedBlocks::new(part, query.lead));
                let part_of = |position: &usize| parts.map(|parts| parts.of(*position));
                let own = query.positions.first().and_then(part_of);
                let in_own = |row: &usize| part_of(&query.visible[*row]) == own;
                let begun = (blocks.start(last)..end).all(|row| self.tokens[row].is_some());
                let answered = query.requested.iter().filter_map(row_of).map(answering).all(|row| in_own(&row));
                reads_part = cache == Cache::Dual && first == last && begun && answered && !due;
                match reads_part {
                    true => (0..end).filter(in_own).collect(),
                    false => (blocks.start(first)..end).collect(),
                }
            }
            (Cache::Prefix | Cache::Dual, _) if !due => {
                let first = query.positions.first().copied().unwrap_or(0);
                let suffix = cache == Cache::Prefix;
                let reads = |row: &usize| {
                    let position = query.visible[*row];
                    suffix && position >= first || query.positions.binary_search(&position).is_ok()
                };
                rows.filter(reads).collect()
            }
            _ => rows.collect(),
        };
        rows_to_compute.extend(query.requested.iter().filter_map(row_of).map(answering));
        rows_to_compute.sort_unstable();
        rows_to_compute.dedup();
        let refreshed = !reads_part && (in_blocks || rows_to_compute.len() == query.visible.len());
        self.age = if refreshed { 1 } else { self.age + 1 };
        self.blocks = query.blocks.to_vec();
        for &row in &rows_to_compute {
            self.tokens[row] = Some((query.tokens[row], query.is_final[row]));
        }
        rows_to_compute.into_iter().map(|row| row as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for cache in Cache::ALL {
            assert_eq!(cache.to_string().parse(), Ok(cache));
        }
        let error = "half".parse::<Cache>().unwrap_err();
        assert_eq!(error.to_string(), "`cache` is \"half\"; allowed: none, exact, prefix, dual");
    }
}
