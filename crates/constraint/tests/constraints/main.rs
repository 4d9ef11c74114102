//! What constraints write against what regular expressions and JSON schemas say.

mod cost;
mod grammar;
mod molecule;
mod regex;
mod schema;
mod validator;

use aquatint_constraint::{CompileError, Compiler, ConstraintSpec};
use aquatint_diffusion::constraint::{Cell, PredictedRow};
use aquatint_diffusion::{Draws, Key, TokenId};
use aquatint_generate::{Constraint, ConstraintError, SpanStart};
use aquatint_vocabulary::{Role, Vocabulary};
use std::sync::OnceLock;

/// A vocabulary with tokens of several bytes, of JSON among them.
fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| {
        let text =
            "{\"name\": \"the cat sat on the mat\", \"age\": 12, \"tags\": [\"a\", \"b\"], \"ok\": true} äöü é \\n";
        Vocabulary::train([text.repeat(4)].into_iter(), 340).unwrap()
    })
}

fn compiler() -> &'static Compiler {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    COMPILER.get_or_init(|| Compiler::new(vocabulary()).unwrap())
}

/// The message and the hint.
fn refused(spec: &ConstraintSpec) -> String {
    refusal(&compiler().compile(spec).unwrap_err())
}

fn refusal(error: &CompileError) -> String {
    format!("{error} | {}", error.hint().unwrap_or_default())
}

/// A text of a constraint in a hole of so many tokens at most, drawn from predictions that are noise, position after
/// position in an order that is drawn, too.
fn text(constraint: &dyn Constraint, length: usize, seed: u64) -> Result<String, ConstraintError> {
    written(constraint, ("", ""), Hole::AtMost(length), seed, |draws, open| {
        open.iter().copied().filter(|_| draws.below(2) == 0).collect()
    })
}

/// The same from left to right, a few tokens at once.
fn in_order(constraint: &dyn Constraint, length: usize, seed: u64) -> Result<String, ConstraintError> {
    in_order_between(constraint, ("", ""), Hole::AtMost(length), seed)
}

/// How many tokens a hole has.
#[derive(Clone, Copy)]
enum Hole {
    AtMost(usize),
    Exactly(usize),
}

/// The same with texts before and behind the hole.
fn in_order_between(
    constraint: &dyn Constraint,
    around: (&str, &str),
    hole: Hole,
    seed: u64,
) -> Result<String, ConstraintError> {
    written(constraint, around, hole, seed, |draws, open| open[..open.len().min(1 + draws.below(3) as usize)].to_vec())
}

/// Draws until nothing is open; `commits` chooses which of the open positions keep what was drawn for them.
fn written(
    constraint: &dyn Constraint,
    around: (&str, &str),
    hole: Hole,
    seed: u64,
    commits: impl Fn(&mut Draws, &[usize]) -> Vec<usize>,
) -> Result<String, ConstraintError> {
    let vocabulary = vocabulary();
    let end = vocabulary.role(Role::End).unwrap();
    let (length, closing) = match hole {
        Hole::AtMost(length) => (length, Some(end)),
        Hole::Exactly(length) => (length, None),
    };
    let start = vec![Cell::Free; length];
    let tokens = |text: &str| vocabulary.encode(text).unwrap();
    let mut filler = constraint.begin(&SpanStart {
        cells: &start,
        closing,
        forbidden: &[end],
        before: Some(&tokens(around.0)),
        after: Some(&tokens(around.1)),
    })?;
    let draws = &mut Key::new(seed).at(0, 0);
    let mut holds: Vec<Option<TokenId>> = vec![None; length];
    loop {
        let open: Vec<usize> = (0..length).filter(|place| holds[*place].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let mut row = || {
            let logits = (0..vocabulary.len()).map(|_| 8.0 * draws.uniform()).collect();
            PredictedRow::new(logits, None, 1.0, draws.uniform()).unwrap()
        };
        let rows: Vec<PredictedRow> = open.iter().map(|_| row()).collect();
        let mut rows = rows.iter();
        let cell = |held: &Option<TokenId>| held.map_or_else(|| Cell::Row(rows.next().unwrap()), Cell::Fixed);
        let cells: Vec<Cell<'_>> = holds.iter().map(cell).collect();
        let drawn = filler.draw(&cells)?;
        let chosen = commits(draws, &open);
        for (place, token) in open.into_iter().zip(drawn).filter(|(place, _)| chosen.contains(place)) {
            holds[place] = Some(token);
        }
    }
    let tokens: Vec<TokenId> = holds.into_iter().flatten().take_while(|token| *token != end).collect();
    assert!(tokens.len() == length || matches!(hole, Hole::AtMost(_)), "{tokens:?} are not {length}");
    assert_eq!(vocabulary.broken_bytes(&tokens), 0);
    Ok(vocabulary.decode(&tokens))
}
