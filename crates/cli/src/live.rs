//! Draws a canvas in place on standard error while it is being filled.
//!
//! Each frame goes out in one write inside a synchronized update (DEC private mode 2026), so a terminal that knows it
//! never shows half a frame and one that does not ignores it. The drawing is clamped to the terminal's size, because
//! lines that have scrolled away can no longer be redrawn.

use crate::frame::{Cell, Line, lay_out};
use crate::printer::{Printer, paint};
use anstyle::Style;
use std::time::{Duration, Instant};

/// Nobody sees more frames than this, and a slow terminal must not slow the model.
const FRAME: Duration = Duration::from_millis(33);

/// A drawing on standard error that can be redrawn and taken away.
#[derive(Debug)]
pub(crate) struct LiveCanvas {
    printer: Printer,
    /// Widths of the lines on the screen, the cursor standing at the end of the last one.
    drawn: Vec<usize>,
    last: Option<Instant>,
}

impl LiveCanvas {
    /// Nothing is drawn yet.
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, drawn: Vec::new(), last: None }
    }

    /// Whether the last frame is old enough for another one.
    pub(crate) fn is_due(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= FRAME)
    }

    /// Draws the canvas with a status line under it.
    pub(crate) fn draw(&mut self, cells: &[Cell], status: &str) {
        self.last = Some(Instant::now());
        let (columns, rows) = size();
        let lines = lay_out(cells, columns.saturating_sub(1));
        let lines = window(&lines, rows.saturating_sub(4).max(1));
        let status: String = status.chars().take(columns.saturating_sub(1)).collect();
        let mut text = self.take_back(columns);
        for line in lines {
            text.push_str(&line.render(self.printer.color()));
            text.push_str("\x1b[K\r\n");
            self.drawn.push(line.width());
        }
        text.push_str(&paint(self.printer.color(), Style::new().dimmed(), &status));
        self.drawn.push(status.chars().count());
        self.printer.draw(&format!("\x1b[?2026h{text}\x1b[J\x1b[?2026l"));
    }

    /// Takes the drawing away and leaves the cursor where it began.
    pub(crate) fn clear(&mut self) {
        if !self.drawn.is_empty() {
            let text = self.take_back(size().0);
            self.printer.draw(&format!("\x1b[?2026h{text}\x1b[J\x1b[?2026l"));
        }
        self.last = None;
    }

    /// Moves to the first cell of the drawing. Lines reflow when the terminal has become narrower.
    fn take_back(&mut self, columns: usize) -> String {
        let rows: usize = self.drawn.drain(..).map(|width| width.max(1).div_ceil(columns.max(1))).sum();
        match rows {
            0 | 1 => "\r".to_owned(),
            rows => format!("\x1b[{}A\r", rows - 1),
        }
    }
}

/// The terminal's columns and rows, or those of a small one where it does not say.
fn size() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(std::io::stderr());
    size.map_or((80, 24), |(columns, rows)| (usize::from(columns.0), usize::from(rows.0)))
}

/// At most `rows` of the lines: those around the first open position, or the last ones where none is open.
fn window(lines: &[Line], rows: usize) -> &[Line] {
    let last_start = lines.len().saturating_sub(rows);
    // Two lines of context above the place where the work goes on.
    let start = lines.iter().position(Line::is_open).map_or(last_start, |open| open.saturating_sub(2)).min(last_start);
    &lines[start..lines.len().min(start + rows)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Ink;

    fn lines(open: usize, count: usize) -> Vec<Line> {
        let cells: Vec<Cell> = (0..count)
            .flat_map(|line| {
                let text = Cell::Known { bytes: b"\n".to_vec(), ink: Ink::Given };
                if line == open { vec![Cell::Open, text] } else { vec![text] }
            })
            .collect();
        lay_out(&cells, 20)
    }

    #[test]
    fn the_window_follows_the_first_open_position() {
        let all = lines(10, 40);
        let shown = window(&all, 5);
        assert_eq!(shown.len(), 5);
        assert!(shown[2].is_open());
    }

    #[test]
    fn a_finished_canvas_shows_its_end_and_a_short_one_everything() {
        let all = lines(usize::MAX, 40);
        assert_eq!(window(&all, 5), &all[36..]);
        assert_eq!(window(&all, 100).len(), all.len());
    }
}
