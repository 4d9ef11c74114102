//! Molecules, from predictions that are noise.

use super::{Hole, in_order, in_order_between, refusal, vocabulary};
use aquatint_constraint::{Compiler, ConstraintSpec, TextSet};
use aquatint_diffusion::TokenId;
use aquatint_diffusion::constraint::Cell;
use aquatint_generate::{Constraint, ConstraintError, SpanStart};
use aquatint_molecule::Molecule;
use aquatint_vocabulary::{PreTokenizer, Role, Vocabulary};
use std::sync::Arc;

fn constraint() -> Arc<dyn Constraint> {
    super::compiler().compile(&ConstraintSpec::Molecule).unwrap().plain
}

/// Whether a hole can be filled between these texts.
fn begin(before: &str, after: &str, length: usize) -> Result<(), ConstraintError> {
    let (vocabulary, end) = (vocabulary(), vocabulary().role(Role::End).unwrap());
    let tokens = |text: &str| -> Vec<TokenId> { vocabulary.encode(text).unwrap() };
    let (before, after, cells) = (tokens(before), tokens(after), vec![Cell::Free; length]);
    let start =
        SpanStart { cells: &cells, closing: Some(end), forbidden: &[end], before: Some(&before), after: Some(&after) };
    constraint().begin(&start).map(|_| ())
}

#[test]
fn whatever_is_predicted_a_molecule_is_written() {
    let constraint = constraint();
    let mut rings = 0;
    for seed in 0..20 {
        let text = in_order(constraint.as_ref(), 4 + seed as usize % 40, seed).unwrap();
        rings += Molecule::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}")).rings();
        assert!(!text.contains('.'), "{text}: nothing says that the model learned fragment sequences");
    }
    assert!(rings > 4, "{rings} rings in all: the constraint leaves room for more than chains");
}

#[test]
fn fragments_that_are_given_become_one_molecule() {
    let constraint = constraint();
    let around = [
        ("c1ccc%10cc1.", ""),
        ("c1cc%10cc%11c1.", ""),
        ("c1ccc2cc1.C1CC3C1.", ""),
        ("c1ccc%10cc1.C%11CC%10.", ""),
        ("F2.", ""),
        ("F2.F3.", ""),
        ("CC2.", ".c1ccc2cc1"),
        ("", ".C%10CC"),
        ("c1ccc%10cc1.C", "=O.N%11"),
    ];
    for around @ (before, after) in around {
        for seed in 0..6 {
            let text = in_order_between(constraint.as_ref(), around, Hole::AtMost(14), seed)
                .unwrap_or_else(|e| panic!("{around:?}: {e}"));
            let whole = format!("{before}{text}{after}");
            let molecule = Molecule::parse(&whole).unwrap_or_else(|error| panic!("{whole}: {error}"));
            assert_eq!(molecule.parts(), 1, "{whole}");
        }
    }
    // The shortest texts are found, and no others are where there is no room for them.
    for (before, after, shortest) in [("c1cc2cc3c1.", "", 3), ("C=2.C3.", "", 3), ("CC", ".O3", 1), ("Cc", "", 4)] {
        begin(before, after, shortest).unwrap_or_else(|error| panic!("{before} {after}: {error}"));
        begin(before, after, shortest - 1).unwrap_err();
    }
    let said = begin("CC.", "", 8).unwrap_err().to_string();
    assert!(said.starts_with("no molecule begins with `CC.`, before the hole: at byte 2: `.` leaves a part"), "{said}");
    assert!(begin("CC", ".[Na+]", 8).is_err() && begin("[Na+].", "", 8).is_err());
}

#[test]
fn fragments_are_written_where_a_ring_number_of_two_digits_is_a_token() {
    let begin = |learned: &str, before: &str, length: usize| {
        let learned = [learned, "CFc1cn2."].map(str::to_owned).into_iter();
        let vocabulary = Vocabulary::train_cut_by(PreTokenizer::Smiles, learned, 400).unwrap();
        let end = vocabulary.role(Role::End).unwrap();
        let constraint = Compiler::new(&vocabulary).unwrap().compile(&ConstraintSpec::Molecule).unwrap().plain;
        let (before, cells) = (vocabulary.encode(before).unwrap(), vec![Cell::Free; length]);
        let (closing, forbidden) = (Some(end), &[end][..]);
        let start = SpanStart { cells: &cells, closing, forbidden, before: Some(&before), after: Some(&[]) };
        constraint.begin(&start).map(|_| ())
    };
    let (fragments, plain) = ("CC%10.C%10", "CCc1ccccc1");
    // One token closes the ring, and three without it.
    begin(fragments, "c1ccc%10cc1.", 2).unwrap();
    begin(fragments, "c1ccc%10cc1.", 1).unwrap_err();
    begin(plain, "c1ccc%10cc1.", 4).unwrap();
    begin(plain, "c1ccc%10cc1.", 3).unwrap_err();
    // Fluorine holds no other bond, so that only another fragment can join these two.
    begin(fragments, "F2.F3", 4).unwrap();
    begin(plain, "F2.F3", 4).unwrap_err();
}

