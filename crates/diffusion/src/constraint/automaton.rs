//! A finite automaton over tokens.

use crate::TokenId;
use std::collections::HashMap;
use std::sync::Arc;

/// A state of a [`TokenAutomaton`]; states are numbered from 0.
pub type State = u32;

/// No number of tokens leads to the end.
pub(super) const NEVER: u32 = u32::MAX;

/// Some tokens, not none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenSet(Tokens);

/// A list where the set is small beside its largest token, else a bit for each token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Tokens {
    List(Box<[TokenId]>),
    Bits(Box<[u64]>),
}

impl TokenSet {
    /// The set of some tokens, in any order.
    pub fn new(mut tokens: Vec<TokenId>) -> Self {
        tokens.sort_unstable();
        tokens.dedup();
        let words = tokens.last().map_or(0, |last| *last as usize / 64 + 1);
        if words * 2 >= tokens.len() {
            return Self(Tokens::List(tokens.into_boxed_slice()));
        }
        let mut bits = vec![0; words];
        tokens.iter().for_each(|token| bits[*token as usize / 64] |= 1 << (token % 64));
        Self(Tokens::Bits(bits.into_boxed_slice()))
    }

    /// Whether a token belongs to it.
    pub fn contains(&self, token: TokenId) -> bool {
        match &self.0 {
            Tokens::List(list) => list.binary_search(&token).is_ok(),
            Tokens::Bits(bits) => bits.get(token as usize / 64).is_some_and(|word| word >> (token % 64) & 1 == 1),
        }
    }

    /// Calls `visit` for each token, ascending.
    pub fn for_each(&self, mut visit: impl FnMut(TokenId)) {
        match &self.0 {
            Tokens::List(list) => list.iter().for_each(|token| visit(*token)),
            Tokens::Bits(bits) => {
                for (word, &bits) in bits.iter().enumerate() {
                    let mut left = bits;
                    while left != 0 {
                        visit((word * 64) as TokenId + left.trailing_zeros());
                        left &= left - 1;
                    }
                }
            }
        }
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Tokens::List(list) => size_of_val(&**list),
            Tokens::Bits(bits) => size_of_val(&**bits),
        }
    }

    fn tokens(&self) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        self.for_each(|token| tokens.push(token));
        tokens
    }
}

/// A transition: every token of a set leads to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// Where it leads.
    pub to: State,
    /// The number of its set, see [`TokenAutomaton::set`].
    pub set: u32,
}

/// A deterministic automaton over tokens: the sentences are those that lead from its start to an accepting state.
///
/// Transitions share their sets, so what is summed over a set is summed once for all of them.
#[derive(Debug, Clone)]
pub struct TokenAutomaton {
    start: State,
    accepting: Vec<bool>,
    /// Where the transitions of each state begin, and where the last ones end: `states + 1`.
    first: Vec<usize>,
    transitions: Vec<Transition>,
    sets: Vec<Arc<TokenSet>>,
    /// The fewest tokens from each state to an accepting one, or [`NEVER`].
    shortest: Vec<u32>,
}

impl TokenAutomaton {
    /// The automaton of its states, whether each accepts and the tokens that lead on, each token at most once.
    ///
    /// Tokens that lead to where no sentence ends are left out.
    pub fn new(start: State, accepting: Vec<bool>, leads: impl Fn(State) -> Vec<(TokenId, State)>) -> Self {
        let mut numbers: HashMap<TokenSet, u32> = HashMap::new();
        let (mut first, mut transitions) = (vec![0], Vec::new());
        for state in 0..accepting.len() as State {
            let mut pairs = leads(state);
            pairs.sort_unstable_by_key(|(token, to)| (*to, *token));
            for group in pairs.chunk_by(|a, b| a.1 == b.1) {
                let set = TokenSet::new(group.iter().map(|(token, _)| *token).collect());
                let next = numbers.len() as u32;
                transitions.push(Transition { to: group[0].1, set: *numbers.entry(set).or_insert(next) });
            }
            first.push(transitions.len());
        }
        let mut sets: Vec<(u32, TokenSet)> = numbers.into_iter().map(|(set, number)| (number, set)).collect();
        sets.sort_unstable_by_key(|(number, _)| *number);
        let sets = sets.into_iter().map(|(_, set)| Arc::new(set)).collect();
        let whole = Self { start, accepting, first, transitions, sets, shortest: Vec::new() };
        let shortest = whole.distances();
        whole.leading_on(shortest)
    }

