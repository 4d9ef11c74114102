//! The canvas: a row of positions of which some are given, some are to be filled, and the rest is padding.

mod editing;

use crate::{Axes, ContinuousState, Domain, Place, TokenId};
use std::ops::Range;

/// What a position is for. It never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Its token was given and is never written.
    Given,
    /// It is to be filled.
    Open,
    /// It only makes the canvas longer; it is never written and nothing sees it.
    Padding,
}

/// A run of positions that belong together: open ones that were requested together, or those of one grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its positions.
    pub positions: Range<usize>,
    /// Whether its length is only a guess, so that an end token may close it early.
    pub approximate: bool,
    /// What it holds.
    pub domain: Domain,
}

/// Why a position was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CanvasError {
    /// There is no such position.
    #[error("`position` is {position}; allowed: below {length}, the length of the canvas")]
    Beyond {
        /// The position.
        position: usize,
        /// Length of the canvas.
        length: usize,
    },
    /// The position is given or padding, and those are never written.
    #[error("position {position} is {}; only open positions are written", match kind {
        Kind::Given => "given",
        Kind::Open => "open",
        Kind::Padding => "padding",
    })]
    Fixed {
        /// The position.
        position: usize,
        /// What it is.
        kind: Kind,
    },
    /// The position already holds a final token.
    #[error("position {position} is committed; reopen it first")]
    Committed {
        /// The position.
        position: usize,
    },
    /// The position holds no final token yet.
    #[error("position {position} is not committed; commit it instead")]
    Uncommitted {
        /// The position.
        position: usize,
    },
    /// The position lies behind the end of its span.
    #[error("position {position} is closed, since its span ended before it")]
    Closed {
        /// The position.
        position: usize,
    },
    /// A span goes beyond the canvas, or begins before the one before it ends.
    #[error(
        "a span has the positions {start} to {end}; allowed: positions in their order, behind the span before it and below \
         {length}, the length of the canvas"
    )]
    NoSpan {
        /// Its first position.
        start: usize,
        /// The position behind its last one.
        end: usize,
        /// Length of the canvas.
        length: usize,
    },
    /// A span has a position that is padding.
    #[error("position {position} is padding; allowed in a span: positions that are given, open, committed or closed")]
    PaddedSpan {
        /// The position.
        position: usize,
    },
    /// A span is not as long as its grid, or an end token could cut its grid short.
    #[error(
        "a span of {rows} rows of {columns} has {length} positions{}; allowed: {rows} times {columns}, of exact length",
        if *approximate { ", and an approximate length" } else { "" }
    )]
    NoGrid {
        /// Rows of the grid.
        rows: usize,
        /// Positions of a row.
        columns: usize,
        /// Positions of the span.
        length: usize,
        /// Whether an end token may close it early.
        approximate: bool,
    },
    /// A closed position follows no token that could have ended its span.
    #[error(
        "position {position} is closed; allowed: closed positions at the end of a span of approximate length, behind a token"
    )]
    StrayClosed {
        /// The position.
        position: usize,
    },
}

impl Span {
    /// The span where it lies once position `from` has become position `to`.
    #[must_use]
    pub fn moved(&self, from: usize, to: usize) -> Self {
        let at = |position: usize| position - from + to;
        Self { positions: at(self.positions.start)..at(self.positions.end), ..self.clone() }
    }

    /// Refuses a grid of other positions than it has, or one that could end early.
    fn check(&self) -> Result<(), CanvasError> {
        let (Axes::Grid { rows, columns }, length) = (self.domain.axes, self.positions.len()) else { return Ok(()) };
        if self.domain.axes.positions() == Some(length) && !self.approximate {
            return Ok(());
        }
        Err(CanvasError::NoGrid { rows, columns, length, approximate: self.approximate })
    }
}

/// What a position is for and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PositionState {
    /// Its token was given and is never written.
    Given,
    /// It only makes the canvas longer.
    Padding,
    /// It is to be filled.
    Open,
    /// It was to be filled and has its final token.
    Committed,
    /// It was to be filled and fell away because its span ended before it.
    Closed,
}

/// A row of positions with the token that each one shows now.
///
/// Given and padded positions cannot be written by any method: an attempt returns [`CanvasError::Fixed`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Canvas {
    tokens: Vec<TokenId>,
    states: Vec<PositionState>,
    spans: Vec<Span>,
    /// What open positions hold under a continuous process; all others hold their tokens' own points.
    points: Option<ContinuousState>,
}

impl Canvas {
    /// A canvas without positions; add them in reading order.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds given tokens at the end.
    pub fn push_given(&mut self, tokens: &[TokenId]) {
        self.tokens.extend_from_slice(tokens);
        self.states.resize(self.tokens.len(), PositionState::Given);
    }

    /// Adds a span of `count` open positions at the end; `approximate` where an end token may close it early. They show
    /// `noise` until the process's `begin` draws their first state.
    pub fn push_open(&mut self, count: usize, approximate: bool, noise: TokenId) {
        let start = self.tokens.len();
        self.tokens.resize(start + count, noise);
        self.states.resize(start + count, PositionState::Open);
        self.spans.push(Span { positions: start..start + count, approximate, domain: Domain::ANY });
    }

    /// Adds a span of a domain at the end, whose positions are given where there is a token, and open where there is none.
    /// Open ones show `noise` as in [`Canvas::push_open`].
    ///
    /// # Errors
    /// When the span is not as long as its grid, or its grid could end early.
    pub fn push_span(
        &mut self,
        cells: &[Option<TokenId>],
        approximate: bool,
        domain: Domain,
        noise: TokenId,
    ) -> Result<(), CanvasError> {
        let start = self.tokens.len();
        let span = Span { positions: start..start + cells.len(), approximate, domain };
        span.check()?;
        for cell in cells {
            self.tokens.push(cell.unwrap_or(noise));
            self.states.push(cell.map_or(PositionState::Open, |_| PositionState::Given));
        }
        self.spans.push(span);
        Ok(())
    }

