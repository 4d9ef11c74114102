//! `aquatint eval compare`: models beside each other, under one judge.

use crate::arguments::{CompareArguments, ReportFormat};
use crate::commands::likelihood::{Text, canvases, spread, stopped};
use crate::comparison::{Comparison, Measured, Setting, Written};
use crate::failure::Failure;
use crate::model::{self, Plan};
use crate::printer::Printer;
use crate::{interrupt, wire};
use aquatint::{Canvas, Model, Settings};
use aquatint_checkpoint::Checkpoint;
use aquatint_diffusion::{Layout, TokenId};
use aquatint_evaluate::{Estimate, Rule, canvases_of, distinct_bigrams, likelihood, unigram_entropy};
use aquatint_generate::GenerateError;
use aquatint_network::Denoiser;
use aquatint_vocabulary::Role;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

/// Canvases of one forward pass.
const BATCH: usize = 16;
/// Texts of each setting that are kept to be read.
const SAMPLES: usize = 4;

/// A causal model with what it says of texts.
struct Judge {
    name: String,
    checkpoint: Checkpoint,
    network: Box<dyn Denoiser>,
    begin: TokenId,
}

pub(crate) fn run(arguments: &CompareArguments, printer: &Printer) -> Result<(), Failure> {
    let plan = Plan::resolve(&arguments.device)?;
    let judge = Judge::open(&arguments.judge, &plan)?;
    let mut comparison = Comparison::load(&arguments.out)?;
    interrupt::listen(|| {});
    for given in &arguments.models {
        let (name, folder) = named(given);
        let checkpoint = model::open(Some(folder))?;
        if checkpoint.spec.attention == Layout::Causal {
            return Err(Failure::new(format!("`{folder}` is a causal model, which writes on no canvas"))
                .hint("name it with --judge, or leave it out"));
        }
        if let Some(data) = &arguments.data {
            measure(&mut comparison, name, folder, &checkpoint, data, (arguments, &plan, printer))?;
            real(&mut comparison, &checkpoint, data, &judge, (arguments, printer))?;
            comparison.save(&arguments.out)?;
        }
        let network = plan.network(&checkpoint)?;
        let model = Model::new(checkpoint, network)?;
        for &steps in &arguments.steps {
            let setting = setting(arguments, &model, (name, folder), Some(steps), &judge);
            if comparison.written(&setting).is_some() {
                printer.detail(format_args!("{name}, {steps} steps: measured before"));
                continue;
            }
            let written = write(&model, setting, &judge, &arguments.out)?;
            printer.note(format_args!(
                "{name}, {steps} steps: judge perplexity {:.1}, unigram entropy {:.2}, {:.3} s each",
                written.judge_perplexity, written.unigram_entropy, written.seconds_per_text
            ));
            comparison.texts.push(written);
            comparison.save(&arguments.out)?;
        }
    }
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&comparison)?),
        ReportFormat::Human => printer.data(comparison.tables()),
    }
}

/// NAME=FOLDER, or a folder whose last part is the name.
fn named(given: &str) -> (&str, &str) {
    match given.split_once('=') {
        Some((name, folder)) => (name, folder),
        None => (Path::new(given).file_name().and_then(|name| name.to_str()).unwrap_or(given), given),
    }
}

fn setting(
    arguments: &CompareArguments,
    model: &Model,
    (name, folder): (&str, &str),
    steps: Option<usize>,
    judge: &Judge,
) -> Setting {
    Setting {
        model: name.to_owned(),
        folder: folder.to_owned(),
        steps,
        texts: arguments.texts,
        length: arguments.length.unwrap_or(model.checkpoint().spec.context_length),
        policy: arguments.policy.clone(),
        temperature: arguments.temperature,
        seed: arguments.seed,
        judge: judge.name.clone(),
    }
}

