//! The rows of a pass by the documents that they belong to: which are given, and what each document costs.

use aquatint_batch::PackedBatch;
use aquatint_corpus::DocumentPart;
use aquatint_diffusion::TokenId;
use std::ops::Range;

/// The part of a document in a canvas of a pass.
#[derive(Debug, Clone, Copy)]
pub struct PassPart {
    /// The canvas, counted in the pass.
    pub canvas: usize,
    /// The document.
    pub document: u64,
    /// Tokens of it that are measured.
    pub tokens: usize,
}

/// Which document each row of a pass belongs to.
#[derive(Debug)]
pub struct Documents {
    parts: Vec<PassPart>,
    /// The part that each row which may be measured belongs to; 0 for other rows, which cost nothing.
    part_of: Vec<usize>,
    is_given: Vec<bool>,
    /// The codes of the domains whose spans are among the rows.
    domains: Vec<Range<TokenId>>,
    /// The domain of each row that lies in a span.
    domain_of: Vec<Option<usize>>,
}

impl Documents {
    /// The documents of rows, whose canvases have these parts; the first `prompt` tokens of each document are given.
    pub(crate) fn new(rows: &PackedBatch, parts: &[Vec<DocumentPart>], prompt: usize) -> Self {
        let length = rows.tokens.len();
        let mut documents = Self {
            parts: Vec::new(),
            part_of: vec![0; length],
            is_given: vec![true; length],
            domains: Vec::new(),
            domain_of: vec![None; length],
        };
        for span in &rows.spans {
            let known = documents.domains.iter().position(|ids| *ids == span.domain.ids);
            let domain = known.unwrap_or_else(|| {
                documents.domains.push(span.domain.ids.clone());
                documents.domains.len() - 1
            });
            documents.domain_of[span.positions.clone()].fill(Some(domain));
        }
        for (canvas, (all, parts)) in rows.canvases.iter().zip(parts).enumerate() {
            let mut start = all.start;
            for part in parts {
                let own = start..(start + part.length).min(all.end);
                let given = (prompt as u64).saturating_sub(part.start).min(own.len() as u64) as usize;
                documents.part_of[own.clone()].fill(documents.parts.len());
                let measured = own.start + given..own.end;
                documents.is_given[measured.clone()].copy_from_slice(&rows.given[measured.clone()]);
                let tokens = measured.filter(|row| !rows.given[*row]).count();
                documents.parts.push(PassPart { canvas, document: part.document, tokens });
                start = own.end;
            }
        }
        documents
    }

    /// Which of these rows are measured.
    pub fn open(&self, rows: Range<usize>) -> Vec<bool> {
        self.is_given[rows].iter().map(|given| !given).collect()
    }

    /// Whether a row is measured.
    pub fn is_open(&self, row: usize) -> bool {
        !self.is_given[row]
    }

    /// The codes of the domains whose spans are among the rows.
    pub(crate) fn domains(&self) -> &[Range<TokenId>] {
        &self.domains
    }

    /// The domain of a row, if it lies in a span.
    pub(crate) fn domain_of(&self, row: usize) -> Option<usize> {
        self.domain_of[row]
    }

    /// The parts of all canvases.
    pub fn parts(&self) -> &[PassPart] {
        &self.parts
    }

    /// Nothing that these rows cost yet.
    pub(crate) fn no_costs(&self, canvases: usize) -> Costs<'_> {
        let (parts, domains) = (vec![0.0; self.parts.len()], vec![0.0; self.domains.len()]);
        Costs { documents: self, canvases: vec![0.0; canvases], parts, domains }
    }
}

/// What the rows of a pass cost in nats, by canvas and by part of a document. The sums of canvases are kept beside those
/// of parts, so that what a text costs does not hang on how its documents are told apart.
#[derive(Debug)]
pub struct Costs<'a> {
    documents: &'a Documents,
    /// By canvas.
    pub(crate) canvases: Vec<f64>,
    /// By part, in the order of [`Documents::parts`].
    pub(crate) parts: Vec<f64>,
    /// What codes cost, by domain in the order of [`Documents::domains`].
    pub(crate) domains: Vec<f64>,
}

