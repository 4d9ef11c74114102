//! Canvases of fixed length, laid out over shards.
//!
//! A document longer than a canvas is cut into consecutive canvases; what is left of it, and every shorter document,
//! shares canvases with others. Each goes where it leaves the least room among the canvases that are still open (best
//! fit), which keeps padding to a few percent without ever tearing a short document in two. Nor is a span of codes torn,
//! a picture or a sound, where a canvas can hold it. No document attends to
//! another: each position carries the number of its document, and attention stays within equal numbers.
//!
//! The begin token of a document, where it has one, is given on its canvas and costs nothing.
//!
//! Or no document shares a canvas, and each is filled with end tokens, which are learned like all others, so that a model
//! learns how long documents are (LLaDA, 2502.09992, section 2.3).

use crate::best_fit::BestFit;
use crate::{CorpusError, Packed, Shard};
use aquatint_diffusion::{Domain, PADDING_DOCUMENT, Span};
use aquatint_vocabulary::{TokenId, UnknownText};

/// Rows of tokens ready for a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CanvasBatch {
    /// Positions of one canvas, L.
    pub length: usize,
    /// B·L tokens, canvas by canvas. Padding positions hold `0`, whatever token that is: their document says that they
    /// are padding.
    pub tokens: Vec<TokenId>,
    /// B·L document numbers, counted through the batch so that no two documents of it share one; [`PADDING_DOCUMENT`]
    /// behind a canvas's last document.
    pub documents: Vec<u32>,
    /// B·L UTF-8 bytes of text that each token stands for; 0 for padding. An end token has those that the tokens before
    /// it could not hold, 0 as a rule.
    pub text_bytes: Vec<u32>,
    /// The spans of other domains than text, by their positions in the batch, ascending.
    pub spans: Vec<Span>,
    /// B·L: whether a token is given in every step and has no cost, as what is said to a model has none in a conversation.
    /// Empty where no token is.
    pub given: Vec<bool>,
}

impl CanvasBatch {
    /// So many canvases of nothing but padding.
    pub(crate) fn padding(canvases: usize, length: usize) -> Self {
        let positions = canvases * length;
        Self {
            length,
            tokens: vec![0; positions],
            documents: vec![PADDING_DOCUMENT; positions],
            text_bytes: vec![0; positions],
            spans: Vec::new(),
            given: Vec::new(),
        }
    }

    /// The canvases of these numbers, in this order; one may come several times.
    #[must_use]
    pub fn select(&self, canvases: impl IntoIterator<Item = usize>) -> Self {
        let mut selected = Self { length: self.length, ..Self::default() };
        for canvas in canvases {
            let range = canvas * self.length..(canvas + 1) * self.length;
            let start = selected.tokens.len();
            selected.tokens.extend_from_slice(&self.tokens[range.clone()]);
            selected.documents.extend_from_slice(&self.documents[range.clone()]);
            selected.text_bytes.extend_from_slice(&self.text_bytes[range.clone()]);
            if !self.given.is_empty() {
                selected.given.extend_from_slice(&self.given[range.clone()]);
            }
            selected.spans.extend(self.spans_of(canvas).iter().map(|span| span.moved(range.start, start)));
        }
        selected
    }

    /// The spans that begin in a canvas, by their positions in the batch.
    pub fn spans_of(&self, canvas: usize) -> &[Span] {
        let before = |position: usize| self.spans.partition_point(|span| span.positions.start < position);
        &self.spans[before(canvas * self.length)..before((canvas + 1) * self.length)]
    }

    /// How many canvases there are, B.
    pub fn canvases(&self) -> usize {
        self.tokens.len() / self.length
    }

    /// How many positions are no padding.
    pub fn filled(&self) -> usize {
        self.documents.iter().filter(|&&document| document != PADDING_DOCUMENT).count()
    }

    /// How many positions are neither padding nor given.
    pub fn learned(&self) -> usize {
        self.filled() - self.given.iter().filter(|given| **given).count()
    }
}

/// The part of a document that lies in a canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentPart {
    /// The document's number, counted over all shards.
    pub document: u64,
    /// Tokens of the document before this part.
    pub start: u64,
    /// Tokens of this part, the end token included.
    pub length: usize,
}

/// A stretch of one document in a canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    start: u64,
    length: u32,
}

/// One shard as canvases.
#[derive(Debug)]
struct Laid {
    shard: Shard,
    domains: Vec<Domain>,
    begin: Option<TokenId>,
    segments: Vec<Segment>,
    /// Per canvas, where its segments end; they begin where those of the one before end.
    ends: Vec<u64>,
    /// How many times each canvas counts in [`Canvases::len`].
    repeat: u64,
}

impl Laid {
    fn canvas(&self, index: usize) -> &[Segment] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.segments[start..self.ends[index] as usize]
    }
}

