//! Context-free grammars in Lark's syntax, kept from left to right by llguidance.
//!
//! llguidance says which tokens may come next; it does not say how many must follow. So a filler always holds a
//! *witness*: tokens that end the text within the room that is left. A token that is drawn is taken only if a witness
//! behind it is found. The search looks at few ways on; where it finds none for the tokens that are drawn, the next token
//! of the witness is taken. So the text ends in the language, whatever the room.

use crate::error::CompileError;
use aquatint_diffusion::TokenId;
use aquatint_diffusion::constraint::{Cell, PredictedRow, TokenSet};
use aquatint_generate::{CommitOrder, Constraint, ConstraintError, SpanFiller, SpanStart, TextConstraint};
use aquatint_vocabulary::Vocabulary;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;

/// Tokens that are drawn for one position before the witness is followed.
const DRAWS: usize = 8;
/// States of the parser that one search for a witness looks at.
const SEARCHED: usize = 200;
/// Ways on from one of them.
const BRANCHES: usize = 6;
/// Bytes that often end something, which a search tries first.
const ENDINGS: &[u8] = b"\"')]}>;.,: \n0a";

/// What llguidance needs to know of a vocabulary.
pub(crate) struct Grammars {
    factory: Arc<ParserFactory>,
    tokens: Arc<Tokens>,
}

/// The bytes of each token, none for those that are no text.
struct Tokens {
    bytes: Vec<Vec<u8>>,
}

/// A grammar as a constraint.
#[derive(Clone)]
struct Grammar {
    factory: Arc<ParserFactory>,
    tokens: Arc<Tokens>,
    grammar: TopLevelGrammar,
    is_behind_blank: bool,
}

/// One span while it is filled.
struct GrammarFiller {
    matcher: Matcher,
    tokens: Arc<Tokens>,
    closing: TokenId,
    forbidden: Vec<TokenId>,
    is_behind_blank: bool,
    /// Tokens at the beginning of the span that the matcher has read.
    read: usize,
    /// Tokens behind them that end the text.
    witness: VecDeque<TokenId>,
    /// The tokens drawn last, each with the witness behind it.
    drawn: Vec<(TokenId, VecDeque<TokenId>)>,
}

