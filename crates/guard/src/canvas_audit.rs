//! Guards as the engine's audit of one canvas.

use crate::passage::media_spans;
use crate::{Found, Guards, Passage};
use aquatint_diffusion::{Canvas, Kind};
use aquatint_generate::{Audit, Offence};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Reads what stands on a canvas while it is filled ([`Passage::of_written`]).
type Read = dyn Fn(&Canvas) -> Passage + Send + Sync;

/// Judges the text of a canvas whenever a block of it is filled.
pub struct CanvasAudit {
    guards: Arc<Guards>,
    read: Box<Read>,
}

impl CanvasAudit {
    /// An audit of a canvas that is read so.
    pub fn new(guards: Arc<Guards>, read: impl Fn(&Canvas) -> Passage + Send + Sync + 'static) -> Self {
        Self { guards, read: Box::new(read) }
    }
}

impl Audit for CanvasAudit {
    /// Of what offends, what touches nothing that is written was given, and is left. What was judged together with words of the
    /// block, and has none of them itself, offends by those words. Else what touches no position of the block waits where it
    /// stands in another span while some text is still open, since its block may be filled by another part and is judged when
    /// it is full. The rest is reported without positions, since nothing of it can be opened again.
    fn judge(&self, canvas: &Canvas, block: &[usize]) -> Option<Offence> {
        let is_written = |position: &usize| canvas.kind(*position) == Some(Kind::Open);
        let mut found = self.guards.found(&(self.read)(canvas));
        found.retain(|found| found.positions.iter().any(is_written));
        let is_in_block = |position: &usize| block.binary_search(position).is_ok();
        for found in &mut found {
            if !found.positions.iter().any(is_in_block) {
                found.positions.extend(found.around.iter().filter(|position| is_in_block(position)));
            }
        }
        let is_of_block = |found: &Found| found.positions.iter().any(is_in_block);
        // The blocks of a part are filled one behind the other, and a span has one part.
        let of_block: Vec<&Range<usize>> = spans_of(canvas, is_in_block);
        let is_text_open =
            canvas.open_positions().iter().any(|open| !media_spans(canvas).any(|span| span.contains(open)));
        found.retain(|found| {
            let mut written = found.positions.iter().filter(|position| is_written(position));
            is_of_block(found) || !is_text_open || written.all(|at| of_block.iter().any(|span| span.contains(at)))
        });
        if let Some(fixed) = found.iter().find(|found| !is_of_block(found)) {
            return Some(Offence { positions: Vec::new(), reason: fixed.reason.clone() });
        }
        let reason = found.first()?.reason.clone();
        let mut positions: Vec<usize> = found.into_iter().flat_map(|found| found.positions).collect();
        positions.retain(is_written);
        positions.sort_unstable();
        positions.dedup();
        Some(Offence { positions, reason })
    }

    fn repairs(&self) -> usize {
        self.guards.repairs()
    }
}

/// The spans some position of which is so.
fn spans_of(canvas: &Canvas, is_so: impl Fn(&usize) -> bool) -> Vec<&Range<usize>> {
    let spans = canvas.spans().iter().map(|span| &span.positions);
    spans.filter(|span| (*span).clone().any(|position| is_so(&position))).collect()
}

impl fmt::Debug for CanvasAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanvasAudit").field("guards", &self.guards).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Guard, LinearClassifier, WordList};
    use aquatint_diffusion::{Axes, Domain, TokenId};
    use aquatint_vocabulary::{TemplateCanvas, Vocabulary};

    const MASK: TokenId = 325;
    const CODES: Domain = Domain { ids: 256..320, axes: Axes::Grid { rows: 1, columns: 2 } };

    fn vocabulary() -> Vocabulary {
        Vocabulary::from_json(include_bytes!("../../../golden/llada/tokenizer.json")).unwrap()
    }

    fn audit(guard: impl Guard + 'static, canvas: &Canvas) -> CanvasAudit {
        let vocabulary = vocabulary();
        let begun = TemplateCanvas::of_canvas(canvas.clone(), &vocabulary);
        let guards = Guards::new(vec![Arc::new(guard)], 1);
        CanvasAudit::new(Arc::new(guards), move |canvas| Passage::of_written(&begun, &vocabulary, canvas))
    }

    /// Writes a text from a position on and gives the positions that it takes.
    fn write(canvas: &mut Canvas, at: usize, text: &str) -> Vec<usize> {
        let tokens = vocabulary().encode_within(text).unwrap().tokens;
        let positions: Vec<usize> = (at..at + tokens.len()).collect();
        positions.iter().zip(tokens).for_each(|(position, token)| canvas.commit(*position, token).unwrap());
        positions
    }

    #[test]
    fn a_picture_that_is_filled_does_not_refuse_a_text_that_is_still_written() {
        let mut canvas = Canvas::new();
        canvas.push_open(8, false, MASK);
        canvas.push_span(&[None, None], false, CODES, MASK).unwrap();
        let audit = audit(WordList::parse("w", "rain").unwrap(), &canvas);
        let word = write(&mut canvas, 0, " rain");
        [8, 9].into_iter().for_each(|position| canvas.commit(position, 256).unwrap());
        assert_eq!(audit.judge(&canvas, &[8, 9]), None, "the block of the text is still open");
        // The block of the text when it is full.
        let behind = write(&mut canvas, word.len(), &".".repeat(8 - word.len()));
        let block: Vec<usize> = [&word[..], &behind].concat();
        assert_eq!(audit.judge(&canvas, &block).unwrap().positions, word);
        // Nothing is let pass for good: where no text is open, it is refused whoever was last.
        assert_eq!(audit.judge(&canvas, &[8, 9]).unwrap().positions, [0; 0]);
    }

    #[test]
    fn what_offends_in_an_earlier_block_of_the_span_is_refused_at_once() {
        let mut canvas = Canvas::new();
        canvas.push_open(8, false, MASK);
        let audit = audit(WordList::parse("w", "rain").unwrap(), &canvas);
        let word = write(&mut canvas, 0, " rain");
        let block = write(&mut canvas, word.len(), "..");
        assert_eq!(audit.judge(&canvas, &block).unwrap().positions, [0; 0]);
    }

    #[test]
    fn a_window_that_slides_offends_by_its_words_of_the_block() {
        let file = r#"{"kind": "linear", "words": 1, "window": 2, "threshold": 0.5, "bias": -1,
            "weights": {"rain": 2.0, "he": -2.0}}"#;
        let mut canvas = Canvas::new();
        canvas.push_open(6, false, MASK);
        let audit = audit(LinearClassifier::from_json("c", file).unwrap(), &canvas);
        let first = write(&mut canvas, 0, " he rain");
        assert_eq!(audit.judge(&canvas, &first), None);
        let second = write(&mut canvas, first.len(), " ran");
        let rain = *first.last().unwrap();
        let offence = audit.judge(&canvas, &second).unwrap();
        assert_eq!(offence.positions, [vec![rain], second].concat());
    }
}