/// Canvases over several shards, numbered from 0; a shard that repeats has each of its canvases under several numbers.
#[derive(Debug)]
pub struct Canvases {
    length: usize,
    laid: Vec<Laid>,
    /// What fills the canvas of a document that is shorter, where none is shared.
    fill: Option<TokenId>,
}

impl Canvases {
    /// Lays the documents of `packed` into canvases of `length` positions. The layout depends on nothing else.
    ///
    /// # Errors
    /// When `length` is below 2 or absurd, or a shard is damaged.
    pub fn new(packed: Vec<Packed>, length: usize) -> Result<Self, CorpusError> {
        Self::lay_out(packed, length, None)
    }

    /// The same with canvases of its own for each document: `end`, which ends all documents, is repeated behind its last
    /// token until the canvas is full. A document that is longer than a canvas is cut as usual.
    ///
    /// # Errors
    /// As [`Canvases::new`].
    pub fn filled(packed: Vec<Packed>, length: usize, end: TokenId) -> Result<Self, CorpusError> {
        Self::lay_out(packed, length, Some(end))
    }

    fn lay_out(packed: Vec<Packed>, length: usize, fill: Option<TokenId>) -> Result<Self, CorpusError> {
        if length < 2 || i32::try_from(length).is_err() {
            return Err(CorpusError::CanvasLength { given: length });
        }
        let laid: Result<Vec<Laid>, CorpusError> =
            packed.into_iter().map(|packed| lay(packed, length, fill.is_none())).collect();
        Ok(Self { length, laid: laid?, fill })
    }

    /// Positions of one canvas.
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many canvases one epoch has, repetitions included.
    pub fn len(&self) -> u64 {
        self.laid.iter().map(|laid| laid.ends.len() as u64 * laid.repeat).sum()
    }

    /// Whether there is no canvas at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of one epoch, end tokens and repetitions included, padding not.
    pub fn tokens(&self) -> u64 {
        self.laid.iter().map(|laid| laid.shard.tokens() * laid.repeat).sum()
    }

    /// UTF-8 bytes of text of one epoch, repetitions included.
    pub fn text_bytes(&self) -> u64 {
        self.laid.iter().map(|laid| laid.shard.text_bytes() * laid.repeat).sum()
    }

    /// What the vocabulary cannot write of the texts, each source counted once.
    pub fn unknown(&self) -> UnknownText {
        let mut unknown = UnknownText::default();
        self.shards().for_each(|shard| unknown += shard.unknown());
        unknown
    }

    /// The shards, in the order of their sources.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.laid.iter().map(|laid| &laid.shard)
    }

    /// The canvases of these numbers, in this order.
    ///
    /// # Errors
    /// When a number is not below [`Canvases::len`], or a shard is damaged.
    pub fn batch(&self, numbers: &[u64]) -> Result<CanvasBatch, CorpusError> {
        let mut batch = CanvasBatch::padding(numbers.len(), self.length);
        if self.laid.iter().any(|laid| laid.begin.is_some()) {
            batch.given = vec![false; batch.tokens.len()];
        }
        let mut document = 0;
        for (row, &number) in numbers.iter().enumerate() {
            let (laid, index) = self.find(number)?;
            let mut position = row * self.length;
            for segment in laid.canvas(index) {
                let end = position + segment.length as usize;
                let (tokens, text_bytes) = (&mut batch.tokens[position..end], &mut batch.text_bytes[position..end]);
                laid.shard.copy(segment.start, tokens, text_bytes)?;
                batch.spans.extend(spans(tokens, position, &laid.domains));
                batch.documents[position..end].fill(document);
                // No text has this token.
                if laid.begin == Some(batch.tokens[position]) {
                    batch.given[position] = true;
                }
                document += 1;
                position = end;
            }
            // A part that a longer document goes on behind has no end.
            if let Some(end) = self.fill.filter(|end| batch.tokens[position - 1] == *end) {
                let rest = position..(row + 1) * self.length;
                batch.tokens[rest.clone()].fill(end);
                batch.documents[rest].fill(document - 1);
            }
        }
        Ok(batch)
    }

    /// The parts of documents that lie in the canvas of a number, in their order.
    ///
    /// # Errors
    /// When the number is not below [`Canvases::len`], or the shard is damaged.
    pub fn parts(&self, number: u64) -> Result<Vec<DocumentPart>, CorpusError> {
        let (laid, index) = self.find(number)?;
        let shards_before = self.laid.iter().take_while(|other| !std::ptr::eq(*other, laid));
        let before: u64 = shards_before.map(|other| other.shard.documents()).sum();
        let part = |segment: &Segment| {
            let (document, span) = laid.shard.document_at(segment.start)?;
            let (document, start) = (before + document, segment.start - span.tokens.start);
            Some(DocumentPart { document, start, length: segment.length as usize })
        };
        let parts: Option<Vec<DocumentPart>> = laid.canvas(index).iter().map(part).collect();
        parts.ok_or_else(|| laid.shard.damaged("its table of documents does not reach its tokens"))
    }

    /// The first number of each of `limit` equal parts, or all numbers where there is no limit or are fewer canvases.
    pub fn spread(&self, limit: Option<usize>) -> Vec<u64> {
        spread(self.len(), limit)
    }

    /// The shard and the canvas within it of a number.
    fn find(&self, number: u64) -> Result<(&Laid, usize), CorpusError> {
        let mut rest = number;
        for laid in &self.laid {
            let count = laid.ends.len() as u64;
            if rest < count * laid.repeat {
                return Ok((laid, (rest % count) as usize));
            }
            rest -= count * laid.repeat;
        }
        Err(CorpusError::NoSuchCanvas { given: number, count: self.len() })
    }
}

