//! Lays a canvas out as lines of a given width: pure functions from cells to text, drawn by [`crate::live`].
//!
//! Tokens are runs of bytes, and a character may be spread over several of them; a character takes the ink of the
//! token that holds its first byte. What a terminal would obey (escape sequences, direction overrides) is shown as a
//! visible sign and never sent, since a model may write any byte.

use crate::drawing::BlockLine;
use crate::printer::paint;
use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthChar;

/// What one position of the canvas shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Not known yet.
    Open,
    /// A token's bytes.
    Known {
        /// What the token adds to the text.
        bytes: Vec<u8>,
        /// How it is drawn.
        ink: Ink,
    },
    /// A picture, which stands on lines of its own.
    Picture(Vec<BlockLine>),
}

/// How a piece of the canvas is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Given by the user: plain.
    Given,
    /// Became final in an earlier step: plain.
    Committed,
    /// Became final, or changed, in this step: bright.
    Fresh,
    /// Still open, and shows a word that the next step may mend: dim.
    Tentative,
    /// Still open: dim.
    Open,
}

impl Ink {
    fn style(self) -> Style {
        match self {
            Self::Given | Self::Committed => Style::new(),
            Self::Fresh => AnsiColor::BrightCyan.on_default().bold(),
            Self::Tentative | Self::Open => Style::new().dimmed(),
        }
    }
}

/// What an open position looks like: about as wide as a word piece, so that the text grows calmly as it is filled.
const OPEN: &str = "░░░ ";

/// One character (or one open position) with its width in columns.
struct Glyph {
    text: String,
    width: usize,
    ink: Ink,
    breaks: Break,
}

#[derive(PartialEq, Eq)]
enum Break {
    /// No line may end here.
    Never,
    /// A line may end after this glyph.
    After,
    /// The line ends here.
    Line,
}

/// A line: runs of equal ink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    runs: Vec<(Ink, String)>,
    width: usize,
    open: bool,
    /// The line as it is, where it is one of a picture.
    drawn: Option<String>,
}

impl Line {
    /// Columns that the line takes.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Whether some position on it is open.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The line as text, with colour or without.
    pub(crate) fn render(&self, color: bool) -> String {
        if let Some(drawn) = &self.drawn {
            return drawn.clone();
        }
        self.runs.iter().map(|(ink, text)| paint(color && ink.style() != Style::new(), ink.style(), text)).collect()
    }

    fn push(&mut self, glyph: Glyph) {
        self.width += glyph.width;
        self.open |= matches!(glyph.ink, Ink::Open | Ink::Tentative);
        match self.runs.last_mut() {
            Some((ink, text)) if *ink == glyph.ink => text.push_str(&glyph.text),
            _ => self.runs.push((glyph.ink, glyph.text)),
        }
    }
}

/// Breaks the canvas into lines of at most `width` columns, at spaces where there are any. Pictures are as wide as they are.
pub(crate) fn lay_out(cells: &[Cell], width: usize) -> Vec<Line> {
    let is_picture = |cell: &Cell| matches!(cell, Cell::Picture(_));
    if !cells.iter().any(is_picture) {
        return lay_out_text(cells, width);
    }
    let mut lines = Vec::new();
    for stretch in cells.chunk_by(|a, b| !is_picture(a) && !is_picture(b)) {
        match stretch {
            [Cell::Picture(picture)] => lines.extend(picture.iter().map(|line| Line {
                runs: Vec::new(),
                width: line.width,
                open: line.is_open,
                drawn: Some(line.text.clone()),
            })),
            text => {
                let text = lay_out_text(text, width);
                // Blanks beside a picture take no line.
                lines.extend(text.into_iter().filter(|line| line.width > 0));
            }
        }
    }
    lines
}

/// The same of cells without pictures.
fn lay_out_text(cells: &[Cell], width: usize) -> Vec<Line> {
    let width = width.max(4);
    let mut lines = Vec::new();
    let mut line: Vec<Glyph> = Vec::new();
    let mut used = 0;
    for glyph in glyphs(cells) {
        if glyph.breaks == Break::Line {
            lines.push(close(&mut line));
            used = 0;
            continue;
        }
        // What is blank may hang over the edge unseen; anything else starts a new line.
        let blank = if glyph.ink == Ink::Open { 1 } else { usize::from(glyph.text == " ") };
        if used + glyph.width > width + blank {
            let keep =
                line.iter().rposition(|glyph| glyph.breaks == Break::After).map_or(line.len(), |index| index + 1);
            let rest = line.split_off(keep);
            lines.push(close(&mut line));
            line = rest;
            used = line.iter().map(|glyph| glyph.width).sum();
        }
        used += glyph.width;
        line.push(glyph);
    }
    lines.push(close(&mut line));
    lines
}

/// The visible form of `text`: what would steer a terminal becomes a sign.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c == '\n' || c == '\t' { c } else { visible(c) }).collect()
}

fn close(glyphs: &mut Vec<Glyph>) -> Line {
    while glyphs.last().is_some_and(|glyph| glyph.text == " ") {
        glyphs.pop();
    }
    if let Some(last) = glyphs.last_mut()
        && last.ink == Ink::Open
    {
        last.text.truncate(last.text.trim_end().len());
        last.width = OPEN.trim_end().chars().count();
    }
    let mut line = Line::default();
    glyphs.drain(..).for_each(|glyph| line.push(glyph));
    line
}

