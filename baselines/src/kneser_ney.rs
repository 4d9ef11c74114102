//! An n-gram model with interpolated modified Kneser-Ney smoothing.
//!
//! Chen and Goodman, *An Empirical Study of Smoothing Techniques for Language Modeling* (1999), section 3: three
//! discounts per order, estimated from the counts of counts; lower orders count in how many contexts a symbol occurs,
//! not how often. The unigrams are interpolated with the uniform distribution, so nothing is impossible.
//!
//! Deviation: documents follow each other in one stream with an end symbol behind each, and a context may reach into
//! the document before. With books that is a few symbols in a million.

use crate::grams::{Grams, key};
use std::collections::HashMap;
use std::fmt;

/// Discounts for n-grams that count once, twice, and more often.
type Discounts = [f64; 3];

/// Why there can be no such model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An n-gram does not fit into one number.
    TooWide { order: usize, symbols: u64 },
    /// There is no symbol, or an order of zero.
    Nothing,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooWide { order, symbols } => {
                write!(
                    f,
                    "`order` is {order} with {symbols} symbols; allowed: symbols to the power of order below 2^64"
                )
            }
            Self::Nothing => f.write_str("there is nothing to count"),
        }
    }
}

/// A trained model.
#[derive(Debug)]
pub(crate) struct KneserNey {
    symbols: u64,
    end: u32,
    /// By order, from 1.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    grams: Grams,
    discounts: Discounts,
}

/// What a context says: its count, and the share of it that goes to shorter ones.
#[derive(Debug, Clone, Copy)]
struct Context {
    total: f64,
    given_away: f64,
}

/// What a text costs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) symbols: u64,
    pub(crate) bits: f64,
}

impl KneserNey {
    /// Counts `stream`, whose symbols are below `symbols`; `end` closes each document.
    pub(crate) fn train(stream: Vec<u32>, order: usize, symbols: u64, end: u32) -> Result<Self, Refusal> {
        if order == 0 || stream.is_empty() {
            return Err(Refusal::Nothing);
        }
        if u32::try_from(order).ok().and_then(|order| symbols.checked_pow(order)).is_none() {
            return Err(Refusal::TooWide { order, symbols });
        }
        let mut padded = vec![end; order - 1];
        padded.extend(stream);
        let mut grams = vec![Grams::count(&padded, order, symbols)];
        drop(padded);
        for length in (1..order).rev() {
            let longer = &grams[grams.len() - 1];
            grams.push(longer.continuations(symbols.pow(length as u32)));
        }
        grams.reverse();
        let levels = grams.into_iter().map(|grams| Level { discounts: discounts(&grams.counts), grams }).collect();
        Ok(Self { symbols, end, levels })
    }

    /// Distinct n-grams of each order, from 1.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.levels.iter().map(|level| level.grams.keys.len()).collect()
    }

    /// What the documents of a stream cost, end symbols included.
    pub(crate) fn cost(&self, stream: &[u32]) -> Cost {
        let before = self.levels.len() - 1;
        let mut padded = vec![self.end; before];
        padded.extend(stream);
        let mut known: Vec<HashMap<u64, Option<Context>>> = vec![HashMap::new(); self.levels.len()];
        let mut cost = Cost::default();
        for at in before..padded.len() {
            cost.bits -= self.probability(&padded[at - before..=at], &mut known).log2();
            cost.symbols += 1;
        }
        cost
    }

    /// Probability of the last symbol after those before it.
    fn probability(&self, gram: &[u32], known: &mut [HashMap<u64, Option<Context>>]) -> f64 {
        let mut probability = 1.0 / self.symbols as f64;
        for ((level, known), length) in self.levels.iter().zip(known).zip(1..) {
            let gram = &gram[gram.len() - length..];
            let before = key(&gram[..length - 1], self.symbols);
            let context = *known.entry(before).or_insert_with(|| level.context(before, self.symbols));
            // A longer context does not occur either.
            let Some(context) = context else { break };
            let count = level.grams.get(key(gram, self.symbols));
            let discounted = f64::from(count) - discount(level.discounts, count);
            probability = (discounted.max(0.0) + context.given_away * probability) / context.total;
        }
        probability
    }
}

impl Level {
    /// What a context says, if it occurred.
    fn context(&self, before: u64, symbols: u64) -> Option<Context> {
        let counts = &self.grams.counts[self.grams.after(before, symbols)];
        let total = counts.iter().map(|&count| f64::from(count)).sum();
        let given_away = counts.iter().map(|&count| discount(self.discounts, count).min(f64::from(count))).sum();
        (!counts.is_empty()).then_some(Context { total, given_away })
    }
}

