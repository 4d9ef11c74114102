//! From canvases to the rows that a network reads: padding is dropped, documents do not see each other.

use aquatint_compute::Visibility;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Layout, PADDING_DOCUMENT, Place, Span, TokenId};
use aquatint_network::{NetworkError, RowLayout};
use std::ops::Range;

/// The positions of some canvases that hold a token, one row each, canvas after canvas. Of a network whose blocks see only
/// earlier ones, noise included, each canvas has its rows twice: those that become noisy, and behind them the clean ones
/// that later blocks see (BD3-LM, 2503.09573, section 4.1).
#[derive(Debug, Clone)]
pub struct PackedBatch {
    /// The clean token of each row, `T`.
    pub tokens: Vec<TokenId>,
    /// Bytes of text that it stands for, `T`.
    pub text_bytes: Vec<u32>,
    /// Position of each row in its canvas, `T`.
    pub positions: Vec<u32>,
    /// Place of each row in its canvas, `[T, 3]`, where a span lies in rows; else it is the position on all axes.
    pub places: Option<Vec<u32>>,
    /// The spans of other domains than text, by the rows that may become noisy, ascending.
    pub spans: Vec<Span>,
    /// Whether a row is given in every step, `T`.
    pub given: Vec<bool>,
    /// Whether a row is the first of its document in its canvas, `T`.
    pub first: Vec<bool>,
    /// What each row sees.
    pub visibility: Visibility,
    /// Which rows are of a current block behind a causal prefix, `T`.
    pub current: Vec<bool>,
    /// The rows of each canvas that may become noisy; empty for a canvas of padding alone.
    pub canvases: Vec<Range<usize>>,
    /// Positions of a block, where blocks become noisy one by one.
    block: Option<usize>,
}

impl PackedBatch {
    /// Lays the canvases out under a layout. A canvas of padding alone has no rows and no sequence.
    ///
    /// # Errors
    /// When there are more rows than an index can count.
    pub fn new(batch: &CanvasBatch, layout: Layout) -> Result<Self, NetworkError> {
        let capacity = batch.tokens.len();
        let mut rows = RowLayout::default();
        let (mut tokens, mut text_bytes) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        let (mut first, mut canvases) = (Vec::with_capacity(capacity), Vec::new());
        let block = layout.block_length();
        let length = batch.length.max(1);
        let (mut places, mut spans) = (Vec::new(), Vec::new());
        let mut given = Vec::with_capacity(capacity);
        let parts =
            batch.tokens.chunks(length).zip(batch.text_bytes.chunks(length)).zip(batch.documents.chunks(length));
        for (index, ((canvas, bytes), documents)) in parts.enumerate() {
            // Padding lies at the tail.
            let used = documents.iter().position(|d| *d == PADDING_DOCUMENT).unwrap_or(documents.len());
            let documents = &documents[..used];
            canvases.push(tokens.len()..tokens.len() + used);
            if used == 0 {
                continue;
            }
            let inside: Vec<Span> = batch.spans_of(index).iter().map(|span| span.moved(index * length, 0)).collect();
            let of_canvas: Vec<Place> = aquatint_diffusion::places(&inside, &(0..used).collect::<Vec<_>>());
            spans.extend(inside.iter().map(|span| span.moved(0, tokens.len())));
            let copies = match block {
                Some(_) => rows.push_two_streams(layout, used, documents).len() / used,
                None => rows.push(layout, used, documents).len() / used,
            };
            for _ in 0..copies {
                tokens.extend_from_slice(&canvas[..used]);
                text_bytes.extend_from_slice(&bytes[..used]);
                match batch.given.get(index * length..index * length + used) {
                    Some(of_canvas) => given.extend_from_slice(of_canvas),
                    None => given.extend(std::iter::repeat_n(false, used)),
                }
                places.extend(of_canvas.iter().flatten());
                first.extend((0..used).map(|i| i == 0 || documents[i] != documents[i - 1]));
            }
        }
        let current = rows.current().to_vec();
        let (positions, visibility) = rows.finish()?;
        let places = spans.iter().any(|span: &Span| span.domain.is_grid()).then_some(places);
        Ok(Self { tokens, text_bytes, positions, places, spans, given, first, visibility, current, canvases, block })
    }

    /// The number of the canvas that a row belongs to.
    pub fn canvas_of(&self, row: usize) -> usize {
        self.canvases.partition_point(|canvas| canvas.start <= row).saturating_sub(1)
    }

    /// The parts of a canvas that become noisy each at a time of its own: its blocks, counted from the beginning of each
    /// document, or all of it.
    pub fn parts(&self, canvas: &Range<usize>) -> Vec<Range<usize>> {
        let Some(block) = self.block else { return vec![canvas.clone()] };
        let mut parts: Vec<Range<usize>> = Vec::new();
        for row in canvas.clone() {
            match parts.last_mut() {
                Some(part) if !self.first[row] && part.len() < block.max(1) => part.end = row + 1,
                _ => parts.push(row..row + 1),
            }
        }
        parts
    }