#[test]
fn what_stands_around_a_hole_is_part_of_the_molecule() {
    let constraint = constraint();
    for around @ (before, after) in [("C1CC", "CC1"), ("c1ccc(", ")cc1"), ("C1CC", "CC2CC2"), ("", "C"), ("N(", ")C")] {
        for seed in 0..6 {
            let text = in_order_between(constraint.as_ref(), around, Hole::AtMost(10), seed).unwrap();
            let whole = format!("{before}{text}{after}");
            Molecule::parse(&whole).unwrap_or_else(|error| panic!("{whole}: {error}"));
        }
    }
    begin("Decorate this: c1ccc(", ")cc1 and no more.", 8).unwrap();
    let refused = |before, after, length| begin(before, after, length).unwrap_err().to_string();
    assert_eq!(refused("C1CC", "C)C1", 1), "no text of the molecule was found that takes at most 1 tokens");
    assert_eq!(
        refused("C==", "C", 4),
        "no molecule begins with `C==`, before the hole: at byte 2: `=` has no place here"
    );
}

#[test]
fn behind_a_blank_a_molecule_begins_and_what_is_beside_it_has_a_limit() {
    let (vocabulary, end) = (vocabulary(), vocabulary().role(Role::End).unwrap());
    let molecules = super::compiler().compile(&ConstraintSpec::Molecule).unwrap();
    let cells = [Cell::Free; 6];
    let begin = |constraint: &dyn Constraint, before: &str| {
        let before = vocabulary.encode(before).unwrap();
        let (closing, forbidden) = (Some(end), &[end][..]);
        let start = SpanStart { cells: &cells, closing, forbidden, before: Some(&before), after: Some(&[]) };
        constraint.begin(&start).map(|_| ()).map_err(|error| error.to_string())
    };
    // The canvas lacks the blank before such a hole.
    begin(molecules.behind_blank.as_ref(), "A molecule:").unwrap();
    assert!(
        begin(molecules.plain.as_ref(), "A molecule:").unwrap_err().contains("no molecule begins with `molecule:`")
    );
    let long = "C".repeat(1025);
    let said = begin(molecules.plain.as_ref(), &long).unwrap_err();
    assert_eq!(said, "1025 bytes of the molecule stand beside the hole; allowed: at most 1024");
}

