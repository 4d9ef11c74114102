//! Context-free grammars in Lark's syntax, read by llguidance and kept from left to right.

use crate::error::CompileError;
use crate::left_to_right::{LeftToRightFiller, Prefix, Tokens};
use aquatint_diffusion::TokenId;
use aquatint_generate::{CommitOrder, Constraint, ConstraintError, SpanFiller, SpanStart, TextConstraint};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

/// Ways on from one text that a search for an end tries.
const BRANCHES: usize = 6;
/// Bytes that often end something, which a search tries first.
const ENDINGS: &[u8] = b"\"')]}>;.,: \n0a";

/// What llguidance needs to know of a vocabulary.
pub(crate) struct Grammars {
    factory: Arc<ParserFactory>,
    tokens: Arc<Tokens>,
}

/// A grammar as a constraint.
#[derive(Clone)]
struct Grammar {
    factory: Arc<ParserFactory>,
    tokens: Arc<Tokens>,
    grammar: TopLevelGrammar,
    is_behind_blank: bool,
}

/// The beginning of a sentence.
#[derive(Clone)]
struct Sentence {
    matcher: Matcher,
    tokens: Arc<Tokens>,
}

impl Grammars {
    /// For the tokens of a vocabulary.
    pub(crate) fn new(tokens: &Arc<Tokens>) -> Result<Self, CompileError> {
        // The end of the text has a token of its own, which no canvas knows.
        let mut words = tokens.all().to_vec();
        words.push(b"\xff<end>".to_vec());
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, words.len() as u32 - 1), &words);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &[]);
        let mut factory = factory.map_err(|error| CompileError::Grammar { reason: first_line(&error.to_string()) })?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        Ok(Self { factory: Arc::new(factory), tokens: Arc::clone(tokens) })
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
        let matcher = Matcher::new(self.factory.create_parser(self.grammar.clone()));
        let sentence = Sentence { matcher, tokens: Arc::clone(&self.tokens) };
        let tokens = Arc::clone(&self.tokens);
        Ok(Box::new(LeftToRightFiller::new(("grammar", sentence), tokens, span, self.is_behind_blank)?))
    }
}

impl Prefix for Sentence {
    fn next(&mut self) -> Vec<TokenId> {
        if self.matcher.is_stopped() {
            return Vec::new();
        }
        self.matcher.compute_mask().map(|mask| mask.to_list()).unwrap_or_default()
    }

    fn read(&mut self, token: TokenId) -> Result<(), String> {
        self.matcher.consume_token(token).map_err(|error| first_line(&error.to_string()))
    }

    fn may_end(&mut self) -> bool {
        self.matcher.is_accepting().unwrap_or(false)
    }

    /// The parser does not say.
    fn shortest(&self) -> usize {
        0
    }

    /// Single bytes that often end something, and the longest tokens.
    fn branches(&mut self, is_allowed: &dyn Fn(TokenId) -> bool) -> Vec<TokenId> {
        let mut tokens = self.next();
        tokens.retain(|token| is_allowed(*token));
        let bytes = |token: &TokenId| self.tokens.of(*token);
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

    /// Letters, digits and blanks: the first of each, since one is like another in most grammars.
    fn repeatable(&mut self, is_allowed: &dyn Fn(TokenId) -> bool) -> Vec<TokenId> {
        let tokens = self.next();
        let first = |is_of: fn(&u8) -> bool| {
            let is_one = |token: &TokenId| matches!(self.tokens.of(*token), [byte] if is_of(byte));
            tokens.iter().copied().find(|token| is_one(token) && is_allowed(*token))
        };
        [u8::is_ascii_alphabetic, u8::is_ascii_digit, u8::is_ascii_whitespace].into_iter().filter_map(first).collect()
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").field("tokens", &self.tokens.all().len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammar").field("is_behind_blank", &self.is_behind_blank).finish_non_exhaustive()
    }
}
