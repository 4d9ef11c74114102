//! How sure a model is, and whether it is right as often as it is sure: spans of held-out text are filled, and each token is
//! right where it is the one that stood there.
//!
//! Three scores say how sure it is of a token: its probability at commit, the entropy of the prediction at commit, and the
//! share of further fillings, in other orders and with other seeds, that write the same token there. A span is right where
//! all of its tokens are; its score is the geometric mean of their probabilities, so that spans of any length compare.
//!
//! Of spans two more say how far further fillings agree as texts ([`DraftAgreement`]).
//!
//! Expected calibration error (Guo et al., 1706.04599): `Σ n/N · |share of right ones − mean score|` over ten bins of equal
//! width. Risk and coverage (El-Yaniv & Wiener 2010): of the share of answers with the highest scores, how many are wrong;
//! AURC is the mean of that risk over all coverages.
//!
//! A token that means the same is wrong, too, so accuracy is a lower bound of what a reader would accept.

mod measures;
mod report;

pub(crate) use measures::abstained;
pub use measures::{Abstained, Bin, Calibrated, Scored, Signal};
pub(crate) use report::{
    ABSTAINED_HEADS, SIGNAL_HEADS, SIGNAL_TEXT, abstained_rows, markdown, signal_curves, signal_rows,
};
pub use report::{calibration_page, calibration_tables};

use crate::{CANVASES_PER_PASS, DraftAgreement, EvaluateError, HeldOut, Writer};
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Canvas, Key, PADDING_DOCUMENT, TokenId};
use aquatint_generate::{Certainties, Outcome, Settings};
use serde::Serialize;
use serde_json::{Value, json};
use std::ops::Range;

/// Below which probabilities spans are left out, to show what abstaining costs and gives.
const THRESHOLDS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// What is filled, and how often.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationSettings {
    /// Canvases, spread evenly over the text; all where nothing is said.
    pub limit: Option<usize>,
    /// Spans that are open in each canvas, 1 or more.
    pub spans: usize,
    /// Tokens of a span, 1 or more.
    pub length: usize,
    /// Further fillings of each canvas; without one there is no agreement.
    pub runs: usize,
    /// Where spans lie.
    pub seed: u64,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct CalibrationFigures {
    /// Canvases that had room for the spans.
    pub canvases: u64,
    /// Further fillings of each.
    pub runs: usize,
    /// Of single tokens.
    pub tokens: Calibrated,
    /// Of spans.
    pub spans: Calibrated,
    /// What abstaining gives.
    pub abstained: Vec<Abstained>,
}

/// A token that was filled in.
#[derive(Debug, Clone, Copy)]
struct Filled {
    right: bool,
    probability: f64,
    entropy: f64,
    /// Share of further fillings with the same token.
    agreement: Option<f64>,
    /// Of a span, how far further fillings agree with it as texts.
    drafts: Option<DraftAgreement>,
}

/// A canvas with open spans, and what stood in them.
struct Cloze {
    canvas: Canvas,
    tokens: Vec<TokenId>,
    spans: Vec<Range<usize>>,
}

