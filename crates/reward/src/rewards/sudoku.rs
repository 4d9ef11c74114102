//! Sudoku: the prompt has the 81 or 16 cells as they are given, the completion all digits.

use crate::{Attempt, Reward, RewardError};
use aquatint_evaluate::sudoku::{Answer, Grid, Puzzle, solve};
use std::collections::HashMap;

/// How many of the cells without a clue are right (d1, 2504.12216, section 4), or whether all are.
#[derive(Debug)]
pub(super) struct Sudoku {
    /// Whether nothing but a solved puzzle is worth anything.
    pub(super) whole: bool,
}

impl Reward for Sudoku {
    fn name(&self) -> String {
        if self.whole { "sudoku:solved".to_owned() } else { "sudoku".to_owned() }
    }

    fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError> {
        // A puzzle is solved once, however often it is attempted.
        let mut puzzles: HashMap<&str, Puzzle> = HashMap::new();
        attempts
            .iter()
            .map(|attempt| {
                let puzzle = match puzzles.get(attempt.prompt) {
                    Some(puzzle) => puzzle,
                    None => puzzles.entry(attempt.prompt).or_insert(self.puzzle(attempt.prompt)?),
                };
                let answer = Answer::of(puzzle, attempt.completion);
                Ok(match self.whole {
                    true => f64::from(u8::from(answer.solved)),
                    false => answer.right as f64 / answer.requested as f64,
                })
            })
            .collect()
    }
}

impl Sudoku {
    fn puzzle(&self, prompt: &str) -> Result<Puzzle, RewardError> {
        let refused = |reason: String| RewardError::prompt(&self.name(), prompt, reason);
        let clues: Grid = prompt.trim().parse().map_err(|error| refused(format!("{error}")))?;
        if clues.is_full() {
            return Err(refused("no cell is left to fill".to_owned()));
        }
        let solution = solve(&clues).ok_or_else(|| refused("the puzzle has no solution".to_owned()))?;
        Ok(Puzzle { clues, solution })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_evaluate::sudoku::{Part, Puzzles, Size};

    fn puzzle(size: Size) -> Puzzle {
        Puzzles::new(size, 3, Part::Training, size.usual_clues()).next().unwrap()
    }

    #[test]
    fn cells_count_one_by_one_or_all_together() {
        Size::ALL.into_iter().for_each(cells_count);
    }

    fn cells_count(size: Size) {
        let puzzle = puzzle(size);
        let (clues, solution) = (puzzle.clues.to_string(), puzzle.solution.to_string());
        let open: Vec<usize> = (0..size.cells()).filter(|cell| puzzle.clues.get(*cell) == 0).collect();
        let wrong = |count: usize| {
            let mut digits = solution.clone().into_bytes();
            for &cell in &open[..count] {
                digits[cell] = if digits[cell] == b'1' { b'2' } else { b'1' };
            }
            String::from_utf8(digits).unwrap()
        };
        let (one, all) = (wrong(1), wrong(open.len()));
        let completions = [solution.as_str(), &one, &all, "no grid"];
        let attempts = completions.map(|completion| Attempt { prompt: &clues, completion, ..Attempt::default() });
        let cells = Sudoku { whole: false }.rewards(&attempts).unwrap();
        assert_eq!(cells, [1.0, (open.len() - 1) as f64 / open.len() as f64, 0.0, 0.0]);
        assert_eq!(Sudoku { whole: true }.rewards(&attempts).unwrap(), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_prompt_that_is_no_puzzle_is_refused() {
        let solved = puzzle(Size::Nine).solution.to_string();
        let twice = format!("11{}", ".".repeat(79));
        for (prompt, reason) in [
            ("Once", "a grid has 81 or 16 characters"),
            (solved.as_str(), "no cell is left to fill"),
            (twice.as_str(), "the puzzle has no solution"),
        ] {
            let attempt = Attempt { prompt, ..Attempt::default() };
            let refused = Sudoku { whole: false }.rewards(&[attempt]).unwrap_err().to_string();
            assert!(refused.starts_with("the reward `sudoku` cannot check the prompt") && refused.contains(reason));
        }
    }
}
