//! `aquatint eval likelihood`: what a text costs under a model.

use crate::arguments::{LikelihoodArguments, ReportFormat};
use crate::environment::TokenCache;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::source_report::counted;
use crate::{interrupt, model, source_report, wire};
use aquatint::Model;
use aquatint_checkpoint::Checkpoint;
use aquatint_corpus::Source;
use aquatint_evaluate::{Estimate, HeldOutEvent, Likelihood, MeasureSettings, Units};
use aquatint_network::NetworkKind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

pub(crate) fn run(arguments: &LikelihoodArguments, printer: &Printer) -> Result<(), Failure> {
    let runtime = arguments.device.runtime(printer)?;
    let checkpoint = model::open(arguments.model.as_deref(), printer)?;
    arguments.device.warn_of_experts(&checkpoint, printer);
    let network = runtime.network(&checkpoint)?;
    let model = Model::new(checkpoint, network)?;
    if arguments.samples > 1 && model.checkpoint().spec.kind() == NetworkKind::Causal {
        printer.warn("`--samples` has no effect: a causal model is measured without noise");
    }
    let tell = &mut |event| prepare(&event, printer);
    let cache = TokenCache::open(printer)?;
    let held_out = model.held_out(source(arguments)?, cache.path(), tell)?;
    let count = held_out.canvases().spread(arguments.limit).len();
    let all = held_out.canvases().len();
    printer.detail(format_args!("{count} of {all} canvases on {}", runtime.describe_device()));

    let settings = MeasureSettings {
        limit: arguments.limit,
        times: arguments.samples,
        prompt: arguments.given,
        flow: arguments.flow,
        seed: arguments.seed,
    };
    let bar = printer.draws().then(|| progress(count as u64));
    let measured = model.measure(&held_out, &settings, &mut |done| {
        if let Some(bar) = &bar {
            bar.set_position(done);
        }
        !interrupt::pressed()
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let measured = measured?;
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&as_json(&measured, arguments, model.checkpoint()))?),
        ReportFormat::Human => printer.data(describe(&measured, arguments.seed)),
    }
}

/// The text that is measured.
fn source(arguments: &LikelihoodArguments) -> Result<Source, Failure> {
    let mut source = Source::new(&arguments.data);
    if let Some(field) = &arguments.field {
        field.clone_into(&mut source.field);
    }
    if let Some(separator) = &arguments.separator {
        separator.clone_into(&mut source.separator);
    }
    source.format = arguments.data_format;
    source.encoding = arguments.encoding;
    for pair in &arguments.filter {
        let Some((key, value)) = pair.split_once('=') else {
            return Err(Failure::new(format!("`--where` is {pair}; allowed: FIELD=VALUE")).hint("--where lang=en"));
        };
        source.filter.insert(key.to_owned(), value.to_owned());
    }
    Ok(source)
}

