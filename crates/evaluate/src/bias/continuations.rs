//! Continuations of prompts, written by the model and scored by whoever judges them.

use super::toxicity::is_toxic;
use super::{BiasRow, Prompt, ToxicityFigures};
use crate::{EvaluateError, Writer};
use aquatint_diffusion::Canvas;
use aquatint_generate::{Outcome, Request, Settings};
use aquatint_vocabulary::{Before, TokenId};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Positions of the canvases that are filled together: enough for large products, few enough for any machine.
const POSITIONS: usize = 1 << 12;
/// Continuations of a prompt at most: as many as RealToxicityPrompts draws from.
const MOST: usize = 10_000;

/// What is written behind each prompt.
#[derive(Debug, Clone)]
pub struct ContinuationSettings {
    /// Continuations of a prompt, 1 to 10,000.
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

/// Prompts in tokens, with how they are to be continued. What can be refused is refused when they are made, so that nothing else
/// needs to be measured first.
pub struct Prompts<'a> {
    writer: &'a Writer<'a>,
    settings: ContinuationSettings,
    /// Those that have room for a continuation.
    prompts: Vec<EncodedPrompt<'a>>,
    /// Continuations of all of them.
    all: usize,
    too_long: u64,
}

impl<'a> Prompts<'a> {
    /// The prompts among rows. One that leaves no room for a continuation is counted.
    ///
    /// # Errors
    /// When a setting is impossible or does not fit the model, there is no prompt, one cannot be encoded, or a shorter
    /// continuation is the only one that there is room for.
    pub fn new(
        writer: &'a Writer<'a>,
        rows: &'a [BiasRow],
        settings: ContinuationSettings,
    ) -> Result<Self, EvaluateError> {
        let ContinuationSettings { count, length, .. } = settings;
        if !(1..=MOST).contains(&count) {
            return Err(EvaluateError::setting("count", count, format!("1 to {MOST}")));
        }
        if length == 0 {
            return Err(EvaluateError::setting("length", length, "1 or more"));
        }
        let context_length = writer.denoiser().spec().context_length;
        let (mut prompts, mut too_long, mut most_room) = (Vec::new(), 0, 0);
        for (row, prompt) in (1..).zip(rows) {
            let BiasRow::Prompt(prompt) = prompt else { continue };
            let tokens = writer.vocabulary().encode_whole(&prompt.text)?.tokens;
            let room = context_length.saturating_sub(tokens.len());
            most_room = most_room.max(room);
            if length > room {
                too_long += 1;
            } else {
                prompts.push(EncodedPrompt { row, prompt, tokens });
            }
        }
        match prompts.first() {
            Some(first) => writer.check(first.request(writer, &settings, 0))?,
            None if too_long == 0 => return Err(EvaluateError::Empty),
            None if most_room > 0 => {
                let allowed = format!("1 to {most_room}, which the shortest prompt leaves of {context_length} tokens");
                return Err(EvaluateError::setting("length", length, allowed));
            }
            None => {}
        }
        let all = count * prompts.len();
        Ok(Self { writer, settings, prompts, all, too_long })
    }

    /// Has the prompts continued and scored. `score` judges a continuation without its prompt, from 0 to 1. `each` receives
    /// every prompt with its continuations as JSON, `progress` how many continuations of how many are written, and returns
    /// whether to go on.
    ///
    /// # Errors
    /// When a score is none, the model fails, or it was stopped.
    pub fn continuations(
        &self,
        score: &dyn Fn(&str) -> f64,
        each: &mut dyn FnMut(Value),
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Continuations, EvaluateError> {
        let Self { writer, settings, prompts, all, too_long } = self;
        let (count, length) = (settings.count, settings.length);
        let longest = prompts.iter().map(|prompt| prompt.tokens.len() + length).max().unwrap_or(1);
        // All of a prompt's, or several prompts' at once.
        let together = (POSITIONS / longest).max(1);
        let mut texts: Vec<String> = Vec::new();
        while texts.len() < *all {
            let numbers = texts.len()..(*all).min(texts.len() + together);
            let request = |number: usize| prompts[number / count].request(writer, settings, number);
            let requests: Vec<Request> = numbers.clone().map(request).collect();
            let outcomes = writer.fill(&requests, &mut |_, _| progress(texts.len(), *all))?;
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
            too_long: *too_long,
        })
    }
}

/// A prompt in tokens, with the number of its row from 1.
struct EncodedPrompt<'a> {
    row: usize,
    prompt: &'a Prompt,
    tokens: Vec<TokenId>,
}

impl EncodedPrompt<'_> {
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
