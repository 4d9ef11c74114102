//! `aquatint eval bias`: whom a model wrongs.

use super::write_whole;
use crate::arguments::{BiasArguments, ReportFormat};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::source_report::counted;
use crate::{interrupt, model, wire};
use aquatint::Model;
use aquatint_evaluate::{BiasRow, BiasSettings, EvaluateError, OpenPart, bias, bias_page, bias_rows, bias_tables};
use aquatint_network::NetworkKind;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
    let runtime = arguments.device.runtime(printer)?;
    let checkpoint = model::open(arguments.model.as_deref(), printer)?;
    arguments.device.warn_of_experts(&checkpoint, printer);
    let network = runtime.network(&checkpoint)?;
    let model = Model::new(checkpoint, network)?;
    if arguments.samples != 8 && model.checkpoint().spec.kind() == NetworkKind::Causal {
        printer.warn("`--samples` has no effect: a causal model is measured without noise");
    }
    let settings = BiasSettings { versions: arguments.samples, open, seed: arguments.seed };
    let mut lines = Vec::new();
    let mut bar = None;
    let measured = bias(
        (model.denoiser(), &model.checkpoint().vocabulary),
        &rows,
        &settings,
        &mut |row| lines.push(row.to_string()),
        &mut |done, of| {
            if printer.draws() {
                bar.get_or_insert_with(|| progress(of as u64)).set_position(done as u64);
            }
            !interrupt::pressed()
        },
    );
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let measured = measured.map_err(stopped)?;
    if measured.too_long > 0 {
        let rows = counted(measured.too_long, "row");
        printer.warn(format_args!("{rows} longer than the model can read left out"));
    }
    let name = model.checkpoint().origin.to_string();
    if let Some(path) = &arguments.out {
        write_whole(path, &(lines.join("\n") + "\n"))?;
    }
    if let Some(path) = &arguments.report {
        write_whole(path, &bias_page(&name, &measured).html())?;
    }
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&serde_json::json!({
            "model": name,
            "data": arguments.data,
            "seed": arguments.seed,
            "figures": measured,
        }))?),
        ReportFormat::Human => printer.data(bias_tables(&measured)),
    }
}

fn stopped(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Stopped => Failure::interrupted("stopped before every row was measured"),
        _ => error.into(),
    }
}

fn progress(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    // The template is a constant; were it wrong, the plain bar would do.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} rows  {eta} left") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}
