//! Follows a generation event by event, as it will be drawn: what each position shows, and how far the work is.

use crate::drawing::{Drawn, blocks};
use crate::frame::{Cell, Ink};
use crate::printer::Printer;
use crate::session::Session;
use crate::terminal::{Colors, Terminal};
use aquatint_diffusion::{Axes, Kind, TokenId};
use aquatint_generate::{ChangeKind, DenoisingEvent};
use aquatint_vocabulary::{Holding, MediaKind, MediaStretch, TemplateCanvas};

/// What a canvas looks like at this moment.
pub(crate) struct CanvasView<'v> {
    session: &'v Session,
    template_canvas: &'v TemplateCanvas,
    terminal: Terminal,
    places: Vec<Place>,
    fresh: Vec<usize>,
    status: String,
    blocks: (usize, usize),
    open: (usize, usize),
    /// Forward passes, at most.
    passes: usize,
    /// Whether several parts are filled side by side, whose blocks and steps would be told by turns.
    several: bool,
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

    /// The code that is shown there, final or not.
    fn code(self) -> Option<TokenId> {
        if let Self::Token(token, _) = self { Some(token) } else { None }
    }
}

impl<'v> CanvasView<'v> {
    /// Empty until the first event.
    pub(crate) fn new(session: &'v Session, template_canvas: &'v TemplateCanvas, printer: Printer) -> Self {
        Self {
            session,
            template_canvas,
            terminal: Terminal::of_drawings(printer.color()),
            places: Vec::new(),
            fresh: Vec::new(),
            status: String::new(),
            blocks: (0, 0),
            open: (0, 0),
            passes: 0,
            several: false,
        }
    }

    /// What is to be drawn, and the line under it.
    pub(crate) fn frame(&self) -> (Vec<Cell>, &str) {
        let holdings: Vec<Holding> = self.places.iter().map(|place| place.holding()).collect();
        let mut pieces = self.template_canvas.pieces(&self.session.checkpoint().vocabulary, &holdings);
        let mut cells = Vec::with_capacity(pieces.len());
        let mut media = self.template_canvas.media().peekable();
        for (position, place) in self.places.iter().enumerate() {
            let bytes = std::mem::take(&mut pieces[position]);
            match media.peek() {
                Some(stretch) if stretch.positions.contains(&position) => {
                    if stretch.positions.start == position {
                        cells.push(self.media(stretch));
                    }
                    if stretch.positions.end == position + 1 {
                        media.next();
                    }
                }
                _ => match *place {
                    Place::Nothing => {}
                    Place::Open => cells.push(Cell::Open),
                    Place::Token(_, ink) => cells.push(Cell::Known { bytes, ink }),
                },
            }
        }
        (cells, &self.status)
    }

    /// A picture as far as it is known, and a word in place of what is not drawn.
    fn media(&self, stretch: &MediaStretch) -> Cell {
        let places = self.places.get(stretch.positions.clone()).unwrap_or_default();
        let codes: Vec<Option<TokenId>> = places.iter().map(|place| place.code()).collect();
        if stretch.kind == MediaKind::Picture
            && self.terminal.colors != Colors::None
            && let Some(picture) = self.session.picture(stretch, &codes)
        {
            let spans = self.template_canvas.canvas().spans();
            let span = spans.iter().find(|span| span.positions == stretch.positions);
            let (rows, columns) = match span.map(|span| span.domain.axes) {
                Some(Axes::Grid { rows, columns }) => (rows, columns),
                _ => (1, codes.len()),
            };
            let open = |x: f64, y: f64| {
                let (column, row) = ((x * columns as f64) as usize, (y * rows as f64) as usize);
                codes.get(row * columns + column).is_none_or(Option::is_none)
            };
            let [width, height] = self.terminal.size;
            // Two thirds of the screen, so that some text stands beside it.
            let room = [width.saturating_sub(1).max(1), (2 * height / 3).max(1)];
            return Cell::Picture(blocks(&Drawn { picture: &picture, open: &open }, room, &self.terminal));
        }
        let left = codes.iter().filter(|code| code.is_none()).count();
        let ink = if left > 0 { Ink::Tentative } else { Ink::Committed };
        let done = format!("[{} {}/{}]", stretch.kind, codes.len() - left, codes.len());
        let word = if left > 0 { done } else { format!("[{}]", stretch.kind) };
        Cell::Known { bytes: word.into_bytes(), ink }
    }

    /// Takes in one event; returns whether there is something new to draw.
    pub(crate) fn follow(&mut self, event: &DenoisingEvent<'_>) -> bool {
        match event {
            DenoisingEvent::Started { canvas, forward_passes } => {
                self.passes = *forward_passes;
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
            DenoisingEvent::BlockStarted { part, block, of, .. } => {
                self.blocks = (*block, *of);
                self.several |= *part > 0;
                false
            }
            DenoisingEvent::Step { step, of, changes, closed, open, forward_passes, .. } => {
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
                self.status = self.status_line((*step, *of), *forward_passes);
                true
            }
            DenoisingEvent::BlockCommitted { .. } | DenoisingEvent::Finished { .. } => false,
        }
    }

    fn status_line(&self, (step, of): (usize, usize), passes: usize) -> String {
        const BAR: usize = 20;
        let (left, all) = self.open;
        let done = all.saturating_sub(left);
        let filled = (BAR * done).checked_div(all).unwrap_or(BAR);
        let block = match self.blocks {
            (_, 0 | 1) => String::new(),
            (block, of) => format!("block {}/{of}  ", block + 1),
        };
        let bar = format!("{}{}", "━".repeat(filled), "─".repeat(BAR - filled));
        match self.several {
            true => format!("{bar}  pass {passes}/{}  {left} open", self.passes),
            false => format!("{bar}  {block}step {}/{of}  {left} open", step + 1),
        }
    }
}
