//! The language of one span, and the joint draw of its open positions: see the parent module.

use super::automaton::{State, TokenAutomaton};
use super::row::{Mass, PredictedRow};
use crate::TokenId;
use std::sync::Arc;

/// What a position of a span is, as others are drawn.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// It holds a token that stays.
    Fixed(TokenId),
    /// It is open and filled later.
    Free,
    /// It is open and drawn now, from this prediction.
    Row(&'a PredictedRow),
}

/// What the text of a span may be: the sentences of an automaton that fit into its positions.
///
/// Where an end token may close the span it stands behind a sentence, and what comes behind it falls away; without one,
/// a sentence takes exactly all positions.
#[derive(Debug, Clone)]
pub struct SpanLanguage {
    automaton: Arc<TokenAutomaton>,
    closing: Option<TokenId>,
    /// Without an end token: for each number of positions, the states from which a sentence takes exactly that many.
    exactly: Vec<Vec<bool>>,
}

/// A way on from a state at a position.
#[derive(Debug, Clone, Copy)]
struct Branch {
    to: State,
    /// The set of tokens that lead there; `None` for the end token.
    set: Option<u32>,
    mass: Mass,
}

impl SpanLanguage {
    /// The language of an automaton in a span of at most `length` positions that `closing` may close early; `None` where
    /// nothing may.
    pub fn new(automaton: Arc<TokenAutomaton>, closing: Option<TokenId>, length: usize) -> Self {
        let mut exactly = Vec::new();
        if closing.is_none() {
            let states = automaton.states() as State;
            let mut layer: Vec<bool> = (0..states).map(|state| automaton.accepts(state)).collect();
            for _ in 0..length {
                let leads = |state| automaton.transitions(state).iter().any(|t| layer[t.to as usize]);
                let before = (0..states).map(leads).collect();
                exactly.push(std::mem::replace(&mut layer, before));
            }
            exactly.push(layer);
        }
        Self { automaton, closing, exactly }
    }

    /// The automaton.
    pub fn automaton(&self) -> &TokenAutomaton {
        &self.automaton
    }

    /// The end token that may close the span.
    pub fn closing(&self) -> Option<TokenId> {
        self.closing
    }

