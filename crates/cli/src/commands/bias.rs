//! `aquatint eval bias`: whom a model wrongs.

use crate::arguments::{BiasArguments, ReportFormat};
use crate::failure::Failure;
use crate::guard;
use crate::printer::Printer;
use crate::source_report::counted;
use crate::written_files::ReportFiles;
use crate::{interrupt, model, wire};
use aquatint::guard::Guards;
use aquatint::{Model, SamplingOptions, Settings};
use aquatint_evaluate::{
    BiasFigures, BiasRow, BiasSettings, ContinuationSettings, EvaluateError, OpenPart, Prompts, bias, bias_page,
    bias_rows, bias_tables,
};
use aquatint_network::NetworkKind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

pub(crate) fn run(arguments: &BiasArguments, printer: &Printer) -> Result<(), Failure> {
    let open = arguments
        .open
        .iter()
        .map(|name| name.parse::<OpenPart>().map_err(|message| Failure::new(message).hint("--open whole,common")));
    let open: Vec<OpenPart> = open.collect::<Result<_, _>>()?;
    let mut rows: Vec<BiasRow> = Vec::new();
    for path in &arguments.data {
        let of_file = bias_rows(path)?;
        let limit = arguments.limit.unwrap_or(of_file.len()).min(of_file.len());
        rows.extend((0..limit).map(|index| of_file[index * of_file.len() / limit].clone()));
    }
    let has_prompts = rows.iter().any(|row| matches!(row, BiasRow::Prompt(_)));
    if has_prompts && arguments.guards.is_empty() {
        return Err(Failure::new("there are prompts, and nothing judges their continuations")
            .hint("name --guard, a classifier or a list of words"));
    }
    let guards = Guards::new(guard::read(&arguments.guards)?, Guards::REPAIRS);
    if !has_prompts && !arguments.guards.is_empty() {
        printer.warn("`--guard` has no effect: no row is a prompt");
    }
    let files = ReportFiles::begin(arguments.out.as_deref(), arguments.report.as_deref())?;
    let runtime = arguments.device.runtime(printer)?;
    let checkpoint = model::open(arguments.model.as_deref(), printer)?;
    arguments.device.warn_of_experts(&checkpoint, printer);
    let network = runtime.network(&checkpoint)?;
    let model = Model::new(checkpoint, network)?;
    let has_costs = rows.iter().any(|row| !matches!(row, BiasRow::Prompt(_)));
    let is_causal = model.checkpoint().spec.kind() == NetworkKind::Causal;
    if arguments.samples != 8 && is_causal {
        printer.warn("`--samples` has no effect: a causal model is measured without noise");
    } else if arguments.samples != 8 && !has_costs {
        printer.warn("`--samples` has no effect: every row is a prompt");
    }
    // What can be refused of continuations comes before costs, which take long.
    let continued = has_prompts.then(|| settings(arguments, &model)).transpose()?;
    let sampling = continued.as_ref().map(|settings| settings.sampling.clone());
    let writer = has_prompts.then(|| model.writer()).transpose()?;
    let prompts = writer.as_ref().zip(continued).map(|(writer, settings)| Prompts::new(writer, &rows, settings));
    let prompts = prompts.transpose()?;
    let mut lines = Vec::new();
    let each = &mut |row: Value| lines.push(row.to_string());
    let mut measured = BiasFigures::default();
    // Rows of each kind by themselves; without any row it is the first that says so.
    if has_costs || !has_prompts {
        let settings = BiasSettings { versions: arguments.samples, open, seed: arguments.seed };
        let of = (model.denoiser(), &model.checkpoint().vocabulary);
        measured = with_bar("texts", printer, |go_on| bias(of, &rows, &settings, each, go_on))?;
    }
    if let Some(prompts) = &prompts {
        let score = |text: &str| guards.score(text);
        let written = with_bar("continuations", printer, |go_on| prompts.continuations(&score, each, go_on))?;
        measured.continuations = Some(written);
    }
    if measured.is_empty() {
        return Err(Failure::new("every row is longer than the model can read"));
    }
    let too_long = measured.too_long + measured.continuations.as_ref().map_or(0, |written| written.too_long);
    if too_long > 0 {
        printer.warn(format_args!("{} longer than the model can read left out", counted(too_long, "row")));
    }
    let name = model.checkpoint().origin.to_string();
    files.write(|| Ok(lines.join("\n") + "\n"), || bias_page(&name, &measured).html())?;
    match arguments.format {
        ReportFormat::Json => {
            let mut report = serde_json::json!({
                "model": name,
                "data": arguments.data,
                "seed": arguments.seed,
                "figures": measured,
            });
            if let Some(sampling) = &sampling {
                report["settings"] = serde_json::json!(wire::Settings::of(sampling));
            }
            printer.data_line(wire::json(&report)?)
        }
        ReportFormat::Human => printer.data(bias_tables(&measured)),
    }
}

/// How prompts are continued.
fn settings(arguments: &BiasArguments, model: &Model) -> Result<ContinuationSettings, Failure> {
    let options = SamplingOptions {
        steps: arguments.steps,
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        seed: Some(arguments.seed),
        ..SamplingOptions::default()
    };
    let sampling: Settings = options.resolve(model.generation())?.settings().clone();
    let judges = arguments.guards.iter().map(|path| path.display().to_string()).collect();
    Ok(ContinuationSettings { count: arguments.count, length: arguments.length, sampling, judges })
}

/// Measures with a bar of what is done, until it is stopped.
fn with_bar<T>(
    unit: &str,
    printer: &Printer,
    measure: impl FnOnce(&mut dyn FnMut(usize, usize) -> bool) -> Result<T, EvaluateError>,
) -> Result<T, Failure> {
    let mut bar = None;
    let measured = measure(&mut |done, of| {
        if printer.draws() {
            bar.get_or_insert_with(|| progress(of as u64, unit)).set_position(done as u64);
        }
        !interrupt::pressed()
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    measured.map_err(stopped)
}

fn stopped(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Stopped => Failure::interrupted("stopped before every row was measured"),
        _ => error.into(),
    }
}

fn progress(length: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    // The template is a constant; were it wrong, the plain bar would do.
    if let Ok(style) = ProgressStyle::with_template(&format!("{{bar:24}} {{pos}}/{{len}} {unit}  {{eta}} left")) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}
