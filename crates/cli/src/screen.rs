//! Follows a generation event by event, as it will be drawn: what each position shows, and how far the work is.

use crate::frame::{Cell, Ink};
use aquatint_diffusion::{Kind, TokenId};
use aquatint_generate::{ChangeKind, DenoisingEvent};
use aquatint_vocabulary::{TemplateCanvas, Vocabulary};

/// What a canvas looks like at this moment.
#[derive(Debug)]
pub(crate) struct CanvasView<'v> {
    vocabulary: &'v Vocabulary,
    template_canvas: &'v TemplateCanvas,
    /// `None` where nothing is shown: padding, and what lies behind an end token.
    cells: Vec<Option<Cell>>,
    fresh: Vec<usize>,
    status: String,
    blocks: (usize, usize),
    open: (usize, usize),
}

impl<'v> CanvasView<'v> {
    /// Empty until the first event.
    pub(crate) fn new(vocabulary: &'v Vocabulary, template_canvas: &'v TemplateCanvas) -> Self {
        Self {
            vocabulary,
            template_canvas,
            cells: Vec::new(),
            fresh: Vec::new(),
            status: String::new(),
            blocks: (0, 0),
            open: (0, 0),
        }
    }

    /// What is to be drawn, and the line under it.
    pub(crate) fn frame(&self) -> (Vec<Cell>, &str) {
        (self.cells.iter().flatten().cloned().collect(), &self.status)
    }

    /// Takes in one event; returns whether there is something new to draw.
    pub(crate) fn follow(&mut self, event: &DenoisingEvent<'_>) -> bool {
        match event {
            DenoisingEvent::Started { canvas, .. } => {
                self.cells = (0..canvas.len())
                    .map(|position| match canvas.kind(position) {
                        Some(Kind::Given) => Some(self.known(position, canvas.tokens()[position], Ink::Given)),
                        Some(Kind::Open) => Some(Cell::Open),
                        Some(Kind::Padding) | None => None,
                    })
                    .collect();
                let open = self.cells.iter().flatten().filter(|cell| **cell == Cell::Open).count();
                self.open = (open, open);
                true
            }
            DenoisingEvent::BlockStarted { block, of, .. } => {
                self.blocks = (*block, *of);
                false
            }
            DenoisingEvent::Step { step, of, changes, closed, open, .. } => {
                for position in self.fresh.drain(..) {
                    if let Some(Some(Cell::Known { ink, .. })) = self.cells.get_mut(position) {
                        *ink = Ink::Committed;
                    }
                }
                for change in *changes {
                    let cell = match change.kind {
                        ChangeKind::Renoised => Cell::Open,
                        // Not final: the word that stands nearest for now.
                        ChangeKind::Refined => self.known(change.position, change.token, Ink::Tentative),
                        ChangeKind::Committed => {
                            self.fresh.push(change.position);
                            self.known(change.position, change.token, Ink::Fresh)
                        }
                    };
                    if let Some(place) = self.cells.get_mut(change.position) {
                        *place = Some(cell);
                    }
                }
                for &position in *closed {
                    if let Some(place) = self.cells.get_mut(position) {
                        *place = None;
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

    fn known(&self, position: usize, token: TokenId, ink: Ink) -> Cell {
        // A special token shows nothing; a tokenizer without bytes shows the token's text.
        let mut bytes = self.vocabulary.token_bytes(token).unwrap_or_else(|| {
            if self.vocabulary.is_special(token) { Vec::new() } else { self.vocabulary.token_text(token).into_bytes() }
        });
        if self.template_canvas.owes_blank(position) && bytes.first() != Some(&b' ') {
            bytes.insert(0, b' ');
        }
        Cell::Known { bytes, ink }
    }
}