fn glyphs(cells: &[Cell]) -> Vec<Glyph> {
    let mut glyphs = Vec::new();
    let mut run: Vec<u8> = Vec::new();
    let mut inks: Vec<Ink> = Vec::new();
    for cell in cells {
        match cell {
            Cell::Known { bytes, ink } => {
                run.extend_from_slice(bytes);
                inks.extend(std::iter::repeat_n(*ink, bytes.len()));
            }
            Cell::Picture(_) => {}
            Cell::Open => {
                flush(&mut run, &mut inks, &mut glyphs);
                let text = OPEN.to_owned();
                glyphs.push(Glyph { text, width: OPEN.chars().count(), ink: Ink::Open, breaks: Break::After });
            }
        }
    }
    flush(&mut run, &mut inks, &mut glyphs);
    glyphs
}

fn flush(run: &mut Vec<u8>, inks: &mut Vec<Ink>, glyphs: &mut Vec<Glyph>) {
    let mut at = 0;
    for chunk in run.utf8_chunks() {
        for (offset, c) in chunk.valid().char_indices() {
            push_character(c, inks[at + offset], glyphs);
        }
        at += chunk.valid().len();
        // Half a character waits for its other half, or is none.
        at += chunk.invalid().len();
    }
    run.clear();
    inks.clear();
}

fn push_character(c: char, ink: Ink, glyphs: &mut Vec<Glyph>) {
    match c {
        '\n' => glyphs.push(Glyph { text: String::new(), width: 0, ink, breaks: Break::Line }),
        '\t' => (0..4).for_each(|_| push_character(' ', ink, glyphs)),
        _ => {
            let c = visible(c);
            let breaks = if c == ' ' || c == '-' { Break::After } else { Break::Never };
            glyphs.push(Glyph { text: c.to_string(), width: c.width().unwrap_or(0), ink, breaks });
        }
    }
}

/// Control characters become their pictures (U+2400 block), direction overrides the replacement character.
fn visible(c: char) -> char {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + c as u32).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => '␡',
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str, ink: Ink) -> Cell {
        Cell::Known { bytes: text.as_bytes().to_vec(), ink }
    }

    fn plain(cells: &[Cell], width: usize) -> Vec<String> {
        lay_out(cells, width).iter().map(|line| line.render(false)).collect()
    }

    #[test]
    fn lines_break_at_spaces_and_never_exceed_the_width() {
        let cells = [known("Once upon a time there was", Ink::Given), Cell::Open, Cell::Open, Cell::Open];
        assert_eq!(plain(&cells, 14), ["Once upon a", "time there", "was░░░ ░░░ ░░░"]);
        for width in 4..40 {
            assert!(lay_out(&cells, width).iter().all(|line| line.width() <= width), "width {width}");
        }
    }

    #[test]
    fn a_long_word_is_cut_where_the_line_ends() {
        assert_eq!(plain(&[known("abcdefghij", Ink::Given)], 4), ["abcd", "efgh", "ij"]);
    }

    #[test]
    fn a_character_spread_over_tokens_is_shown_once_in_the_ink_of_its_first_byte() {
        let cells = [
            Cell::Known { bytes: vec![0xe2, 0x82], ink: Ink::Fresh },
            Cell::Known { bytes: vec![0xac, b'!'], ink: Ink::Given },
        ];
        let lines = lay_out(&cells, 20);
        assert_eq!(lines[0].runs, [(Ink::Fresh, "€".to_owned()), (Ink::Given, "!".to_owned())]);
    }

    #[test]
    fn half_a_character_waits_until_it_is_whole() {
        let half = |byte| Cell::Known { bytes: vec![byte], ink: Ink::Fresh };
        assert_eq!(plain(&[half(0xc3), Cell::Open], 20), ["░░░"]);
        assert_eq!(plain(&[half(0xc3), half(0xa9), Cell::Open], 20), ["é░░░"]);
        assert_eq!(plain(&[half(0xc3), half(0xc3), half(0xa9), half(b'a')], 20), ["éa"]);
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_drawn() {
        let cells = [known("\x1b[31mred\u{202e}\x07\r", Ink::Committed)];
        assert_eq!(plain(&cells, 40), ["␛[31mred\u{fffd}␇␍"]);
        assert_eq!(harmless("a\x1b[2Jb\n\tc"), "a␛[2Jb\n\tc");
    }

    #[test]
    fn wide_characters_count_two_columns() {
        assert_eq!(plain(&[known("日本語日本語", Ink::Given)], 5), ["日本", "語日", "本語"]);
    }

    #[test]
    fn a_word_that_is_not_final_is_dim_as_wide_as_it_is_and_leaves_its_line_open() {
        let line = &lay_out(&[known("a", Ink::Given), known(" fox", Ink::Tentative)], 40)[0];
        assert_eq!((line.width(), line.is_open()), (5, true));
        assert!(line.render(true).starts_with("a\u{1b}[2m fox"), "{:?}", line.render(true));
    }

    #[test]
    fn a_picture_stands_on_lines_of_its_own() {
        let line = |text: &str, is_open| BlockLine { text: text.to_owned(), width: 2, is_open };
        let picture = Cell::Picture(vec![line("▀▀", false), line("░░", true)]);
        let cells =
            [known("A fox. ", Ink::Given), picture.clone(), known(" ", Ink::Given), picture, known(" It", Ink::Fresh)];
        assert_eq!(plain(&cells, 20), ["A fox.", "▀▀", "░░", "▀▀", "░░", " It"]);
        let lines = lay_out(&cells, 20);
        assert_eq!(lines.iter().map(Line::is_open).collect::<Vec<_>>(), [false, false, true, false, true, false]);
        assert_eq!(lines[1].width(), 2);
    }

    #[test]
    fn colour_marks_fresh_and_open_only() {
        let cells = [known("a ", Ink::Given), known("b ", Ink::Committed), known("c ", Ink::Fresh), Cell::Open];
        let text = lay_out(&cells, 40)[0].render(true);
        assert!(text.starts_with("a b \u{1b}["), "{text:?}");
        assert_eq!(text.matches("\u{1b}[0m").count(), 2);
    }
}
