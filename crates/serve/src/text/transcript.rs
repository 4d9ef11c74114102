//! The text of a hole while it is filled in any order: what is final from its beginning on.
//!
//! A client that knows nothing of diffusion reads this text. It only ever grows: a token is part of it when everything
//! before it is final too, and when nothing can take it back. Where a rule may take tokens back or edit them, that is when
//! its block is done.

use super::WrittenToken;
use super::characters::take_characters;
use crate::scheduler::StepUpdate;
use aquatint::TemplateCanvas;
use aquatint::generate::ChangeKind;
use aquatint::vocabulary::{Before, TokenId, Vocabulary};
use std::collections::BTreeSet;
use std::ops::Range;

/// What a position of the hole holds.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    Open,
    /// A token, its probability, and the likeliest tokens of the same prediction.
    Written(TokenId, f64, Vec<(TokenId, f64)>),
    Closed,
}

/// A hole's text so far.
#[derive(Debug)]
pub(super) struct Transcript {
    hole: Range<usize>,
    places: Vec<Place>,
    /// Positions that hold a token which could still be taken back or edited.
    unsettled: BTreeSet<usize>,
    /// Whether tokens can be taken back or edited within their block.
    takes_back: bool,
    /// Tokens before the next one that is read.
    before: Vec<TokenId>,
    /// Positions read, from the hole's beginning.
    read: usize,
    /// Those of them that hold a token, with the bytes and characters of the text before it.
    starts: Vec<(usize, usize, usize)>,
    characters: usize,
    /// Bytes that are no whole character yet.
    pending: Vec<u8>,
    text: String,
    /// Whether the first blank was given in front of the hole.
    owes_blank: bool,
}

impl Transcript {
    /// Nothing yet of a hole; `takes_back` says whether tokens can be taken back or edited within their block.
    pub(super) fn new(
        template_canvas: &TemplateCanvas,
        hole: Range<usize>,
        owes_blank: bool,
        takes_back: bool,
    ) -> Self {
        let canvas = template_canvas.canvas();
        // A text goes on behind what closes a picture or a sound.
        let media = template_canvas.media().map(|media| media.positions.end);
        let begin = media.take_while(|end| *end < hole.start).last().unwrap_or(0);
        Self {
            places: vec![Place::Open; hole.len()],
            unsettled: BTreeSet::new(),
            takes_back,
            before: canvas.tokens()[begin..hole.start].to_vec(),
            read: 0,
            starts: Vec::new(),
            characters: 0,
            pending: Vec::new(),
            text: String::new(),
            owes_blank,
            hole,
        }
    }

    /// The text that is final.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Takes a step over.
    pub(super) fn step(&mut self, step: &StepUpdate, vocabulary: &Vocabulary) {
        for (number, change) in
            step.changes.iter().enumerate().filter(|(_, change)| self.hole.contains(&change.position))
        {
            let at = change.position - self.hole.start;
            match change.kind {
                ChangeKind::Committed | ChangeKind::Edited => {
                    let alternatives = step.alternatives.get(number).cloned().unwrap_or_default();
                    self.places[at] = Place::Written(change.token, change.confidence, alternatives);
                    if self.takes_back {
                        self.unsettled.insert(at);
                    }
                }
                ChangeKind::Renoised | ChangeKind::Refined => {
                    self.places[at] = Place::Open;
                    self.unsettled.remove(&at);
                }
            }
        }
        for position in step.closed.iter().filter(|position| self.hole.contains(position)) {
            self.places[position - self.hole.start] = Place::Closed;
        }
        self.read_on(vocabulary);
    }

    /// The block is done: nothing of it is taken back.
    pub(super) fn settle(&mut self, vocabulary: &Vocabulary) {
        self.unsettled.clear();
        self.read_on(vocabulary);
    }

    /// The tokens that make up the first `length` bytes of the text, in order.
    pub(super) fn tokens(&self, length: usize, vocabulary: &Vocabulary) -> Vec<WrittenToken> {
        let within = self.starts.iter().take_while(|(_, bytes, _)| *bytes < length);
        let written = within.filter_map(|&(at, _, start)| match &self.places[at] {
            Place::Written(token, probability, alternatives) => {
                let (token, probability, alternatives) = (*token, *probability, alternatives.clone());
                Some(WrittenToken { token, start, probability, alternatives })
            }
            Place::Open | Place::Closed => None,
        });
        written.filter(|written| !vocabulary.is_special(written.token)).collect()
    }

    fn read_on(&mut self, vocabulary: &Vocabulary) {
        let (mut tokens, mut places) = (Vec::new(), Vec::new());
        while let Some(place) = self.places.get(self.read).filter(|_| !self.unsettled.contains(&self.read)) {
            match place {
                Place::Open => break,
                Place::Closed => {}
                Place::Written(token, ..) => {
                    tokens.push(*token);
                    places.push(self.read);
                }
            }
            self.read += 1;
        }
        if tokens.is_empty() {
            return;
        }
        for (at, mut piece) in places.into_iter().zip(vocabulary.pieces(Before::Tokens(&self.before), &tokens)) {
            if self.owes_blank && !piece.is_empty() {
                self.owes_blank = false;
                if piece[0] == b' ' {
                    piece.remove(0);
                }
            }
            self.starts.push((at, self.text.len(), self.characters));
            self.pending.extend(piece);
            let text = take_characters(&mut self.pending);
            self.characters += text.chars().count();
            self.text.push_str(&text);
        }
        self.before.extend(tokens);
    }
}
