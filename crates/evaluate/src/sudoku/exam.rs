//! A model solves puzzles: the clues are given, the digits behind them are open.

use super::{Answer, Puzzle, Scores};
use crate::{EvaluateError, Writer};
use aquatint_diffusion::Canvas;
use aquatint_vocabulary::Role;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Puzzles that are solved together; a puzzle is shorter than most texts.
const BATCH: usize = 32;

/// How puzzles are solved.
#[derive(Debug, Clone, PartialEq)]
pub struct ExamSettings {
    /// Denoising steps.
    pub steps: usize,
    /// The commit policy, by its name.
    pub policy: String,
    /// Temperature of the draws.
    pub temperature: f64,
    /// The first puzzle's seed; each further one has the next.
    pub seed: u64,
}

/// What a model reached, and what it took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExamResult {
    /// The sum of all answers.
    pub scores: Scores,
    /// Seconds, on average.
    pub seconds_per_puzzle: f64,
    /// Forward passes, on average; one pass over several puzzles counts for each.
    pub forward_passes_per_puzzle: f64,
}

/// Has a model solve puzzles; `stop` is read in every step.
///
/// # Errors
/// When the vocabulary has no token for each character, the model cannot fill its canvas, or it was cancelled.
pub fn examine(
    writer: &Writer<'_>,
    puzzles: &[Puzzle],
    settings: &ExamSettings,
    stop: &AtomicBool,
) -> Result<ExamResult, EvaluateError> {
    let mut scores = Scores::default();
    let mut passes = 0;
    let begun = Instant::now();
    for (batch, puzzles) in puzzles.chunks(BATCH).enumerate() {
        let request = |(index, puzzle): (usize, &Puzzle)| -> Result<_, EvaluateError> {
            let settings = writer
                .settings()
                .steps(settings.steps)
                .policy_named(&settings.policy)
                .temperature(settings.temperature)
                .seed(settings.seed + (batch * BATCH + index) as u64)
                .build()?;
            Ok(writer.request(canvas(writer, puzzle)?, settings))
        };
        let requests = puzzles.iter().enumerate().map(request).collect::<Result<Vec<_>, _>>()?;
        let outcomes = writer.fill(&requests, &mut |_, _| !stop.load(Ordering::SeqCst))?;
        for (puzzle, outcome) in puzzles.iter().zip(outcomes) {
            let cells = puzzle.clues.size().cells();
            let answer = usize::from(writer.vocabulary().text_begin().is_some()) + cells;
            let written = &outcome.canvas.tokens()[answer..answer + cells];
            scores.add(Answer::of(puzzle, &writer.vocabulary().decode(written)));
            passes += outcome.statistics.forward_passes;
        }
    }
    let count = scores.puzzles.max(1) as f64;
    Ok(ExamResult {
        scores,
        seconds_per_puzzle: begun.elapsed().as_secs_f64() / count,
        forward_passes_per_puzzle: passes as f64 / count,
    })
}

/// The clues, an open position for each cell, and the end that every document has.
fn canvas(writer: &Writer<'_>, puzzle: &Puzzle) -> Result<Canvas, EvaluateError> {
    let vocabulary = writer.vocabulary();
    let clues = vocabulary.encode(&puzzle.clues.to_string())?;
    let cells = puzzle.clues.size().cells();
    if clues.len() != cells {
        return Err(EvaluateError::Cells { cells, tokens: clues.len() });
    }
    let mut canvas = Canvas::new();
    canvas.push_given(vocabulary.text_begin().as_slice());
    canvas.push_given(&clues);
    canvas.push_open(cells, false, writer.blank());
    if let Some(end) = vocabulary.role(Role::End) {
        canvas.push_given(&[end]);
    }
    Ok(canvas)
}