    /// How many states there are.
    pub fn states(&self) -> usize {
        self.accepting.len()
    }

    /// Where sentences begin.
    pub fn start(&self) -> State {
        self.start
    }

    /// Whether a sentence may end in a state.
    pub fn accepts(&self, state: State) -> bool {
        self.accepting[state as usize]
    }

    /// The transitions of a state, no two of which share a token.
    pub fn transitions(&self, state: State) -> &[Transition] {
        &self.transitions[self.first[state as usize]..self.first[state as usize + 1]]
    }

    /// How many sets of tokens the transitions share.
    pub fn sets(&self) -> usize {
        self.sets.len()
    }

    /// The set of a number.
    pub fn set(&self, number: u32) -> &TokenSet {
        &self.sets[number as usize]
    }

    /// The state behind a token; `None` where no sentence goes on like that.
    pub fn after(&self, state: State, token: TokenId) -> Option<State> {
        self.transitions(state).iter().find(|t| self.set(t.set).contains(token)).map(|transition| transition.to)
    }

    /// The fewest tokens of a sentence; `None` where there is none.
    pub fn shortest(&self) -> Option<usize> {
        self.shortest_from(self.start).map(|tokens| tokens as usize)
    }

    pub(super) fn shortest_from(&self, state: State) -> Option<u32> {
        self.shortest.get(state as usize).copied().filter(|tokens| *tokens != NEVER)
    }

    /// Whether any transition has a token.
    pub fn writes(&self, token: TokenId) -> bool {
        self.sets.iter().any(|set| set.contains(token))
    }

    /// The same without some tokens.
    #[must_use]
    pub fn without(&self, tokens: &[TokenId]) -> Self {
        let leads = |state| {
            let pairs = self.transitions(state).iter().flat_map(|transition| {
                self.set(transition.set).tokens().into_iter().map(|token| (token, transition.to))
            });
            pairs.filter(|(token, _)| !tokens.contains(token)).collect()
        };
        Self::new(self.start, self.accepting.clone(), leads)
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        let sets: usize = self.sets.iter().map(|set| set.bytes() + size_of::<TokenSet>()).sum();
        sets + size_of_val(&*self.transitions) + self.states() * (size_of::<usize>() + size_of::<u32>() + 1)
    }

    /// The fewest tokens from each state to an accepting one, over all transitions: breadth first, backwards.
    fn distances(&self) -> Vec<u32> {
        let states = self.states();
        let mut into = vec![Vec::new(); states];
        for state in 0..states as State {
            self.transitions(state).iter().for_each(|transition| into[transition.to as usize].push(state));
        }
        let mut shortest = vec![NEVER; states];
        let mut level: Vec<State> = (0..states as State).filter(|state| self.accepts(*state)).collect();
        level.iter().for_each(|state| shortest[*state as usize] = 0);
        let mut distance = 0;
        while !level.is_empty() {
            distance += 1;
            let mut next = Vec::new();
            for &before in level.iter().flat_map(|state| &into[*state as usize]) {
                if shortest[before as usize] == NEVER {
                    shortest[before as usize] = distance;
                    next.push(before);
                }
            }
            level = next;
        }
        shortest
    }

    /// The same with those transitions only from which a sentence can still end.
    fn leading_on(self, shortest: Vec<u32>) -> Self {
        let (mut first, mut transitions) = (vec![0], Vec::new());
        for state in 0..self.states() as State {
            let ends = |transition: &&Transition| shortest[transition.to as usize] != NEVER;
            transitions.extend(self.transitions(state).iter().filter(ends).copied());
            first.push(transitions.len());
        }
        Self { first, transitions, shortest, ..self }
    }
}