impl Costs<'_> {
    /// Adds what a row costs.
    pub fn add(&mut self, row: usize, nats: f64) {
        let part = self.documents.part_of[row];
        self.parts[part] += nats;
        self.canvases[self.documents.parts[part].canvas] += nats;
        if let Some(domain) = self.documents.domain_of[row] {
            self.domains[domain] += nats;
        }
    }

    /// Adds what measured rows of one canvas cost together; each document among them has its share by tokens.
    pub fn add_together(&mut self, rows: Range<usize>, nats: f64) {
        let Some(canvas) = self.documents.part_of.get(rows.start).map(|part| self.documents.parts[*part].canvas) else {
            return;
        };
        self.canvases[canvas] += nats;
        let open: Vec<usize> = rows.filter(|row| self.documents.is_open(*row)).collect();
        for row in &open {
            self.parts[self.documents.part_of[*row]] += nats / open.len() as f64;
            if let Some(domain) = self.documents.domain_of[*row] {
                self.domains[domain] += nats / open.len() as f64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_corpus::CanvasBatch;
    use aquatint_diffusion::{Domain, Layout, PADDING_DOCUMENT, Span};

    /// Two canvases of 4 positions: the middle of document 5, and its end before the whole of document 6.
    fn pass(layout: Layout) -> (PackedBatch, Vec<Vec<DocumentPart>>) {
        let batch = CanvasBatch {
            length: 4,
            tokens: vec![1, 2, 3, 4, 5, 6, 7, 0],
            documents: vec![0, 0, 0, 0, 1, 2, 2, PADDING_DOCUMENT],
            text_bytes: vec![1; 8],
            spans: Vec::new(),
            given: Vec::new(),
        };
        let part = |document, start, length| DocumentPart { document, start, length };
        (PackedBatch::new(&batch, layout).unwrap(), vec![vec![part(5, 4, 4)], vec![part(5, 8, 1), part(6, 0, 2)]])
    }

    #[test]
    fn what_is_given_is_counted_from_the_beginning_of_the_document() {
        for layout in [Layout::Full, Layout::Causal, Layout::Block { length: 2 }] {
            let (rows, parts) = pass(layout);
            for (prompt, first, second) in [
                (0, [true; 4], [true; 3]),
                (1, [true; 4], [true, false, true]),
                (6, [false, false, true, true], [true, false, false]),
                (9, [false; 4], [false; 3]),
            ] {
                let documents = Documents::new(&rows, &parts, prompt);
                let open: Vec<Vec<bool>> = rows.canvases.iter().map(|canvas| documents.open(canvas.clone())).collect();
                assert_eq!((open[0].as_slice(), open[1].as_slice()), (&first[..], &second[..]), "{layout} {prompt}");
                let measured: usize = documents.parts().iter().map(|part| part.tokens).sum();
                assert_eq!(measured, open.iter().flatten().filter(|open| **open).count());
            }
        }
    }

    #[test]
    fn what_a_conversation_gives_is_not_measured() {
        for layout in [Layout::Full, Layout::Block { length: 2 }] {
            let given = vec![true, false, false, true, true, false, true, false];
            let (plain, parts) = pass(layout);
            let tokens = |rows: &PackedBatch, prompt| -> Vec<usize> {
                Documents::new(rows, &parts, prompt).parts().iter().map(|part| part.tokens).collect()
            };
            assert_eq!(tokens(&plain, 0), [4, 1, 2]);
            let canvases = CanvasBatch {
                length: 4,
                tokens: vec![1, 2, 3, 4, 5, 6, 7, 0],
                documents: vec![0, 0, 0, 0, 1, 2, 2, PADDING_DOCUMENT],
                text_bytes: vec![1; 8],
                spans: Vec::new(),
                given,
            };
            let rows = PackedBatch::new(&canvases, layout).unwrap();
            assert_eq!(tokens(&rows, 0), [2, 0, 1]);
            assert_eq!(tokens(&rows, 6), [1, 0, 0]);
            let documents = Documents::new(&rows, &parts, 0);
            let open: Vec<Vec<bool>> = rows.canvases.iter().map(|canvas| documents.open(canvas.clone())).collect();
            assert_eq!(open, [vec![false, true, true, false], vec![false, true, false]]);
        }
    }

    #[test]
    fn costs_are_of_the_canvas_and_of_the_part_of_the_document() {
        let (rows, parts) = pass(Layout::Full);
        let documents = Documents::new(&rows, &parts, 1);
        let mut costs = documents.no_costs(rows.canvases.len());
        costs.add(1, 2.0);
        costs.add(4, 3.0);
        // Of two rows that may cost something, each document has one.
        costs.add_together(4..7, 1.0);
        assert_eq!(costs.canvases, [2.0, 4.0]);
        assert_eq!(costs.parts, [2.0, 3.5, 0.5]);
        let numbers: Vec<(usize, u64)> = documents.parts().iter().map(|part| (part.canvas, part.document)).collect();
        assert_eq!(numbers, [(0, 5), (1, 5), (1, 6)]);
    }

    #[test]
    fn costs_of_codes_are_of_their_domain() {
        let span = |positions, ids| Span { positions, approximate: false, domain: Domain::line(ids) };
        let batch = CanvasBatch {
            length: 6,
            tokens: vec![1, 20, 21, 2, 30, 22],
            documents: vec![0; 6],
            text_bytes: vec![1, 0, 0, 1, 0, 0],
            spans: vec![span(1..3, 20..30), span(4..5, 30..40), span(5..6, 20..30)],
            given: Vec::new(),
        };
        let rows = PackedBatch::new(&batch, Layout::Full).unwrap();
        let documents = Documents::new(&rows, &[vec![DocumentPart { document: 0, start: 0, length: 6 }]], 0);
        assert_eq!(documents.domains(), [20..30, 30..40]);
        let mut costs = documents.no_costs(1);
        (0..6).for_each(|row| costs.add(row, 1.0));
        costs.add_together(3..6, 3.0);
        assert_eq!((costs.canvases, costs.domains), (vec![9.0], vec![4.0, 2.0]));
    }
}
