//! The range of every number in a recipe. Infinity and what is no number are in none of them.

use crate::RecipeError;
use crate::recipe::{DomainRecipe, OptimiserRecipe, Resolved, Run};

/// The numbers that a key may have.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Range {
    least: f64,
    /// Whether `least` itself is allowed.
    includes_least: bool,
    most: f64,
    /// Whether `most` itself is allowed.
    includes_most: bool,
    /// The same in words.
    allowed: &'static str,
}

const fn from(least: f64, most: f64, allowed: &'static str) -> Range {
    Range { least, includes_least: true, most, includes_most: true, allowed }
}

const fn above(least: f64, most: f64, allowed: &'static str) -> Range {
    Range { least, includes_least: false, most, includes_most: true, allowed }
}

impl Range {
    fn contains(&self, value: f64) -> bool {
        let low = if self.includes_least { value >= self.least } else { value > self.least };
        let high = if self.includes_most { value <= self.most } else { value < self.most };
        low && high
    }
}

/// A number that a recipe has, which may be unset.
struct Number<R> {
    key: &'static str,
    value: fn(&R) -> Option<f64>,
    range: Range,
}

/// A share.
const SHARE: Range = from(0.0, 1.0, "a share in [0, 1]");
/// A factor of a running average.
const DECAY: Range =
    Range { least: 0.0, includes_least: true, most: 1.0, includes_most: false, allowed: "0 or more and below 1" };
/// Steps: more than any machine takes.
const STEPS: Range = from(1.0, 1e12, "1 or more, at most 1000000000000");
const STEPS_OR_NONE: Range = from(0.0, 1e12, "0 or more, at most 1000000000000");