    /// The stretches of a canvas's rows that are of one document and one span or of none, in order; text is in no span.
    pub fn stretches(&self, canvas: &Range<usize>) -> Vec<(Range<usize>, Option<&Span>)> {
        let mut stretches: Vec<(Range<usize>, Option<&Span>)> = Vec::new();
        let first = self.spans.partition_point(|span| span.positions.end <= canvas.start);
        let mut spans = self.spans[first..].iter().peekable();
        for row in canvas.clone() {
            while spans.next_if(|span| span.positions.end <= row).is_some() {}
            let span = spans.peek().copied().filter(|span| span.positions.contains(&row));
            match stretches.last_mut() {
                Some((stretch, of)) if !self.first[row] && *of == span => stretch.end = row + 1,
                _ => stretches.push((row..row + 1, span)),
            }
        }
        stretches
    }

    /// The parts of a canvas that become noisy each at a time of its own where spans do, too, and the span that each lies
    /// in: [`PackedBatch::parts`], cut where a stretch ends. A canvas without a span has no other parts for its documents.
    pub fn parts_of_spans(&self, canvas: &Range<usize>) -> Vec<(Range<usize>, Option<&Span>)> {
        let stretches = self.stretches(canvas);
        let parts = self.parts(canvas).into_iter();
        if stretches.iter().all(|(_, span)| span.is_none()) {
            return parts.map(|part| (part, None)).collect();
        }
        let mut cut = Vec::new();
        for part in parts {
            let behind = stretches.partition_point(|(stretch, _)| stretch.end <= part.start);
            let inside = stretches[behind..].iter().take_while(|(stretch, _)| stretch.start < part.end);
            cut.extend(inside.map(|(rows, span)| (rows.start.max(part.start)..rows.end.min(part.end), *span)));
        }
        cut
    }

    /// Which rows of a part may become noisy: all but those that are given and the first `prompt` of each document in its
    /// canvas.
    pub fn open(&self, canvas: &Range<usize>, part: &Range<usize>, prompt: usize) -> Vec<bool> {
        let mut inside = 0;
        let mut open = Vec::with_capacity(part.len());
        for row in canvas.start..part.end {
            inside = if self.first[row] { 0 } else { inside + 1 };
            if row >= part.start {
                open.push(inside >= prompt && !self.given[row]);
            }
        }
        open
    }

