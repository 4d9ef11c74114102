//! The program `aquatint`: arguments become resolved values, values become one call of a library, and what the library
//! returns becomes text. Nothing but this crate prints, reads the environment or exits.
#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod certainty;
mod commands;
mod conversation;
#[cfg(feature = "credentials")]
mod credentials;
#[cfg(not(feature = "credentials"))]
#[path = "credentials/absent.rs"]
mod credentials;
mod drawing;
mod environment;
mod failure;
mod files_out;
mod frame;
mod guard;
mod interrupt;
mod live;
mod machine;
mod media;
mod model;
mod printer;
mod sampling;
mod screen;
mod session;
mod source_report;
mod terminal;
mod token_canvas;
mod training;
mod watermark;
mod wire;
mod written_files;

use arguments::{Arguments, Command, EvalCommand};
use failure::{Ending, Failure};
use printer::{Printer, Verbosity};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let verbosity = match (arguments.output.quiet, arguments.output.verbose) {
        (true, _) => Verbosity::Quiet,
        (false, true) => Verbosity::Verbose,
        (false, false) => Verbosity::Normal,
    };
    let printer = Printer::new(verbosity, arguments.output.color);
    interrupt::listen(printer);
    match dispatch(&arguments.command, &printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.ending() != Ending::Silent {
                printer.failure(&failure);
            }
            ExitCode::from(failure.ending().code())
        }
    }
}

fn dispatch(command: &Command, printer: &Printer) -> Result<(), Failure> {
    match command {
        Command::Run(arguments) => commands::run::run(arguments, printer),
        Command::Generate(arguments) => commands::generate::run(arguments, printer),
        Command::Serve(arguments) => commands::serve::run(arguments, printer),
        Command::Train(arguments) => commands::train::run(arguments, printer),
        Command::Eval(EvalCommand::Likelihood(arguments)) => commands::likelihood::run(arguments, printer),
        Command::Eval(EvalCommand::Compare(arguments)) => commands::compare::run(arguments, printer),
        Command::Eval(EvalCommand::Codec(arguments)) => commands::codec::run(arguments, printer),
        Command::Eval(EvalCommand::Spans(arguments)) => commands::spans::run(arguments, printer),
        Command::Eval(EvalCommand::Answers(arguments)) => commands::answers::run(arguments, printer),
        Command::Eval(EvalCommand::Bias(arguments)) => commands::bias::run(arguments, printer),
        Command::Eval(EvalCommand::Calibration(arguments)) => commands::calibration::run(arguments, printer),
        Command::Eval(EvalCommand::Memory(arguments)) => commands::memory::run(arguments, printer),
        Command::Eval(EvalCommand::Guard(arguments)) => commands::guard::measure(arguments, printer),
        Command::Eval(EvalCommand::Sudoku(arguments)) => commands::sudoku::run(arguments, printer),
        Command::Eval(EvalCommand::Puzzles(arguments)) => commands::sudoku::write(arguments, printer),
        Command::WatermarkKey(arguments) => commands::watermark_key::run(arguments, printer),
        Command::Detect(arguments) => commands::detect::run(arguments, printer),
        Command::GuardClassifier(arguments) => commands::guard::train(arguments, printer),
        Command::Bench(arguments) => commands::bench::run(arguments, printer),
        Command::Quantise(arguments) => commands::quantise::run(arguments, printer),
        Command::Merge(arguments) => commands::merge::run(arguments, printer),
        Command::Show(arguments) => commands::show::run(arguments, printer),
        Command::Pull(arguments) => commands::pull::run(arguments, printer),
        Command::Remove(arguments) => commands::remove::run(arguments, printer),
        Command::List(arguments) => commands::list::run(arguments, printer),
        Command::Doctor(arguments) => commands::doctor::run(arguments, printer),
        Command::Completions(arguments) => commands::completions::run(arguments, printer),
    }
}
