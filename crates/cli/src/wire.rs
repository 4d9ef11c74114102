//! The JSON that `generate --format json|jsonl` and `--trace` write. These types are the promise to scripts: a key is
//! added, never renamed, without a line in the changelog.

use crate::arguments::TokenRange;
use crate::failure::Failure;
use aquatint::OutputPiece;
use aquatint::diffusion::Stability;
use aquatint_diffusion::{Kind, TokenId};
use aquatint_generate::{ChangeKind, ClassifierMethod, DenoisingEvent};
use aquatint_vocabulary::{MediaKind, Vocabulary};
use serde::Serialize;
use std::collections::BTreeMap;

/// One line of a trace.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    Started {
        canvas: Vec<Position>,
        forward_passes: usize,
    },
    BlockStarted {
        /// Of which part of the request, from 0: pictures and sounds are filled beside the text.
        #[serde(skip_serializing_if = "is_first")]
        part: usize,
        block: usize,
        of: usize,
        positions: Vec<usize>,
        steps: usize,
    },
    Step {
        /// Of which part of the request, from 0: pictures and sounds are filled beside the text.
        #[serde(skip_serializing_if = "is_first")]
        part: usize,
        block: usize,
        step: usize,
        of: usize,
        open: usize,
        /// The mean entropy of the predictions about the open positions of the block, in nats.
        entropy: f64,
        changes: Vec<Change>,
        closed: Vec<usize>,
    },
    BlockCommitted {
        /// Of which part of the request, from 0: pictures and sounds are filled beside the text.
        #[serde(skip_serializing_if = "is_first")]
        part: usize,
        block: usize,
        of: usize,
    },
    Finished {
        finish_reason: &'static str,
        tokens: usize,
        forward_passes: usize,
        steps: usize,
    },
    /// The last line: the whole result.
    Result(Box<Outcome>),
}

/// One position of the canvas as it was given.
#[derive(Debug, Serialize)]
pub(crate) struct Position {
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<TokenId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

/// One change of one position.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    pub(crate) position: usize,
    pub(crate) kind: &'static str,
    pub(crate) token: TokenId,
    pub(crate) text: String,
    pub(crate) confidence: f64,
}

impl Event {
    /// The form in which an event is written.
    pub(crate) fn of(event: &DenoisingEvent<'_>, vocabulary: &Vocabulary) -> Self {
        match *event {
            DenoisingEvent::Started { canvas, forward_passes } => {
                let position = |position| {
                    let token = canvas.tokens()[position];
                    let text = || vocabulary.token_text(token);
                    match canvas.kind(position) {
                        Some(Kind::Given) => Position { state: "given", token: Some(token), text: Some(text()) },
                        Some(Kind::Open) => Position { state: "open", token: None, text: None },
                        Some(Kind::Padding) | None => Position { state: "padding", token: None, text: None },
                    }
                };
                Self::Started { canvas: (0..canvas.len()).map(position).collect(), forward_passes }
            }
            DenoisingEvent::BlockStarted { part, block, of, positions, steps } => {
                Self::BlockStarted { part, block, of, positions: positions.to_vec(), steps }
            }
            DenoisingEvent::Step { part, block, step, of, changes, closed, open, entropy, .. } => {
                let change = |change: &aquatint_generate::Change| Change {
                    position: change.position,
                    kind: match change.kind {
                        ChangeKind::Committed => "committed",
                        ChangeKind::Renoised => "renoised",
                        ChangeKind::Refined => "refined",
                        ChangeKind::Edited => "edited",
                    },
                    token: change.token,
                    text: vocabulary.token_text(change.token),
                    confidence: change.confidence,
                };
                let changes = changes.iter().map(change).collect();
                Self::Step { part, block, step, of, open, entropy, changes, closed: closed.to_vec() }
            }
            DenoisingEvent::BlockCommitted { part, block, of } => Self::BlockCommitted { part, block, of },
            DenoisingEvent::Finished { reason, statistics } => Self::Finished {
                finish_reason: reason.name(),
                tokens: statistics.tokens,
                forward_passes: statistics.forward_passes,
                steps: statistics.steps,
            },
        }
    }

