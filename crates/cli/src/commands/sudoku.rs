//! `aquatint eval sudoku` and `aquatint eval puzzles`: what a model plans, measured where every answer can be checked.

use crate::arguments::{PuzzleArguments, ReportFormat, SudokuArguments};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::{interrupt, model, wire};
use aquatint::Model;
use aquatint_evaluate::EvaluateError;
use aquatint_evaluate::sudoku::{ExamResult, ExamSettings, Part, Puzzle, Puzzles, examine};
use serde::Serialize;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// What one model reached under one policy.
#[derive(Debug, Serialize)]
struct Line {
    model: String,
    policy: String,
    puzzles: usize,
    solved: usize,
    solve_rate: f64,
    cell_rate: f64,
    well_formed: usize,
    seconds_per_puzzle: f64,
    forward_passes_per_puzzle: f64,
}

impl Line {
    fn new(model: String, policy: &str, result: &ExamResult) -> Self {
        let scores = &result.scores;
        Self {
            model,
            policy: policy.to_owned(),
            puzzles: scores.puzzles,
            solved: scores.solved,
            solve_rate: scores.solve_rate(),
            cell_rate: scores.cell_rate(),
            well_formed: scores.well_formed,
            seconds_per_puzzle: result.seconds_per_puzzle,
            forward_passes_per_puzzle: result.forward_passes_per_puzzle,
        }
    }
}

pub(crate) fn run(arguments: &SudokuArguments, printer: &Printer) -> Result<(), Failure> {
    let runtime = arguments.device.runtime(printer)?;
    let puzzles: Vec<Puzzle> =
        Puzzles::new(arguments.seed, Part::Unseen, clues(&arguments.clues)?).take(arguments.puzzles).collect();
    let mut lines = Vec::new();
    for name in &arguments.models {
        let checkpoint = model::open(Some(name), printer)?;
        arguments.device.warn_of_experts(&checkpoint, printer);
        let network = runtime.network(&checkpoint)?;
        let model = Model::new(checkpoint, network)?;
        let writer = model.writer()?;
        for policy in &arguments.policies {
            let settings = ExamSettings {
                steps: arguments.steps,
                policy: policy.clone(),
                temperature: arguments.temperature,
                seed: arguments.seed,
            };
            let result = examine(&writer, &puzzles, &settings, interrupt::flag()).map_err(stopped)?;
            let line = Line::new(model.checkpoint().origin.to_string(), policy, &result);
            printer.note(format_args!("{name}, {policy}: {} of {} solved", line.solved, line.puzzles));
            lines.push(line);
        }
    }
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&serde_json::json!({
            "puzzles": arguments.puzzles,
            "clues": arguments.clues,
            "steps": arguments.steps,
            "temperature": arguments.temperature,
            "seed": arguments.seed,
            "results": lines,
        }))?),
        ReportFormat::Human => printer.data(table(&lines)),
    }
}

/// Writes puzzles to train on.
pub(crate) fn write(arguments: &PuzzleArguments, printer: &Printer) -> Result<(), Failure> {
    let part = if arguments.unseen { Part::Unseen } else { Part::Training };
    let puzzles = Puzzles::new(arguments.seed, part, clues(&arguments.clues)?).take(arguments.count);
    aquatint_files::write_atomically(&arguments.file, |out| {
        for puzzle in puzzles {
            writeln!(out, "{}", serde_json::json!({ "text": puzzle.document() }))?;
        }
        Ok(())
    })
    .map_err(|error| Failure::of_file("write", &arguments.file, &error))?;
    printer.note(format_args!("{} puzzles in {}", arguments.count, arguments.file.display()));
    Ok(())
}

fn stopped(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Stopped => Failure::interrupted("stopped before all puzzles were asked"),
        _ => error.into(),
    }
}

/// Reads a range such as 24-40.
fn clues(text: &str) -> Result<RangeInclusive<usize>, Failure> {
    let read = || {
        let (fewest, most) = text.split_once('-')?;
        let range = fewest.trim().parse().ok()?..=most.trim().parse().ok()?;
        (*range.start() >= 17 && range.start() <= range.end() && *range.end() <= 80).then_some(range)
    };
    read().ok_or_else(|| Failure::new(format!("`clues` is {text}; allowed: FEWEST-MOST, from 17 to 80")).hint("24-40"))
}

fn table(lines: &[Line]) -> String {
    let mut text =
        String::from("| model | policy | solved | cells right | passes | s/puzzle |\n|---|---|---:|---:|---:|---:|\n");
    for line in lines {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} % ({}/{}) | {:.1} % | {:.0} | {:.3} |",
            line.model,
            line.policy,
            100.0 * line.solve_rate,
            line.solved,
            line.puzzles,
            100.0 * line.cell_rate,
            line.forward_passes_per_puzzle,
            line.seconds_per_puzzle
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_clues_are_read_and_checked() {
        assert_eq!(clues("24-40").unwrap(), 24..=40);
        for wrong in ["24", "40-24", "3-20", "24-81", "a-b"] {
            assert!(clues(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_table_says_what_was_solved() {
        let line = Line {
            model: "m".into(),
            policy: "margin".into(),
            puzzles: 200,
            solved: 37,
            solve_rate: 0.185,
            cell_rate: 0.5,
            well_formed: 200,
            seconds_per_puzzle: 0.25,
            forward_passes_per_puzzle: 81.0,
        };
        assert!(table(&[line]).ends_with("| m | margin | 18.5 % (37/200) | 50.0 % | 81 | 0.250 |\n"));
    }
}
