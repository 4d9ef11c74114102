//! Canvases that are measured in one pass, with the documents whose parts lie in them.

use aquatint_corpus::{CanvasBatch, Canvases, CorpusError, DocumentPart};
use aquatint_diffusion::PADDING_DOCUMENT;

/// Canvases of one pass, and which part of which document each of them holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOutBatch {
    canvases: CanvasBatch,
    /// The parts of each canvas, in their order; `None` where every document lies whole in its canvas.
    parts: Option<Vec<Vec<DocumentPart>>>,
}

impl HeldOutBatch {
    /// The canvases of these numbers.
    ///
    /// # Errors
    /// When a number is not below [`Canvases::len`], or a shard is damaged.
    pub fn of(canvases: &Canvases, numbers: &[u64]) -> Result<Self, CorpusError> {
        let parts = numbers.iter().map(|number| canvases.parts(*number)).collect::<Result<_, _>>()?;
        Ok(Self { canvases: canvases.batch(numbers)?, parts: Some(parts) })
    }

    /// The canvases.
    pub fn canvases(&self) -> &CanvasBatch {
        &self.canvases
    }

    /// The parts of each canvas, in their order. Documents of which nothing else is known lie whole in their canvases; they
    /// take their numbers from `fresh`, which no two calls may begin alike.
    pub(crate) fn parts(&self, fresh: &mut u64) -> Vec<Vec<DocumentPart>> {
        if let Some(parts) = &self.parts {
            return parts.clone();
        }
        let mut whole = |run: &[u32]| {
            *fresh += 1;
            // Far from the numbers of documents in files.
            DocumentPart { document: u64::MAX - *fresh, start: 0, length: run.len() }
        };
        let runs = |documents: &[u32]| -> Vec<DocumentPart> {
            let runs = documents.chunk_by(|a, b| a == b).filter(|run| run[0] != PADDING_DOCUMENT);
            runs.map(&mut whole).collect()
        };
        self.canvases.documents.chunks(self.canvases.length.max(1)).map(runs).collect()
    }
}

/// Canvases in which every document lies whole, and in no other.
impl From<CanvasBatch> for HeldOutBatch {
    fn from(canvases: CanvasBatch) -> Self {
        Self { canvases, parts: None }
    }
}