    /// What a causal network reads: each row the token before it, the first row of a document the `begin` token. The
    /// row's own token is then what it has to predict, given all those before it and nothing else.
    pub fn shifted(&self, begin: TokenId) -> Vec<TokenId> {
        let before = std::iter::once(begin).chain(self.tokens.iter().copied());
        before
            .zip(&self.first)
            .map(|(token, first)| if *first { begin } else { token })
            .take(self.tokens.len())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::Domain;

    /// A full canvas of 4, one of two documents with padding, one of padding alone, and one of 2 tokens.
    fn canvases() -> CanvasBatch {
        let none = PADDING_DOCUMENT;
        CanvasBatch {
            length: 4,
            tokens: vec![1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 8, 9, 0, 0],
            documents: vec![0, 0, 0, 0, 1, 1, 2, none, none, none, none, none, 3, 3, none, none],
            text_bytes: (0..16).collect(),
            spans: Vec::new(),
            given: Vec::new(),
        }
    }

    #[test]
    fn padding_has_no_row_and_documents_do_not_see_each_other() {
        let packed = PackedBatch::new(&canvases(), Layout::Full).unwrap();
        assert_eq!(packed.tokens, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(packed.text_bytes, [0, 1, 2, 3, 4, 5, 6, 12, 13]);
        assert_eq!(packed.positions, [0, 1, 2, 3, 0, 1, 2, 0, 1]);
        assert_eq!(packed.canvases, [0..4, 4..7, 7..7, 7..9]);
        assert_eq!(packed.visibility.sequences(), [0..4, 4..7, 7..9]);
        assert_eq!(packed.visibility.row(5)[0], 4..6);
        assert_eq!(packed.visibility.row(6)[0], 6..7);
        let of: Vec<usize> = (0..9).map(|row| packed.canvas_of(row)).collect();
        // The canvas without rows owns none.
        assert_eq!(of, [0, 0, 0, 0, 1, 1, 1, 3, 3]);
    }

    #[test]
    fn blocks_have_their_rows_twice_and_begin_anew_with_each_document() {
        let packed = PackedBatch::new(&canvases(), Layout::Block { length: 2 }).unwrap();
        assert_eq!(packed.canvases, [0..4, 8..11, 14..14, 14..16]);
        assert_eq!(packed.tokens[8..14], [5, 6, 7, 5, 6, 7]);
        assert_eq!(packed.parts(&(0..4)), [0..2, 2..4]);
        assert_eq!(packed.parts(&(8..11)), [8..10, 10..11]);
        // The second block of the first canvas sees itself and the clean first block.
        assert_eq!(packed.visibility.row(2), &[2..4, 4..6]);
    }

    #[test]
    fn a_prompt_counts_from_the_beginning_of_each_document() {
        let packed = PackedBatch::new(&canvases(), Layout::Full).unwrap();
        assert_eq!(packed.open(&(4..7), &(4..7), 1), [false, true, false]);
        assert_eq!(packed.open(&(0..4), &(2..4), 3), [false, true]);
    }

    #[test]
    fn what_is_given_never_becomes_noisy_in_either_copy() {
        let given: Vec<bool> = (0..16).map(|position| [1, 2, 12].contains(&position)).collect();
        let canvases = CanvasBatch { given, ..canvases() };
        assert_eq!((canvases.filled(), canvases.learned()), (9, 6));
        let packed = PackedBatch::new(&canvases, Layout::Full).unwrap();
        assert_eq!(packed.open(&(0..4), &(0..4), 0), [true, false, false, true]);
        assert_eq!(packed.open(&(7..9), &(7..9), 0), [false, true]);
        assert_eq!(packed.open(&(0..4), &(2..4), 3), [false, true]);
        let blocks = PackedBatch::new(&canvases, Layout::Block { length: 2 }).unwrap();
        assert_eq!(blocks.given[..8], [false, true, true, false, false, true, true, false]);
        assert_eq!(canvases.select([3, 0]).given[..8], [true, false, false, false, false, true, true, false]);
    }

    #[test]
    fn shifted_rows_read_the_token_before_them_in_their_document() {
        let packed = PackedBatch::new(&canvases(), Layout::Causal).unwrap();
        assert_eq!(packed.shifted(99), [99, 1, 2, 3, 99, 5, 99, 99, 8]);
    }

    /// The canvases with a picture of two rows of one in the first and third, and a sound in the second.
    fn with_spans() -> CanvasBatch {
        let span = |positions, domain| Span { positions, approximate: false, domain };
        let picture = Domain::grid(2..4, 2, 1);
        let spans = vec![span(1..3, picture.clone()), span(5..6, Domain::line(6..7)), span(12..14, picture)];
        CanvasBatch { spans, ..canvases() }
    }

    #[test]
    fn spans_have_rows_and_places_of_their_own() {
        let packed = PackedBatch::new(&with_spans(), Layout::Full).unwrap();
        assert_eq!(packed.spans.iter().map(|span| span.positions.clone()).collect::<Vec<_>>(), [1..3, 5..6, 7..9]);
        let places = packed.places.clone().unwrap();
        let rows: Vec<&[u32]> = places.chunks(3).collect();
        assert_eq!(rows[..4], [[0, 0, 0], [1, 1, 1], [1, 2, 1], [3, 3, 3]]);
        assert_eq!(rows[4..], [[0, 0, 0], [1, 1, 1], [2, 2, 2], [0, 0, 0], [0, 1, 0]]);
        let stretches = |canvas: Range<usize>| {
            let found = packed.stretches(&canvas).into_iter();
            found.map(|(rows, span)| (rows, span.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(stretches(0..4), [(0..1, false), (1..3, true), (3..4, false)]);
        // The third row of the second canvas is of another document.
        assert_eq!(stretches(4..7), [(4..5, false), (5..6, true), (6..7, false)]);
        assert_eq!(stretches(7..9), [(7..9, true)]);
        let parts = |packed: &PackedBatch, canvas: Range<usize>| {
            let found = packed.parts_of_spans(&canvas).into_iter();
            found.map(|(rows, span)| (rows, span.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(parts(&packed, 0..4), [(0..1, false), (1..3, true), (3..4, false)]);
        assert_eq!(parts(&packed, 7..9), [(7..9, true)]);
        // Without a span the two documents of the second canvas are one part.
        let plain = PackedBatch::new(&canvases(), Layout::Full).unwrap();
        assert_eq!(parts(&plain, 4..7), [(4..7, false)]);
        // Blocks are cut where a span begins and ends.
        let blocks = PackedBatch::new(&with_spans(), Layout::Block { length: 2 }).unwrap();
        assert_eq!(parts(&blocks, 0..4), [(0..1, false), (1..2, true), (2..3, true), (3..4, false)]);
        // Text alone has positions and no places.
        assert_eq!(PackedBatch::new(&canvases(), Layout::Full).unwrap().places, None);
        // Noisy and clean rows of a block network lie at the same places.
        let twice = PackedBatch::new(&with_spans(), Layout::Block { length: 2 }).unwrap();
        let places = twice.places.unwrap();
        assert_eq!(places.len(), 3 * twice.tokens.len());
        assert_eq!(places[..12], places[12..24]);
    }

    #[test]
    fn some_canvases_are_what_they_are_among_all() {
        let all = with_spans();
        let some = all.select([3, 0, 0]);
        assert_eq!(some.tokens, [8, 9, 0, 0, 1, 2, 3, 4, 1, 2, 3, 4]);
        assert_eq!(some.documents[..4], all.documents[12..]);
        assert_eq!(some.spans.iter().map(|span| span.positions.clone()).collect::<Vec<_>>(), [0..2, 5..7, 9..11]);
        assert_eq!(all.select(0..4), all);
    }
}
