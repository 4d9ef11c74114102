//! `aquatint list`: the models at hand: built in, in folders, and in the cache of the Hugging Face Hub.

use crate::arguments::{ListArguments, ReportFormat};
use crate::environment;
use crate::failure::{Failure, in_one_line};
use crate::machine::{bytes, count};
use crate::printer::Printer;
use crate::source_report::counted;
use aquatint::hub::Hub;
use aquatint_checkpoint::{Checkpoint, CheckpointError, builtin};
use aquatint_codec::kind_of;
use serde_json::json;
use std::path::{Path, PathBuf};

/// One model that can be named.
struct Entry {
    name: String,
    parameters: u64,
    size: u64,
    context: usize,
}

pub(crate) fn run(arguments: &ListArguments, printer: &Printer) -> Result<(), Failure> {
    let mut entries = Vec::new();
    let mut add = |name: &str, opened: Result<Checkpoint, CheckpointError>| match opened {
        Ok(checkpoint) => entries.push(entry(name, &checkpoint)),
        // One broken model is no reason to hide the others.
        Err(error) => printer.warn(format_args!("`{name}` is left out: {}", in_one_line(&error))),
    };
    for name in builtin::names() {
        add(name, Checkpoint::open(name));
    }
    let usual: Vec<PathBuf> =
        ["runs", "models"].map(PathBuf::from).into_iter().filter(|usual| usual.exists()).collect();
    for folder in if arguments.folders.is_empty() { &usual } else { &arguments.folders } {
        for path in models_in(folder)? {
            add(&path.display().to_string(), Checkpoint::load(&path));
        }
    }
    // Other tools keep models of every kind there: those that are none here are counted.
    let mut others = 0;
    for model in Hub::new(environment::hub())?.list()? {
        match Checkpoint::load(&model.folder) {
            Ok(checkpoint) => entries.push(entry(&model.name.to_string(), &checkpoint)),
            Err(error) => {
                others += 1;
                printer.detail(format_args!("`{}` is left out: {}", model.name, in_one_line(&error)));
            }
        }
    }
    if others > 0 {
        let others = counted(others, "model");
        printer.note(format_args!("{others} of the Hugging Face cache cannot be opened here; --verbose says why"));
    }
    match arguments.format {
        ReportFormat::Json => {
            let models: Vec<_> = entries
                .iter()
                .map(|entry| {
                    json!({
                        "name": entry.name,
                        "parameters": entry.parameters,
                        "bytes": entry.size,
                        "context_length": entry.context,
                    })
                })
                .collect();
            printer.data_line(json!({ "models": models }))
        }
        ReportFormat::Human => {
            let width = entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or(0).max(4);
            printer
                .data_line(format_args!("{:width$}  {:>14}  {:>9}  {:>7}", "NAME", "PARAMETERS", "SIZE", "CONTEXT"))?;
            for entry in &entries {
                let (parameters, size) = (count(entry.parameters), bytes(entry.size));
                printer.data_line(format_args!(
                    "{:width$}  {parameters:>14}  {size:>9}  {:>7}",
                    entry.name, entry.context
                ))?;
            }
            Ok(())
        }
    }
}

fn entry(name: &str, checkpoint: &Checkpoint) -> Entry {
    let (parameters, size) = super::show::weight(checkpoint);
    Entry { name: name.to_owned(), parameters, size, context: checkpoint.spec.context_length }
}

/// The folder itself where it holds a model, and the folders in it that do, by name.
fn models_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    // A codec is a part of a model.
    let is_model = |path: &Path| path.join("config.json").is_file() && kind_of(path).is_err();
    let mut found = Vec::new();
    if is_model(folder) {
        found.push(folder.to_path_buf());
    }
    let entries = std::fs::read_dir(folder).map_err(|error| Failure::of_file("read", folder, &error))?;
    let mut inner: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    inner.retain(|path| is_model(path));
    inner.sort();
    found.extend(inner);
    Ok(found)
}
