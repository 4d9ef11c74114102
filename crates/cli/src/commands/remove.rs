//! `aquatint rm`: models leave the cache of the Hugging Face Hub.

use crate::arguments::RemoveArguments;
use crate::environment;
use crate::failure::Failure;
use crate::machine::bytes;
use crate::printer::Printer;
use crate::source_report::counted;
use aquatint::hub::{Hub, HubError};

pub(crate) fn run(arguments: &RemoveArguments, printer: &Printer) -> Result<(), Failure> {
    let hub = Hub::new(environment::hub())?;
    for name in &arguments.models {
        let removed = hub.remove(name).map_err(|error| match error {
            HubError::NotCached { .. } => Failure::from(error).hint("`aquatint list` shows what is there"),
            error => error.into(),
        })?;
        let commits = counted(removed.commits as u64, "commit");
        printer.status(format_args!("removed {name}: {commits}, {}", bytes(removed.bytes)));
    }
    Ok(())
}
