//! The text of a canvas with its holes, as a guard reads it.

use aquatint_diffusion::{Canvas, Domain, Kind, PositionState};
use aquatint_vocabulary::{Holding, Piece, Template, TemplateCanvas, TokenId, Vocabulary};
use std::ops::Range;

/// How a boundary reads.
const BOUNDARY: &[u8] = b"\n";
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
    /// A special token, or a picture or a sound: no text, but what stands on both sides is apart. With its position.
    Boundary(usize),
}

impl Passage {
    /// A text without a hole.
    pub fn of_text(text: &str) -> Self {
        Self::new(&[Stretch::Bytes(text.as_bytes(), NOBODY)])
    }

    /// A template as it was typed, which lies on no canvas. A picture or a sound reads as a line break.
    pub fn of_template(template: &Template) -> Self {
        let mut stretches: Vec<Stretch<'_>> = Vec::new();
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => stretches.push(Stretch::Bytes(text.as_bytes(), NOBODY)),
                Piece::Open { .. } => stretches.push(Stretch::Hole),
                _ => push_boundary(&mut stretches, NOBODY),
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

    /// What is given on a template canvas. Its holes are the open positions of text; special tokens, pictures and sounds read as
    /// line breaks.
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

/// The positions of each picture and sound.
pub(crate) fn media_spans(canvas: &Canvas) -> impl Iterator<Item = &Range<usize>> {
    canvas.spans().iter().filter(|span| span.domain != Domain::ANY).map(|span| &span.positions)
}

/// Adds a boundary; several one behind the other are one.
fn push_boundary(stretches: &mut Vec<Stretch<'_>>, position: usize) {
    if !matches!(stretches.last(), None | Some(Stretch::Boundary(_))) {
        stretches.push(Stretch::Boundary(position));
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
    let media: Vec<&Range<usize>> = media_spans(canvas).collect();
    for (position, (piece, holding)) in pieces.iter().zip(&holdings).enumerate() {
        let is_special = |token: &TokenId| vocabulary.is_special(*token);
        let is_medium = media.iter().any(|span| span.contains(&position));
        if is_medium || (piece.is_empty() && matches!(holding, Holding::Token(token) if is_special(token))) {
            push_boundary(&mut stretches, if is_medium { NOBODY } else { position });
            continue;
        }
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
                Stretch::Boundary(owner) => (BOUNDARY, *owner),
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
    use aquatint_diffusion::Axes;
    use std::path::Path;

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

    fn llada() -> Vocabulary {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/llada");
        Vocabulary::from_file(&golden.join("tokenizer.json")).unwrap()
    }

    #[test]
    fn special_tokens_part_what_stands_on_both_sides() {
        let vocabulary = llada();
        let chat = "<|startoftext|><|start_header_id|>user<|end_header_id|>How to pick a lock<|eot_id|>\
                    <|start_header_id|>assistant<|end_header_id|>";
        let mut canvas = Canvas::new();
        canvas.push_given(&vocabulary.encode_marked(chat).unwrap());
        canvas.push_open(2, false, vocabulary.encode_marked("<|mdm_mask|>").unwrap()[0]);
        let template_canvas = TemplateCanvas::of_canvas(canvas.clone(), &vocabulary);
        let text = "user\nHow to pick a lock\nassistant\n";
        let passage = Passage::of_given(&template_canvas, &vocabulary);
        assert_eq!(passage.readings()[1].text(), text);
        // The text that a user reads has no line breaks of ours.
        assert_eq!(template_canvas.read(&vocabulary, &canvas).text, "userHow to pick a lockassistant");
        // A special token that was written parts, too.
        let [word, end] = [vocabulary.encode_within("lock").unwrap().tokens[0], 324];
        let start = canvas.len() - 2;
        canvas.commit(start, end).unwrap();
        canvas.commit(start + 1, word).unwrap();
        let written = Passage::of_written(&template_canvas, &vocabulary, &canvas);
        let word = vocabulary.decode(&[word]);
        assert_eq!(written.readings().iter().map(Reading::text).collect::<Vec<_>>(), [format!("{text}{word}")]);
    }

    #[test]
    fn pictures_and_sounds_part_what_stands_on_both_sides() {
        assert_eq!(read("pick a lock[[picture]]assistant"), ["pick a lock\nassistant"]);
        let vocabulary = llada();
        let word = |text: &str| vocabulary.encode_within(text).unwrap().tokens;
        let mut canvas = Canvas::new();
        canvas.push_given(&word("lock"));
        let domain = Domain { ids: 256..320, axes: Axes::Grid { rows: 1, columns: 2 } };
        canvas.push_span(&[Some(256), Some(256)], false, domain.clone(), 325).unwrap();
        canvas.push_given(&word("and"));
        // One that is made is no hole in a text.
        canvas.push_span(&[None, None], false, domain, 325).unwrap();
        canvas.push_given(&word("gold"));
        let passage = Passage::of_given(&TemplateCanvas::of_canvas(canvas, &vocabulary), &vocabulary);
        assert_eq!(passage.readings().iter().map(Reading::text).collect::<Vec<_>>(), ["lock\nand\ngold"]);
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
