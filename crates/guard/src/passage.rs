//! The text of a canvas with its holes, as a guard reads it.

use aquatint_diffusion::{Canvas, Kind, PositionState};
use aquatint_vocabulary::{Holding, Piece, Template, TemplateCanvas, Vocabulary};
use std::ops::Range;

/// Owns bytes that no position of a canvas has.
const NOBODY: usize = usize::MAX;

/// A text with holes, in each reading of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    readings: Vec<Reading>,
}

/// A text with its holes read in one manner.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    text: String,
    /// The position of the canvas that each byte is of.
    owners: Vec<usize>,
}

/// What follows on each other in a text.
enum Stretch<'a> {
    /// Bytes of a position, which may be parts of characters.
    Bytes(&'a [u8], usize),
    /// Nothing is known here yet.
    Hole,
}

impl Passage {
    /// A text without a hole.
    pub fn of_text(text: &str) -> Self {
        Self::new(&[Stretch::Bytes(text.as_bytes(), NOBODY)])
    }

    /// A template as it was typed, which lies on no canvas. Pictures and sounds are no text.
    pub fn of_template(template: &Template) -> Self {
        let mut stretches: Vec<Stretch<'_>> = Vec::new();
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => stretches.push(Stretch::Bytes(text.as_bytes(), NOBODY)),
                Piece::Open { .. } => stretches.push(Stretch::Hole),
                _ => {}
            }
        }
        for index in 1..stretches.len() {
            // On a canvas this blank is in the hole.
            if let [Stretch::Bytes(before, _), Stretch::Hole] = &mut stretches[index - 1..=index] {
                *before = before.strip_suffix(b" ").unwrap_or(before);
            }
        }
        Self::new(&stretches)
    }

    /// What is given on a template canvas. Its holes are the open positions.
    pub fn of_given(template_canvas: &TemplateCanvas, vocabulary: &Vocabulary) -> Self {
        on_canvas(template_canvas, vocabulary, template_canvas.canvas(), Self::new)
    }

    /// What stands on a canvas that began as this template canvas while it is filled, a reading for each text between two open
    /// positions: what will stand there keeps them apart. What fell away behind an end token is no text.
    pub fn of_written(template_canvas: &TemplateCanvas, vocabulary: &Vocabulary, canvas: &Canvas) -> Self {
        on_canvas(template_canvas, vocabulary, canvas, |stretches| {
            let between = stretches.split(|stretch| matches!(stretch, Stretch::Hole));
            Self {
                readings: between.map(|text| Reading::new(text, b"")).filter(|text| !text.text.is_empty()).collect(),
            }
        })
    }

    fn new(stretches: &[Stretch<'_>]) -> Self {
        let has_hole = stretches.iter().any(|stretch| matches!(stretch, Stretch::Hole));
        let blanks: &[&[u8]] = if has_hole { &[b" ", b""] } else { &[b""] };
        Self { readings: blanks.iter().map(|blank| Reading::new(stretches, blank)).collect() }
    }

    /// The readings: of given text one with a blank for each hole and one with what stands on both sides of each joined.
    pub fn readings(&self) -> &[Reading] {
        &self.readings
    }
}

/// Reads what follows on each other on a canvas.
fn on_canvas(
    template_canvas: &TemplateCanvas,
    vocabulary: &Vocabulary,
    canvas: &Canvas,
    read: impl FnOnce(&[Stretch<'_>]) -> Passage,
) -> Passage {
    let holding = |position: usize| match canvas.state(position) {
        Some(PositionState::Given | PositionState::Committed) => Holding::Token(canvas.tokens()[position]),
        Some(PositionState::Open) => Holding::Open,
        _ => Holding::Nothing,
    };
    let holdings: Vec<Holding> = (0..canvas.len()).map(holding).collect();
    let pieces = template_canvas.pieces(vocabulary, &holdings);
    let mut stretches = Vec::new();
    for (position, (piece, holding)) in pieces.iter().zip(&holdings).enumerate() {
        let is_hole = *holding == Holding::Open && canvas.kind(position) == Some(Kind::Open);
        if is_hole && !matches!(stretches.last(), Some(Stretch::Hole)) {
            stretches.push(Stretch::Hole);
        }
        // Behind an open position there may be given text without a token.
        if !piece.is_empty() {
            stretches.push(Stretch::Bytes(piece, position));
        }
    }
    read(&stretches)
}

impl Reading {
    fn new(stretches: &[Stretch<'_>], hole: &[u8]) -> Self {
        let (mut bytes, mut owners) = (Vec::new(), Vec::new());
        for stretch in stretches {
            let (some, owner) = match stretch {
                Stretch::Bytes(some, owner) => (*some, *owner),
                Stretch::Hole => (hole, NOBODY),
            };
            bytes.extend_from_slice(some);
            owners.resize(bytes.len(), owner);
        }
        let (mut reading, mut at) = (Self::default(), 0);
        for chunk in bytes.utf8_chunks() {
            let valid = chunk.valid().len();
            reading.text.push_str(chunk.valid());
            reading.owners.extend_from_slice(&owners[at..at + valid]);
            at += valid;
            if !chunk.invalid().is_empty() {
                reading.text.push(char::REPLACEMENT_CHARACTER);
                reading.owners.resize(reading.text.len(), owners[at]);
                at += chunk.invalid().len();
            }
        }
        reading
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The positions of the canvas that some bytes are of, as they come.
    pub fn positions(&self, bytes: Range<usize>) -> impl Iterator<Item = usize> {
        self.owners.get(bytes).unwrap_or_default().iter().copied().filter(|owner| *owner != NOBODY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(template: &str) -> Vec<String> {
        let passage = Passage::of_template(&Template::parse(template).unwrap());
        passage.readings().iter().map(|reading| reading.text().to_owned()).collect()
    }

    #[test]
    fn holes_are_blanks_in_one_reading_and_nothing_in_the_other() {
        assert_eq!(read("The lo[[1]]ck of [[2]] gold"), ["The lo ck of  gold", "The lock of gold"]);
        assert_eq!(read("[[3]]"), [" ", ""]);
        assert_eq!(read("no hole"), ["no hole"]);
        assert_eq!(read("\\[[1]]"), ["[[1]]"]);
    }

    #[test]
    fn bytes_that_are_no_characters_keep_their_positions() {
        let stretches = [
            Stretch::Bytes(b"a\xc3", 0),
            Stretch::Bytes(b"\xa9\xff", 1),
            Stretch::Hole,
            Stretch::Bytes("ß".as_bytes(), 7),
        ];
        let passage = Passage::new(&stretches);
        let [spaced, joined] = passage.readings() else { panic!("{passage:?}") };
        assert_eq!((spaced.text(), joined.text()), ("aé\u{fffd} ß", "aé\u{fffd}ß"));
        let of = |reading: &Reading, part: &str| {
            let at = reading.text().find(part).unwrap();
            reading.positions(at..at + part.len()).collect::<Vec<_>>()
        };
        assert_eq!(of(spaced, "aé"), [0, 0, 1]);
        assert_eq!(of(spaced, "\u{fffd} ß"), [1, 1, 1, 7, 7]);
        assert_eq!(of(joined, "ß"), [7, 7]);
        assert_eq!(joined.owners.len(), joined.text.len());
    }
}