    /// One line of JSON.
    pub(crate) fn line(&self) -> Result<String, Failure> {
        json(self)
    }
}

/// Whether it is the first part: that of most requests is the only one.
fn is_first(part: &usize) -> bool {
    *part == 0
}

/// A value as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::of(&error).context("could not write JSON"))
}

/// What `--format json` prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// The whole canvas as text.
    pub(crate) text: String,
    /// The ids of the whole canvas, of a canvas that was given so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ids: Option<Vec<u32>>,
    /// The ids of the canvas before the first step and after each one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<Vec<Vec<u32>>>,
    /// What was written in each hole, in order.
    pub(crate) filled: Vec<String>,
    /// How sure the model was of what it wrote in each hole, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) spans: Vec<Span>,
    /// Bytes that were written and are parts of characters: no text.
    pub(crate) broken_bytes: usize,
    /// Characters of the given text that the model cannot see.
    pub(crate) unknown_characters: u64,
    /// Tokens written.
    pub(crate) tokens: usize,
    pub(crate) forward_passes: usize,
    /// Times that a guard had what offends written anew.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) repairs: usize,
    pub(crate) rows_read: usize,
    pub(crate) tokens_per_forward: f64,
    pub(crate) seconds: f64,
    pub(crate) tokens_per_second: f64,
    pub(crate) seed: u64,
    pub(crate) finish_reason: &'static str,
    pub(crate) given_tokens: usize,
    pub(crate) model: String,
    pub(crate) settings: Settings,
    /// Those of pictures and sounds, where some are made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media_settings: Option<Settings>,
    /// Text, pictures and sounds in their order, where there are pictures or sounds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) pieces: Vec<Piece>,
}

/// Whether there is nothing to report.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// What was written in a hole, with how sure the model was of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Span {
    pub(crate) text: String,
    /// The geometric mean of the probabilities of its tokens at commit; none where nothing was written.
    pub(crate) probability: Option<f64>,
    /// The mean entropy of their predictions, in nats.
    pub(crate) entropy: Option<f64>,
    /// Whether the probability is below that of `--abstain`, where that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) abstained: Option<bool>,
    pub(crate) tokens: Vec<SpanToken>,
}

/// A token that was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SpanToken {
    pub(crate) position: usize,
    pub(crate) token: TokenId,
    pub(crate) text: String,
    /// Its probability in the prediction at temperature 1, when it was written.
    pub(crate) probability: f64,
    /// The entropy of that prediction, in nats; none of a token that was moved.
    pub(crate) entropy: Option<f64>,
    /// In which step it was written, from 0.
    pub(crate) step: usize,
}

impl Span {
    /// A span of these tokens.
    pub(crate) fn new(text: String, tokens: Vec<SpanToken>) -> Self {
        let count = tokens.len() as f64;
        let logs: f64 = tokens.iter().map(|token| token.probability.ln()).sum();
        let entropy: Option<f64> = tokens.iter().map(|token| token.entropy).sum();
        let probability = (!tokens.is_empty()).then(|| (logs / count).exp());
        let entropy = entropy.filter(|_| !tokens.is_empty()).map(|sum| sum / count);
        Self { text, probability, entropy, abstained: None, tokens }
    }
}

/// A stretch of what was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Piece {
    Text {
        text: String,
    },
    Picture {
        /// Whether something of it was made.
        made: bool,
        /// All of it: `data:image/png;base64,…`.
        url: String,
    },
    Sound {
        made: bool,
        url: String,
    },
}

impl Piece {
    /// The form in which pieces are written: none where all is text.
    pub(crate) fn all_of(pieces: &[OutputPiece]) -> Vec<Self> {
        let piece = |piece: &OutputPiece| match piece {
            OutputPiece::Text(text) => Self::Text { text: text.clone() },
            OutputPiece::Media { file, is_made } => {
                let (made, url) = (*is_made, file.data_url());
                match file.kind {
                    MediaKind::Picture => Self::Picture { made, url },
                    MediaKind::Sound => Self::Sound { made, url },
                }
            }
        };
        let is_media = |piece: &OutputPiece| matches!(piece, OutputPiece::Media { .. });
        if pieces.iter().any(is_media) { pieces.iter().map(piece).collect() } else { Vec::new() }
    }
}

