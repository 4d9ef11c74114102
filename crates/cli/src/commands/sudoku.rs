//! `aquatint eval sudoku` and `aquatint eval puzzles`: what a model plans, measured where every answer can be checked.

use crate::arguments::{PuzzleArguments, PuzzleKind, ReportFormat, SudokuArguments};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::{interrupt, model, wire};
use aquatint::Model;
use aquatint_evaluate::EvaluateError;
use aquatint_evaluate::sudoku::{ExamResult, ExamSettings, Part, Puzzle, Puzzles, Size, examine};
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
    let (size, clues) = kind(&arguments.kind)?;
    let puzzles: Vec<Puzzle> =
        Puzzles::new(size, arguments.seed, Part::Unseen, clues.clone()).take(arguments.puzzles).collect();
    let mut lines = Vec::new();
    for name in &arguments.models {
        let checkpoint = model::open(Some(name), printer)?;
        arguments.device.warn_of_experts(&checkpoint, printer);
        let network = runtime.network(&checkpoint)?;
        let model = Model::new(checkpoint, network)?;
        let writer = model.writer()?;
        for policy in &arguments.policies {
            let settings = ExamSettings {
                steps: arguments.steps.unwrap_or(size.cells()),
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
            "side": size.side(),
            "clues": format!("{}-{}", clues.start(), clues.end()),
            "steps": arguments.steps.unwrap_or(size.cells()),
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
    let (size, clues) = kind(&arguments.kind)?;
    let puzzles = Puzzles::new(size, arguments.seed, part, clues).take(arguments.count);
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

/// How large puzzles are, and how many clues they have: a range such as 24-40.
fn kind(arguments: &PuzzleKind) -> Result<(Size, RangeInclusive<usize>), Failure> {
    let size = Size::ALL.into_iter().find(|size| size.side() == arguments.side);
    let size = size.ok_or_else(|| Failure::new(format!("`side` is {}; allowed: 4, 9", arguments.side)))?;
    let Some(text) = &arguments.clues else { return Ok((size, size.usual_clues())) };
    let (least, most) = (size.fewest_clues(), size.cells() - 1);
    let read = || {
        let (start, end) = text.split_once('-')?;
        let range = start.trim().parse().ok()?..=end.trim().parse().ok()?;
        (*range.start() >= least && range.start() <= range.end() && *range.end() <= most).then_some(range)
    };
    let range = read().ok_or_else(|| {
        let usual = size.usual_clues();
        Failure::new(format!("`clues` is {text}; allowed: FEWEST-MOST, from {least} to {most}")).hint(format!(
            "{}-{}",
            usual.start(),
            usual.end()
        ))
    })?;
    Ok((size, range))
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
        let kind = |side, clues: Option<&str>| kind(&PuzzleKind { side, clues: clues.map(str::to_owned) });
        assert_eq!(kind(9, Some("24-40")).unwrap(), (Size::Nine, 24..=40));
        assert_eq!((kind(9, None).unwrap().1, kind(4, None).unwrap()), (24..=40, (Size::Four, 4..=8)));
        for (side, wrong) in
            [(9, "24"), (9, "40-24"), (9, "3-20"), (9, "24-81"), (9, "a-b"), (4, "3-8"), (4, "8-16"), (16, "4-8")]
        {
            assert!(kind(side, Some(wrong)).is_err(), "{side} {wrong}");
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