/// Every number but those in arrays, which are checked with their tables: `data.*.repeat`, `data.*.max_bad_share`,
/// `objective.time_range`, `optimiser.groups.rate`. The seed may be anything.
#[rustfmt::skip]
const NUMBERS: [Number<Resolved>; 44] = [
    number("adapter.dropout", |r| r.adapter.as_ref().map(|a| a.dropout), DECAY),
    number("adapter.rank", |r| r.adapter.as_ref().and_then(|a| int(a.rank)), from(1.0, 131_072.0, "1 or more, at most 131072")),
    number("adapter.alpha", |r| r.adapter.as_ref().map(|a| a.alpha), above(0.0, 1e6, "above 0, at most 1000000")),
    number("data.canvas_length", |r| int(r.data.canvas_length), from(2.0, 16_777_216.0, "2 or more, at most 16777216")),
    number("data.vocabulary_size", |r| int(r.data.vocabulary_size), from(260.0, 4_194_304.0, "260 (256 bytes and 4 special tokens) to 4194304")),
    number("data.vocabulary_bytes", |r| Some(r.data.vocabulary_bytes as f64), from(1.0, 1e12, "1 or more, at most 1000000000000")),
    number("network.width", |r| r.network.stated().width.and_then(int), from(1.0, 131_072.0, "1 or more, at most 131072")),
    number("network.layers", |r| r.network.stated().layers.and_then(int), from(1.0, 65_536.0, "1 or more, at most 65536")),
    number("network.heads", |r| r.network.stated().heads.and_then(int), from(1.0, 16_384.0, "1 or more, at most 16384")),
    number("network.key_value_heads", |r| r.network.stated().key_value_heads.and_then(int), from(1.0, 16_384.0, "a divisor of `network.heads`")),
    number("network.head_size", |r| r.network.stated().head_size.and_then(int), from(2.0, 4096.0, "an even number, 2 or more, at most 4096")),
    number("network.feed_forward_width", |r| r.network.stated().feed_forward_width.and_then(int), from(1.0, 4_194_304.0, "1 or more, at most 4194304")),
    number("network.rope_theta", |r| r.network.stated().rope_theta, above(1.0, 1e18, "more than 1 (10000 is usual)")),
    number("network.window", |r| r.network.stated().window.and_then(int), from(1.0, 2_147_483_647.0, "1 or more; 1 is a position alone")),
    number("network.time_conditioning", |r| r.network.stated().time_conditioning.and_then(int), from(2.0, 1_048_576.0, "an even number, 2 or more (256 is usual)")),
    number("objective.weight_limit", |r| r.objective.weight_limit, above(0.0, 1e30, "above 0; leave it out for no limit")),
    number("objective.balance", |r| r.objective.balance, above(0.0, 1e6, "above 0, at most 1000000; leave it out to balance nothing")),
    number("objective.self_conditioning_probability", |r| Some(r.objective.self_conditioning_probability), SHARE),
    number("objective.given_share", |r| Some(r.objective.given_share), SHARE),
    number("objective.given_spans", |r| Some(r.objective.given_spans), SHARE),
    number("objective.hidden_spans", |r| Some(r.objective.hidden_spans), SHARE),
    number("objective.prompt", |r| int(r.objective.prompt), from(0.0, 16_777_215.0, "fewer than `data.canvas_length`")),
    number("objective.answer_length", |r| int(r.objective.answer_length), from(0.0, 16_777_216.0, "0 or more, at most `data.canvas_length`")),
    number("objective.preference.beta", |r| r.objective.preference.map(|p| p.beta), above(0.0, 1e6, "above 0, at most 1000000 (0.1 is usual)")),
    number("objective.preference.samples", |r| r.objective.preference.and_then(|p| int(p.samples)), from(1.0, 4096.0, "1 to 4096")),
    number("objective.preference.chosen_weight", |r| r.objective.preference.map(|p| p.chosen_weight), from(0.0, 1e6, "0 or more, at most 1000000")),
    number("distillation.steps", |r| r.distillation.and_then(|d| int(d.steps)), from(2.0, 1_048_576.0, "2 or more, at most 1048576")),
    number("distillation.rounds", |r| r.distillation.map(|d| d.rounds as f64), from(1.0, 20.0, "1 to 20")),
    number("reward.completions", |r| r.reward.as_ref().and_then(|w| int(w.completions)), from(2.0, 65_536.0, "2 or more, at most 65536")),
    number("reward.completion_length", |r| r.reward.as_ref().and_then(|w| int(w.completion_length)), from(0.0, 16_777_215.0, "0 or more, fewer than `data.canvas_length`")),
    number("reward.updates", |r| r.reward.as_ref().map(|w| w.updates as f64), from(1.0, 1024.0, "1 to 1024")),
    number("reward.readings", |r| r.reward.as_ref().and_then(|w| int(w.readings)), from(1.0, 1024.0, "1 to 1024")),
    number("reward.hidden_prompt", |r| r.reward.as_ref().map(|w| w.hidden_prompt), SHARE),
    number("reward.clip", |r| r.reward.as_ref().map(|w| w.clip), above(0.0, 1.0, "above 0, at most 1")),
    number("reward.kl", |r| r.reward.as_ref().map(|w| w.kl), from(0.0, 1e6, "0 or more, at most 1000000")),
    number("reward.entropy_floor", |r| r.reward.as_ref().map(|w| w.entropy_floor), from(0.0, 1e6, "0 or more nats per token, at most 1000000")),
    number("reward.steps", |r| r.reward.as_ref().and_then(|w| int(w.steps)), from(1.0, 1_048_576.0, "1 or more, at most 1048576")),
    number("reward.block_length", |r| r.reward.as_ref().and_then(|w| w.block_length).and_then(int), from(1.0, 16_777_216.0, "1 or more; leave it out to fill all positions together")),
    number("reward.temperature", |r| r.reward.as_ref().map(|w| w.temperature), from(0.0, 100.0, "0 or more, at most 100")),
    number("reward.program_seconds", |r| r.reward.as_ref().map(|w| w.program_seconds), above(0.0, 1e6, "above 0, at most 1000000")),
    number("order.price", |r| r.order.map(|o| o.price), from(0.0, 1e6, "0 or more, at most 1000000")),
    number("order.threshold", |r| r.order.map(|o| o.threshold), from(0.0001, 0.9999, "0.0001 to 0.9999")),
    number("order.width", |r| r.order.and_then(|o| int(o.width)), from(1.0, 256.0, "1 to 256")),
    number("seed", |r| Some(r.seed as f64), from(0.0, f64::MAX, "a whole number")),
];

