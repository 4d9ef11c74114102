//! `aquatint eval likelihood`: what a text costs under a model.

use crate::arguments::{LikelihoodArguments, ReportFormat};
use crate::failure::Failure;
use crate::model::{self, Plan};
use crate::printer::Printer;
use crate::{environment, interrupt, wire};
use aquatint_checkpoint::Checkpoint;
use aquatint_corpus::{Canvases, Source, pack};
use aquatint_diffusion::Layout;
use aquatint_evaluate::{Estimate, EvaluateError, Likelihood, Rule, likelihood};
use aquatint_generate::GenerateError;
use aquatint_vocabulary::Role;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::path::Path;

/// Canvases of one forward pass: enough to keep the processor busy, few enough for any memory.
const BATCH: usize = 16;

pub(crate) fn run(arguments: &LikelihoodArguments, printer: &Printer) -> Result<(), Failure> {
    let plan = Plan::resolve(&arguments.device)?;
    let checkpoint = model::open(arguments.model.as_deref())?;
    let vocabulary = &checkpoint.vocabulary;
    let process;
    // Token by token for causal networks, by what it sees through noise for all others.
    let rule = match checkpoint.spec.attention {
        Layout::Causal => Rule::Causal { begin: vocabulary.required(Role::Begin)? },
        Layout::Full | Layout::Block { .. } => {
            process = checkpoint.spec.process().map_err(GenerateError::Setting)?;
            match arguments.flow {
                Some(steps) => Rule::Flow { process: process.as_ref(), steps },
                None => {
                    Rule::Diffusion { process: process.as_ref(), times: arguments.samples, prompt: arguments.given }
                }
            }
        }
    };
    let network = plan.network(&checkpoint)?;
    let text = Text { path: &arguments.data, field: arguments.field.as_deref(), filter: &arguments.filter };
    let canvases = canvases(&text, &checkpoint, printer)?;
    let numbers = spread(canvases.len(), arguments.limit);
    printer.detail(format_args!("{} of {} canvases on {}", numbers.len(), canvases.len(), plan.device()));

    let bar = printer.draws().then(|| progress(numbers.len() as u64));
    interrupt::listen(|| {});
    let batches = numbers.chunks(BATCH).map(|numbers| canvases.batch(numbers));
    let lengths = vocabulary.byte_lengths();
    let measured = likelihood(network.as_ref(), rule, arguments.seed, &lengths, batches, &mut |done| {
        if let Some(bar) = &bar {
            bar.set_position(done);
        }
        !interrupt::pressed()
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let measured = measured.map_err(stopped)?;
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&as_json(&measured, arguments, &checkpoint))?),
        ReportFormat::Human => printer.data(describe(&measured, arguments.seed)),
    }
}

/// The text that is measured.
pub(crate) struct Text<'a> {
    pub(crate) path: &'a Path,
    /// The field that holds it, where it is not the usual one.
    pub(crate) field: Option<&'a str>,
    /// FIELD=VALUE of each condition.
    pub(crate) filter: &'a [String],
}

/// The text, packed once into the cache and laid out as the model was trained on.
pub(crate) fn canvases(text: &Text<'_>, checkpoint: &Checkpoint, printer: &Printer) -> Result<Canvases, Failure> {
    let mut source = Source::new(text.path);
    if let Some(field) = text.field {
        field.clone_into(&mut source.field);
    }
    for pair in text.filter {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::new(format!("`--where` is {pair}; allowed: FIELD=VALUE")).hint("--where lang=en"));
        };
        source.filter.insert(key.to_owned(), value.to_owned());
    }
    let mut told = false;
    let packed = pack(&[source], &checkpoint.vocabulary, &environment::cache().join("tokens"), &mut |_| {
        if !std::mem::replace(&mut told, true) {
            printer.note("packing the text into tokens");
        }
    })?;
    let replaced: u64 = packed.iter().map(|packed| packed.shard.replaced()).sum();
    if replaced > 0 {
        printer.warn(crate::training::replaced(replaced, "text"));
    }
    Ok(Canvases::new(packed, checkpoint.spec.context_length)?)
}

