//! Regular expressions.

use crate::{compiler, refused, text};
use aquatint_constraint::ConstraintSpec;
use aquatint_generate::ConstraintError;
use regex::Regex;

fn spec(source: &str) -> ConstraintSpec {
    ConstraintSpec::Regex(source.to_owned())
}

#[test]
fn every_text_matches_as_a_whole() {
    for source in [
        "[a-c]{2,5}x?",
        "(yes|no|perhaps)( because .*)?",
        r"\d{3}-\d{4}",
        "^(?i)abc$",
        "[^a-z]+",
        "é|ä{3}|[ö-ü]*x",
        ".{0,6}end",
        "(a|ab)(c|bcd)(d*)",
        "^a|b$",
        "",
    ] {
        let whole = Regex::new(&format!(r"\A(?:{source})\z")).unwrap();
        let constraint = compiler().compile(&spec(source)).unwrap();
        for seed in 0..12 {
            let text = text(constraint.plain.as_ref(), 16, seed).unwrap();
            assert!(whole.is_match(&text), "{source}: {text:?}");
        }
    }
}

#[test]
fn behind_a_blank_the_text_begins_after_it() {
    let constraint = compiler().compile(&spec("[ a]b*")).unwrap();
    let mut with_blank = 0;
    let wanted = Regex::new(r"\A[ a]b*\z").unwrap();
    for seed in 0..60 {
        let text = text(constraint.behind_blank.as_ref(), 6, seed).unwrap();
        let own = text.strip_prefix(' ').unwrap_or(&text);
        assert!(wanted.is_match(own), "{text:?}");
        with_blank += usize::from(text.len() != own.len());
    }
    assert!((5..60).contains(&with_blank), "{with_blank}");
}

#[test]
fn what_is_not_regular_or_too_large_is_refused_by_name() {
    let hint = "look-around, back references and word boundaries are not regular; write without them";
    let regex = |source: &str, reason: &str| {
        assert_eq!(refused(&spec(source)), format!("the regular expression cannot be read: {reason} | {hint}"));
    };
    regex(r"\bword", "it has a word boundary or an anchor of lines");
    regex("a^b", "it has an anchor in the middle");
    regex("(?=a)b", "look-around, including look-ahead and look-behind, is not supported");
    regex("(a", "unclosed group");
    let smaller = "lower `maxLength`, `maxItems` or the bounds of repetitions";
    assert_eq!(
        refused(&spec("(a|b)*a(a|b){20}")),
        format!("the regular expression is too large: allowed are at most 20000 states as an automaton | {smaller}")
    );
    assert_eq!(
        refused(&spec("((a{100}){100}){100}")),
        format!(
            "the regular expression is too large: allowed are at most 200000 parts once it is written out | {smaller}"
        )
    );
    assert_eq!(
        refused(&spec(&"a".repeat(300_000))),
        "the regular expression is too large: allowed are at most 262144 bytes of text | write it shorter"
    );
    assert_eq!(
        refused(&spec("[a&&b]")),
        "no text matches the regular expression | some of its parts contradict each other"
    );
}

#[test]
fn a_hole_that_is_too_short_is_refused_with_the_shortest_length() {
    let constraint = compiler().compile(&spec("zzzz{3}")).unwrap();
    assert_eq!(text(constraint.plain.as_ref(), 4, 0), Err(ConstraintError::NoRoom { open: 4, shortest: 6 }));
}
