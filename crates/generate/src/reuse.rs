//! Rows of requests that ended, for requests that begin with the same tokens.
//!
//! Where blocks see only what came before them, the keys and values of a block follow from the tokens up to its end. So
//! a request whose first blocks hold the tokens of an earlier one, as the turns of a conversation do, takes those rows
//! over and reads the rest only; its canvas is the same. Rows are found by the tokens themselves. Where every position
//! sees all others there is nothing to take over: each row depends on the whole text.

use aquatint_diffusion::TokenId;
use aquatint_network::KvRows;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Rows of requests that ended, by the tokens that they hold. No more bytes than a limit are retained; what was not used for
/// longest goes first.
#[derive(Debug)]
pub(crate) struct ReusableRows {
    limit: usize,
    bytes: usize,
    /// Rises with every use.
    clock: u64,
    retained: BTreeMap<Vec<TokenId>, Retained>,
}

#[derive(Debug)]
struct Retained {
    rows: KvRows,
    used: u64,
}

impl Retained {
    /// What it takes together with its tokens.
    fn bytes(&self) -> usize {
        self.rows.bytes() + self.rows.end() * size_of::<TokenId>()
    }
}

impl ReusableRows {
    /// Nothing retained yet.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, bytes: 0, clock: 0, retained: BTreeMap::new() }
    }

    /// Whether anything is retained at all.
    pub(crate) fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// Bytes of all that is retained.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows whose tokens have the longest beginning in common with these, and its length.
    pub(crate) fn find(&mut self, tokens: &[TokenId]) -> Option<(&KvRows, usize)> {
        // In the order of the tokens the longest common beginning is that of a neighbour.
        let before = self.retained.range::<[TokenId], _>((Bound::Unbounded, Bound::Included(tokens))).next_back();
        let behind = self.retained.range::<[TokenId], _>((Bound::Included(tokens), Bound::Unbounded)).next();
        let common = before.into_iter().chain(behind).map(|(other, _)| (common(tokens, other), other));
        let (length, key) = common.max_by_key(|(length, _)| *length).filter(|(length, _)| *length > 0)?;
        let key = key.clone();
        self.clock += 1;
        let retained = self.retained.get_mut(&key)?;
        retained.used = self.clock;
        Some((&retained.rows, length))
    }

    /// Whether all rows of these tokens are retained, from `start` on; they count as used then.
    pub(crate) fn has(&mut self, tokens: &[TokenId], start: usize) -> bool {
        self.find(tokens).is_some_and(|(rows, length)| length == tokens.len() && rows.start() <= start)
    }

    /// Keeps rows under their tokens, unless they alone are more than the limit.
    pub(crate) fn keep(&mut self, tokens: Vec<TokenId>, rows: KvRows) {
        self.clock += 1;
        let retained = Retained { rows, used: self.clock };
        if retained.bytes() > self.limit {
            return;
        }
        // The rows of the same text as far as it went then are among the new ones.
        let shorter = |(other, old): &(&Vec<TokenId>, &Retained)| {
            tokens.starts_with(other) && retained.rows.start() <= old.rows.start()
        };
        let last =
            self.retained.range::<[TokenId], _>((Bound::Unbounded, Bound::Included(tokens.as_slice()))).next_back();
        if let Some((shorter, _)) = last.filter(shorter) {
            let shorter = shorter.clone();
            self.remove(&shorter);
        }
        self.bytes += retained.bytes();
        if let Some(replaced) = self.retained.insert(tokens, retained) {
            self.bytes -= replaced.bytes();
        }
        while self.bytes > self.limit {
            let oldest =
                self.retained.iter().min_by_key(|(_, retained)| retained.used).map(|(tokens, _)| tokens.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, tokens: &[TokenId]) {
        if let Some(gone) = self.retained.remove(tokens) {
            self.bytes -= gone.bytes();
        }
    }
}

/// The length of the longest beginning that two lists have in common.
pub(crate) fn common(one: &[TokenId], other: &[TokenId]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
