//! `aquatint eval calibration`: how sure a model is, and whether it is right as often.

use crate::arguments::{CalibrationArguments, ReportFormat};
use crate::commands::likelihood::prepare;
use crate::environment::TokenCache;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::written_files::ReportFiles;
use crate::{interrupt, model, wire};
use aquatint::{Model, SamplingOptions, Settings};
use aquatint_corpus::Source;
use aquatint_evaluate::{CalibrationSettings, EvaluateError, calibration, calibration_page, calibration_tables};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The order of further fillings.
const OTHER_ORDER: &str = "random";

pub(crate) fn run(arguments: &CalibrationArguments, printer: &Printer) -> Result<(), Failure> {
    let files = ReportFiles::begin(arguments.out.as_deref(), arguments.report.as_deref())?;
    let runtime = arguments.device.runtime(printer)?;
    let checkpoint = model::open(arguments.model.as_deref(), printer)?;
    arguments.device.warn_of_experts(&checkpoint, printer);
    let network = runtime.network(&checkpoint)?;
    let model = Model::new(checkpoint, network)?;
    let options = SamplingOptions {
        steps: arguments.steps,
        policy: arguments.policy.clone(),
        temperature: Some(arguments.temperature),
        seed: Some(arguments.seed),
        ..SamplingOptions::default()
    };
    let resolved = |options: &SamplingOptions| -> Result<Settings, Failure> {
        Ok(options.resolve(model.generation())?.settings().clone())
    };
    let mut all = vec![resolved(&options)?];
    for run in 1..=arguments.runs {
        let other = SamplingOptions {
            policy: Some(OTHER_ORDER.to_owned()),
            temperature: Some(1.0),
            seed: Some(arguments.seed.wrapping_add(run as u64)),
            ..options.clone()
        };
        all.push(resolved(&other)?);
    }
    let cache = TokenCache::open(printer)?;
    let held_out = model.held_out(Source::new(&arguments.data), cache.path(), &mut |event| prepare(&event, printer))?;
    let settings = CalibrationSettings {
        limit: arguments.limit,
        spans: arguments.spans,
        length: arguments.length,
        runs: arguments.runs,
        seed: arguments.seed,
    };
    let count = held_out.canvases().spread(arguments.limit).len() as u64;
    let bar = printer.draws().then(|| progress(count));
    let mut lines = Vec::new();
    let measured = calibration(
        &model.writer()?,
        &held_out,
        &settings,
        &|run| all[run].clone(),
        &mut |span| lines.push(span.to_string()),
        &mut |done| {
            if let Some(bar) = &bar {
                bar.set_position(done);
            }
            !interrupt::pressed()
        },
    );
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let measured = measured.map_err(|error| match error {
        EvaluateError::Stopped => Failure::interrupted("stopped before every canvas was filled"),
        EvaluateError::Empty => {
            Failure::from(error).hint("no canvas has room for the spans: lower --spans or --length")
        }
        _ => error.into(),
    })?;
    let name = model.checkpoint().origin.to_string();
    files.write(|| Ok(lines.join("\n") + "\n"), || calibration_page(&name, &measured).html())?;
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&serde_json::json!({
            "model": name,
            "data": arguments.data,
            "spans": arguments.spans,
            "length": arguments.length,
            "seed": arguments.seed,
            "settings": wire::Settings::of(&all[0]),
            "figures": measured,
        }))?),
        ReportFormat::Human => printer.data(calibration_tables(&measured)),
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
