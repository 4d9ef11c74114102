//! `aquatint merge`: a model whose matrices have its adapter added.

use crate::arguments::{MergeArguments, Storage};
use crate::failure::Failure;
use crate::machine::{bytes, count};
use crate::model;
use crate::printer::Printer;
use aquatint_checkpoint::{self as checkpoint, Checkpoint};

pub(crate) fn run(arguments: &MergeArguments, printer: &Printer) -> Result<(), Failure> {
    let given = model::open(Some(&arguments.model), printer)?;
    // Files of a model that is there would be replaced one by one.
    if arguments.out.join("config.json").exists() {
        return Err(Failure::new(format!("`{}` already holds a model", arguments.out.display()))
            .hint("choose another folder, or remove this one"));
    }
    let storage = match arguments.storage {
        Storage::Bf16 => checkpoint::Storage::Bf16,
        Storage::F16 => checkpoint::Storage::F16,
        Storage::F32 => checkpoint::Storage::F32,
    };
    given.merge(&arguments.out, storage)?;
    for adapter in &given.spec.adapters {
        let (matrices, parameters) = (adapter.matrices.len(), adapter.parameter_count(&given.spec) as u64);
        printer.status(format_args!("{:<12}{} parameters in {matrices} matrices", adapter.name, count(parameters)));
    }
    let (_, size) = Checkpoint::load(&arguments.out)?.size();
    printer.status(format_args!("{:<12}{} as {storage}", "size", bytes(size)));
    printer.data_line(arguments.out.display())
}
