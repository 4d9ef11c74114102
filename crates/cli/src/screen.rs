//! Follows a generation event by event, as it will be drawn: what each position shows, and how far the work is.

use crate::frame::{Cell, Ink};
use aquatint_diffusion::{Kind, TokenId};
use aquatint_generate::{ChangeKind, DenoisingEvent};
use aquatint_vocabulary::{Holding, TemplateCanvas, Vocabulary};

/// What a canvas looks like at this moment.
#[derive(Debug)]
pub(crate) struct CanvasView<'v> {
    vocabulary: &'v Vocabulary,
    template_canvas: &'v TemplateCanvas,
    places: Vec<Place>,
    fresh: Vec<usize>,
    status: String,
    blocks: (usize, usize),
    open: (usize, usize),
}

/// What a position shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing: padding, and what lies behind an end token.
    Nothing,
    /// That it is open.
    Open,
    /// A token.
    Token(TokenId, Ink),
}

impl Place {
    fn holding(self) -> Holding {
        match self {
            Self::Nothing => Holding::Nothing,
            Self::Open => Holding::Open,
            Self::Token(token, _) => Holding::Token(token),
        }
    }
}

impl<'v> CanvasView<'v> {
    /// Empty until the first event.
    pub(crate) fn new(vocabulary: &'v Vocabulary, template_canvas: &'v TemplateCanvas) -> Self {
        Self {
            vocabulary,
            template_canvas,
            places: Vec::new(),
            fresh: Vec::new(),
            status: String::new(),
            blocks: (0, 0),
            open: (0, 0),
        }
    }

    /// What is to be drawn, and the line under it.
    pub(crate) fn frame(&self) -> (Vec<Cell>, &str) {
        let holdings: Vec<Holding> = self.places.iter().map(|place| place.holding()).collect();
        let pieces = self.template_canvas.pieces(self.vocabulary, &holdings);
        let cell = |(place, bytes): (&Place, Vec<u8>)| match *place {
            Place::Nothing => None,
            Place::Open => Some(Cell::Open),
            Place::Token(_, ink) => Some(Cell::Known { bytes, ink }),
        };
        (self.places.iter().zip(pieces).filter_map(cell).collect(), &self.status)
    }

    /// Takes in one event; returns whether there is something new to draw.
    pub(crate) fn follow(&mut self, event: &DenoisingEvent<'_>) -> bool {
        match event {
            DenoisingEvent::Started { canvas, .. } => {
                let place = |position| match canvas.kind(position) {
                    Some(Kind::Given) => Place::Token(canvas.tokens()[position], Ink::Given),
                    Some(Kind::Open) => Place::Open,
                    Some(Kind::Padding) | None => Place::Nothing,
                };
                self.places = (0..canvas.len()).map(place).collect();
                let open = self.places.iter().filter(|place| **place == Place::Open).count();
                self.open = (open, open);
                true
            }
            DenoisingEvent::BlockStarted { block, of, .. } => {
                self.blocks = (*block, *of);
                false
            }
            DenoisingEvent::Step { step, of, changes, closed, open, .. } => {
                for position in self.fresh.drain(..) {
                    if let Some(Place::Token(_, ink)) = self.places.get_mut(position) {
                        *ink = Ink::Committed;
                    }
                }
                for change in *changes {
                    let changed = match change.kind {
                        ChangeKind::Renoised => Place::Open,
                        // Not final: the word that stands nearest for now.
                        ChangeKind::Refined => Place::Token(change.token, Ink::Tentative),
                        ChangeKind::Committed | ChangeKind::Edited => {
                            self.fresh.push(change.position);
                            Place::Token(change.token, Ink::Fresh)
                        }
                    };
                    if let Some(place) = self.places.get_mut(change.position) {
                        *place = changed;
                    }
                }
                for &position in *closed {
                    if let Some(place) = self.places.get_mut(position) {
                        *place = Place::Nothing;
                    }
                }
                self.open.0 = *open;
                self.status = self.status_line(*step, *of);
                true
            }
            DenoisingEvent::BlockCommitted { .. } | DenoisingEvent::Finished { .. } => false,
        }
    }

    fn status_line(&self, step: usize, of: usize) -> String {
        const BAR: usize = 20;
        let (left, all) = self.open;
        let done = all.saturating_sub(left);
        let filled = (BAR * done).checked_div(all).unwrap_or(BAR);
        let block = match self.blocks {
            (_, 0 | 1) => String::new(),
            (block, of) => format!("block {}/{of}  ", block + 1),
        };
        format!("{}{}  {block}step {}/{of}  {left} open", "━".repeat(filled), "─".repeat(BAR - filled), step + 1)
    }
}
