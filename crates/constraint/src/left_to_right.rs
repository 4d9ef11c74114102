//! Constraints that are kept from left to right: what one of them has to say of a text so far, and what fills a span.
//!
//! A [`Prefix`] says which tokens may come next; it does not say how many must follow. So a filler always holds a
//! *witness*: tokens that end the text within the room that is left, or, in a span of exact length, with its last token. A
//! token that is drawn is taken only if a witness behind it is found. The search looks at few ways on; where it finds none
//! for the tokens that are drawn, the next token of the witness is taken. So the text ends in the language, whatever the
//! room.

use aquatint_diffusion::TokenId;
use aquatint_diffusion::constraint::{Cell, PredictedRow, TokenSet};
use aquatint_generate::{ConstraintError, SpanFiller, SpanStart};
use aquatint_vocabulary::Vocabulary;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Tokens that are drawn for one position before the witness is followed.
const DRAWS: usize = 8;
/// Texts that one search for a witness looks at.
const SEARCHED: usize = 200;
/// Tails by which it tries to reach an exact length, at most.
const ENDS: usize = 4000;

/// A text so far, and what may follow.
pub(crate) trait Prefix: Clone + Send + 'static {
    /// The tokens that may come next.
    fn next(&mut self) -> Vec<TokenId>;

    /// Reads a token.
    ///
    /// # Errors
    /// Why it may not come next. The prefix is of no use then.
    fn read(&mut self, token: TokenId) -> Result<(), String>;

    /// Whether the text may end here.
    fn may_end(&mut self) -> bool;

    /// Tokens that have to follow at least before the text may end.
    fn shortest(&self) -> usize;

    /// The tokens that a search for an end tries next, the likeliest to lead to one first, of tokens that are allowed. Those
    /// that may not come are passed over.
    fn branches(&mut self, is_allowed: &dyn Fn(TokenId) -> bool) -> Vec<TokenId>;

    /// Tokens that may likely stand here any number of times, of those that are allowed: they make a text as long as a span
    /// of exact length.
    fn repeatable(&mut self, is_allowed: &dyn Fn(TokenId) -> bool) -> Vec<TokenId>;
}

/// The bytes of each token, none for those that are no text.
pub(crate) struct Tokens {
    bytes: Vec<Vec<u8>>,
}

impl Tokens {
    /// Those of a vocabulary.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        let of = |id: TokenId| match vocabulary.is_special(id) {
            true => Vec::new(),
            false => vocabulary.token_bytes(id).unwrap_or_default().to_vec(),
        };
        Self { bytes: (0..vocabulary.len() as TokenId).map(of).collect() }
    }

    /// The bytes of a token.
    pub(crate) fn of(&self, token: TokenId) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[][..], Vec::as_slice)
    }

    /// All tokens with their bytes, in the order of their ids.
    pub(crate) fn all(&self) -> &[Vec<u8>] {
        &self.bytes
    }
}

/// One span while it is filled from left to right.
pub(crate) struct LeftToRightFiller<P> {
    prefix: P,
    tokens: Arc<Tokens>,
    /// The end token, where it may close the span; without one the length of the span is exact.
    closing: Option<TokenId>,
    forbidden: Vec<TokenId>,
    is_behind_blank: bool,
    /// Tokens at the beginning of the span that the prefix has read.
    read: usize,
    /// Tokens behind them that end the text.
    witness: VecDeque<TokenId>,
    /// The tokens drawn last, each with the witness behind it.
    drawn: Vec<(TokenId, VecDeque<TokenId>)>,
}

impl<P: Prefix> LeftToRightFiller<P> {
    /// Makes ready to fill a span with a text that begins as `prefix`; `kind` is what it is, for messages.
    ///
    /// # Errors
    /// When what the span holds contradicts the prefix, or no text was found that fits.
    pub(crate) fn new(
        (kind, prefix): (&str, P),
        tokens: Arc<Tokens>,
        span: &SpanStart<'_>,
        is_behind_blank: bool,
    ) -> Result<Self, ConstraintError> {
        let closing = span.closing;
        let forbidden = span.forbidden.iter().copied().filter(|token| !tokens.of(*token).is_empty()).collect();
        let (witness, drawn) = (VecDeque::new(), Vec::new());
        let mut filler = Self { prefix, tokens, closing, forbidden, is_behind_blank, read: 0, witness, drawn };
        filler.follow(span.cells)?;
        let room = span.cells.len() - filler.read;
        let found = filler.search(&filler.prefix, room, filler.read);
        filler.witness = found.map(VecDeque::from).ok_or_else(|| {
            let count = if closing.is_some() { "at most" } else { "exactly" };
            ConstraintError::Refused(format!("no text of the {kind} was found that takes {count} {room} tokens"))
        })?;
        Ok(filler)
    }