/// The first number of each of `limit` equal parts of `count` numbers, or all where there is no limit or are fewer.
pub fn spread(count: u64, limit: Option<usize>) -> Vec<u64> {
    let limit = limit.map_or(count, |limit| (limit as u64).min(count));
    (0..limit).map(|index| index * count / limit).collect()
}

/// How many tokens from `start` on a canvas of `full` takes of a document that is longer: all that fit, less the beginning
/// of a span of codes that does not fit as a whole. A span that no canvas holds is cut like text.
fn uncut(laid: &Laid, start: u64, full: u64) -> Result<u64, CorpusError> {
    if laid.domains.is_empty() {
        return Ok(full);
    }
    let (mut tokens, mut text_bytes) = (vec![0; full as usize + 1], vec![0; full as usize + 1]);
    laid.shard.copy(start, &mut tokens, &mut text_bytes)?;
    let is_code = |token: &TokenId| laid.domains.iter().any(|domain| domain.ids.contains(token));
    // The tokens that open and close a span stand beside codes.
    let cut = (1..=full as usize).rev().find(|&cut| !is_code(&tokens[cut - 1]) && !is_code(&tokens[cut]));
    Ok(cut.map_or(full, |cut| cut as u64))
}

/// The spans of codes in tokens that stand at `position`: neighbouring codes of one domain. What is left of a picture that
/// no canvas holds lies in a line.
fn spans(tokens: &[TokenId], position: usize, domains: &[Domain]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for (index, token) in (position..).zip(tokens) {
        let Some(domain) = domains.iter().find(|domain| domain.ids.contains(token)) else { continue };
        match spans.last_mut() {
            Some(span) if span.positions.end == index && span.domain == *domain => span.positions.end = index + 1,
            _ => spans.push(Span { positions: index..index + 1, approximate: false, domain: domain.clone() }),
        }
    }
    for span in &mut spans {
        if span.domain.axes.positions().is_some_and(|positions| positions != span.positions.len()) {
            span.domain = Domain::line(span.domain.ids.clone());
        }
    }
    spans
}

fn lay(packed: Packed, length: usize, are_shared: bool) -> Result<Laid, CorpusError> {
    let full = length as u64;
    let mut laid = Laid {
        shard: packed.shard,
        domains: packed.domains,
        begin: packed.begin,
        segments: Vec::new(),
        ends: Vec::new(),
        repeat: packed.repeat.into(),
    };
    let (mut segments, mut ends) = (Vec::new(), Vec::new());
    let mut close = |canvas: &[Segment]| {
        segments.extend_from_slice(canvas);
        ends.push(segments.len() as u64);
    };
    let mut waiting = BestFit::new(full);
    for document in (0..laid.shard.documents()).filter_map(|index| laid.shard.document(index)) {
        let mut start = document.tokens.start;
        loop {
            let rest = document.tokens.end - start;
            let taken = if rest > full { uncut(&laid, start, full)? } else { rest };
            if taken == 0 {
                break;
            }
            let segment = Segment { start, length: taken as u32 };
            start += taken;
            if taken == full || !are_shared {
                close(&[segment]);
                continue;
            }
            waiting.put(segment, taken).iter().for_each(|canvas| close(canvas));
        }
    }
    waiting.finish().for_each(|canvas| close(&canvas));
    laid.segments = segments;
    laid.ends = ends;
    Ok(laid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canvases_are_spread_evenly() {
        assert_eq!(spread(10, None), (0..10).collect::<Vec<_>>());
        assert_eq!(spread(10, Some(3)), [0, 3, 6]);
        assert_eq!(spread(2, Some(5)), [0, 1]);
        assert_eq!(spread(0, Some(5)), [0u64; 0]);
    }
}