/// The resolved settings that, with the seed, make the result again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Settings {
    pub(crate) steps: usize,
    pub(crate) block_length: Option<usize>,
    pub(crate) policy: String,
    pub(crate) remasking: String,
    pub(crate) temperature: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) final_temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_p: Option<f64>,
    pub(crate) top_k: Option<usize>,
    pub(crate) top_p: Option<f64>,
    pub(crate) repetition_penalty: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frequency_penalty: Option<f64>,
    /// By token.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) logit_bias: BTreeMap<u32, f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) suppress_tokens: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) defer_tokens: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confidence_of: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end_token: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counting: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end_time: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) leads: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocks_from: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) self_speculation: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edit_threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edit_steps: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delete_token: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) insert_token: Option<u32>,
    pub(crate) guidance_scale: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unconditional_prompt: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classifier_target: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classifier_scale: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classifier_method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classifier_candidates: Option<usize>,
    pub(crate) cache: Option<String>,
    pub(crate) cache_refresh: Option<usize>,
    pub(crate) churn: Option<f64>,
    pub(crate) correctors: usize,
    pub(crate) revise: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) commit_likeliest: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stability_threshold: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confidence_threshold: Option<f64>,
    pub(crate) time_grid: Option<Vec<f64>>,
    /// What kind of constraint there is on the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) constraint: Option<String>,
    /// The scheme of the mark on the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) watermark: Option<String>,
}

impl Settings {
    /// The same without what says what was asked: such texts are as private as a prompt.
    #[cfg(feature = "credentials")]
    pub(crate) fn without_prompt(&self) -> Self {
        Self { unconditional_prompt: None, classifier_target: None, ..self.clone() }
    }

    /// The form in which settings are written.
    pub(crate) fn of(settings: &aquatint::Settings) -> Self {
        let (shaping, ranks) = (settings.shaping(), settings.time_grid().ranks());
        Self {
            steps: settings.steps(),
            block_length: settings.block_length(),
            policy: settings.policy_name(),
            remasking: settings.remasking().to_string(),
            temperature: shaping.temperature,
            final_temperature: shaping.final_temperature,
            min_p: shaping.min_p,
            top_k: shaping.top_k,
            top_p: shaping.top_p,
            repetition_penalty: shaping.repetition_penalty,
            presence_penalty: Some(shaping.presence_penalty).filter(|penalty| *penalty != 0.0),
            frequency_penalty: Some(shaping.frequency_penalty).filter(|penalty| *penalty != 0.0),
            logit_bias: settings.logit_bias().iter().copied().collect(),
            suppress_tokens: settings.suppress_tokens().to_vec(),
            defer_tokens: settings.defer_tokens().to_vec(),
            confidence_of: unless_default(settings.confidence_of()),
            end_token: settings.end_token(),
            stop_at: unless_default(settings.stop_at()),
            counting: unless_default(settings.counting()),
            end_time: Some(settings.end_time()).filter(|time| *time > 0.0),
            leads: settings.leads(),
            blocks_from: unless_default(settings.blocks_from()),
            self_speculation: settings.self_speculation(),
            edit_threshold: settings.editing().map(|editing| editing.threshold()),
            edit_steps: settings.editing().map(|editing| editing.steps()),
            delete_token: settings.length_tokens().map(|tokens| tokens.delete()),
            insert_token: settings.length_tokens().map(|tokens| tokens.insert()),
            guidance_scale: settings.guidance_scale(),
            unconditional_prompt: settings.unconditional_prompt().map(<[u32]>::to_vec),
            classifier_target: settings.classifier().map(|classifier| classifier.target().to_vec()),
            classifier_scale: settings.classifier().map(|classifier| classifier.scale()),
            classifier_method: settings.classifier().map(|classifier| classifier.method().to_string()),
            classifier_candidates: settings
                .classifier()
                .filter(|classifier| classifier.method() == ClassifierMethod::Exact)
                .map(|classifier| classifier.candidates()),
            cache: settings.cache().map(|cache| cache.to_string()),
            cache_refresh: settings.cache_refresh(),
            churn: settings.churn(),
            correctors: settings.correctors(),
            revise: settings.revises(),
            commit_likeliest: settings.commits_likeliest(),
            stability_threshold: settings.stability().map(Stability::patience),
            confidence_threshold: settings.stability().map(Stability::mean_entropy),
            time_grid: (!ranks.is_empty()).then(|| ranks.to_vec()),
            constraint: settings.constraint().map(|constraint| constraint.plain.name()),
            watermark: settings.watermark().map(|watermark| watermark.name().to_owned()),
        }
    }
}

