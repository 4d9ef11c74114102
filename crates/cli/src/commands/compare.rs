//! `aquatint eval compare`: models beside each other, under one judge.

use crate::arguments::{CompareArguments, ReportFormat};
use crate::commands::likelihood::{prepare, short};
use crate::environment::TokenCache;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::{interrupt, model, wire};
use aquatint::advised_time_grid;
use aquatint_evaluate::{Compare, CompareEvent, CompareSettings, Contestant, EvaluateError, Judge};
use std::path::Path;

pub(crate) fn run(arguments: &CompareArguments, printer: &Printer) -> Result<(), Failure> {
    let runtime = arguments.device.runtime(printer)?;
    let checkpoint = model::open(Some(&arguments.judge), printer)?;
    arguments.device.warn_of_experts(&checkpoint, printer);
    let network = runtime.network(&checkpoint)?;
    let judge = Judge::new(&arguments.judge, network.as_ref(), &checkpoint.vocabulary)?;
    let settings = CompareSettings {
        steps: arguments.steps.clone(),
        texts: arguments.texts,
        length: arguments.length,
        policy: arguments.policy.clone(),
        temperature: arguments.temperature,
        seed: arguments.seed,
        held_out: arguments.data.clone(),
        canvases: arguments.limit,
        times: arguments.samples,
    };
    let cache = TokenCache::open(printer)?;
    let folders = (arguments.out.as_path(), cache.path());
    let mut compare = Compare::open(&settings, &judge, folders, interrupt::flag())?;
    for given in &arguments.models {
        let (name, folder) = named(given);
        let checkpoint = model::open(Some(folder), printer)?;
        arguments.device.warn_of_experts(&checkpoint, printer);
        let network = runtime.network(&checkpoint)?;
        let time_grid = advised_time_grid(checkpoint.description().generation)?;
        let contestant = Contestant::new((name, folder), network.as_ref(), &checkpoint.vocabulary, time_grid)?
            .with_order(checkpoint.description().generation.order.clone());
        compare.run(&contestant, &mut |event| show(&event, printer)).map_err(stopped)?;
    }
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(compare.comparison())?),
        ReportFormat::Human => printer.data(compare.comparison().tables()),
    }
}

fn show(event: &CompareEvent<'_>, printer: &Printer) {
    match event {
        CompareEvent::HeldOut(event) => prepare(event, printer),
        CompareEvent::Measured { model, likelihood } => printer.note(format_args!("{model}: {}", short(likelihood))),
        CompareEvent::Known { model, steps } => printer.detail(format_args!("{model}, {steps} steps: measured before")),
        CompareEvent::Written(written) => printer.note(format_args!(
            "{}, {} steps: judge perplexity {:.1}, unigram entropy {:.2}, {:.3} s each",
            written.setting.model,
            written.setting.steps.unwrap_or(0),
            written.judge_perplexity,
            written.unigram_entropy,
            written.seconds_per_text
        )),
    }
}

fn stopped(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Stopped => Failure::interrupted("stopped; what was measured before is kept"),
        _ => error.into(),
    }
}

/// NAME=FOLDER, or a folder whose last part is the name.
fn named(given: &str) -> (&str, &str) {
    match given.split_once('=') {
        Some((name, folder)) => (name, folder),
        None => (Path::new(given).file_name().and_then(|name| name.to_str()).unwrap_or(given), given),
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
