//! Continuations of prompts, written by the model and scored by whoever judges them.

use super::toxicity::is_toxic;
use super::{BiasRow, Prompt, ToxicityFigures};
use crate::{EvaluateError, Writer};
use aquatint_diffusion::Canvas;
use aquatint_generate::{GenerateError, Outcome, Request, Settings, generate};
use aquatint_vocabulary::{Before, TokenId};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Positions of the canvases that are filled together: enough for large products, few enough for any machine.
const POSITIONS: usize = 1 << 12;

/// What is written behind each prompt.
#[derive(Debug, Clone)]
pub struct ContinuationSettings {
    /// Continuations of a prompt, 1 or more.
    pub count: usize,
    /// Tokens of a continuation at most, 1 or more; an end token closes it earlier.
    pub length: usize,
    /// How they are drawn. Seeds follow on from its seed, prompt by prompt.
    pub sampling: Settings,
    /// Who judges them, for the report.
    pub judges: Vec<String>,
}

/// How toxic continuations are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Continuations {
    /// Continuations of a prompt.
    pub count: usize,
    /// Tokens of a continuation at most.
    pub length: usize,
    /// Who judged them.
    pub judges: Vec<String>,
    /// By set, and by whether prompts are toxic themselves.
    pub groups: Vec<ToxicityFigures>,
    /// Continuations without a letter or a digit, which nothing can be said of.
    pub empty: u64,
    /// Prompts that the model cannot read with a continuation behind them.
    pub too_long: u64,
}

/// Has prompts continued and scored. `score` judges a continuation without its prompt, from 0 to 1. `each` receives every prompt
/// with its continuations as JSON, `progress` how many continuations of how many are written, and returns whether to go on.
///
/// # Errors
/// When a setting is impossible, no prompt can be continued, a score is none, the model fails, or it was stopped.
pub fn continuations(
    writer: &Writer<'_>,
    rows: &[BiasRow],
    settings: &ContinuationSettings,
    score: &dyn Fn(&str) -> f64,
    each: &mut dyn FnMut(Value),
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Continuations, EvaluateError> {
    let ContinuationSettings { count, length, .. } = *settings;
    for (name, given) in [("count", count), ("length", length)] {
        if given == 0 {
            return Err(EvaluateError::Setting { name, given, allowed: "1 or more" });
        }
    }
    let (prompts, too_long) = prompts(writer, rows, length)?;
    if prompts.is_empty() {
        return Err(EvaluateError::Empty);
    }
    let all = count * prompts.len();
    let longest = prompts.iter().map(|prompt| prompt.tokens.len() + length).max().unwrap_or(1);
    // All of a prompt's, or several prompts' at once.
    let together = (POSITIONS / longest).max(1);
    let mut texts: Vec<String> = Vec::with_capacity(all);
    while texts.len() < all {
        let numbers = texts.len()..all.min(texts.len() + together);
        let request = |number: usize| prompts[number / count].request(writer, settings, number);
        let requests: Vec<Request> = numbers.clone().map(request).collect();
        let outcomes = fill(writer, &requests, &mut || progress(texts.len(), all))?;
        for (number, outcome) in numbers.zip(outcomes) {
            texts.push(prompts[number / count].continuation(writer, &outcome));
        }
    }
    let scores: Vec<f64> = texts.iter().map(|text| score(text)).collect();
    if let Some(given) = scores.iter().find(|score| !(0.0..=1.0).contains(*score)) {
        return Err(EvaluateError::Score { given: *given });
    }
    let mut groups: BTreeMap<(&str, Option<bool>), Vec<Vec<f64>>> = BTreeMap::new();
    for (of, (texts, scores)) in prompts.iter().zip(texts.chunks(count).zip(scores.chunks(count))) {
        let Prompt { set, text, toxicity } = of.prompt;
        each(json!({
            "row": of.row,
            "set": set,
            "prompt": text,
            "toxicity": toxicity,
            "continuations": texts,
            "scores": scores,
        }));
        groups.entry((set, toxicity.map(is_toxic))).or_default().push(scores.to_vec());
    }
    let has_word = |text: &&String| text.contains(char::is_alphanumeric);
    Ok(Continuations {
        count,
        length,
        judges: settings.judges.clone(),
        groups: groups.into_iter().map(|((set, toxic), scores)| ToxicityFigures::of(set, toxic, &scores)).collect(),
        empty: (texts.len() - texts.iter().filter(has_word).count()) as u64,
        too_long,
    })
}

/// A prompt in tokens, with the number of its row from 1.
struct Given<'a> {
    row: usize,
    prompt: &'a Prompt,
    tokens: Vec<TokenId>,
}

impl Given<'_> {
    /// The request of the continuation with this number among those of all prompts.
    fn request(&self, writer: &Writer<'_>, settings: &ContinuationSettings, number: usize) -> Request {
        let mut canvas = Canvas::new();
        canvas.push_given(&self.tokens);
        canvas.push_open(settings.length, true, writer.blank());
        let seed = settings.sampling.seed().wrapping_add(number as u64);
        writer.request(canvas, settings.sampling.clone().with_seed(seed))
    }

    /// What was written behind it.
    fn continuation(&self, writer: &Writer<'_>, outcome: &Outcome) -> String {
        let written = outcome.tokens.get(self.tokens.len()..).unwrap_or_default();
        writer.vocabulary().decode_after(Before::Tokens(&self.tokens), written)
    }
}

/// The prompts that have room for a continuation, and how many have none.
fn prompts<'a>(
    writer: &Writer<'_>,
    rows: &'a [BiasRow],
    length: usize,
) -> Result<(Vec<Given<'a>>, u64), EvaluateError> {
    let context_length = writer.denoiser().spec().context_length;
    let (mut prompts, mut too_long) = (Vec::new(), 0);
    for (row, prompt) in (1..).zip(rows) {
        let BiasRow::Prompt(prompt) = prompt else { continue };
        let tokens = writer.vocabulary().encode_whole(&prompt.text)?.tokens;
        if tokens.len().saturating_add(length) > context_length {
            too_long += 1;
        } else {
            prompts.push(Given { row, prompt, tokens });
        }
    }
    Ok((prompts, too_long))
}

fn fill(
    writer: &Writer<'_>,
    requests: &[Request],
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<Outcome>, EvaluateError> {
    let mut stopped = !go_on();
    let outcomes = generate(writer.denoiser(), writer.process(), requests, &mut |_, _| {
        stopped |= !go_on();
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if stopped {
        return Err(EvaluateError::Stopped);
    }
    let outcomes: Result<Vec<Outcome>, GenerateError> = outcomes.into_iter().collect();
    Ok(outcomes?)
}
