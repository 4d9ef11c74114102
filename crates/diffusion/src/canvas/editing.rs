//! Canvases that go on from others: made of positions as they stand, and with positions opened again.

use super::{Canvas, CanvasError, PositionState, Span};
use crate::{Domain, TokenId};
use PositionState::{Closed, Committed, Given, Open, Padding};

impl Canvas {
    /// A canvas of positions as they stand, each with the token that it shows. A committed one stays as it is while the
    /// canvas is filled, as a given one does; no state of noise is taken over, so that open positions begin anew.
    ///
    /// `spans` are those of an earlier canvas, ascending. One that has given positions in it is divided there: only what
    /// is behind the last of them can still end early; a grid stays whole. Positions that are open or committed outside of
    /// all spans make exact ones.
    ///
    /// # Errors
    /// When a span cannot be, or a position is closed without an end before it.
    pub fn from_positions(positions: &[(TokenId, PositionState)], spans: &[Span]) -> Result<Self, CanvasError> {
        let (tokens, states): (Vec<TokenId>, Vec<PositionState>) = positions.iter().copied().unzip();
        let length = states.len();
        let mut placed = 0;
        let mut all: Vec<Span> = Vec::new();
        for span in spans {
            let range = span.positions.clone();
            if range.start > range.end || range.start < placed || range.end > length {
                return Err(CanvasError::NoSpan { start: range.start, end: range.end, length });
            }
            all.extend(runs(&states, placed..range.start).map(exact));
            if let Some(position) = range.clone().find(|position| states[*position] == Padding) {
                return Err(CanvasError::PaddedSpan { position });
            }
            if span.domain.is_grid() {
                span.check()?;
                all.push(span.clone());
                placed = range.end;
                continue;
            }
            let last = range.clone().rev().find(|position| states[*position] == Given);
            let pieces = runs(&states, range.clone());
            let behind = |positions: &std::ops::Range<usize>| last.is_none_or(|last| positions.start > last);
            all.extend(pieces.map(|positions| Span {
                approximate: span.approximate && behind(&positions),
                positions,
                domain: span.domain.clone(),
            }));
            all.extend(range.is_empty().then(|| span.clone()));
            placed = range.end;
        }
        all.extend(runs(&states, placed..length).map(exact));
        let canvas = Self { tokens, states, spans: all, points: None };
        match (0..length).find(|position| canvas.is_stray(*position)) {
            Some(position) => Err(CanvasError::StrayClosed { position }),
            None => Ok(canvas),
        }
    }

    /// The same canvas with some positions open, whether they were given, committed or open. What had fallen away behind
    /// one of them is open again too. The new canvas may have other spans: see [`Canvas::from_positions`].
    ///
    /// # Errors
    /// When one of the positions is closed, padding, or beyond the end.
    pub fn reopened(&self, positions: &[usize]) -> Result<Self, CanvasError> {
        let mut states = self.states.clone();
        for &position in positions {
            match states.get(position) {
                None => return Err(CanvasError::Beyond { position, length: states.len() }),
                Some(Padding) => return Err(CanvasError::Fixed { position, kind: super::Kind::Padding }),
                Some(Closed) if self.states[position] == Closed => return Err(CanvasError::Closed { position }),
                Some(_) => states[position] = Open,
            }
        }
        for position in 1..states.len() {
            if states[position] == Closed && states[position - 1] == Open {
                states[position] = Open;
            }
        }
        let positions: Vec<(TokenId, PositionState)> = self.tokens.iter().copied().zip(states).collect();
        Self::from_positions(&positions, &self.spans)
    }

    /// Whether a position is closed where nothing can have closed it.
    fn is_stray(&self, position: usize) -> bool {
        if self.states[position] != Closed {
            return false;
        }
        let Some(span) = self.spans.iter().find(|span| span.positions.contains(&position)) else { return true };
        let ended = position > 0 && matches!(self.states[position - 1], Committed | Closed | Given);
        let goes_on = (position..span.positions.end).any(|position| self.states[position] != Closed);
        !span.approximate || goes_on || !ended
    }
}

fn exact(positions: std::ops::Range<usize>) -> Span {
    Span { positions, approximate: false, domain: Domain::ANY }
}

/// The runs within a range of positions that are neither given nor padding.
fn runs(states: &[PositionState], range: std::ops::Range<usize>) -> impl Iterator<Item = std::ops::Range<usize>> {
    let is_of_span = |position: usize| !matches!(states[position], Given | Padding);
    let positions: Vec<usize> = range.filter(|position| is_of_span(*position)).collect();
    let runs: Vec<_> = positions.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[run.len() - 1] + 1).collect();
    runs.into_iter()
}