/// Writes texts on empty canvases and has them judged.
fn write(model: &Model, setting: Setting, judge: &Judge, out: &Path) -> Result<Written, Failure> {
    let vocabulary = &model.checkpoint().vocabulary;
    let mut settings = Settings::builder()
        .steps(setting.steps.unwrap_or(1))
        .policy_named(&setting.policy)
        .temperature(setting.temperature);
    if let Some(ranks) = model.checkpoint().generation.time_grid.clone() {
        settings = settings.time_grid(crate::sampling::grid(ranks)?);
    }
    let request = |number: usize| -> Result<_, Failure> {
        let mut canvas = Canvas::new();
        canvas.push_open(setting.length, true, vocabulary.role(Role::Mask).unwrap_or_default());
        Ok(model.request_for(canvas, settings.clone().seed(setting.seed + number as u64).build()?))
    };
    let requests = (0..setting.texts).map(request).collect::<Result<Vec<_>, _>>()?;
    let (mut texts, mut passes) = (Vec::new(), 0);
    let begun = Instant::now();
    for requests in requests.chunks(BATCH) {
        let go_on = || if interrupt::pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        for outcome in model.serve(requests, &mut |_, _| go_on())? {
            passes += outcome.statistics.forward_passes;
            texts.push(outcome.tokens);
        }
        if interrupt::pressed() {
            return Err(Failure::new("stopped; what was measured before is kept").negative());
        }
    }
    let seconds = begun.elapsed().as_secs_f64() / setting.texts.max(1) as f64;
    let read: Vec<String> = texts.iter().map(|tokens| vocabulary.decode(tokens)).collect();
    keep(&read, &setting, out)?;
    let judged = judge.judge(&read, setting.length)?;
    Ok(worth(setting, &texts, judged, passes, seconds))
}

fn worth(setting: Setting, texts: &[Vec<TokenId>], judged: (f64, u64), passes: usize, seconds: f64) -> Written {
    let count = texts.len().max(1) as f64;
    Written {
        judge_perplexity: judged.0,
        judged_tokens: judged.1,
        unigram_entropy: texts.iter().map(|text| unigram_entropy(text)).sum::<f64>() / count,
        distinct_bigrams: distinct_bigrams(texts),
        tokens_per_text: texts.iter().map(Vec::len).sum::<usize>() as f64 / count,
        forward_passes_per_text: passes as f64 / count,
        seconds_per_text: seconds,
        setting,
    }
}

/// The yardstick: the same figures of text that people wrote.
fn real(
    comparison: &mut Comparison,
    checkpoint: &Checkpoint,
    data: &Path,
    judge: &Judge,
    (arguments, printer): (&CompareArguments, &Printer),
) -> Result<(), Failure> {
    let setting = Setting {
        model: "text of people".to_owned(),
        folder: data.display().to_string(),
        steps: None,
        texts: arguments.texts,
        length: arguments.length.unwrap_or(checkpoint.spec.context_length),
        policy: String::new(),
        temperature: 1.0,
        seed: arguments.seed,
        judge: judge.name.clone(),
    };
    if comparison.texts.iter().any(|written| written.setting.steps.is_none()) {
        return Ok(());
    }
    let text = Text { path: data, field: None, filter: &[] };
    let held_out = canvases(&text, checkpoint, printer)?;
    let batch = held_out.batch(&spread(held_out.len(), Some(setting.texts)))?;
    let first = |canvas: (&[TokenId], &[u32])| -> Vec<TokenId> {
        let own = canvas.0.iter().zip(canvas.1).take_while(|(_, document)| **document == canvas.1[0]);
        own.map(|(token, _)| *token)
            .filter(|token| !checkpoint.vocabulary.is_special(*token))
            .take(setting.length)
            .collect()
    };
    let texts: Vec<Vec<TokenId>> =
        batch.tokens.chunks(batch.length).zip(batch.documents.chunks(batch.length)).map(first).collect();
    let read: Vec<String> = texts.iter().map(|tokens| checkpoint.vocabulary.decode(tokens)).collect();
    let judged = judge.judge(&read, setting.length)?;
    comparison.texts.push(worth(setting, &texts, judged, 0, 0.0));
    Ok(())
}