/// Those of an optimiser.
#[rustfmt::skip]
const OPTIMISER: [Number<OptimiserRecipe>; 14] = [
    number("optimiser.learning_rate", |o| Some(o.learning_rate), from(0.0, 1000.0, "0 or more, at most 1000")),
    number("optimiser.embedding_rate", |o| Some(o.embedding_rate), from(0.0, 1e6, "0 or more, at most 1000000")),
    number("optimiser.batch", |o| int(o.batch), from(1.0, 16_777_216.0, "1 or more, at most 16777216")),
    number("optimiser.accumulate", |o| int(o.accumulate), from(1.0, 16_777_216.0, "a divisor of `optimiser.batch`")),
    number("optimiser.beta1", |o| Some(o.beta1), DECAY),
    number("optimiser.beta2", |o| Some(o.beta2), DECAY),
    number("optimiser.epsilon", |o| Some(o.epsilon), above(0.0, 1.0, "above 0, at most 1")),
    number("optimiser.weight_decay", |o| Some(o.weight_decay), from(0.0, 1e6, "0 or more, at most 1000000")),
    number("optimiser.momentum", |o| Some(o.momentum), DECAY),
    number("optimiser.clip", |o| Some(o.clip), from(0.0, 1e30, "0 or more")),
    number("optimiser.ema", |o| Some(o.ema), DECAY),
    number("optimiser.warm_up", |o| Some(o.warm_up as f64), STEPS_OR_NONE),
    number("optimiser.decay", |o| Some(o.decay), SHARE),
    number("optimiser.floor", |o| Some(o.floor), SHARE),
];

/// Those of a run.
#[rustfmt::skip]
const RUN: [Number<Run>; 9] = [
    number("run.steps", |r| Some(r.steps as f64), STEPS),
    number("run.max_minutes", |r| r.max_minutes, from(0.0, 1e9, "0 or more; leave it out for no limit")),
    number("run.log_every", |r| Some(r.log_every as f64), STEPS),
    number("run.validate_every", |r| Some(r.validate_every as f64), STEPS),
    number("run.validate_canvases", |r| int(r.validate_canvases), from(1.0, 1e9, "1 or more, at most 1000000000")),
    number("run.validate_times", |r| int(r.validate_times), from(1.0, 1e6, "1 or more, at most 1000000")),
    number("run.save_every", |r| Some(r.save_every as f64), STEPS),
    number("run.sample_every", |r| Some(r.sample_every as f64), STEPS_OR_NONE),
    number("run.threads", |r| r.threads.and_then(int), from(1.0, 4096.0, "1 to 4096; leave it out to use every processor")),
];

const fn number<R>(key: &'static str, value: fn(&R) -> Option<f64>, range: Range) -> Number<R> {
    Number { key, value, range }
}

/// A whole number; those that leave the exact range of f64 are above every limit.
fn int(value: usize) -> Option<f64> {
    Some(value as f64)
}

