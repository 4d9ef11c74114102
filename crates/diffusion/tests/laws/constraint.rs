//! Joint draws against the enumeration of everything that a span could hold.

use crate::oracle::{chi_square, chi_square_limit};
use aquatint_diffusion::constraint::{Cell, PredictedRow, SpanLanguage, State, TokenAutomaton, TokenSet};
use aquatint_diffusion::{Draws, Key, TokenId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tokens of every automaton here; the end token is the next one, and one more token is in no sentence.
const TOKENS: TokenId = 3;
const END: TokenId = 3;

/// An automaton at random.
fn automaton(draws: &mut Draws) -> Arc<TokenAutomaton> {
    let states = 2 + draws.below(3);
    let accepting: Vec<bool> = (0..states).map(|_| draws.below(3) == 0).collect();
    let leads: Vec<Vec<(TokenId, State)>> = (0..states)
        .map(|_| {
            let all = (0..TOKENS).map(|token| (token, draws.below(states) as State, draws.below(4) > 0));
            all.filter(|(_, _, is_there)| *is_there).map(|(token, to, _)| (token, to)).collect()
        })
        .collect();
    Arc::new(TokenAutomaton::new(0, accepting, |state| leads[state as usize].clone()))
}

fn is_sentence(automaton: &TokenAutomaton, tokens: &[TokenId]) -> bool {
    let end = tokens.iter().try_fold(automaton.start(), |state, token| automaton.after(state, *token));
    end.is_some_and(|state| automaton.accepts(state))
}

/// What a position is in these tests, owned.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Position {
    Fixed(TokenId),
    Free,
    Row,
}

/// Log probabilities of the tokens of a row.
type Logits = Vec<f64>;

fn logits(draws: &mut Draws) -> Logits {
    let logits: Vec<f64> = (0..TOKENS + 2).map(|_| 3.0 * draws.normal()).collect();
    let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
    logits.into_iter().map(|logit| logit - total.ln()).collect()
}

fn cells<'a>(positions: &[Position], rows: &'a [PredictedRow]) -> Vec<Cell<'a>> {
    let mut rows = rows.iter();
    let cell = |position: &Position| match *position {
        Position::Fixed(token) => Cell::Fixed(token),
        Position::Free => Cell::Free,
        Position::Row => rows.next().map_or(Cell::Free, Cell::Row),
    };
    positions.iter().map(cell).collect()
}

/// Every outcome of the drawn positions with its probability, up to a factor: every text of every length, each position
/// behind it holding the end token.
fn outcomes(
    automaton: &TokenAutomaton,
    closable: bool,
    positions: &[Position],
    rows: &[Logits],
) -> BTreeMap<Vec<TokenId>, f64> {
    let mut outcomes = BTreeMap::new();
    let length = positions.len();
    for end in if closable { 0 } else { length }..=length {
        for number in 0..TOKENS.pow(end as u32) {
            let text: Vec<TokenId> = (0..end as u32).map(|index| number / TOKENS.pow(index) % TOKENS).collect();
            if !is_sentence(automaton, &text) {
                continue;
            }
            let shown = |index: usize| text.get(index).copied().unwrap_or(END);
            let agrees = |index: usize| match positions[index] {
                Position::Fixed(token) => index > end || token == shown(index),
                _ => true,
            };
            if !(0..length).all(agrees) {
                continue;
            }
            let drawn: Vec<usize> = (0..length).filter(|index| positions[*index] == Position::Row).collect();
            let log = |(row, index): (&Logits, &usize)| if *index > end { 0.0 } else { row[shown(*index) as usize] };
            let probability = rows.iter().zip(&drawn).map(log).sum::<f64>().exp();
            outcomes.insert(drawn.into_iter().map(shown).collect(), probability);
        }
    }
    outcomes
}

/// A span at random: fixed tokens, drawn positions, and open ones behind them.
fn positions(draws: &mut Draws) -> Vec<Position> {
    let window = 2 + draws.below(3);
    let behind = draws.below(3);
    let position = |draws: &mut Draws| match draws.below(4) {
        0 => Position::Fixed(draws.below(u64::from(TOKENS) + 1) as TokenId),
        _ => Position::Row,
    };
    let mut positions: Vec<Position> = (0..window).map(|_| position(draws)).collect();
    positions.extend((0..behind).map(|_| Position::Free));
    positions
}

/// Cases with something to draw, each with its outcomes.
struct Case {
    language: SpanLanguage,
    positions: Vec<Position>,
    rows: Vec<Logits>,
    outcomes: BTreeMap<Vec<TokenId>, f64>,
}