/// The first number of each of `limit` equal parts, or all numbers; the trainer picks its held-out canvases so, too.
pub(crate) fn spread(count: u64, limit: Option<usize>) -> Vec<u64> {
    let limit = limit.map_or(count, |limit| (limit as u64).min(count));
    (0..limit).map(|index| index * count / limit).collect()
}

fn progress(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    // The template is a constant; were it wrong, the plain bar would do.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} canvases  {eta} left") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

/// A measurement in one line.
pub(crate) fn short(measured: &Likelihood) -> String {
    format!(
        "{:.4} nats/token (± {:.4}), {:.3} bits/byte, perplexity {:.2}",
        measured.nats_per_token, measured.standard_error, measured.bits_per_byte, measured.perplexity
    )
}

fn describe(measured: &Likelihood, seed: u64) -> String {
    let drawn = |times| {
        let versions = if times == 1 { "version" } else { "versions" };
        format!("{times} noisy {versions} drawn of each canvas, seed {seed}")
    };
    let how = match measured.estimate {
        Estimate::Exact => "exact, token by token".to_owned(),
        Estimate::Flow { steps } => format!("upper bound along the probability flow, {steps} steps, seed {seed}"),
        Estimate::Bound { times } => format!("upper bound, {}", drawn(times)),
        Estimate::CrossEntropy { times } => format!("no bound: cross-entropy over even times, {}", drawn(times)),
    };
    let relative = measured.standard_error / measured.nats_per_token;
    [
        ("nats/token", format!("{:.4} ± {:.4}", measured.nats_per_token, measured.standard_error)),
        ("bits/byte", format!("{:.4} ± {:.4}", measured.bits_per_byte, measured.bits_per_byte * relative)),
        ("perplexity", format!("{:.3} ± {:.3}", measured.perplexity, measured.perplexity * measured.standard_error)),
        ("text", format!("{} tokens, {} bytes, {} canvases", measured.tokens, measured.bytes, measured.canvases)),
        ("method", how),
    ]
    .map(|(name, value)| format!("{name:<12}{value}\n"))
    .concat()
}

fn as_json(measured: &Likelihood, arguments: &LikelihoodArguments, checkpoint: &Checkpoint) -> serde_json::Value {
    let times = match measured.estimate {
        Estimate::Exact | Estimate::Flow { .. } => None,
        Estimate::Bound { times } | Estimate::CrossEntropy { times } => Some(times),
    };
    json!({
        "model": checkpoint.origin.to_string(),
        "data": arguments.data,
        "nats_per_token": measured.nats_per_token,
        "standard_error": measured.standard_error,
        "bits_per_byte": measured.bits_per_byte,
        "perplexity": measured.perplexity,
        "tokens": measured.tokens,
        "bytes": measured.bytes,
        "canvases": measured.canvases,
        "time_samples": times,
        "bound": matches!(measured.estimate, Estimate::Bound { .. } | Estimate::Flow { .. }),
        "exact": measured.estimate == Estimate::Exact,
        "seed": arguments.seed,
    })
}

/// A measurement that was interrupted is no wrong input.
pub(crate) fn stopped(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Stopped => Failure::from(error).negative(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canvases_are_spread_evenly() {
        assert_eq!(spread(10, None), (0..10).collect::<Vec<_>>());
        assert_eq!(spread(10, Some(3)), [0, 3, 6]);
        assert_eq!(spread(2, Some(5)), [0, 1]);
        assert_eq!(spread(0, Some(5)), [0u64; 0]);
    }

    #[test]
    fn a_bound_says_that_it_is_one() {
        let measured = Likelihood {
            nats_per_token: 2.0,
            bits_per_byte: 1.0,
            perplexity: 7.389,
            standard_error: 0.1,
            tokens: 1000,
            bytes: 2885,
            canvases: 4,
            estimate: Estimate::Bound { times: 2 },
        };
        assert_eq!(
            describe(&measured, 3),
            "nats/token  2.0000 ± 0.1000\nbits/byte   1.0000 ± 0.0500\nperplexity  7.389 ± 0.739\ntext        1000 \
             tokens, 2885 bytes, 4 canvases\nmethod      upper bound, 2 noisy versions drawn of each canvas, seed 3\n"
        );
        let exact = describe(&Likelihood { estimate: Estimate::Exact, ..measured }, 3);
        assert!(exact.ends_with("method      exact, token by token\n"), "{exact}");
    }
}
