//! `aquatint guard-classifier` and `aquatint eval guard`: a classifier that guards, and how often guards refuse.

use crate::arguments::{EvalGuardArguments, GuardClassifierArguments, ReportFormat};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::source_report::counted;
use crate::{guard, wire};
use aquatint::guard::{Guards, TrainingSettings, guard_figures, guard_rows, guard_table};
use aquatint_files::write_atomically;

/// Trains a classifier.
pub(crate) fn train(arguments: &GuardClassifierArguments, printer: &Printer) -> Result<(), Failure> {
    let GuardClassifierArguments { words, least, penalty, threshold, .. } = *arguments;
    let settings = TrainingSettings { words, least, penalty, threshold };
    settings.check()?;
    let rows = guard_rows(&arguments.data)?;
    let classifier = settings.train(&rows)?;
    let json = classifier.to_json()? + "\n";
    write_atomically(&arguments.file, |out| out.write_all(json.as_bytes()))
        .map_err(|error| Failure::of_file("write", &arguments.file, &error))?;
    let (rows, grams) = (counted(rows.len() as u64, "row"), counted(classifier.size() as u64, "n-gram"));
    printer.note(format_args!("{grams} from {rows}"));
    printer.data_line(arguments.file.display())
}

/// Measures guards.
pub(crate) fn measure(arguments: &EvalGuardArguments, printer: &Printer) -> Result<(), Failure> {
    let guards = Guards::new(guard::read(&arguments.guards)?, Guards::REPAIRS);
    let figures = guard_figures(&guards, &guard_rows(&arguments.data)?);
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&serde_json::json!({
            "guards": arguments.guards,
            "data": arguments.data,
            "figures": figures,
        }))?),
        ReportFormat::Human => printer.data(guard_table(&figures)),
    }
}
