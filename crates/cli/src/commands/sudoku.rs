//! `aquatint eval sudoku` and `aquatint eval puzzles`: what a model plans, measured where every answer can be checked.

use crate::arguments::{PuzzleArguments, ReportFormat, SudokuArguments};
use crate::failure::Failure;
use crate::model::{self, Plan};
use crate::printer::Printer;
use crate::{interrupt, wire};
use aquatint::{Canvas, Model, Settings};
use aquatint_evaluate::sudoku::{Answer, Grid, Part, Puzzle, Puzzles, Scores};
use aquatint_vocabulary::Role;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::{ControlFlow, RangeInclusive};
use std::time::Instant;

/// Puzzles that are solved together.
const BATCH: usize = 32;

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

pub(crate) fn run(arguments: &SudokuArguments, printer: &Printer) -> Result<(), Failure> {
    let plan = Plan::resolve(&arguments.device)?;
    let puzzles: Vec<Puzzle> =
        Puzzles::new(arguments.seed, Part::Unseen, clues(&arguments.clues)?).take(arguments.puzzles).collect();
    interrupt::listen(|| {});
    let mut lines = Vec::new();
    for name in &arguments.models {
        let checkpoint = model::open(Some(name))?;
        let network = plan.network(&checkpoint)?;
        let model = Model::new(checkpoint, network)?;
        for policy in &arguments.policies {
            let line = solve(&model, policy, &puzzles, arguments)?;
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
    let failed = |error: &std::io::Error| Failure::of_file("write", &arguments.file, error);
    let file = std::fs::File::create(&arguments.file).map_err(|error| failed(&error))?;
    let mut out = std::io::BufWriter::new(file);
    for puzzle in Puzzles::new(arguments.seed, part, clues(&arguments.clues)?).take(arguments.count) {
        let line = wire::json(&serde_json::json!({ "text": puzzle.document() }))?;
        writeln!(out, "{line}").map_err(|error| failed(&error))?;
    }
    out.flush().map_err(|error| failed(&error))?;
    printer.note(format_args!("{} puzzles in {}", arguments.count, arguments.file.display()));
    Ok(())
}

fn solve(model: &Model, policy: &str, puzzles: &[Puzzle], arguments: &SudokuArguments) -> Result<Line, Failure> {
    let mut scores = Scores::default();
    let mut passes = 0;
    let begun = Instant::now();
    for (batch, puzzles) in puzzles.chunks(BATCH).enumerate() {
        let request = |(index, puzzle): (usize, &Puzzle)| -> Result<_, Failure> {
            let settings = Settings::builder()
                .steps(arguments.steps)
                .policy_named(policy)
                .temperature(arguments.temperature)
                .seed(arguments.seed + (batch * BATCH + index) as u64)
                .build()?;
            Ok(model.request_for(canvas(model, puzzle)?, settings))
        };
        let requests = puzzles.iter().enumerate().map(request).collect::<Result<Vec<_>, _>>()?;
        let go_on = || if interrupt::pressed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let outcomes = model.serve(&requests, &mut |_, _| go_on())?;
        if interrupt::pressed() {
            return Err(Failure::new("stopped before all puzzles were asked").negative());
        }
        for (puzzle, outcome) in puzzles.iter().zip(&outcomes) {
            let written = &outcome.canvas.tokens()[Grid::CELLS..2 * Grid::CELLS];
            scores.add(Answer::of(puzzle, &model.checkpoint().vocabulary.decode(written)));
            passes += outcome.statistics.forward_passes;
        }
    }
    let count = scores.puzzles.max(1) as f64;
    Ok(Line {
        model: model.checkpoint().origin.to_string(),
        policy: policy.to_owned(),
        puzzles: scores.puzzles,
        solved: scores.solved,
        solve_rate: scores.solve_rate(),
        cell_rate: scores.cell_rate(),
        well_formed: scores.well_formed,
        seconds_per_puzzle: begun.elapsed().as_secs_f64() / count,
        forward_passes_per_puzzle: passes as f64 / count,
    })
}

/// The clues, 81 open positions, and the end that every document has.
fn canvas(model: &Model, puzzle: &Puzzle) -> Result<Canvas, Failure> {
    let vocabulary = &model.checkpoint().vocabulary;
    let clues = vocabulary.encode(&puzzle.clues.to_string())?;
    if clues.len() != Grid::CELLS {
        return Err(Failure::new(format!("81 cells are {} tokens of this model's vocabulary", clues.len()))
            .hint("a model for Sudoku has one token for each character: see recipes/sudoku"));
    }
    let mut canvas = Canvas::new();
    canvas.push_given(&clues);
    canvas.push_open(Grid::CELLS, false, vocabulary.role(Role::Mask).unwrap_or_default());
    if let Some(end) = vocabulary.role(Role::End) {
        canvas.push_given(&[end]);
    }
    Ok(canvas)
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