/// Fills spans of held-out text and compares. `sampling` gives the settings of a filling by its number: 0 is the one that is
/// measured, the others are compared with it. `each` receives every span as JSON, `progress` the canvases that are done, and
/// returns whether to go on.
///
/// # Errors
/// When a setting is impossible, no canvas has room for the spans, the model cannot fill it, or it was stopped.
pub fn calibration(
    writer: &Writer<'_>,
    held_out: &HeldOut,
    settings: &CalibrationSettings,
    sampling: &dyn Fn(usize) -> Settings,
    each: &mut dyn FnMut(Value),
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<CalibrationFigures, EvaluateError> {
    for (name, given) in [("spans", settings.spans), ("length", settings.length)] {
        if given == 0 {
            return Err(EvaluateError::setting(name, given, "1 or more"));
        }
    }
    let canvases = held_out.canvases();
    let (mut tokens, mut spans, mut done, mut used) = (Vec::new(), Vec::new(), 0, 0);
    for numbers in canvases.spread(settings.limit).chunks(CANVASES_PER_PASS) {
        let batch = canvases.batch(numbers)?;
        let clozes: Vec<Cloze> = numbers
            .iter()
            .enumerate()
            .filter_map(|(index, number)| cloze(writer, &batch, index, *number, settings))
            .collect();
        let (first, certainties) = fill_all(writer, &clozes, &sampling(0), done, progress)?;
        let mut others = Vec::new();
        for run in 1..=settings.runs {
            others.push(fill_all(writer, &clozes, &sampling(run), done, progress)?.0);
        }
        for (index, cloze) in clozes.iter().enumerate() {
            used += 1;
            for span in &cloze.spans {
                let filled: Vec<Filled> = span
                    .clone()
                    .map(|position| {
                        let written = first[index].canvas.tokens()[position];
                        let certainty = certainties[index].at(position);
                        let same = others.iter().filter(|run| run[index].canvas.tokens()[position] == written).count();
                        Filled {
                            right: written == cloze.tokens[position],
                            probability: certainty.map_or(0.0, |certainty| certainty.probability),
                            entropy: certainty.and_then(|certainty| certainty.entropy).unwrap_or(0.0),
                            agreement: (settings.runs > 0).then(|| same as f64 / settings.runs as f64),
                            drafts: None,
                        }
                    })
                    .collect();
                let text = |run: &[Outcome]| writer.vocabulary().decode(&run[index].canvas.tokens()[span.clone()]);
                let written = text(&first);
                let drafts = DraftAgreement::new(
                    &written,
                    &others.iter().map(|run| text(run)).collect::<Vec<_>>(),
                    DraftAgreement::NEAR,
                );
                each(json!({
                    "written": written,
                    "expected": writer.vocabulary().decode(&cloze.tokens[span.clone()]),
                    "right": filled.iter().map(|token| token.right).collect::<Vec<_>>(),
                    "probability": filled.iter().map(|token| token.probability).collect::<Vec<_>>(),
                    "entropy": filled.iter().map(|token| token.entropy).collect::<Vec<_>>(),
                    "agreement": filled.iter().map(|token| token.agreement).collect::<Vec<_>>(),
                    "same_words": drafts.map(|drafts| drafts.same_words),
                    "same_cluster": drafts.map(|drafts| drafts.same_cluster),
                }));
                spans.push(Filled { drafts, ..of_span(&filled) });
                tokens.extend(filled);
            }
        }
        done += numbers.len() as u64;
        if !progress(done) {
            return Err(EvaluateError::Stopped);
        }
    }
    if tokens.is_empty() {
        return Err(EvaluateError::Empty);
    }
    let probabilities: Vec<Scored> =
        spans.iter().map(|span| Scored { score: span.probability, right: span.right }).collect();
    let abstained = abstained(&probabilities, THRESHOLDS);
    let (tokens, spans) = (calibrated(&tokens), calibrated(&spans));
    Ok(CalibrationFigures { canvases: used, runs: settings.runs, tokens, spans, abstained })
}

/// A span as one answer.
fn of_span(tokens: &[Filled]) -> Filled {
    let mean = |of: fn(&Filled) -> f64| tokens.iter().map(of).sum::<f64>() / tokens.len().max(1) as f64;
    let agreement = tokens.iter().map(|token| token.agreement).sum::<Option<f64>>();
    Filled {
        right: tokens.iter().all(|token| token.right),
        probability: mean(|token| token.probability.ln()).exp(),
        entropy: mean(|token| token.entropy),
        agreement: agreement.map(|sum| sum / tokens.len().max(1) as f64),
        drafts: None,
    }
}

fn calibrated(filled: &[Filled]) -> Calibrated {
    let scored = |score: &dyn Fn(&Filled) -> f64| -> Vec<Scored> {
        filled.iter().map(|one| Scored { score: score(one), right: one.right }).collect()
    };
    let mut signals = vec![
        Signal::of_probabilities("probability at commit", &scored(&|one| one.probability)),
        Signal::of_ranks("entropy at commit", &scored(&|one| -one.entropy)),
    ];
    if filled.iter().all(|one| one.agreement.is_some()) {
        let agreements = scored(&|one| one.agreement.unwrap_or(0.0));
        signals.push(Signal::of_probabilities("agreement of fillings", &agreements));
    }
    if filled.iter().all(|one| one.drafts.is_some()) {
        let of = |score: fn(&DraftAgreement) -> f64| scored(&|one| one.drafts.as_ref().map_or(0.0, score));
        signals.push(Signal::of_probabilities("drafts with the same words", &of(|drafts| drafts.same_words)));
        signals.push(Signal::of_probabilities("drafts in one cluster", &of(|drafts| drafts.same_cluster)));
    }
    Calibrated { accuracy: filled.iter().map(|one| one.right).collect(), signals }
}

/// A canvas with its spans open, of its longest document; `None` where that has no room for them. Each lies somewhere in its
/// own share of the document, and none holds a special token.
fn cloze(
    writer: &Writer<'_>,
    batch: &CanvasBatch,
    index: usize,
    number: u64,
    settings: &CalibrationSettings,
) -> Option<Cloze> {
    let all = index * batch.length..(index + 1) * batch.length;
    let mut start = all.start;
    let documents = batch.documents[all].chunk_by(|a, b| a == b).map(|run| {
        start += run.len();
        (start - run.len()..start, run[0])
    });
    let (document, _) = documents
        .filter(|(_, document)| *document != PADDING_DOCUMENT)
        .max_by_key(|(range, _)| (range.len(), std::cmp::Reverse(range.start)))?;
    let tokens = batch.tokens[document].to_vec();
    let share = tokens.len() / settings.spans;
    // At least one token between two spans.
    let room = share.checked_sub(settings.length)?.checked_sub(1)?;
    let mut spans = Vec::new();
    for span in 0..settings.spans {
        let offset = Key::new(settings.seed).at(number, span as u64).below(room as u64 + 1) as usize;
        let start = span * share + offset;
        let range = start..start + settings.length;
        if !tokens[range.clone()].iter().any(|token| writer.vocabulary().is_special(*token)) {
            spans.push(range);
        }
    }
    let mut canvas = Canvas::new();
    let mut end = 0;
    for span in &spans {
        canvas.push_given(&tokens[end..span.start]);
        canvas.push_open(span.len(), false, writer.blank());
        end = span.end;
    }
    canvas.push_given(&tokens[end..]);
    (!spans.is_empty()).then_some(Cloze { canvas, tokens, spans })
}

/// Fills all of some canvases, with how sure the model was of each token.
fn fill_all(
    writer: &Writer<'_>,
    clozes: &[Cloze],
    settings: &Settings,
    done: u64,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<(Vec<Outcome>, Vec<Certainties>), EvaluateError> {
    let requests: Vec<_> = clozes.iter().map(|cloze| writer.request(cloze.canvas.clone(), settings.clone())).collect();
    writer.fill_with_certainties(&requests, &mut || progress(done))
}
