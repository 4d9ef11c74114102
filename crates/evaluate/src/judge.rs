//! Generative perplexity: how likely a causal model finds what another model wrote.

use crate::texts::canvases_of;
use crate::{CANVASES_PER_PASS, CausalLikelihood, EvaluateError, likelihood};
use aquatint_diffusion::TokenId;
use aquatint_network::{Denoiser, NetworkKind};
use aquatint_vocabulary::{Role, Vocabulary};
use std::sync::atomic::{AtomicBool, Ordering};

/// A causal model that says how likely texts are.
pub struct Judge<'a> {
    name: String,
    denoiser: &'a dyn Denoiser,
    vocabulary: &'a Vocabulary,
    begin: TokenId,
}

/// What a judge says of some texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// `exp` of the nats per token of the judge's.
    pub perplexity: f64,
    /// Tokens of the judge's that were read.
    pub tokens: u64,
}

impl<'a> Judge<'a> {
    /// A judge under the name by which figures are found again.
    ///
    /// # Errors
    /// When the network is not causal, or its vocabulary has no token that begins a text.
    pub fn new(name: &str, denoiser: &'a dyn Denoiser, vocabulary: &'a Vocabulary) -> Result<Self, EvaluateError> {
        if denoiser.spec().kind() != NetworkKind::Causal {
            return Err(EvaluateError::NotCausal { model: name.to_owned() });
        }
        let begin = vocabulary.required(Role::Begin)?;
        Ok(Self { name: name.to_owned(), denoiser, vocabulary, begin })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Judges texts of up to `length` tokens of their writer's.
    ///
    /// # Errors
    /// When a text cannot be encoded, there is none, the network fails, or it was cancelled.
    pub fn judge(&self, texts: &[String], length: usize, stop: &AtomicBool) -> Result<Judgement, EvaluateError> {
        let texts = self.vocabulary.encode_many(texts)?;
        // A text may be more tokens of the judge's than of its writer's; what the judge cannot read is cut off.
        let length = (2 * length).min(self.denoiser.spec().context_length);
        let batches = canvases_of(&texts, length, CANVASES_PER_PASS).into_iter().map(Ok);
        let rule = CausalLikelihood { begin: self.begin, prompt: 0 };
        let go_on = &mut |_| !stop.load(Ordering::SeqCst);
        let judged = likelihood(self.denoiser, &rule, 0, batches, go_on)?;
        Ok(Judgement { perplexity: judged.perplexity, tokens: judged.tokens })
    }
}