fn cases(seed: u64, count: usize) -> impl Iterator<Item = Case> {
    let draws = &mut Key::new(seed).at(0, 0);
    let mut cases = Vec::new();
    while cases.len() < count {
        let (automaton, positions, closable) = (automaton(draws), positions(draws), draws.below(2) == 0);
        let rows: Vec<Logits> = positions.iter().filter(|p| **p == Position::Row).map(|_| logits(draws)).collect();
        let outcomes = outcomes(&automaton, closable, &positions, &rows);
        let language = SpanLanguage::new(automaton, closable.then_some(END), positions.len());
        assert_eq!(language.has_completion(&cells(&positions, &[])), !outcomes.is_empty(), "{positions:?}");
        if outcomes.len() > 1 {
            cases.push(Case { language, positions, rows, outcomes });
        }
    }
    cases.into_iter()
}

impl Case {
    fn draw(&self, temperature: f64, retained: Option<&[TokenId]>, key: Key) -> Vec<TokenId> {
        let row = |(index, logits): (usize, &Logits)| {
            PredictedRow::new(logits.clone(), retained, temperature, key.at(index as u64, 0).uniform()).unwrap()
        };
        let rows: Vec<PredictedRow> = self.rows.iter().enumerate().map(row).collect();
        self.language.draw(&cells(&self.positions, &rows)).expect("there is a completion")
    }
}

#[test]
fn joint_draws_follow_the_product_of_the_predictions_conditioned_on_the_language() {
    const DRAWS: u64 = 4000;
    for (number, case) in cases(31, 40).enumerate() {
        let total: f64 = case.outcomes.values().sum();
        let mut counts: BTreeMap<Vec<TokenId>, usize> = BTreeMap::new();
        for seed in 0..DRAWS {
            *counts.entry(case.draw(1.0, None, Key::new(seed).fold(number as u64))).or_default() += 1;
        }
        assert!(counts.keys().all(|outcome| case.outcomes.contains_key(outcome)), "case {number}");
        // Outcomes that are too rare for the statistic count together.
        let (mut observed, mut expected) = (vec![0], vec![0.0]);
        for (outcome, probability) in &case.outcomes {
            let (p, count) = (probability / total, counts.get(outcome).copied().unwrap_or(0));
            if p * (DRAWS as f64) < 8.0 {
                observed[0] += count;
                expected[0] += p;
            } else {
                observed.push(count);
                expected.push(p);
            }
        }
        if expected[0] * (DRAWS as f64) < 8.0 {
            assert!(observed[0] < 40, "case {number}: rare outcomes came {} times", observed[0]);
            observed.remove(0);
            expected.remove(0);
        }
        let limit = chi_square_limit(observed.len().saturating_sub(1).max(1));
        let statistic = chi_square(&observed, &expected);
        // What was left out is less than 8 draws of 4000.
        assert!(statistic < limit + 1.0, "case {number}: {statistic} of {limit}");
    }
}

#[test]
fn a_greedy_draw_is_the_likeliest_assignment() {
    for case in cases(32, 200) {
        let drawn = case.draw(0.0, None, Key::new(0));
        let best = case.outcomes.values().copied().fold(0.0, f64::max);
        assert!((case.outcomes[&drawn] / best - 1.0).abs() < 1e-9);
    }
}

#[test]
fn any_part_of_a_draw_leaves_a_completion() {
    for (number, case) in cases(33, 60).enumerate() {
        let drawn = case.draw(1.0, None, Key::new(number as u64));
        let open: Vec<usize> = (0..case.positions.len()).filter(|i| case.positions[*i] == Position::Row).collect();
        for part in 0..1_u32 << open.len() {
            let (mut positions, mut rows) = (case.positions.clone(), Vec::new());
            for (bit, index) in open.iter().enumerate() {
                match part >> bit & 1 {
                    1 => positions[*index] = Position::Fixed(drawn[bit]),
                    _ => rows.push(case.rows[bit].clone()),
                }
            }
            assert!(case.language.has_completion(&cells(&positions, &[])));
            let outcomes = outcomes_of(&case, &positions, &rows);
            let rest = Case { language: case.language.clone(), positions, rows, outcomes };
            let again = rest.draw(1.0, None, Key::new(part.into()));
            assert!(rest.outcomes.contains_key(&again), "case {number}, part {part:b}");
        }
    }
}

/// The outcomes of a case whose positions changed.
fn outcomes_of(case: &Case, positions: &[Position], rows: &[Logits]) -> BTreeMap<Vec<TokenId>, f64> {
    outcomes(case.language.automaton(), case.language.closing().is_some(), positions, rows)
}

