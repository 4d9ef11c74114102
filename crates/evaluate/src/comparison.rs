//! Models held against each other: what they write in few and in many steps, under one judge.
//!
//! The figures are kept in a folder, and what is there already is not measured again. Perplexity under the judge is
//! read beside the entropy of the tokens within a text, which says whether texts are likely because they repeat
//! themselves.

mod plot;
mod record;
mod tables;

pub use record::{Comparison, Measured, Setting, Written};

use crate::{
    CANVASES_PER_PASS, Estimate, EvaluateError, HeldOut, HeldOutEvent, Judge, Judgement, Likelihood, MeasureSettings,
    Writer, distinct_bigrams, unigram_entropy,
};
use aquatint_corpus::Source;
use aquatint_diffusion::{OrderNetwork, TimeGrid, TokenId};
use aquatint_network::{Denoiser, NetworkKind};
use aquatint_vocabulary::Vocabulary;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Texts of each setting that are kept to be read.
const SAMPLES: usize = 4;
/// What the yardstick is called.
const PEOPLE: &str = "text of people";

/// The settings that all models of a comparison share.
#[derive(Debug, Clone)]
pub struct CompareSettings {
    /// Denoising steps to try.
    pub steps: Vec<usize>,
    /// Texts that each model writes at each number of steps.
    pub texts: usize,
    /// Tokens of a text; as many as the model can read where nothing is said.
    pub length: Option<usize>,
    /// The commit policy, by its name.
    pub policy: String,
    /// Temperature of the draws.
    pub temperature: f64,
    /// The first text's seed; each further one has the next.
    pub seed: u64,
    /// Held-out text, whose likelihood is measured and which is judged as the yardstick.
    pub held_out: Option<PathBuf>,
    /// Canvases of it that are measured.
    pub canvases: usize,
    /// Noisy versions drawn of each canvas.
    pub times: usize,
}

/// A model that takes part.
pub struct Contestant<'a> {
    /// What it is called in tables.
    pub name: &'a str,
    /// Where it is.
    pub folder: &'a str,
    writer: Writer<'a>,
    time_grid: Option<TimeGrid>,
}

impl<'a> Contestant<'a> {
    /// A model under a name; `time_grid` is where it puts its steps, if it advises any.
    ///
    /// # Errors
    /// When the network is causal, so that it has no number of steps, or lacks what its process needs.
    pub fn new(
        (name, folder): (&'a str, &'a str),
        denoiser: &'a dyn Denoiser,
        vocabulary: &'a Vocabulary,
        time_grid: Option<TimeGrid>,
    ) -> Result<Self, EvaluateError> {
        if denoiser.spec().kind() == NetworkKind::Causal {
            return Err(EvaluateError::CausalWriter { model: folder.to_owned() });
        }
        Ok(Self { name, folder, writer: Writer::new(denoiser, vocabulary)?, time_grid })
    }

    /// The same of a model that has a learnt order, or none.
    #[must_use]
    pub fn with_order(self, order: Option<Arc<OrderNetwork>>) -> Self {
        Self { writer: self.writer.with_order(order), ..self }
    }
}

/// What happens while models are compared.
#[derive(Debug)]
pub enum CompareEvent<'a> {
    /// Held-out text is made ready.
    HeldOut(HeldOutEvent),
    /// The held-out text was measured under a model.
    Measured {
        /// The model.
        model: &'a str,
        /// What the text costs.
        likelihood: &'a Likelihood,
    },
    /// The figures of a model are there already.
    Known {
        /// The model.
        model: &'a str,
        /// Denoising steps.
        steps: usize,
    },
    /// A model's texts were judged.
    Written(&'a Written),
}

/// A comparison in its folder.
pub struct Compare<'a> {
    settings: &'a CompareSettings,
    judge: &'a Judge<'a>,
    /// Where figures, tables, plots and samples go.
    folder: &'a Path,
    /// Where packed tokens are kept.
    cache: &'a Path,
    stop: &'a AtomicBool,
    comparison: Comparison,
}