    /// Reads the tokens at the beginning of the span that were not read yet.
    fn follow(&mut self, cells: &[Cell<'_>]) -> Result<(), ConstraintError> {
        let is_fixed = |cell: &Cell<'_>| matches!(cell, Cell::Fixed(_));
        let fixed = cells.iter().take_while(|cell| is_fixed(cell)).count();
        if cells[fixed..].iter().any(is_fixed) {
            return Err(ConstraintError::OutOfOrder);
        }
        let mut drawn = std::mem::take(&mut self.drawn).into_iter();
        for cell in cells.iter().take(fixed).skip(self.read) {
            let Cell::Fixed(token) = *cell else { break };
            self.read += 1;
            if Some(token) == self.closing {
                continue;
            }
            if !self.is_allowed(token, self.read - 1) {
                return Err(ConstraintError::Contradicted);
            }
            self.prefix.read(token).map_err(|_| ConstraintError::Contradicted)?;
            // What was there from the beginning was not drawn; then the witness is found behind all of it.
            self.witness =
                drawn.next().filter(|(own, _)| *own == token).map(|(_, witness)| witness).unwrap_or_default();
        }
        Ok(())
    }

    /// Whether a token may be written at a place of the span, whatever the constraint says.
    fn is_allowed(&self, token: TokenId, place: usize) -> bool {
        let bytes = self.tokens.of(token);
        // The blank before the hole would be taken for the text's own.
        let takes_blank = self.is_behind_blank && place == 0 && bytes.first() == Some(&b' ');
        !bytes.is_empty() && !takes_blank && !self.forbidden.contains(&token)
    }

    /// Draws one token behind which the text can end within the room, and reads it.
    fn token(
        &self,
        prefix: &mut P,
        witness: &mut VecDeque<TokenId>,
        row: &PredictedRow,
        room: usize,
        place: usize,
    ) -> Result<TokenId, ConstraintError> {
        let mut tokens = self.next(prefix, place);
        if let Some(closing) = self.closing
            && prefix.may_end()
        {
            tokens.push(closing);
        }
        for _ in 0..DRAWS {
            if tokens.is_empty() {
                break;
            }
            let token = row.draw(&TokenSet::new(tokens.clone()));
            if Some(token) == self.closing {
                return Ok(token);
            }
            let mut behind = prefix.clone();
            if behind.read(token).is_ok()
                && let Some(found) = self.witness_behind(&behind, witness, token, (room, place + 1))
            {
                (*prefix, *witness) = (behind, found);
                return Ok(token);
            }
            tokens.retain(|other| *other != token);
        }
        match witness.pop_front() {
            Some(token) => {
                prefix.read(token).map_err(ConstraintError::Refused)?;
                Ok(token)
            }
            None => self.closing.ok_or(ConstraintError::Contradicted),
        }
    }

    /// A witness behind a token, where there is room for one: what is left of the one before, that itself, in a span of exact
    /// length without one of its tokens, or another.
    fn witness_behind(
        &self,
        behind: &P,
        witness: &VecDeque<TokenId>,
        token: TokenId,
        (room, place): (usize, usize),
    ) -> Option<VecDeque<TokenId>> {
        if witness.front() == Some(&token) {
            return Some(witness.iter().skip(1).copied().collect());
        }
        let again: Vec<TokenId> = witness.iter().copied().collect();
        if self.has_length(again.len(), room) && ends(behind, &again) {
            return Some(again.into());
        }
        if self.closing.is_none() && again.len() == room + 1 {
            // Of a token that is repeated any one can be left out.
            let places = (0..=room).filter(|place| *place == 0 || again[*place] != again[place - 1]);
            let mut shorter = places.map(|place| [&again[..place], &again[place + 1..]].concat());
            if let Some(found) = shorter.find(|tokens| ends(behind, tokens)) {
                return Some(found.into());
            }
        }
        if behind.shortest() > room {
            return None;
        }
        self.search(behind, room, place).map(VecDeque::from)
    }

    /// The tokens that may come next.
    fn next(&self, prefix: &mut P, place: usize) -> Vec<TokenId> {
        let mut tokens = prefix.next();
        tokens.retain(|token| self.is_allowed(*token, place));
        tokens
    }

    /// Whether so many tokens fill the room that is left.
    fn has_length(&self, tokens: usize, room: usize) -> bool {
        if self.closing.is_some() { tokens <= room } else { tokens == room }
    }

    /// Tokens from a place on that end the text, at most `room` of them, or exactly so many; not every text that there is is
    /// found. What leaves the first choices of [`Prefix::branches`] least is tried first (limited discrepancy search, Harvey
    /// & Ginsberg 1995), and each text once.
    fn search(&self, from: &P, room: usize, place: usize) -> Option<Vec<TokenId>> {
        let mut nodes: Vec<Option<(P, Vec<TokenId>)>> = vec![Some((from.clone(), Vec::new()))];
        let mut open = BinaryHeap::from([Reverse((0, 0, 0))]);
        // An exact length tells a text from the same one in other tokens.
        let mut texts: HashSet<(Vec<u8>, usize)> = HashSet::new();
        let mut budget = Budget(ENDS);
        while texts.len() < SEARCHED {
            let Reverse((cost, length, node)) = open.pop()?;
            // Each node is opened once.
            let (mut prefix, tokens) = nodes[node].take()?;
            // A text is looked at where it is cheapest, and not where it was found first.
            let text = tokens.iter().flat_map(|token| self.tokens.of(*token)).copied().collect();
            if !texts.insert((text, if self.closing.is_some() { 0 } else { length })) {
                continue;
            }
            if prefix.may_end()
                && let Some(found) = self.lengthened(from, &tokens, (room, place), &mut budget)
            {
                return Some(found);
            }
            if length >= room {
                continue;
            }
            if self.closing.is_none() && length + 1 == room {
                // Few texts have exactly this length: whatever may be the last token is looked at.
                let may_be_last = |token: &TokenId| budget.ends(&prefix, &[*token]);
                let last = self.next(&mut prefix.clone(), place + length).into_iter().find(may_be_last);
                if let Some(last) = last {
                    return Some([tokens, vec![last]].concat());
                }
                continue;
            }
            let branches = prefix.branches(&|token| self.is_allowed(token, place + length));
            let mut choice = 0;
            for token in branches {
                let mut behind = prefix.clone();
                if behind.read(token).is_err() {
                    continue;
                }
                if length + 1 + behind.shortest() <= room {
                    open.push(Reverse((cost + choice, length + 1, nodes.len())));
                    nodes.push(Some((behind, tokens.iter().copied().chain([token]).collect())));
                }
                choice += 1;
            }
        }
        None
    }

    /// Tokens that end the text as these do and fill the room: where it has to be filled, with what may be repeated among
    /// them, as far to the left as that goes, so that what has to be closed at the end still is.
    fn lengthened(
        &self,
        from: &P,
        tokens: &[TokenId],
        (room, place): (usize, usize),
        budget: &mut Budget,
    ) -> Option<Vec<TokenId>> {
        let (mut prefix, mut tokens, mut read) = (from.clone(), tokens.to_vec(), 0);
        while !self.has_length(tokens.len(), room) {
            let missing = room - tokens.len();
            let repeated = prefix.repeatable(&|token| self.is_allowed(token, place + read));
            let longer = |(token, count)| [&vec![token; count], &tokens[read..]].concat();
            let halves = || std::iter::successors(Some(missing), |count| Some(count / 2).filter(|count| *count > 0));
            let mut tails =
                repeated.into_iter().flat_map(|token| halves().map(move |count| (token, count))).map(longer);
            if let Some(tail) = tails.find(|tail| budget.ends(&prefix, tail)) {
                tokens.splice(read.., tail);
            } else {
                prefix.read(*tokens.get(read)?).ok()?;
                read += 1;
            }
        }
        Some(tokens)
    }
}

/// How many more tails a search may read.
struct Budget(usize);

impl Budget {
    /// Whether a text may end behind these tokens, as far as that may still be asked.
    fn ends<P: Prefix>(&mut self, prefix: &P, tokens: &[TokenId]) -> bool {
        let is_left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        is_left && ends(prefix, tokens)
    }
}

/// Whether a text may end behind these tokens.
fn ends<P: Prefix>(prefix: &P, tokens: &[TokenId]) -> bool {
    let mut tried = prefix.clone();
    tokens.iter().all(|token| tried.read(*token).is_ok()) && tried.may_end()
}

impl<P: Prefix> SpanFiller for LeftToRightFiller<P> {
    fn draw(&mut self, cells: &[Cell<'_>]) -> Result<Vec<TokenId>, ConstraintError> {
        self.follow(cells)?;
        let (mut prefix, mut witness) = (self.prefix.clone(), self.witness.clone());
        let mut has_ended = false;
        for (index, cell) in cells.iter().enumerate().skip(self.read) {
            let Cell::Row(row) = cell else { break };
            let room = cells.len() - index - 1;
            let token = match self.closing.filter(|_| has_ended) {
                Some(closing) => closing,
                None => self.token(&mut prefix, &mut witness, row, room, index)?,
            };
            has_ended = Some(token) == self.closing;
            self.drawn.push((token, witness.clone()));
        }
        Ok(self.drawn.iter().map(|(token, _)| *token).collect())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("tokens", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl<P> fmt::Debug for LeftToRightFiller<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeftToRightFiller")
            .field("read", &self.read)
            .field("witness", &self.witness)
            .finish_non_exhaustive()
    }
}
