//! `aquatint completions`: a script that completes commands and flags in a shell.

use crate::arguments::{Arguments, CompletionsArguments};
use crate::failure::Failure;
use crate::printer::Printer;
use clap::CommandFactory;

pub(crate) fn run(arguments: &CompletionsArguments, printer: &Printer) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "aquatint", &mut script);
    printer.data(String::from_utf8_lossy(&script))
}