    /// Whether there is a completion: a sentence that agrees with what the positions hold, however many they are up to
    /// the length of the span.
    pub fn has_completion(&self, cells: &[Cell<'_>]) -> bool {
        let layers = self.layers(cells);
        layers.last().is_some_and(|last| !last.is_empty())
    }

    /// Draws the positions with a prediction jointly, from the product of the predictions conditioned on a completion:
    /// one token for each of them, in order. `None` where there is no completion.
    ///
    /// The draw of a position hangs on its own uniform number and on those before it. At temperature 0 it is the likeliest
    /// assignment, of several the one that is first in order of tokens. Positions behind an end token get the end token.
    /// Where top-k or top-p leave no assignment, as few positions as possible leave their cut.
    pub fn draw(&self, cells: &[Cell<'_>]) -> Option<Vec<TokenId>> {
        let layers = self.layers(cells);
        let window = layers.len() - 1;
        let greedy = cells.iter().any(|cell| matches!(cell, Cell::Row(row) if row.is_greedy()));
        // Masses of all completions from each state of a layer, from the last layer to the first.
        let mut masses: Vec<Vec<Option<Mass>>> = vec![vec![Some(Mass::ONE); layers[window].len()]];
        let mut later = vec![None; self.automaton.states() + 1];
        for (cell, layer) in cells[..window].iter().zip(&layers).rev() {
            let next = &layers[layers.len() - masses.len()];
            scatter(&mut later, next, masses.last()?);
            let mut sums = vec![None; self.automaton.sets()];
            let mass = |state: &State| {
                let branches = self.branches(*state, *cell, &later, &mut sums);
                // A position that is filled later only has to have a way on.
                let greedy = greedy || matches!(cell, Cell::Free);
                branches.into_iter().map(|branch| branch.mass).reduce(|sum, mass| sum.plus(mass, greedy))
            };
            masses.push(layer.iter().map(mass).collect());
            next.iter().for_each(|state| later[*state as usize] = None);
        }
        masses.reverse();
        masses[0].first().copied().flatten()?;

        let (mut state, mut drawn) = (self.automaton.start(), Vec::new());
        for (index, cell) in cells[..window].iter().enumerate() {
            scatter(&mut later, &layers[index + 1], &masses[index + 1]);
            let mut sums = vec![None; self.automaton.sets()];
            let branches = self.branches(state, *cell, &later, &mut sums);
            layers[index + 1].iter().for_each(|state| later[*state as usize] = None);
            state = match cell {
                Cell::Fixed(_) => branches.first()?.to,
                Cell::Free => likeliest(&branches, |_| 0)?.to,
                Cell::Row(row) => {
                    let (token, to) = self.choose(&branches, row)?;
                    drawn.push(token);
                    to
                }
            };
        }
        Some(drawn)
    }

    /// The state behind an end token, which has no other way on than itself.
    fn ended(&self) -> State {
        self.automaton.states() as State
    }

    /// Whether a sentence can still end where so many positions are left.
    fn is_possible(&self, state: State, left: usize) -> bool {
        match self.closing {
            Some(_) if state == self.ended() => true,
            Some(_) => self.automaton.shortest_from(state).is_some_and(|tokens| tokens as usize <= left),
            None => self.exactly.get(left).is_some_and(|layer| layer[state as usize]),
        }
    }

    /// The states that can be reached before each position and from which a sentence can end as far as the number of
    /// positions allows; the last layer stands before the open positions at the end of the span that are filled later,
    /// where nothing else is to be known.
    fn layers(&self, cells: &[Cell<'_>]) -> Vec<Vec<State>> {
        let behind = cells.iter().rev().take_while(|cell| matches!(cell, Cell::Free)).count();
        let window = cells.len() - behind;
        let start = Some(self.automaton.start()).filter(|start| self.is_possible(*start, cells.len()));
        let mut layers: Vec<Vec<State>> = vec![start.into_iter().collect()];
        let mut is_in = vec![false; self.automaton.states() + 1];
        for (index, cell) in cells[..window].iter().enumerate() {
            let left = cells.len() - index - 1;
            let mut next = Vec::new();
            for &state in &layers[index] {
                self.each_step(state, *cell, |to, _| {
                    if !is_in[to as usize] && self.is_possible(to, left) {
                        is_in[to as usize] = true;
                        next.push(to);
                    }
                });
            }
            next.iter().for_each(|state| is_in[*state as usize] = false);
            next.sort_unstable();
            layers.push(next);
        }
        layers
    }

    /// Calls `step` for each way on from a state at a position, with its set of tokens; without one for the end token.
    fn each_step(&self, state: State, cell: Cell<'_>, mut step: impl FnMut(State, Option<u32>)) {
        if state == self.ended() {
            return step(state, None);
        }
        let may_end = self.automaton.accepts(state);
        match (cell, self.closing) {
            (Cell::Fixed(token), Some(end)) if token == end => {
                if may_end {
                    step(self.ended(), None);
                }
            }
            (Cell::Fixed(token), _) => {
                let found = self.automaton.after(state, token);
                found.into_iter().for_each(|to| step(to, None));
            }
            (Cell::Free | Cell::Row(_), closing) => {
                self.automaton.transitions(state).iter().for_each(|t| step(t.to, Some(t.set)));
                if may_end && closing.is_some() {
                    step(self.ended(), None);
                }
            }
        }
    }

    /// The ways on from a state that lead to a completion, each with the mass of its completions. `sums` holds what is
    /// known of the sets of tokens at this position.
    fn branches(&self, state: State, cell: Cell<'_>, later: &[Option<Mass>], sums: &mut [Option<Mass>]) -> Vec<Branch> {
        let mut branches = Vec::new();
        self.each_step(state, cell, |to, set| {
            let Some(behind) = later[to as usize] else { return };
            let here = match (cell, set, self.closing) {
                // What comes behind an end token falls away, whatever it is.
                _ if state == self.ended() => Mass::ONE,
                (Cell::Row(row), Some(set), _) => {
                    *sums[set as usize].get_or_insert_with(|| row.set(self.automaton.set(set)))
                }
                (Cell::Row(row), None, Some(end)) => row.token(end),
                _ => Mass::ONE,
            };
            branches.push(Branch { to, set, mass: here.times(behind) });
        });
        branches
    }

    /// A token and the state behind it.
    fn choose(&self, branches: &[Branch], row: &PredictedRow) -> Option<(TokenId, State)> {
        let end = || self.closing.unwrap_or_default();
        let first = |branch: &Branch| branch.set.map_or_else(end, |set| row.likeliest(self.automaton.set(set)));
        let best = likeliest(branches, first)?;
        if row.is_greedy() {
            return Some((first(best), best.to));
        }
        let weight = |branch: &Branch| match branch.mass.outside == best.mass.outside {
            true => (branch.mass.log - best.mass.log).exp(),
            false => 0.0,
        };
        let total: f64 = branches.iter().map(weight).sum();
        let mut left = row.uniform() * total;
        let (mut chosen, mut share) = (best, 0.5);
        for branch in branches.iter().filter(|branch| weight(branch) > 0.0) {
            chosen = branch;
            // What is left of the uniform number is uniform again within the branch.
            share = (left / weight(branch)).clamp(0.0, 1.0);
            left -= weight(branch);
            if left < 0.0 {
                break;
            }
        }
        let token = chosen.set.map_or_else(end, |set| row.pick(self.automaton.set(set), share));
        Some((token, chosen.to))
    }
}

/// The branch of the largest mass; of several, the one with the first token.
fn likeliest(branches: &[Branch], first: impl Fn(&Branch) -> TokenId) -> Option<&Branch> {
    branches.iter().reduce(|best, branch| {
        let order = (best.mass.outside.cmp(&branch.mass.outside))
            .then(branch.mass.log.total_cmp(&best.mass.log))
            .then_with(|| first(best).cmp(&first(branch)));
        if order.is_gt() { branch } else { best }
    })
}

/// Writes the masses of a layer's states where they are found by state.
fn scatter(by_state: &mut [Option<Mass>], layer: &[State], masses: &[Option<Mass>]) {
    layer.iter().zip(masses).for_each(|(state, mass)| by_state[*state as usize] = *mass);
}