#[test]
fn properties_before_a_molecule_are_no_part_of_it_where_they_are_tokens() {
    let learned = ["[QED=8][LOGP=-1]c1ccc(CC)cc1", "[QED=8]CC", "[LOGP=-1]CC"].map(str::to_owned);
    let vocabulary = Vocabulary::train_cut_by(PreTokenizer::Smiles, learned.into_iter(), 400).unwrap();
    let end = vocabulary.role(Role::End).unwrap();
    let constraint = Compiler::new(&vocabulary).unwrap().compile(&ConstraintSpec::Molecule).unwrap().plain;
    let begin = |before: &str| {
        let (before, cells) = (vocabulary.encode(before).unwrap(), [Cell::Free; 8]);
        let start =
            SpanStart { cells: &cells, closing: Some(end), forbidden: &[end], before: Some(&before), after: Some(&[]) };
        constraint.begin(&start).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(vocabulary.encode("[QED=8][LOGP=-1]CC").unwrap().len(), 2 + vocabulary.encode("CC").unwrap().len());
    for accepted in ["[QED=8]", "[QED=8][LOGP=-1]", "[LOGP=-1]c1ccc(", "CC"] {
        begin(accepted).unwrap_or_else(|error| panic!("{accepted}: {error}"));
    }
    // A token that begins all texts of the model stands in front of properties, too.
    let begin_token = vocabulary.role(Role::Begin).unwrap();
    for accepted in ["", "[QED=8]", "[QED=8][LOGP=-1]", "CC"] {
        let before = [&[begin_token][..], &vocabulary.encode(accepted).unwrap()].concat();
        let cells = [Cell::Free; 8];
        let start =
            SpanStart { cells: &cells, closing: Some(end), forbidden: &[end], before: Some(&before), after: Some(&[]) };
        constraint.begin(&start).map(|_| ()).unwrap_or_else(|error| panic!("{accepted}: {error}"));
    }
    // A property that is damaged, that the vocabulary has not, or that stands within the molecule is no molecule.
    for refused in ["[QED=8", "[QED=]", "QED=8]", "[QED=7]", "[FOO=1]C", "C[QED=8]", "[QED=8]C[LOGP=-1]"] {
        assert!(begin(refused).unwrap_err().contains("no molecule begins with"), "{refused} is taken");
    }
    // None is written in the molecule itself.
    let property = vocabulary.token_of("[QED=8]").unwrap();
    let cells = [Cell::Fixed(property), Cell::Free, Cell::Free];
    let start = SpanStart { cells: &cells, closing: Some(end), forbidden: &[], before: Some(&[]), after: Some(&[]) };
    assert_eq!(constraint.begin(&start).map(|_| ()), Err(ConstraintError::Contradicted));
}

#[test]
fn a_second_hole_is_refused() {
    let end = vocabulary().role(Role::End).unwrap();
    let cells = [Cell::Free; 4];
    let start = SpanStart { cells: &cells, closing: Some(end), forbidden: &[], before: Some(&[]), after: None };
    let said = constraint().begin(&start).unwrap_err().to_string();
    assert_eq!(said, "a molecule has one hole, and there is another in this canvas");
}

#[test]
fn a_hole_of_exact_length_has_so_many_tokens_and_leaves_a_molecule() {
    let constraint = constraint();
    let around = [
        ("", ""),
        ("c1ccc(", ")cc1"),
        ("C1CC", "CC1"),
        ("c1ccc", ""),
        ("CC(=O)N", ""),
        ("F", "F"),
        ("N(", ")C"),
        ("c1ccc(", "C2CCCC2)cc1"),
        ("C1CC2CC1", "CC2"),
        ("", "C1CC1"),
    ];
    for around @ (before, after) in around {
        for (length, seed) in (1..=8).flat_map(|length| (0..3).map(move |seed| (length, seed))) {
            let text = in_order_between(constraint.as_ref(), around, Hole::Exactly(length), seed)
                .unwrap_or_else(|error| panic!("{length} tokens in {around:?}: {error}"));
            let whole = format!("{before}{text}{after}");
            let molecule = Molecule::parse(&whole).unwrap_or_else(|error| panic!("{whole}: {error}"));
            assert_eq!(molecule.parts(), 1, "{whole}");
        }
    }
}

#[test]
fn an_exact_length_that_no_text_has_is_refused() {
    let said = |around, length| {
        in_order_between(constraint().as_ref(), around, Hole::Exactly(length), 0).unwrap_err().to_string()
    };
    // The ring and the branch have to be closed, and fluorine holds one bond only.
    assert_eq!(said(("C1CC(C", ""), 1), "no text of the molecule was found that takes exactly 1 tokens");
    assert_eq!(said(("CF", ""), 3), "no text of the molecule was found that takes exactly 3 tokens");
    // One token may be any.
    let only = in_order_between(constraint().as_ref(), ("C1CC", "C)C1"), Hole::Exactly(1), 0).unwrap();
    assert_eq!(only, "(");
}

#[test]
fn what_is_written_in_a_hole_that_an_end_token_may_close_stays_what_it_was() {
    let cases = [
        (("", ""), 6, ["c8Bon8", "c=5pN5", "n5CP5C", "B/PF"]),
        (("c1ccc(", ")cc1"), 6, ["coBc11", "on=cN11", "n5:bc5", "-Br"]),
        (("C1CC", "CC1"), 10, ["cc-P(nn8)8", "on0s4:bC4n0", "12b1:c/2=CC", "#I\\I7bOS-7"]),
        (("c1ccc%10cc1.", ""), 12, ["c14SCS%101c4", "c:9(I)I%10c9", "n53c%10bP5B3", "Bc/1:b:b1%10"]),
    ];
    for (around, length, texts) in cases {
        let text = |seed| in_order_between(constraint().as_ref(), around, Hole::AtMost(length), seed).unwrap();
        assert_eq!([0, 1, 2, 3].map(text), texts, "{around:?}");
    }
}

#[test]
fn texts_that_are_there_are_checked_too() {
    let molecules = TextSet::new(&ConstraintSpec::Molecule).unwrap();
    assert!(molecules.contains("Cn1cnc2c1c(=O)n(C)c(=O)n2C") && !molecules.contains("C1CC"));
}

#[test]
fn a_vocabulary_without_bytes_has_no_molecules() {
    let words = r#"{"version":"1.0","model":{"type":"WordLevel","vocab":{"C":0,"N":1,"?":2},"unk_token":"?"}}"#;
    let vocabulary = Vocabulary::from_json(words.as_bytes()).unwrap();
    let said = Compiler::new(&vocabulary).map(|_| ()).unwrap_err();
    assert!(refusal(&said).starts_with("the model's tokenizer is not byte-level"));
}