impl Grammars {
    /// For the tokens of a vocabulary.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Result<Self, CompileError> {
        let of = |id: TokenId| match vocabulary.is_special(id) {
            true => Vec::new(),
            false => vocabulary.token_bytes(id).unwrap_or_default().to_vec(),
        };
        let bytes: Vec<Vec<u8>> = (0..vocabulary.len() as TokenId).map(of).collect();
        // The end of the text has a token of its own, which no canvas knows.
        let mut words = bytes.clone();
        words.push(b"\xff<end>".to_vec());
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, words.len() as u32 - 1), &words);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &[]);
        let mut factory = factory.map_err(|error| CompileError::Grammar { reason: first_line(&error.to_string()) })?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory: Arc::new(factory), tokens: Arc::new(Tokens { bytes }) })
    }

    /// The constraint of a grammar.
    pub(crate) fn constraint(&self, source: &str) -> Result<TextConstraint, CompileError> {
        let grammar = TopLevelGrammar::from_lark(source.to_owned());
        self.factory
            .create_parser(grammar.clone())
            .map_err(|error| CompileError::Grammar { reason: first_line(&error.to_string()) })?;
        let constraint = |is_behind_blank| -> Arc<dyn Constraint> {
            let (factory, tokens, grammar) = (self.factory.clone(), self.tokens.clone(), grammar.clone());
            Arc::new(Grammar { factory, tokens, grammar, is_behind_blank })
        };
        Ok(TextConstraint { plain: constraint(false), behind_blank: constraint(true) })
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

impl Constraint for Grammar {
    fn name(&self) -> String {
        "grammar".to_owned()
    }

    fn order(&self) -> CommitOrder {
        CommitOrder::LeftToRight
    }

    fn begin(&self, span: &SpanStart<'_>) -> Result<Box<dyn SpanFiller>, ConstraintError> {
        let Some(closing) = span.closing else {
            return Err(ConstraintError::Refused(
                "a grammar is kept where an end token may close the hole, as in `[[~16]]`".to_owned(),
            ));
        };
        let is_text = |token: &TokenId| self.tokens.bytes.get(*token as usize).is_some_and(|bytes| !bytes.is_empty());
        let mut filler = GrammarFiller {
            matcher: Matcher::new(self.factory.create_parser(self.grammar.clone())),
            tokens: Arc::clone(&self.tokens),
            closing,
            forbidden: span.forbidden.iter().copied().filter(is_text).collect(),
            is_behind_blank: self.is_behind_blank,
            read: 0,
            witness: VecDeque::new(),
            drawn: Vec::new(),
        };
        filler.follow(span.cells)?;
        let room = span.cells.len() - filler.read;
        match filler.search(&filler.matcher, room, filler.read) {
            Some(witness) => filler.witness = witness.into(),
            None => {
                return Err(ConstraintError::Refused(format!(
                    "no text of the grammar was found that takes at most {room} tokens"
                )));
            }
        }
        Ok(Box::new(filler))
    }
}

impl SpanFiller for GrammarFiller {
    fn draw(&mut self, cells: &[Cell<'_>]) -> Result<Vec<TokenId>, ConstraintError> {
        self.follow(cells)?;
        let (mut matcher, mut witness) = (self.matcher.clone(), self.witness.clone());
        let mut has_ended = false;
        for (index, cell) in cells.iter().enumerate().skip(self.read) {
            let Cell::Row(row) = cell else { break };
            let room = cells.len() - index - 1;
            let token = match has_ended {
                true => self.closing,
                false => self.token(&mut matcher, &mut witness, row, room, index)?,
            };
            has_ended = token == self.closing;
            self.drawn.push((token, witness.clone()));
        }
        Ok(self.drawn.iter().map(|(token, _)| *token).collect())
    }
}

impl GrammarFiller {
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
            if token == self.closing {
                continue;
            }
            if !self.is_allowed(token, self.read - 1) {
                return Err(ConstraintError::Contradicted);
            }
            self.matcher.consume_token(token).map_err(|_| ConstraintError::Contradicted)?;
            // What was there from the beginning was not drawn; then the witness is found behind all of it.
            self.witness =
                drawn.next().filter(|(own, _)| *own == token).map(|(_, witness)| witness).unwrap_or_default();
        }
        Ok(())
    }

    /// Whether a token may be written at a place of the span, whatever the grammar says.
    fn is_allowed(&self, token: TokenId, place: usize) -> bool {
        let bytes = self.tokens.bytes.get(token as usize).map_or(&[][..], Vec::as_slice);
        // The blank before the hole would be taken for the text's own.
        let takes_blank = self.is_behind_blank && place == 0 && bytes.first() == Some(&b' ');
        !bytes.is_empty() && !takes_blank && !self.forbidden.contains(&token)
    }

    /// Draws one token behind which the text can end within the room, and reads it.
    fn token(
        &self,
        matcher: &mut Matcher,
        witness: &mut VecDeque<TokenId>,
        row: &PredictedRow,
        room: usize,
        place: usize,
    ) -> Result<TokenId, ConstraintError> {
        let mut tokens = self.next(matcher, place);
        if matcher.is_accepting().unwrap_or(false) {
            tokens.push(self.closing);
        }
        for _ in 0..DRAWS {
            if tokens.is_empty() {
                break;
            }
            let token = row.draw(&TokenSet::new(tokens.clone()));
            if token == self.closing {
                return Ok(token);
            }
            let mut behind = matcher.clone();
            if behind.consume_token(token).is_ok()
                && let Some(found) = self.witness_behind(&mut behind, witness, token, (room, place + 1))
            {
                (*matcher, *witness) = (behind, found);
                return Ok(token);
            }
            tokens.retain(|other| *other != token);
        }
        match witness.pop_front() {
            Some(token) => {
                matcher
                    .consume_token(token)
                    .map_err(|error| ConstraintError::Refused(first_line(&error.to_string())))?;
                Ok(token)
            }
            None => Ok(self.closing),
        }
    }

    /// A witness behind a token, where there is room for one: what is left of the one before, that itself, or another.
    fn witness_behind(
        &self,
        behind: &mut Matcher,
        witness: &VecDeque<TokenId>,
        token: TokenId,
        (room, place): (usize, usize),
    ) -> Option<VecDeque<TokenId>> {
        if witness.front() == Some(&token) {
            return Some(witness.iter().skip(1).copied().collect());
        }
        let again: Vec<TokenId> = witness.iter().copied().collect();
        if again.len() <= room {
            let mut tried = behind.clone();
            if tried.try_consume_tokens(&again).is_ok_and(|read| read == again.len())
                && tried.is_accepting().unwrap_or(false)
            {
                return Some(again.into());
            }
        }
        self.search(behind, room, place).map(VecDeque::from)
    }

    /// The tokens that may come next.
    fn next(&self, matcher: &mut Matcher, place: usize) -> Vec<TokenId> {
        if matcher.is_stopped() {
            return Vec::new();
        }
        let Ok(mask) = matcher.compute_mask() else { return Vec::new() };
        let mut tokens = mask.to_list();
        tokens.retain(|token| self.is_allowed(*token, place));
        tokens
    }

    /// Tokens from a place on that end the text, at most `room` of them; not every text that there is is found. What leaves
    /// the first choices of [`Self::branches`] least is tried first (limited discrepancy search, Harvey & Ginsberg 1995),
    /// and each text once.
    fn search(&self, from: &Matcher, room: usize, place: usize) -> Option<Vec<TokenId>> {
        let mut nodes = vec![(from.clone(), Vec::new())];
        let mut open = BinaryHeap::from([Reverse((0, 0, 0))]);
        let mut texts: HashSet<Vec<u8>> = HashSet::new();
        while texts.len() < SEARCHED {
            let Reverse((cost, length, node)) = open.pop()?;
            let (mut matcher, tokens): (Matcher, Vec<TokenId>) = nodes[node].clone();
            // A text is looked at where it is cheapest, and not where it was found first.
            if !texts.insert(tokens.iter().flat_map(|token| self.tokens.bytes[*token as usize].clone()).collect()) {
                continue;
            }
            if matcher.is_accepting().unwrap_or(false) {
                return Some(tokens);
            }
            if length >= room {
                continue;
            }
            for (choice, token) in self.branches(self.next(&mut matcher, place + length)).into_iter().enumerate() {
                let tokens: Vec<TokenId> = tokens.iter().copied().chain([token]).collect();
                let mut behind = matcher.clone();
                if behind.consume_token(token).is_ok() {
                    open.push(Reverse((cost + choice, length + 1, nodes.len())));
                    nodes.push((behind, tokens));
                }
            }
        }
        None
    }

    /// The tokens that a search tries: single bytes that often end something, and the longest ones.
    fn branches(&self, tokens: Vec<TokenId>) -> Vec<TokenId> {
        let bytes = |token: &TokenId| self.tokens.bytes[*token as usize].as_slice();
        let rank = |token: &TokenId| match bytes(token) {
            [byte] => ENDINGS.iter().position(|ending| ending == byte).unwrap_or(ENDINGS.len()),
            _ => ENDINGS.len() + 1,
        };
        let mut endings: Vec<TokenId> = tokens.iter().copied().filter(|token| rank(token) < ENDINGS.len()).collect();
        endings.sort_by_key(rank);
        endings.truncate(BRANCHES / 2);
        let mut others: Vec<TokenId> = tokens.into_iter().filter(|token| !endings.contains(token)).collect();
        others.sort_by_key(|token| (Reverse(bytes(token).len()), *token));
        endings.extend(others.into_iter().take(BRANCHES / 2));
        endings
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").field("tokens", &self.tokens.bytes.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar").field("is_behind_blank", &self.is_behind_blank).finish_non_exhaustive()
    }
}

impl fmt::Debug for GrammarFiller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarFiller")
            .field("read", &self.read)
            .field("witness", &self.witness)
            .finish_non_exhaustive()
    }
}
