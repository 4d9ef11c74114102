//! Grammars, which are not regular: brackets that match.

use crate::{Hole, compiler, in_order, in_order_between, refused};
use aquatint_constraint::ConstraintSpec;
use aquatint_generate::{CommitOrder, ConstraintError};

fn spec(source: &str) -> ConstraintSpec {
    ConstraintSpec::Grammar(source.to_owned())
}

const SUMS: &str = "start: sum\nsum: term (\" + \" term)*\nterm: NUMBER | \"(\" sum \")\"\nNUMBER: /[0-9]{1,3}/\n";

/// Whether a text is a sum: a direct reading.
fn is_sum(text: &str) -> bool {
    let bytes = text.as_bytes();
    sum(bytes, 0) == Some(bytes.len())
}

fn sum(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = term(bytes, at)?;
    while bytes[at..].starts_with(b" + ") {
        at = term(bytes, at + 3)?;
    }
    Some(at)
}

fn term(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'(') {
        let at = sum(bytes, at + 1)?;
        return (bytes.get(at) == Some(&b')')).then_some(at + 1);
    }
    let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=3).contains(&digits).then_some(at + digits)
}

#[test]
fn whatever_the_room_the_text_is_a_sentence() {
    let constraint = compiler().compile(&spec(SUMS)).unwrap();
    assert_eq!(constraint.plain.order(), CommitOrder::LeftToRight);
    let mut nested = 0;
    for length in [1, 2, 3, 5, 8, 24] {
        for seed in 0..6 {
            let text = in_order(constraint.plain.as_ref(), length, seed).unwrap();
            assert!(is_sum(&text), "{length}: {text:?}");
            nested += usize::from(text.contains('('));
        }
    }
    assert!(nested > 3, "{nested}");
}

#[test]
fn words_of_the_grammar_are_found_as_witnesses() {
    let grammar = "start: \"{\\\"name\\\":\" STRING \",\\\"age\\\":\" AGE \"}\"\nSTRING: /\"[A-Za-z ,.]{0,16}\"/\nAGE: /[1-9]?[0-9]/";
    let constraint = compiler().compile(&spec(grammar)).unwrap();
    for seed in 0..6 {
        let text = in_order(constraint.plain.as_ref(), 24, seed).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["name"].is_string() && value["age"].as_u64().is_some_and(|age| age < 100), "{text}");
    }
}

#[test]
fn a_witness_of_many_words_is_found() {
    let grammar = "start: \"{\\\"title\\\":\" TITLE \",\\\"year\\\":\" DATE \",\\\"good\\\":\" GOOD \"}\"\n\
                   TITLE: /\"[A-Za-z ,.]{3,30}\"/\nDATE: /\"19[0-9]{2}-0[1-9]-[01][1-9]\"/\nGOOD: \"true\" | \"false\" | \"null\"";
    let constraint = compiler().compile(&spec(grammar)).unwrap();
    for seed in 0..4 {
        let text = in_order(constraint.plain.as_ref(), 64, seed).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["title"].as_str().is_some_and(|title| title.len() >= 3) && value["year"].is_string(), "{text}");
    }
}

#[test]
fn behind_a_blank_the_text_has_none_in_front() {
    let constraint = compiler().compile(&spec("start: /[ a]b*/")).unwrap();
    for seed in 0..20 {
        let text = in_order(constraint.behind_blank.as_ref(), 4, seed).unwrap();
        assert!(text.starts_with('a'), "{text:?}");
    }
}

#[test]
fn mistakes_and_holes_that_are_too_short_are_refused() {
    let message = refused(&spec("start: missing_rule"));
    assert!(
        message.starts_with("the grammar cannot be read: ") && message.ends_with("with a rule `start`"),
        "{message}"
    );
    let constraint = compiler().compile(&spec("start: \"((((((\" SUM\nSUM: /[0-9]{9}/")).unwrap();
    assert_eq!(
        in_order(constraint.plain.as_ref(), 4, 0),
        Err(ConstraintError::Refused("no text of the grammar was found that takes at most 4 tokens".to_owned()))
    );
}

#[test]
fn a_hole_of_exact_length_has_so_many_tokens_and_holds_a_sentence() {
    let sums = compiler().compile(&spec(SUMS)).unwrap();
    // A sum of four characters does not end in digits alone.
    for length in [1, 2, 3, 4, 5, 8, 12, 24] {
        for seed in 0..6 {
            let text = in_order_between(sums.plain.as_ref(), ("", ""), Hole::Exactly(length), seed)
                .unwrap_or_else(|error| panic!("{length}: {error}"));
            assert!(is_sum(&text), "{length}: {text:?}");
        }
    }
    let grammar = "start: \"{\\\"name\\\":\" STRING \",\\\"age\\\":\" AGE \"}\"\nSTRING: /\"[A-Za-z ,.]{0,16}\"/\nAGE: /[1-9]?[0-9]/";
    let constraint = compiler().compile(&spec(grammar)).unwrap();
    for seed in 0..6 {
        let text = in_order_between(constraint.plain.as_ref(), ("", ""), Hole::Exactly(24), seed).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["name"].is_string() && value["age"].as_u64().is_some_and(|age| age < 100), "{text}");
    }
    let said = in_order_between(constraint.plain.as_ref(), ("", ""), Hole::Exactly(40), 0).unwrap_err().to_string();
    assert_eq!(said, "no text of the grammar was found that takes exactly 40 tokens");
}

/// One text, cut into tokens in as many ways as it takes.
#[test]
fn an_exact_length_is_reached_by_other_tokens_of_the_same_text() {
    let constraint = compiler().compile(&spec("start: \"the end\"")).unwrap();
    let written = |length| in_order_between(constraint.plain.as_ref(), ("", ""), Hole::Exactly(length), 1);
    let reached: Vec<usize> = (1..10).filter(|length| written(*length).is_ok_and(|text| text == "the end")).collect();
    let (least, most) = (reached[0], "the end".len());
    assert!(least < most - 1, "the vocabulary has no longer tokens of it: {least}");
    assert_eq!(reached, (least..=most).collect::<Vec<_>>());
}

#[test]
fn what_is_written_in_a_hole_that_an_end_token_may_close_stays_what_it_was() {
    let constraint = compiler().compile(&spec(SUMS)).unwrap();
    let cases = [
        (3, ["783", "562", "122", "(6)"]),
        (8, ["782", "507 + 123", "123", "(712) + 1"]),
        (24, ["785", "508 + 129 + 127", "123", "(712)"]),
    ];
    for (length, texts) in cases {
        assert_eq!([0, 1, 2, 3].map(|seed| in_order(constraint.plain.as_ref(), length, seed).unwrap()), texts);
    }
}
