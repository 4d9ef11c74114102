//! Sudoku: every puzzle has one solution, and an answer is right when it is that.

use aquatint_evaluate::sudoku::{
    Answer, Grid, Part, Puzzle, Puzzles, Scores, Size, SudokuError, solution_count, solve,
};
use std::collections::HashSet;

fn puzzles(seed: u64, part: Part, count: usize) -> Vec<Puzzle> {
    of_size(Size::Nine, seed, part, count)
}

fn of_size(size: Size, seed: u64, part: Part, count: usize) -> Vec<Puzzle> {
    Puzzles::new(size, seed, part, size.usual_clues()).take(count).collect()
}

#[test]
fn every_puzzle_has_exactly_its_solution() {
    let small = of_size(Size::Four, 1, Part::Training, 300);
    for puzzle in puzzles(1, Part::Training, 300).into_iter().chain(small) {
        assert!(puzzle.solution.is_full() && puzzle.solution.is_valid());
        assert!(puzzle.solution.extends(&puzzle.clues));
        assert_eq!(solution_count(&puzzle.clues, 10), 1, "{puzzle:?}");
        assert_eq!(solve(&puzzle.clues), Some(puzzle.solution));
        let size = puzzle.clues.size();
        assert!(puzzle.clues.filled() >= *size.usual_clues().start() && puzzle.clues.filled() * 4 < size.cells() * 3);
    }
}

#[test]
fn clues_are_as_many_as_requested_where_possible() {
    let counts: Vec<usize> =
        Puzzles::new(Size::Nine, 3, Part::Training, 50..=50).take(50).map(|puzzle| puzzle.clues.filled()).collect();
    assert!(counts.iter().all(|count| *count == 50), "{counts:?}");
    let spread: HashSet<usize> = puzzles(4, Part::Training, 300).iter().map(|puzzle| puzzle.clues.filled()).collect();
    assert!(spread.len() > 12, "{spread:?}");
}

#[test]
fn a_seed_gives_the_same_puzzles_and_another_gives_others() {
    assert_eq!(puzzles(7, Part::Unseen, 20), puzzles(7, Part::Unseen, 20));
    assert_ne!(puzzles(7, Part::Unseen, 1), puzzles(8, Part::Unseen, 1));
}

#[test]
fn no_solution_is_in_both_parts() {
    let training: HashSet<Grid> =
        (0..4).flat_map(|seed| puzzles(seed, Part::Training, 500)).map(|puzzle| puzzle.solution).collect();
    let unseen = (0..4).flat_map(|seed| puzzles(seed, Part::Unseen, 200));
    assert!(training.len() > 1900 && unseen.into_iter().all(|puzzle| !training.contains(&puzzle.solution)));
}

#[test]
fn small_puzzles_have_all_grids_of_four_and_none_in_both_parts() {
    let of =
        |part| -> HashSet<Grid> { of_size(Size::Four, 1, part, 4000).iter().map(|puzzle| puzzle.solution).collect() };
    let (training, unseen) = (of(Part::Training), of(Part::Unseen));
    // 288 grids are valid in all.
    assert_eq!((training.len(), unseen.len(), training.intersection(&unseen).count()), (266, 22, 0));
    assert_eq!(solution_count(&Grid::empty(Size::Four), 1000), 288);
}

#[test]
fn a_grid_is_read_and_written() {
    let puzzle = puzzles(5, Part::Training, 1)[0];
    assert_eq!(puzzle.clues.to_string().parse(), Ok(puzzle.clues));
    assert_eq!(puzzle.clues.to_string().replace('.', "0").parse(), Ok(puzzle.clues));
    assert_eq!(puzzle.document().len(), 162);
    assert_eq!("12".parse::<Grid>(), Err(SudokuError::Length(2)));
    let wrong = puzzle.solution.to_string().replacen(|c: char| c.is_ascii_digit(), "x", 1);
    assert_eq!(
        wrong.parse::<Grid>().unwrap_err().to_string(),
        "character 0 is 'x'; allowed: 1 to 9, and `.` or 0 where nothing is"
    );
    assert_eq!("1234341221434321".parse::<Grid>().map(|grid| (grid.size(), grid.is_valid())), Ok((Size::Four, true)));
    assert!(matches!(
        "12345...........".parse::<Grid>(),
        Err(SudokuError::Character { most: 4, position: 4, found: '5' })
    ));
}

#[test]
fn what_is_against_the_rule_has_no_solution() {
    let mut text = ".".repeat(81);
    text.replace_range(0..2, "55");
    let twice: Grid = text.parse().unwrap();
    assert!(!twice.is_valid() && solve(&twice).is_none() && solution_count(&twice, 5) == 0);
    assert_eq!(solution_count(&Grid::empty(Size::Nine), 5), 5, "the empty grid has more than anyone counts");
    // Nothing stands twice, and the last cell of the first row has no digit left.
    let stuck: Grid = format!("12345678.{}9{}", ".".repeat(17), ".".repeat(54)).parse().unwrap();
    assert!(stuck.is_valid() && solve(&stuck).is_none());
}

#[test]
fn answers_are_counted_cell_by_cell() {
    let puzzle = puzzles(6, Part::Unseen, 1)[0];
    let right = Answer::of(&puzzle, &puzzle.solution.to_string());
    assert!(right.solved && right.right == right.requested && right.requested == 81 - puzzle.clues.filled());
    let empty = (0..81).find(|cell| puzzle.clues.get(*cell) == 0).unwrap();
    let digit = puzzle.solution.get(empty) % 9 + 1;
    let mut text = puzzle.solution.to_string();
    text.replace_range(empty..=empty, &digit.to_string());
    let wrong = Answer::of(&puzzle, &text);
    assert_eq!((wrong.solved, wrong.right, wrong.well_formed), (false, right.right - 1, true));
    let cut = Answer::of(&puzzle, "123");
    assert_eq!((cut.solved, cut.right, cut.well_formed), (false, 0, false));
    let mut scores = Scores::default();
    [right, wrong].into_iter().for_each(|answer| scores.add(answer));
    assert_eq!((scores.solve_rate(), scores.puzzles, scores.well_formed), (0.5, 2, 2));
}