/// What held-out text costs under a model.
fn measure(
    comparison: &mut Comparison,
    name: &str,
    folder: &str,
    checkpoint: &Checkpoint,
    data: &Path,
    (arguments, plan, printer): (&CompareArguments, &Plan, &Printer),
) -> Result<(), Failure> {
    let shown = data.display().to_string();
    if comparison.measured(folder, &shown, arguments.limit, arguments.samples).is_some() {
        return Ok(());
    }
    let text = Text { path: data, field: None, filter: &[] };
    let held_out = canvases(&text, checkpoint, printer)?;
    let numbers = spread(held_out.len(), Some(arguments.limit));
    let process = checkpoint.spec.process().map_err(GenerateError::Setting)?;
    let rule = Rule::Diffusion { process: process.as_ref(), times: arguments.samples, prompt: 0 };
    let network = plan.network(checkpoint)?;
    let lengths = checkpoint.vocabulary.byte_lengths();
    let batches = numbers.chunks(BATCH).map(|numbers| held_out.batch(numbers));
    let measured =
        likelihood(network.as_ref(), rule, arguments.seed, &lengths, batches, &mut |_| !interrupt::pressed())
            .map_err(stopped)?;
    printer.note(format_args!("{name}: {}", super::likelihood::short(&measured)));
    comparison.likelihoods.push(Measured {
        model: name.to_owned(),
        folder: folder.to_owned(),
        process: process.name(),
        parameters: checkpoint.spec.parameter_count(),
        data: shown,
        canvases: arguments.limit,
        times: arguments.samples,
        nats_per_token: measured.nats_per_token,
        standard_error: measured.standard_error,
        bits_per_byte: measured.bits_per_byte,
        estimate: match measured.estimate {
            Estimate::Exact => "exact",
            Estimate::Bound { .. } | Estimate::Flow { .. } => "bound",
            Estimate::CrossEntropy { .. } => "cross-entropy",
        }
        .to_owned(),
    });
    Ok(())
}

/// Keeps some texts to be read.
fn keep(texts: &[String], setting: &Setting, out: &Path) -> Result<(), Failure> {
    let folder = out.join("samples");
    std::fs::create_dir_all(&folder).map_err(|error| Failure::of_file("create", &folder, &error))?;
    let path = folder.join(format!("{}-{}.txt", setting.model, setting.steps.unwrap_or(0)));
    let kept: Vec<&str> = texts.iter().take(SAMPLES).map(String::as_str).collect();
    std::fs::write(&path, kept.join("\n\n---\n\n") + "\n").map_err(|error| Failure::of_file("write", &path, &error))
}

impl Judge {
    fn open(name: &str, plan: &Plan) -> Result<Self, Failure> {
        let checkpoint = model::open(Some(name))?;
        if checkpoint.spec.attention != Layout::Causal {
            return Err(Failure::new(format!("the judge `{name}` is no causal model"))
                .hint("train one with objective.kind = \"causal\": see recipes/compare/judge.toml"));
        }
        let begin = checkpoint.vocabulary.required(Role::Begin)?;
        let network = plan.network(&checkpoint)?;
        Ok(Self { name: name.to_owned(), checkpoint, network, begin })
    }

    /// Perplexity of the texts, and how many of the judge's tokens they are.
    fn judge(&self, texts: &[String], length: usize) -> Result<(f64, u64), Failure> {
        let vocabulary = &self.checkpoint.vocabulary;
        let tokens = texts.iter().map(|text| vocabulary.encode(text)).collect::<Result<Vec<_>, _>>()?;
        // A text may be more tokens of the judge's than of its writer's; what the judge cannot read is cut off.
        let length = (2 * length).min(self.checkpoint.spec.context_length);
        let batches = canvases_of(&tokens, length, BATCH).into_iter().map(Ok);
        let rule = Rule::Causal { begin: self.begin };
        let lengths = vocabulary.byte_lengths();
        let judged = likelihood(self.network.as_ref(), rule, 0, &lengths, batches, &mut |_| !interrupt::pressed())
            .map_err(stopped)?;
        Ok((judged.perplexity, judged.tokens))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_called_as_it_is_named_or_as_its_folder() {
        assert_eq!(named("field=runs/a/b"), ("field", "runs/a/b"));
        assert_eq!(named("runs/a/b"), ("b", "runs/a/b"));
        assert_eq!(named("tales"), ("tales", "tales"));
    }
}