/// What is taken from an n-gram that counts so much.
fn discount(discounts: Discounts, count: u32) -> f64 {
    match count {
        0 => 0.0,
        1 | 2 => discounts[count as usize - 1],
        _ => discounts[2],
    }
}

/// Chen and Goodman's equation 26: with n_c the n-grams that count c and Y = n1 / (n1 + 2 n2), the discount of c is
/// c - (c + 1) Y n_{c+1} / n_c. Where a toy has no n-gram of some count, half a count is taken.
fn discounts(counts: &[u32]) -> Discounts {
    let mut of = [0.0_f64; 5];
    for &count in counts.iter().filter(|&&count| count <= 4) {
        of[count as usize] += 1.0;
    }
    let y = of[1] / (of[1] + 2.0 * of[2]);
    [1, 2, 3].map(|c| {
        let discount = c as f64 - (c + 1) as f64 * y * of[c + 1] / of[c];
        if discount.is_finite() { discount.clamp(0.0, c as f64) } else { 0.5 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn empty_contexts(model: &KneserNey) -> Vec<HashMap<u64, Option<Context>>> {
        vec![HashMap::new(); model.levels.len()]
    }

    proptest! {
        #[test]
        fn after_any_context_the_probabilities_sum_to_one(
            stream in prop::collection::vec(0u32..5, 1..60),
            context in prop::collection::vec(0u32..5, 2..3),
        ) {
            let model = KneserNey::train(stream, 3, 5, 4).unwrap();
            let total: f64 = (0..5)
                .map(|last| model.probability(&[context[0], context[1], last], &mut empty_contexts(&model)))
                .sum();
            prop_assert!((total - 1.0).abs() < 1e-12, "{total}");
        }
    }

    #[test]
    fn a_text_without_pattern_costs_what_dice_cost() {
        // Marsaglia's xorshift.
        let mut state = 2_463_534_242_u32;
        let mut roll = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state >> 30
        };
        let stream: Vec<u32> = (0..4000).map(|_| roll()).collect();
        let model = KneserNey::train(stream[..3000].to_vec(), 2, 4, 0).unwrap();
        let cost = model.cost(&stream[3000..]);
        let bits = cost.bits / cost.symbols as f64;
        assert!((bits - 2.0).abs() < 0.02, "{bits}");
    }

    #[test]
    fn a_pattern_is_learned_as_far_as_the_order_reaches() {
        let stream: Vec<u32> = (0..3000).map(|i| [0, 0, 1, 0, 1, 1][i % 6]).collect();
        let bits = |order| {
            let cost = KneserNey::train(stream.clone(), order, 3, 2).unwrap().cost(&stream);
            cost.bits / cost.symbols as f64
        };
        assert!(bits(1) > 0.99 && bits(4) < 0.01, "{} {}", bits(1), bits(4));
    }

    #[test]
    fn the_numbers_are_those_of_the_formula() {
        // Stream 0 1 0 1 0 2 in pairs, after the end symbol 2: 20 01 10 01 10 02. Counts: 20:1 02:1 01:2 10:2.
        // n1 = 2, n2 = 2, Y = 1/3: D1 = 1 - 2/3, D2 = 2 - 3*(1/3)*0/2 = 2, no n3.
        let model = KneserNey::train(vec![0, 1, 0, 1, 0, 2], 2, 3, 2).unwrap();
        let expected = [1.0 / 3.0, 2.0, 0.5];
        assert!(model.levels[1].discounts.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15));
        // Continuations: 0 after {1, 2}, 1 after {0}, 2 after {0}; n1 = 2, n2 = 1, Y = 1/2: D1 = 1/2, D2 = 2.
        // P(1) = (1 - 1/2 + (2 + 1/2 + 1/2)/3) / 4 = 3/8. P(1|0) = (2 - 2 + (2 + 1/3) 3/8) / 3 = 7/24.
        let probability = model.probability(&[0, 1], &mut empty_contexts(&model));
        assert!((probability - 7.0 / 24.0).abs() < 1e-15, "{probability}");
        assert_eq!(model.sizes(), [3, 4]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(
            KneserNey::train(vec![0], 5, 8192, 0).unwrap_err().to_string(),
            "`order` is 5 with 8192 symbols; allowed: symbols to the power of order below 2^64"
        );
        assert_eq!(KneserNey::train(vec![], 2, 3, 0).unwrap_err(), Refusal::Nothing);
    }
}
