//! From what people name to a model that runs: the checkpoint, and the device with its precision.

use crate::arguments::{DeviceArguments, Precision};
use crate::environment;
use crate::failure::Failure;
use crate::printer::Printer;
use aquatint::Error;
use aquatint::hub::{Hub, ModelName};
use aquatint::runtime::{self, Runtime, RuntimeSettings};
use aquatint_checkpoint::{Checkpoint, CheckpointError, builtin};
use aquatint_train::TrainError;
use std::fmt::Display;
use std::path::Path;

/// What a model is opened by: the folder in the cache of the Hub, if that has a model of this name and nothing else here is
/// called so; otherwise the name itself.
pub(crate) fn resolve(name: &str) -> Result<String, Failure> {
    if builtin::names().contains(&name) || Path::new(name).exists() {
        return Ok(name.to_owned());
    }
    if let Some((base, adapters)) = name.split_once('+') {
        let parts: Vec<String> =
            std::iter::once(base).chain(adapters.split('+')).map(resolve).collect::<Result<_, _>>()?;
        return Ok(parts.join("+"));
    }
    let Ok(model) = name.parse::<ModelName>() else { return Ok(name.to_owned()) };
    let folder = Hub::new(environment::hub())?.snapshot(&model).ok();
    Ok(folder.map_or_else(|| name.to_owned(), |folder| folder.display().to_string()))
}

/// Opens the named checkpoint, or the built-in one. A model folder that a built-in model of its name hides is told.
pub(crate) fn open(name: Option<&str>, printer: &Printer) -> Result<Checkpoint, Failure> {
    if let Some(name) = name
        && builtin::names().contains(&name)
        && Path::new(name).join("config.json").exists()
    {
        printer.warn(format_args!("`{name}` is the built-in model; the folder of that name is `./{name}`"));
    }
    let name = name.unwrap_or(builtin::DEFAULT);
    let checkpoint = Checkpoint::open(&resolve(name)?).map_err(|error| {
        let absent = matches!(error, CheckpointError::Unknown { .. });
        let failure = Failure::from(error);
        if absent && let Some(pull) = pull_hint(name) {
            return failure.hint(pull);
        }
        // The one thing that people type by mistake: a prompt where the model stands.
        if name.contains(char::is_whitespace) {
            failure
                .hint(format!("to complete a text, name the model first: aquatint run {} {name:?}", builtin::DEFAULT))
        } else {
            failure
        }
    })?;
    if let [_, .., last] = &checkpoint.spec.adapters[..] {
        return Err(Failure::new(format!("`{name}` has the adapter `{}` beside another one; allowed: one", last.name))
            .hint("`aquatint serve` takes several, each by a name of its own"));
    }
    warn_of_keys(&checkpoint.unknown_keys, printer);
    Ok(checkpoint)
}

/// How a model of this name gets here, if it is one of the Hub.
fn pull_hint(name: &str) -> Option<String> {
    let is_name = name.parse::<ModelName>().is_ok();
    is_name.then(|| format!("`aquatint pull {name}` downloads it, if it is a model of the Hugging Face Hub"))
}

/// Why a run cannot begin or go on; of a model that is not here, how it gets here.
pub(crate) fn training_failure(error: Error) -> Failure {
    let pull = match &error {
        Error::Train(TrainError::Checkpoint(CheckpointError::Unknown { name, .. })) => pull_hint(name),
        _ => None,
    };
    let failure = Failure::from(error);
    match pull {
        Some(pull) => failure.hint(pull),
        None => failure,
    }
}

/// Names the keys of a `config.json` that nothing here knows.
pub(crate) fn warn_of_keys(unknown: &[String], printer: &Printer) {
    if !unknown.is_empty() {
        let keys: Vec<String> = unknown.iter().map(|key| format!("`{key}`")).collect();
        let keys = keys.join(", ");
        printer.warn(format_args!("keys of config.json that are not known here are passed over: {keys}"));
    }
}

/// Warns that a model has no experts that could be read when rows are routed to them.
pub(crate) fn warn_of_no_experts(model: impl Display, printer: &Printer) {
    printer.warn(format_args!("`--expert-memory` has no effect: no experts in {model}"));
}

/// The same if that is so.
pub(crate) fn warn_without_experts(checkpoint: &Checkpoint, printer: &Printer) {
    if !checkpoint.spec.has_experts() {
        warn_of_no_experts(&checkpoint.origin, printer);
    }
}

/// Says how many launches of a GPU were replayed, where that is done.
pub(crate) fn tell_of_graphs(runtime: &Runtime, printer: &Printer) {
    if let Some(graphs) = runtime.describe_graphs() {
        printer.detail(graphs);
    }
}

impl DeviceArguments {
    /// What was typed, with the place where a GPU's kernels are kept.
    pub(crate) fn settings(&self) -> RuntimeSettings {
        RuntimeSettings {
            device: self.device,
            precision: self.precision.into(),
            threads: self.threads,
            kernel_cache: Some(environment::kernels()),
            expert_memory: self.expert_memory.map(|mebibytes| mebibytes.saturating_mul(1 << 20)),
            graphs: self.graphs,
        }
    }

    /// What was typed, held against what the machine has.
    pub(crate) fn runtime(&self, printer: &Printer) -> Result<Runtime, Failure> {
        let runtime = Runtime::new(&self.settings())?;
        self.warn_of_device(&runtime, printer);
        Ok(runtime)
    }

    /// Warns where the device has its own number of threads, or no graphs; returns whether it does.
    pub(crate) fn warn_of_device(&self, runtime: &Runtime, printer: &Printer) -> bool {
        let threads = self.threads.is_some_and(|threads| threads != runtime.threads());
        let graphs = self.graphs && !runtime.is_gpu();
        for (flag, ignored) in [("threads", threads), ("graphs", graphs)] {
            if ignored {
                printer.warn(format_args!("`--{flag}` has no effect: the device is {}", runtime.describe_device()));
            }
        }
        threads || graphs
    }

    /// Warns where a model has no experts that could be read when rows are routed to them.
    pub(crate) fn warn_of_experts(&self, checkpoint: &Checkpoint, printer: &Printer) {
        if self.expert_memory.is_some() {
            warn_without_experts(checkpoint, printer);
        }
    }
}

impl From<Precision> for runtime::Precision {
    fn from(typed: Precision) -> Self {
        match typed {
            Precision::Auto => Self::Auto,
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
            Precision::Int8 => Self::Int8,
            Precision::Int4 => Self::Int4,
            Precision::F64 => Self::F64,
        }
    }
}