/// Reports how text is made ready.
pub(crate) fn prepare(event: &HeldOutEvent, printer: &Printer) {
    match event {
        HeldOutEvent::Packing => printer.note("packing the text into tokens"),
        HeldOutEvent::Packed(report) => {
            source_report::tell_unread(&report.path, &report.unread, printer);
            source_report::tell("text", report, printer);
        }
        HeldOutEvent::Unknown(unknown, of) => printer.warn(crate::training::unknown(*unknown, Some(*of), "text")),
    }
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
    let error = measured.standard_error.map(|error| format!(" (± {:.4})", error.nats_per_token)).unwrap_or_default();
    let bits = match measured.bytes {
        0 => "no byte of text".to_owned(),
        _ => format!("{:.3} bits/byte", measured.bits_per_byte),
    };
    format!("{:.4} nats/token{error}, {bits}, perplexity {:.2}", measured.nats_per_token, measured.perplexity)
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
    let (documents, canvases) = (measured.documents, measured.canvases);
    let over = match measured.standard_error.map(|error| error.over) {
        Some(Units::Documents) => format!("± is the standard error of the mean over {documents} documents"),
        Some(Units::Canvases) => format!(
            "± is the standard error over {canvases} canvases of one document; other documents may differ by more"
        ),
        None => "no standard error, which one canvas does not have".to_owned(),
    };
    // What is relative to the nats per token.
    let relative = measured.standard_error.map(|error| error.nats_per_token / measured.nats_per_token);
    let figure = |value: f64, decimals: usize, error: Option<f64>| match error {
        Some(error) => format!("{value:.decimals$} ± {error:.decimals$}"),
        None => format!("{value:.decimals$}"),
    };
    let nats = measured.standard_error.map(|error| error.nats_per_token);
    let bits = match measured.bytes {
        0 => "none, as no byte of text is measured".to_owned(),
        _ => figure(measured.bits_per_byte, 4, relative.map(|relative| measured.bits_per_byte * relative)),
    };
    [
        ("nats/token", figure(measured.nats_per_token, 4, nats)),
        ("bits/byte", bits),
        ("perplexity", figure(measured.perplexity, 3, nats.map(|nats| measured.perplexity * nats))),
        (
            "text",
            format!(
                "{}, {}, {canvases} canvas{}, {}",
                counted(measured.tokens, "token"),
                counted(measured.bytes, "byte"),
                if canvases == 1 { "" } else { "es" },
                counted(documents, "document")
            ),
        ),
        ("error", over),
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
        "standard_error": measured.standard_error.map(|error| error.nats_per_token),
        "standard_error_over": measured.standard_error.map(|error| match error.over {
            Units::Documents => "documents",
            Units::Canvases => "canvases of one document",
        }),
        "bits_per_byte": (measured.bytes > 0).then_some(measured.bits_per_byte),
        "perplexity": measured.perplexity,
        "tokens": measured.tokens,
        "bytes": measured.bytes,
        "canvases": measured.canvases,
        "documents": measured.documents,
        "time_samples": times,
        "bound": matches!(measured.estimate, Estimate::Bound { .. } | Estimate::Flow { .. }),
        "exact": measured.estimate == Estimate::Exact,
        "seed": arguments.seed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_evaluate::StandardError;
    use insta::assert_snapshot;

    #[test]
    fn a_bound_says_that_it_is_one() {
        let over = Units::Documents;
        let measured = Likelihood {
            nats_per_token: 2.0,
            bits_per_byte: 1.0,
            perplexity: 7.389,
            standard_error: Some(StandardError { nats_per_token: 0.1, over }),
            tokens: 1000,
            bytes: 2885,
            canvases: 4,
            documents: 3,
            codes: Vec::new(),
            estimate: Estimate::Bound { times: 2 },
        };
        assert_snapshot!(describe(&measured, 3), @"
        nats/token  2.0000 ± 0.1000
        bits/byte   1.0000 ± 0.0500
        perplexity  7.389 ± 0.739
        text        1000 tokens, 2885 bytes, 4 canvases, 3 documents
        error       ± is the standard error of the mean over 3 documents
        method      upper bound, 2 noisy versions drawn of each canvas, seed 3
        ");
        assert_eq!(short(&measured), "2.0000 nats/token (± 0.1000), 1.000 bits/byte, perplexity 7.39");
        let exact = describe(&Likelihood { estimate: Estimate::Exact, ..measured }, 3);
        assert!(exact.ends_with("method      exact, token by token\n"), "{exact}");
    }

    #[test]
    fn what_cannot_be_said_is_no_number() {
        let end_alone = Likelihood {
            nats_per_token: 2.0,
            bits_per_byte: f64::NAN,
            perplexity: 7.389,
            standard_error: None,
            tokens: 1,
            bytes: 0,
            canvases: 1,
            documents: 1,
            codes: Vec::new(),
            estimate: Estimate::Exact,
        };
        assert_snapshot!(describe(&end_alone, 3), @"
        nats/token  2.0000
        bits/byte   none, as no byte of text is measured
        perplexity  7.389
        text        1 token, 0 bytes, 1 canvas, 1 document
        error       no standard error, which one canvas does not have
        method      exact, token by token
        ");
        assert_eq!(short(&end_alone), "2.0000 nats/token, no byte of text, perplexity 7.39");
        let over = Units::Canvases;
        let one =
            Likelihood { standard_error: Some(StandardError { nats_per_token: 0.1, over }), canvases: 6, ..end_alone };
        assert!(describe(&one, 3).contains("over 6 canvases of one document; other documents may differ by more\n"));
    }
}
