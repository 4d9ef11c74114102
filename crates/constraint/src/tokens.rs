//! The tokens of a vocabulary, and the automaton over them that an automaton over bytes is.

use crate::automaton::{ByteAutomaton, DEAD};
use crate::error::{CompileError, Limit, TooLarge};
use aquatint_diffusion::TokenId;
use aquatint_diffusion::constraint::{State, TokenAutomaton};
use aquatint_vocabulary::Vocabulary;
use std::cell::Cell;
use std::ops::Range;

/// The tokens that stand for text, as a tree by their bytes in depth-first order.
#[derive(Debug)]
pub(crate) struct TokenTree {
    nodes: Vec<Node>,
    tokens: Vec<TokenId>,
}

/// A node: the tokens that end here, and where the nodes below it end.
#[derive(Debug)]
struct Node {
    byte: u8,
    /// Bytes from the root, this one included.
    depth: usize,
    tokens: Range<usize>,
    end: usize,
}

impl TokenTree {
    /// The tree of a vocabulary.
    ///
    /// # Errors
    /// When its tokens have no bytes of their own.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Result<Self, CompileError> {
        let is_text = |id: &TokenId| !vocabulary.is_special(*id);
        let of = |id: TokenId| vocabulary.token_bytes(id).map(|bytes| (bytes, id));
        let mut tokens: Vec<(&[u8], TokenId)> =
            (0..vocabulary.len() as TokenId).filter(is_text).filter_map(of).filter(|(b, _)| !b.is_empty()).collect();
        if tokens.is_empty() {
            return Err(CompileError::NotByteLevel);
        }
        tokens.sort_unstable();
        let mut tree = Self { nodes: Vec::new(), tokens: Vec::with_capacity(tokens.len()) };
        // Nodes from the root to the last token.
        let mut path: Vec<usize> = Vec::new();
        let mut before: &[u8] = &[];
        for (bytes, id) in tokens {
            let shared = bytes.iter().zip(before).take_while(|(a, b)| a == b).count();
            path.drain(shared..).for_each(|node| tree.nodes[node].end = tree.nodes.len());
            for (index, &byte) in bytes.iter().enumerate().skip(shared) {
                path.push(tree.nodes.len());
                let tokens = tree.tokens.len()..tree.tokens.len();
                tree.nodes.push(Node { byte, depth: index + 1, tokens, end: 0 });
            }
            tree.tokens.push(id);
            if let Some(&node) = path.last() {
                tree.nodes[node].tokens.end = tree.tokens.len();
            }
            before = bytes;
        }
        let end = tree.nodes.len();
        path.into_iter().for_each(|node| tree.nodes[node].end = end);
        Ok(tree)
    }

    /// The tokens whose bytes lead on from a state, each with the state behind it, and how many nodes were looked at.
    fn leads(&self, automaton: &ByteAutomaton, state: u32) -> (Vec<(TokenId, State)>, usize) {
        let (mut found, mut path, mut index, mut work) = (Vec::new(), Vec::new(), 0, 0);
        while let Some(node) = self.nodes.get(index) {
            work += 1;
            path.truncate(node.depth - 1);
            let to = automaton.next(path.last().copied().unwrap_or(state), node.byte);
            if to == DEAD {
                index = node.end;
                continue;
            }
            path.push(to);
            found.extend(self.tokens[node.tokens.clone()].iter().map(|token| (*token, to)));
            index += 1;
        }
        (found, work)
    }

    /// The automaton over tokens whose sentences are written as the texts of an automaton over bytes.
    pub(crate) fn automaton(&self, bytes: &ByteAutomaton) -> Result<TokenAutomaton, TooLarge> {
        let states = bytes.states() as u32;
        let accepting: Vec<bool> = (0..states).map(|state| bytes.accepts(state)).collect();
        let work = Cell::new(0_usize);
        let leads = |state| {
            if work.get() > Limit::Work.most() {
                return Vec::new();
            }
            let (found, took) = self.leads(bytes, state);
            work.set(work.get() + took);
            found
        };
        let automaton = TokenAutomaton::new(bytes.start(), accepting, leads);
        if work.get() > Limit::Work.most() { Err(TooLarge(Limit::Work)) } else { Ok(automaton) }
    }
}