/// The name of a value that is not the usual one.
fn unless_default<T: Default + PartialEq + ToString>(value: T) -> Option<String> {
    (value != T::default()).then(|| value.to_string())
}

impl std::fmt::Display for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} steps", self.steps)?;
        if let Some(length) = self.block_length {
            write!(f, " for each block of {length}")?;
        }
        write!(f, ", policy {}", self.policy)?;
        if self.remasking != "none" {
            write!(f, ", remasking {}", self.remasking)?;
        }
        write!(f, ", temperature {}", self.temperature)?;
        if let Some(last) = self.final_temperature {
            write!(f, " towards {last}")?;
        }
        if let Some(p) = self.min_p {
            write!(f, ", min-p {p}")?;
        }
        if let Some(k) = self.top_k {
            write!(f, ", top-k {k}")?;
        }
        if let Some(p) = self.top_p {
            write!(f, ", top-p {p}")?;
        }
        for (name, value) in [("repetition penalty", self.repetition_penalty), ("guidance scale", self.guidance_scale)]
        {
            if value != 1.0 {
                write!(f, ", {name} {value}")?;
            }
        }
        let penalties = [("presence penalty", self.presence_penalty), ("frequency penalty", self.frequency_penalty)];
        for (name, value) in penalties {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        if !self.logit_bias.is_empty() {
            let biases: Vec<String> = self.logit_bias.iter().map(|(token, bias)| format!("{token}={bias}")).collect();
            write!(f, ", logit bias {}", biases.join(","))?;
        }
        for (name, tokens) in [("suppressed tokens", &self.suppress_tokens), ("deferred tokens", &self.defer_tokens)] {
            if !tokens.is_empty() {
                write!(f, ", {name} {}", TokenRange::typed(tokens))?;
            }
        }
        let named = [
            ("confidence of", self.confidence_of.clone()),
            ("end token", self.end_token.map(|token| token.to_string())),
            ("stop at", self.stop_at.clone()),
            ("blocks from", self.blocks_from.clone()),
            ("unconditional prompt", self.unconditional_prompt.as_deref().map(TokenRange::typed)),
            ("classifier target", self.classifier_target.as_deref().map(TokenRange::typed)),
            ("classifier scale", self.classifier_scale.map(|scale| scale.to_string())),
            ("classifier method", self.classifier_method.clone()),
            ("classifier candidates", self.classifier_candidates.map(|count| count.to_string())),
            ("counting", self.counting.clone()),
            ("end time", self.end_time.map(|time| time.to_string())),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                write!(f, ", {name} {value}")?;
            }
        }
        if self.self_speculation {
            write!(f, ", self-speculation")?;
        }
        if self.leads {
            write!(f, ", first positions of blocks alone")?;
        }
        if let (Some(threshold), Some(steps)) = (self.edit_threshold, self.edit_steps) {
            write!(f, ", edit threshold {threshold}, edit steps {steps}")?;
        }
        if let (Some(delete), Some(insert)) = (self.delete_token, self.insert_token) {
            write!(f, ", delete token {delete}, insert token {insert}")?;
        }
        if let Some(churn) = self.churn {
            write!(f, ", churn {churn}")?;
        }
        if self.correctors > 0 {
            write!(f, ", correctors {}", self.correctors)?;
        }
        if self.revise {
            write!(f, ", revising")?;
        }
        if self.commit_likeliest {
            write!(f, ", committing the likeliest")?;
        }
        if let (Some(steps), Some(entropy)) = (self.stability_threshold, self.confidence_threshold) {
            write!(f, ", early where {steps} steps agree below {entropy} nats")?;
        }
        Ok(())
    }
}