    /// The place of each of these positions, see [`crate::places`].
    pub fn places(&self, positions: &[usize]) -> Vec<Place> {
        crate::places(&self.spans, positions)
    }

    /// Adds `count` padded positions at the end, which show `token`.
    pub fn push_padding(&mut self, count: usize, token: TokenId) {
        self.tokens.resize(self.tokens.len() + count, token);
        self.states.resize(self.tokens.len(), PositionState::Padding);
    }

    /// What a position is for and how far it has come; `None` beyond the end.
    pub fn state(&self, position: usize) -> Option<PositionState> {
        self.states.get(position).copied()
    }

    /// The number of positions.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no position at all.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The token that each position shows: final, given, or noise.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// The point that each position holds, under a continuous process.
    pub fn points(&self) -> Option<&ContinuousState> {
        self.points.as_ref()
    }

    /// Begins to hold points of `size` coordinates, each its token's own; `None` ends it.
    pub fn hold_points(&mut self, size: Option<usize>) {
        self.points = size.map(|size| ContinuousState::clean(self.tokens.len(), size));
    }

    /// Lets an open position hold a point; nothing happens at any other, or where no points are held.
    pub fn hold(&mut self, position: usize, point: &[f32], prior_logit_scale: f32) {
        if let (true, Some(points)) = (self.is_open(position), &mut self.points) {
            points.set(position, 0.0, point, prior_logit_scale);
        }
    }

    /// What a position is for; `None` beyond the end.
    pub fn kind(&self, position: usize) -> Option<Kind> {
        self.states.get(position).map(|state| match state {
            PositionState::Given => Kind::Given,
            PositionState::Padding => Kind::Padding,
            PositionState::Open | PositionState::Committed | PositionState::Closed => Kind::Open,
        })
    }

    /// Whether a position was open from the start and has no final token now.
    pub fn is_open(&self, position: usize) -> bool {
        self.states.get(position) == Some(&PositionState::Open)
    }

    /// Whether a position was open and has its final token.
    pub fn is_committed(&self, position: usize) -> bool {
        self.states.get(position) == Some(&PositionState::Committed)
    }

    /// Whether a position was open and fell away because its span ended before it.
    pub fn is_closed(&self, position: usize) -> bool {
        self.states.get(position) == Some(&PositionState::Closed)
    }

    /// The positions still without a final token, ascending.
    pub fn open_positions(&self) -> Vec<usize> {
        self.positions_of(PositionState::Open)
    }

    /// The positions that were open and have a final token, ascending.
    pub fn committed_positions(&self) -> Vec<usize> {
        self.positions_of(PositionState::Committed)
    }

    fn positions_of(&self, state: PositionState) -> Vec<usize> {
        (0..self.states.len()).filter(|p| self.states[*p] == state).collect()
    }

    /// The spans of open positions in reading order, as they were requested.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Shows another noise token at a position without a final one.
    ///
    /// # Errors
    /// When the position is not open any more, or never was.
    pub fn show_noise(&mut self, position: usize, noise: TokenId) -> Result<(), CanvasError> {
        self.write(position, PositionState::Open, PositionState::Open, Some(noise))
    }

    /// Makes a token final.
    ///
    /// # Errors
    /// When the position is not open any more, or never was.
    pub fn commit(&mut self, position: usize, token: TokenId) -> Result<(), CanvasError> {
        self.write(position, PositionState::Open, PositionState::Committed, Some(token))
    }

    /// Replaces a final token by another one.
    ///
    /// # Errors
    /// When the position has no final token.
    pub fn edit(&mut self, position: usize, token: TokenId) -> Result<(), CanvasError> {
        self.write(position, PositionState::Committed, PositionState::Committed, Some(token))
    }

    /// Takes a final token back; the position shows `noise` and is open again.
    ///
    /// # Errors
    /// When the position has no final token.
    pub fn reopen(&mut self, position: usize, noise: TokenId) -> Result<(), CanvasError> {
        self.write(position, PositionState::Committed, PositionState::Open, Some(noise))
    }

    /// Lets a position fall away because its span ended before it, whether it has a final token or not. It keeps
    /// showing what it showed.
    ///
    /// # Errors
    /// When the position is given, padding, or already closed.
    pub fn close(&mut self, position: usize) -> Result<(), CanvasError> {
        let from = if self.is_committed(position) { PositionState::Committed } else { PositionState::Open };
        self.write(position, from, PositionState::Closed, None)
    }

    /// The only place that writes: moves an open position from one stage to another.
    fn write(
        &mut self,
        position: usize,
        from: PositionState,
        to: PositionState,
        token: Option<TokenId>,
    ) -> Result<(), CanvasError> {
        let length = self.tokens.len();
        let state = self.states.get_mut(position).ok_or(CanvasError::Beyond { position, length })?;
        match *state {
            PositionState::Given => return Err(CanvasError::Fixed { position, kind: Kind::Given }),
            PositionState::Padding => return Err(CanvasError::Fixed { position, kind: Kind::Padding }),
            PositionState::Closed => return Err(CanvasError::Closed { position }),
            now if now == from => *state = to,
            PositionState::Committed => return Err(CanvasError::Committed { position }),
            PositionState::Open => return Err(CanvasError::Uncommitted { position }),
        }
        if let Some(token) = token {
            self.tokens[position] = token;
        }
        if let (true, Some(points)) = (to == PositionState::Committed && from != to, &mut self.points) {
            points.settle(position);
        }
        Ok(())
    }
}