/// A number as people write it: those with many digits by their exponent.
fn shown(value: f64) -> String {
    if value.is_finite() && value != 0.0 && !(1e-6..1e16).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// Refuses the first number that is outside of its range.
fn check_all<R>(of: &R, numbers: &[Number<R>]) -> Result<(), RecipeError> {
    for Number { key, value, range } in numbers {
        if let Some(value) = value(of).filter(|value| !range.contains(*value)) {
            return Err(RecipeError::value(key, shown(value), range.allowed));
        }
    }
    Ok(())
}

/// Refuses what no run can have, whatever it trains.
pub(crate) fn check_run(optimiser: &OptimiserRecipe, run: &Run) -> Result<(), RecipeError> {
    check_all(optimiser, &OPTIMISER)?;
    check_all(run, &RUN)
}

/// Refuses a share that is none.
pub(crate) fn check_share(key: &'static str, share: f64) -> Result<(), RecipeError> {
    if SHARE.contains(share) { Ok(()) } else { Err(RecipeError::value(key, shown(share), SHARE.allowed)) }
}

/// Refuses the first number of a recipe that is outside of its range.
pub(crate) fn check(recipe: &Resolved) -> Result<(), RecipeError> {
    check_all(recipe, &NUMBERS)?;
    check_run(&recipe.optimiser, &recipe.run)?;
    for source in recipe.data.train.iter().chain(&recipe.data.valid) {
        if !(1..=1_000_000).contains(&source.repeat) {
            let given = format!("{} for `{}`", source.repeat, source.path.display());
            return Err(RecipeError::value("repeat", given, "1 to 1000000"));
        }
        if !(0.0..=1.0).contains(&source.max_bad_share) {
            let given = format!("{} for `{}`", source.max_bad_share, source.path.display());
            return Err(RecipeError::value("max_bad_share", given, SHARE.allowed));
        }
    }
    for (domain, DomainRecipe { weight, .. }) in &recipe.objective.domains {
        if !(0.0..=1e6).contains(weight) {
            let given = format!("{} for `{domain}`", shown(*weight));
            return Err(RecipeError::value("objective.domains.weight", given, "0 or more, at most 1000000"));
        }
    }
    let (given, hidden) = (recipe.objective.given_spans, recipe.objective.hidden_spans);
    if given + hidden > 1.0 {
        let given = format!("{hidden} beside `objective.given_spans` {given}");
        return Err(RecipeError::value("objective.hidden_spans", given, "shares that are together 1 at most"));
    }
    let (first, last) = recipe.objective.time_range;
    if !(0.0 <= first && first < last && last <= 1.0) {
        let allowed = "two times in [0, 1], the earlier first";
        return Err(RecipeError::value("objective.time_range", format!("[{first}, {last}]"), allowed));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};
    use toml::{Table, Value};

    const TEXT: &str = "output = 'x'\ninitial = 'tales'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n";
    /// Every number that can be unset.
    const SET: [&str; 10] = [
        "size='4m'",
        "network.window=8",
        "network.time_conditioning=16",
        "objective.weight_limit=5.0",
        "objective.balance=0.01",
        "objective.given_spans=0.2",
        "objective.hidden_spans=0.1",
        "distillation={ steps = 8, rounds = 2 }",
        "run.max_minutes=1.5",
        "run.threads=2",
    ];

    /// Those that belong to conversations, which nothing is distilled on.
    const OF_CONVERSATIONS: [&str; 3] = ["size='4m'", "objective.kind='instruct'", "objective.answer_length=4"];

    /// Those of preferences.
    const OF_PREFERENCES: [&str; 3] =
        ["size='4m'", "objective.kind='preference'", "objective.preference={ beta = 0.2 }"];

    /// Those of an adapter, beside which no network is described.
    const OF_ADAPTERS: [&str; 1] = ["adapter={ rank = 4, alpha = 8.0, dropout = 0.1 }"];

    /// Those of rewards, whose prompts have nothing held out.
    const OF_REWARDS: [&str; 3] = [
        "objective.kind='reward'",
        "data.valid=[]",
        "reward={ terms = [{ name = 'length:4' }], completion_length = 4, block_length = 2 }",
    ];

    /// Those of a learnt order, beside a model that stays as it is.
    const OF_ORDERS: [&str; 3] = [
        "objective.kind='order'",
        "reward={ terms = [{ name = 'length:4' }], completion_length = 4, block_length = 2 }",
        "order={ price = 0.2, threshold = 0.8, width = 8 }",
    ];

    fn resolve(more: &[&str]) -> Result<Resolved, RecipeError> {
        resolve_with(&SET, more)
    }

    fn resolve_with(set: &[&str], more: &[&str]) -> Result<Resolved, RecipeError> {
        Recipe::parse(TEXT, &Overrides::parse(&[set, more].concat()).unwrap())?.resolve()
    }

    #[test]
    fn shares_of_spans_are_together_one_at_most() {
        let given = |hidden: &str| resolve(&["objective.given_spans=0.7", hidden]).map(drop);
        assert!(given("objective.hidden_spans=0.3").is_ok());
        let refused = given("objective.hidden_spans=0.4").unwrap_err().to_string();
        assert!(refused.ends_with("beside `objective.given_spans` 0.7; allowed: shares that are together 1 at most"));
    }

    fn leaves(path: &str, table: &Table, found: &mut Vec<(String, Value)>) {
        for (key, value) in table {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match value {
                Value::Table(inner) => leaves(&path, inner, found),
                Value::Integer(_) | Value::Float(_) => found.push((path, value.clone())),
                _ => {}
            }
        }
    }

    #[test]
    fn every_number_has_a_range_and_no_impossible_one_is_accepted() {
        let mut found = Vec::new();
        for set in [&SET[..], &OF_CONVERSATIONS, &OF_PREFERENCES, &OF_ADAPTERS, &OF_REWARDS, &OF_ORDERS] {
            let recipe = resolve_with(set, &[]).unwrap();
            let whole: Table = toml::from_str(&recipe.to_toml().unwrap()).unwrap();
            leaves("", &whole, &mut found);
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found.dedup_by(|(one, _), (other, _)| one == other);
        let all = || {
            let ranges = |numbers: &[Number<Resolved>]| numbers.iter().map(|n| (n.key, n.range)).collect::<Vec<_>>();
            let optimiser = OPTIMISER.iter().map(|number| (number.key, number.range));
            ranges(&NUMBERS).into_iter().chain(optimiser).chain(RUN.iter().map(|number| (number.key, number.range)))
        };
        let mut known: Vec<&str> = all().map(|(key, _)| key).collect();
        let mut keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        known.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, known, "each number of a recipe has one range");
        for (key, value) in &found {
            let range = all().find(|(known, _)| known == key).unwrap().1;
            let tries: &[&str] = match value {
                Value::Float(_) => &["nan", "inf", "-inf", "-1.0", "-1e-300", "0.0", "1e300"],
                _ => &["-1", "0", "9223372036854775807"],
            };
            let set = match key.as_str() {
                "objective.answer_length" => &OF_CONVERSATIONS[..],
                key if key.starts_with("adapter.") => &OF_ADAPTERS,
                // Temperature 0 is allowed where an order learns, since a model's completions would be all alike.
                key if key.starts_with("order.") || key == "reward.temperature" => &OF_ORDERS,
                key if key.starts_with("reward.") => &OF_REWARDS,
                key if key.starts_with("objective.preference.") => &OF_PREFERENCES,
                _ => &SET,
            };
            for given in tries {
                let number: f64 = given.parse().unwrap();
                let refused = match resolve_with(set, &[&format!("{key}={given}")]) {
                    Ok(_) => false,
                    // Another key may have to fit this one, and wrong kinds of numbers are refused by the parser.
                    Err(RecipeError::Value { key: named, .. }) => named == key,
                    Err(RecipeError::Parse { .. }) => true,
                    Err(other) => panic!("{key}={given}: {other}"),
                };
                assert!(refused || range.contains(number), "{key}={given} was accepted");
                assert!(
                    !refused || !range.contains(number) || *key == "optimiser.accumulate",
                    "{key}={given} was refused"
                );
            }
        }
    }

    #[test]
    fn numbers_in_arrays_have_ranges_too() {
        let message = |set: &str| resolve(&[set]).unwrap_err().to_string();
        for (set, expected) in [
            ("data.train=[{ path = 'a', repeat = 0 }]", "`repeat` is 0 for `a`; allowed: 1 to 1000000"),
            (
                "data.valid=[{ path = 'b', max_bad_share = nan }]",
                "`max_bad_share` is NaN for `b`; allowed: a share in [0, 1]",
            ),
            (
                "objective.time_range=[nan, 1.0]",
                "`objective.time_range` is [NaN, 1]; allowed: two times in [0, 1], the earlier first",
            ),
            (
                "optimiser.groups=[{ parameters = '*', rate = inf }]",
                "`optimiser.groups.rate` is inf; allowed: above 0, at most 1000000",
            ),
            (
                "optimiser.groups=[{ parameters = '*', rate = 1e7 }]",
                "`optimiser.groups.rate` is 10000000; allowed: above 0, at most 1000000",
            ),
        ] {
            assert_eq!(message(set), expected);
        }
    }
}
