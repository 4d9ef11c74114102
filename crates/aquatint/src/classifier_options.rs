//! What is requested of guidance by a classifier.

use crate::Error;
use aquatint_generate::{ClassifierGuidance, ClassifierMethod};
use aquatint_vocabulary::Vocabulary;

/// What is requested of guidance by a classifier; nothing where there is no target.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClassifierOptions {
    /// The text that is aimed at. It stands at the beginning of the template, too, behind a begin token; the steps do not
    /// read it there.
    pub target: Option<String>,
    /// See [`ClassifierGuidance::new`]; 1 by default.
    pub scale: Option<f64>,
    /// See [`ClassifierMethod`].
    pub method: Option<ClassifierMethod>,
    /// See [`ClassifierGuidance::new`]; 8 by default.
    pub candidates: Option<usize>,
}

impl ClassifierOptions {
    /// What says something of a target, by the names of [`SamplingOptions::requests`](crate::SamplingOptions::requests).
    pub(crate) const OF_TARGET: [&str; 3] = ["classifier_scale", "classifier_method", "classifier_candidates"];

    /// The guidance that is requested, by the tokens of a vocabulary.
    ///
    /// # Errors
    /// When a number is out of its range, or the target has no tokens.
    pub(crate) fn guidance(&self, vocabulary: &Vocabulary) -> Result<Option<ClassifierGuidance>, Error> {
        let Self { target, scale, method, candidates } = self;
        let Some(target) = target else { return Ok(None) };
        let scale = scale.unwrap_or(ClassifierGuidance::SCALE);
        let candidates = candidates.unwrap_or(ClassifierGuidance::CANDIDATES);
        let guidance = ClassifierGuidance::new(vocabulary.encode(target)?, scale, candidates)?;
        Ok(Some(guidance.with_method(method.unwrap_or_default())))
    }
}