impl<'a> Compare<'a> {
    /// Goes on with what a folder has. `cache` holds packed tokens; `stop` is read in every step.
    ///
    /// # Errors
    /// When the folder's figures cannot be read.
    pub fn open(
        settings: &'a CompareSettings,
        judge: &'a Judge<'a>,
        (folder, cache): (&'a Path, &'a Path),
        stop: &'a AtomicBool,
    ) -> Result<Self, EvaluateError> {
        Ok(Self { settings, judge, folder, cache, stop, comparison: Comparison::load(folder)? })
    }

    /// Everything that was measured.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// Measures a model, as far as its figures are not there yet; everything measured is saved at once.
    ///
    /// # Errors
    /// When a text cannot be read, the model cannot fill its canvases, the folder cannot be written, or it was asked to
    /// stop; what was measured before is kept.
    pub fn run(
        &mut self,
        contestant: &Contestant<'_>,
        events: &mut dyn FnMut(CompareEvent<'_>),
    ) -> Result<(), EvaluateError> {
        if let Some(data) = &self.settings.held_out {
            self.measure(contestant, data, events)?;
            self.judge_people(contestant, data, events)?;
            self.comparison.save(self.folder)?;
        }
        for &steps in &self.settings.steps {
            let setting = self.setting(contestant, steps);
            if self.comparison.written(&setting).is_some() {
                events(CompareEvent::Known { model: contestant.name, steps });
                continue;
            }
            let written = self.write(contestant, setting, steps)?;
            events(CompareEvent::Written(&written));
            self.comparison.texts.push(written);
            self.comparison.save(self.folder)?;
        }
        Ok(())
    }

    fn length(&self, contestant: &Contestant<'_>) -> usize {
        self.settings.length.unwrap_or(contestant.writer.longest_text())
    }

    fn setting(&self, contestant: &Contestant<'_>, steps: usize) -> Setting {
        Setting {
            model: contestant.name.to_owned(),
            folder: contestant.folder.to_owned(),
            steps: Some(steps),
            texts: self.settings.texts,
            length: self.length(contestant),
            policy: self.settings.policy.clone(),
            temperature: self.settings.temperature,
            seed: self.settings.seed,
            judge: self.judge.name().to_owned(),
        }
    }

    /// Has a model write texts on empty canvases and judges them.
    fn write(&self, contestant: &Contestant<'_>, setting: Setting, steps: usize) -> Result<Written, EvaluateError> {
        let writer = &contestant.writer;
        let mut settings =
            writer.settings().steps(steps).policy_named(&setting.policy).temperature(setting.temperature);
        if let Some(grid) = &contestant.time_grid {
            settings = settings.time_grid(grid.clone());
        }
        let request = |number: usize| -> Result<_, EvaluateError> {
            let canvas = writer.empty_canvas(setting.length);
            Ok(writer.request(canvas, settings.clone().seed(setting.seed + number as u64).build()?))
        };
        let requests = (0..setting.texts).map(request).collect::<Result<Vec<_>, _>>()?;
        let (mut tokens, mut passes) = (Vec::new(), 0);
        let begun = Instant::now();
        for requests in requests.chunks(CANVASES_PER_PASS) {
            for outcome in writer.fill(requests, &mut |_, _| !self.stop.load(Ordering::SeqCst))? {
                passes += outcome.statistics.forward_passes;
                tokens.push(writer.written(&outcome));
            }
        }
        let seconds = begun.elapsed().as_secs_f64() / setting.texts.max(1) as f64;
        let texts: Vec<String> = tokens.iter().map(|tokens| writer.vocabulary().decode(tokens)).collect();
        record::save_samples(&texts[..texts.len().min(SAMPLES)], &setting, self.folder)?;
        let judgement = self.judge.judge(&texts, setting.length, self.stop)?;
        Ok(figures(setting, &tokens, judgement, (passes, seconds)))
    }

    fn held_out(
        &self,
        contestant: &Contestant<'_>,
        data: &Path,
        events: &mut dyn FnMut(CompareEvent<'_>),
    ) -> Result<HeldOut, EvaluateError> {
        let writer = &contestant.writer;
        let length = writer.denoiser().spec().context_length;
        let tell = &mut |event| events(CompareEvent::HeldOut(event));
        HeldOut::open(Source::new(data), writer.vocabulary(), length, self.cache, tell)
    }

    /// The yardstick: the same figures of text that people wrote, once.
    fn judge_people(
        &mut self,
        contestant: &Contestant<'_>,
        data: &Path,
        events: &mut dyn FnMut(CompareEvent<'_>),
    ) -> Result<(), EvaluateError> {
        if self.comparison.texts.iter().any(|written| written.setting.steps.is_none()) {
            return Ok(());
        }
        let setting = Setting {
            model: PEOPLE.to_owned(),
            folder: data.display().to_string(),
            steps: None,
            texts: self.settings.texts,
            length: self.length(contestant),
            policy: String::new(),
            temperature: 1.0,
            seed: self.settings.seed,
            judge: self.judge.name().to_owned(),
        };
        let vocabulary = contestant.writer.vocabulary();
        let held_out = self.held_out(contestant, data, events)?;
        let canvases = held_out.canvases();
        let batch = canvases.batch(&canvases.spread(Some(setting.texts)))?;
        // The first document of each canvas.
        let first = |(tokens, documents): (&[TokenId], &[u32])| -> Vec<TokenId> {
            let own = tokens.iter().zip(documents).take_while(|(_, document)| **document == documents[0]);
            own.map(|(token, _)| *token).filter(|token| !vocabulary.is_special(*token)).take(setting.length).collect()
        };
        let tokens: Vec<Vec<TokenId>> =
            batch.tokens.chunks(batch.length).zip(batch.documents.chunks(batch.length)).map(first).collect();
        let texts: Vec<String> = tokens.iter().map(|tokens| vocabulary.decode(tokens)).collect();
        let judgement = self.judge.judge(&texts, setting.length, self.stop)?;
        self.comparison.texts.push(figures(setting, &tokens, judgement, (0, 0.0)));
        Ok(())
    }

    /// What held-out text costs under a model.
    fn measure(
        &mut self,
        contestant: &Contestant<'_>,
        data: &Path,
        events: &mut dyn FnMut(CompareEvent<'_>),
    ) -> Result<(), EvaluateError> {
        let (path, settings) = (data.display().to_string(), self.settings);
        if self.comparison.measured(contestant.folder, &path, settings.canvases, settings.times).is_some() {
            return Ok(());
        }
        let held_out = self.held_out(contestant, data, events)?;
        let writer = &contestant.writer;
        let how = MeasureSettings {
            limit: Some(settings.canvases),
            times: settings.times,
            prompt: 0,
            flow: None,
            seed: settings.seed,
        };
        let go_on = &mut |_| !self.stop.load(Ordering::SeqCst);
        let likelihood = held_out.measure(writer.denoiser(), writer.vocabulary(), &how, go_on)?;
        events(CompareEvent::Measured { model: contestant.name, likelihood: &likelihood });
        self.comparison.likelihoods.push(Measured {
            model: contestant.name.to_owned(),
            folder: contestant.folder.to_owned(),
            process: writer.process().name(),
            parameters: writer.denoiser().spec().parameter_count(),
            data: path,
            canvases: settings.canvases,
            times: settings.times,
            nats_per_token: likelihood.nats_per_token,
            standard_error: likelihood.standard_error.map(|error| error.nats_per_token),
            bits_per_byte: likelihood.bits_per_byte,
            estimate: match likelihood.estimate {
                Estimate::Exact => "exact",
                Estimate::Bound { .. } | Estimate::Flow { .. } => "bound",
                Estimate::CrossEntropy { .. } => "cross-entropy",
            }
            .to_owned(),
        });
        Ok(())
    }
}

/// The figures of texts that took so many forward passes in all and so many seconds each.
fn figures(setting: Setting, texts: &[Vec<TokenId>], judgement: Judgement, (passes, seconds): (usize, f64)) -> Written {
    let count = texts.len().max(1) as f64;
    Written {
        judge_perplexity: judgement.perplexity,
        judged_tokens: judgement.tokens,
        unigram_entropy: texts.iter().map(|text| unigram_entropy(text)).sum::<f64>() / count,
        distinct_bigrams: distinct_bigrams(texts),
        tokens_per_text: texts.iter().map(Vec::len).sum::<usize>() as f64 / count,
        forward_passes_per_text: passes as f64 / count,
        seconds_per_text: seconds,
        setting,
    }
}