#[test]
fn where_the_cut_leaves_nothing_as_few_positions_as_possible_leave_it() {
    const RETAINED: [TokenId; 2] = [1, 4];
    let mut left = 0;
    for (number, case) in cases(34, 200).enumerate() {
        let drawn = case.draw(0.7, Some(&RETAINED), Key::new(number as u64));
        let end = |outcome: &[TokenId]| outcome.iter().position(|token| *token == END).unwrap_or(outcome.len());
        // Behind the first end token nothing is drawn; a fixed one may stand before it.
        let is_behind = |index: usize| {
            let rows: Vec<usize> = (0..case.positions.len()).filter(|i| case.positions[*i] == Position::Row).collect();
            case.positions[..rows[index]].contains(&Position::Fixed(END))
        };
        let outside = |outcome: &[TokenId]| {
            let counts = |index: &usize| !RETAINED.contains(&outcome[*index]) && *index <= end(outcome);
            (0..outcome.len()).filter(counts).filter(|index| !is_behind(*index)).count()
        };
        let is_closed_early = case.positions.contains(&Position::Fixed(END));
        if is_closed_early && case.language.closing().is_some() {
            continue;
        }
        let fewest = case.outcomes.keys().map(|outcome| outside(outcome)).min().unwrap();
        assert_eq!(outside(&drawn), fewest, "case {number}");
        left += usize::from(fewest > 0);
    }
    assert!(left > 20);
}

#[test]
fn probabilities_that_no_f64_holds_and_impossible_tokens_still_decide() {
    // Two sentences, "0 1" and "1 0"; at this temperature their probabilities are e^-20000 and e^-10000.
    let leads = |state: State| match state {
        0 => vec![(0, 1), (1, 2)],
        1 => vec![(1, 3)],
        2 => vec![(0, 3)],
        _ => Vec::new(),
    };
    let automaton = Arc::new(TokenAutomaton::new(0, vec![false, false, false, true], leads));
    let language = SpanLanguage::new(automaton, None, 2);
    let draw = |first: [f64; 3], second: [f64; 3]| {
        let rows = [first, second].map(|row| PredictedRow::new(row.to_vec(), None, 0.01, 0.5).unwrap());
        language.draw(&[Cell::Row(&rows[0]), Cell::Row(&rows[1])])
    };
    assert_eq!(draw([-100.0, -50.0, 0.0], [-50.0, -100.0, 0.0]), Some(vec![1, 0]));
    assert_eq!(draw([-50.0, -100.0, 0.0], [-100.0, -50.0, 0.0]), Some(vec![0, 1]));
    let never = f64::NEG_INFINITY;
    assert_eq!(draw([never, -50.0, 0.0], [-50.0, never, 0.0]), Some(vec![1, 0]));
    assert_eq!(draw([-50.0, never, 0.0], [never, -50.0, 0.0]), Some(vec![0, 1]));
    assert_eq!(draw([never, never, 0.0], [never, 0.0, 0.0]), Some(vec![0, 1]));
    assert_eq!(PredictedRow::new(vec![never; 2], None, 1.0, 0.5), None);
}

#[test]
fn sets_hold_what_was_put_in_sparse_or_dense() {
    for (step, count) in [(1, 300), (1000, 7), (3, 64), (1, 1)] {
        let tokens: Vec<TokenId> = (0..count).map(|index| index * step).collect();
        let set = TokenSet::new(tokens.iter().rev().chain(&tokens).copied().collect());
        let mut found = Vec::new();
        set.for_each(|token| found.push(token));
        assert_eq!(found, tokens);
        let end = count * step + 70;
        assert!((0..end).all(|token| set.contains(token) == tokens.contains(&token)));
    }
}

#[test]
fn an_automaton_without_some_tokens_has_only_the_other_sentences() {
    let draws = &mut Key::new(35).at(0, 0);
    for _ in 0..50 {
        let all = automaton(draws);
        let some = all.without(&[1]);
        assert!(!some.writes(1));
        for number in 0..TOKENS.pow(4) {
            let text: Vec<TokenId> = (0..4).map(|index| number / TOKENS.pow(index) % TOKENS).collect();
            for length in 0..=4 {
                let text = &text[..length];
                assert_eq!(is_sentence(&some, text), is_sentence(&all, text) && !text.contains(&1));
                assert!(!is_sentence(&some, text) || some.shortest().unwrap() <= length);
            }
        }
    }
}
